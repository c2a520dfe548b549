"""Trainings that are interrupted: the same model in the end, and no other training's state."""

import contextlib

import equinox as eqx
import jax
import numpy as np
import pytest
from safetensors.numpy import save

import landform as lf
from landform.models import checkpoint as checkpoint_module
from landform.models.checkpoint import Checkpoint

OPTIONS = {"hidden": (6,), "epochs": 9, "num_centers": 4, "warmup": 1, "batch_size": 20}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 2)) @ rng.normal(size=(2, 8)) + 0.1 * rng.normal(size=(60, 8))


@pytest.fixture(scope="module", params=["rbf", "network"])
def whole(request, data):
    options = OPTIONS | {"variance": request.param}
    return options, lf.train_vae(data, 2, key=jax.random.key(0), **options)


class Interrupted(Exception):
    pass


def interrupt_after(monkeypatch, count):
    """Let the writing of the checkpoint number `count` be the last thing that happens."""
    put, calls = checkpoint_module.Checkpoint.put, []

    def limited(self, stage, state, notes):
        put(self, stage, state, notes)
        calls.append(stage)
        if len(calls) == count:
            raise Interrupted

    monkeypatch.setattr(checkpoint_module.Checkpoint, "put", limited)


def same(one, other):
    leaves = [jax.tree.leaves(eqx.filter(m, eqx.is_array)) for m in (one, other)]
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("count", [1, 3, 6])
def test_an_interrupted_training_ends_in_the_same_model(whole, data, count, tmp_path, monkeypatch):
    options, expected = whole
    options = options | {"checkpoint": tmp_path / "c", "checkpoint_every": 2}
    with monkeypatch.context() as patch:
        interrupt_after(patch, count)
        writings = 5 if options["variance"] == "rbf" else 10  # of the whole training
        ends = contextlib.nullcontext() if count > writings else pytest.raises(Interrupted)
        with ends:
            lf.train_vae(data, 2, key=jax.random.key(0), **options)
    same(lf.train_vae(data, 2, key=jax.random.key(0), **options), expected)


def test_a_finished_training_is_not_repeated(whole, data, tmp_path, monkeypatch):
    options, expected = whole
    options = options | {"checkpoint": tmp_path / "c", "checkpoint_every": 100}
    same(lf.train_vae(data, 2, key=jax.random.key(0), **options), expected)

    def refuse(*arguments):
        raise AssertionError("an epoch was run again")

    monkeypatch.setattr("landform.models.loop._epoch", refuse)
    same(lf.train_vae(data, 2, key=jax.random.key(0), **options), expected)
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_another_training_is_refused_by_what_differs(data, tmp_path):
    options = OPTIONS | {"checkpoint": tmp_path / "c", "epochs": 1, "variance": "constant"}
    lf.train_vae(data, 2, key=jax.random.key(0), **options)
    changes = [
        ({"batch_size": 10}, "batch_size = 20 there, 10 here"),
        ({"epochs": 2}, "epochs = 1 there, 2 here"),
        ({"hidden": (5,)}, r"hidden = \(6,\) there"),
        ({"key": jax.random.key(1)}, "key ="),
        ({"X": data + 1e-9}, "other data"),
        ({"X": data[:-1]}, "other data"),
    ]
    for change, text in changes:
        good = {"X": data, "latent_dim": 2, "key": jax.random.key(0)} | options
        with pytest.raises(ValueError, match=f"belongs to another training.*{text}"):
            lf.train_vae(**(good | change))


def test_a_checkpoint_tells_numbers_by_their_value(data, tmp_path):
    options = OPTIONS | {"checkpoint": tmp_path / "c", "variance": "constant"}
    first = {
        "epochs": np.int64(1),
        "patience": np.int64(3),
        "bandwidth_scale": 2.0,
        "max_std": np.float32(9),
    }
    again = {"epochs": 1, "patience": 3, "bandwidth_scale": 2, "max_std": 9}
    models = [
        lf.train_vae(data, 2, key=jax.random.key(0), **options | change)
        for change in (first, again)
    ]
    same(*models)


def test_files_that_are_no_checkpoints_are_refused_and_left_alone(data, tmp_path):
    options = OPTIONS | {"epochs": 1, "variance": "constant"}

    def train(path):
        return lf.train_vae(data, 2, key=jax.random.key(0), checkpoint=path, **options)

    text = tmp_path / "notes.txt"
    text.write_text("not to be lost")
    with pytest.raises(ValueError, match="cannot be read"):
        train(text)
    assert text.read_text() == "not to be lost"
    lf.save(tmp_path / "metric.landform", lf.Euclidean(2))
    with pytest.raises(ValueError, match="another kind"):
        train(tmp_path / "metric.landform")
    with pytest.raises(ValueError, match="folder that exists"):
        train(tmp_path / "missing" / "c")
    train(tmp_path / "c")
    whole = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="delete it"):
        train(tmp_path / "c")


@pytest.mark.parametrize(
    "header", ["[]", "{}", '{"arguments": [], "stages": {}}', '{"arguments": {}, "stages": 1}']
)
def test_a_checkpoint_with_a_damaged_header_is_refused(tmp_path, header):
    path = tmp_path / "c.landform"
    path.write_bytes(save({}, metadata={"landform-checkpoint": header}))
    with pytest.raises(ValueError, match="is damaged: delete it"):
        Checkpoint(path, {"landform": lf.__version__}, 1)


def test_a_failed_writing_leaves_the_last_checkpoint(data, tmp_path, monkeypatch):
    path = tmp_path / "c"
    kept = checkpoint_module.Checkpoint(path, {"a": "1"}, 1)
    kept.put("one", {"x": np.arange(3.0)}, {"epoch": 1})

    def fail(*arguments):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("landform._core.files.os.replace", fail)
        with pytest.raises(OSError, match="disk full"):
            kept.put("one", {"x": np.zeros(3)}, {"epoch": 2})
    state, notes = checkpoint_module.Checkpoint(path, {"a": "1"}, 1).get("one", {"x": 0.0})
    assert (state["x"].tolist(), notes) == ([0.0, 1.0, 2.0], {"epoch": 1})
    assert [p.name for p in tmp_path.iterdir()] == ["c"]
