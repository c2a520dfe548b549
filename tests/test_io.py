"""Files: what is saved comes back bit for bit, and what is no file of ours says so in one line."""

import json
import os
import subprocess
import sys
import threading
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import landform as lf
from landform import io
from landform.models import MLP

X = np.random.default_rng(0).normal(size=(40, 3))


@pytest.fixture(scope="module")
def vae():
    return lf.train_vae(X, 2, key=jax.random.key(0), hidden=(6,), epochs=2, num_centers=4)


def roundtrip(tmp_path, obj):
    path = tmp_path / "file.landform"
    lf.save(path, obj)
    return lf.load(path)


def assert_same(a, b):
    assert type(a) is type(b)
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert type(x) is type(y)
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


CURVE = np.linspace(0.0, 1.0, 10).reshape(5, 2) ** 2
OBJECTS = {
    "Euclidean": lf.Euclidean(3),
    "PoincareHalfPlane": lf.PoincareHalfPlane(),
    "StereographicSphere": lf.StereographicSphere(2),
    "LocalVariance": lf.LocalVariance(X, sigma=0.7, rho=0.01),
    "sum and scale": 2.0 * lf.Euclidean(2) + lf.PoincareHalfPlane(),
    "PolynomialCurve": lf.PolynomialCurve(CURVE, degree=2),
    "RBFPrecision": lf.RBFPrecision([[0.0, 1.0]], 0.5, [[2.0], [3.0]], max_std=4.0),
    "Pullback of a network": lf.Pullback(MLP(jax.random.key(0), (2, 4, 5)), landmarks=X[:, :2]),
    "solver": lf.EnergySolver(model="georce", degree=1),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_comes_back_bit_for_bit(name, tmp_path):
    assert_same(OBJECTS[name], roundtrip(tmp_path, OBJECTS[name]))


def test_a_generator_and_its_metric_come_back_bit_for_bit(tmp_path, vae):
    back = roundtrip(tmp_path, {"vae": vae, "metric": vae.metric()})
    assert_same(vae, back["vae"])
    assert_same(vae.metric(), back["metric"])
    np.testing.assert_array_equal(vae.decode(CURVE), back["vae"].decode(CURVE))


def test_a_geodesic_comes_back_with_its_certificate(tmp_path):
    path = lf.geodesic(lf.Euclidean(2), CURVE, [2.0, 3.0])
    assert_same(path, roundtrip(tmp_path, path))


def test_a_torch_decoder_comes_back_without_torch(tmp_path):
    program = {
        "dtype": "float64",
        "shape": [2],
        "nodes": [["tanh.default", [{"value": 0}], {}, ["float64"]]],
        "outputs": [{"value": 1}],
        "names": ["0"],
        "kinks": [],
    }
    from landform.interop import TorchDecoder

    decoder = TorchDecoder({"w": jnp.ones(2)}, {}, json.dumps(program))
    metric = lf.Pullback(decoder)
    back = roundtrip(tmp_path, metric)
    assert_same(metric, back)
    point = [0.3, -0.2]
    np.testing.assert_array_equal(lf.volume(metric, point), lf.volume(back, point))


def test_the_method_of_a_module_can_be_a_generator(tmp_path):
    rbf = OBJECTS["RBFPrecision"]
    back = roundtrip(tmp_path, lf.Pullback(rbf.std))
    np.testing.assert_array_equal(back.f(jnp.ones(2)), rbf.std(jnp.ones(2)))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2.5,
        float("inf"),
        "text",
        (1, ("a", [None])),
        {"a": (), 2: {}},
        np.arange(3, dtype=np.int8),
        np.float32(1.5),
        np.array(7),
        np.zeros((0, 3)),
        np.arange(6.0).reshape(2, 3).T,
        np.array([1 + 2j]),
        jnp.ones(2, jnp.bfloat16),
        np.zeros(2, bool),
        np.array(["ab", "c"]),
        np.array([["x"]], ">U3"),
        np.zeros((0, 2), "U4"),
        np.array("ab"),
        np.array(["a", "bc"], object),
        np.array([1 + 2j], ">c16"),
        np.array([1, 2], ">i4"),
        np.array(["2020-02-03"], "M8[D]"),
        jnp.ones(2, jnp.float8_e5m2),
        np.ones(2, jnp.int4),
    ],
    ids=str,
)
def test_a_plain_value_comes_back_as_it_was(value, tmp_path):
    back = roundtrip(tmp_path, [value])[0]
    assert type(back) is type(value)
    if hasattr(value, "dtype"):
        assert back.dtype == value.dtype
        assert back.shape == value.shape
        np.testing.assert_array_equal(np.asarray(back), np.asarray(value))
    else:
        assert back == value


def test_text_of_numpy_is_text(tmp_path):
    back = roundtrip(tmp_path, {"a": np.str_("word")})["a"]
    assert (type(back), back) == (str, "word")


def test_names_of_older_files_are_read(tmp_path):
    write(tmp_path / "old", {"names": [["a", "b"]]})
    names = lf.load(tmp_path / "old")
    assert (names.dtype, names.tolist()) == (object, [["a", "b"]])
    write(tmp_path / "old", {"array": "t0", "kind": "numpy", "dtype": "complex128", "shape": [1]})
    np.testing.assert_array_equal(lf.load(tmp_path / "old"), [0j])


def test_nan_and_keys_of_jax_come_back(tmp_path):
    back = roundtrip(tmp_path, (float("nan"), jax.random.key(5)))
    assert np.isnan(back[0])
    assert jax.random.normal(back[1]) == jax.random.normal(jax.random.key(5))


def test_a_shared_array_is_written_once(tmp_path):
    shared = jnp.arange(1000.0)
    lf.save(tmp_path / "shared", [shared, shared, (shared,)])
    assert len(lf.describe_file(tmp_path / "shared")["arrays"]) == 1
    assert_same([shared, shared, (shared,)], lf.load(tmp_path / "shared"))


def test_double_precision_survives_a_process_with_the_flag_off(tmp_path):
    code = (
        "import landform as lf, sys; m = lf.LocalVariance([[0.1, 0.2], [0.3, 0.7]]); "
        "lf.save(sys.argv[1], m); b = lf.load(sys.argv[1]); import jax; "
        "print(b.data.dtype, b.sigma.dtype, (b.data == m.data).all(), jax.config.jax_enable_x64)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["float64", "float64", "True", "False"]


def test_a_description_does_not_need_the_class(tmp_path, vae):
    lf.save(tmp_path / "v", vae, metadata={"data": "toy", "n": 40})
    facts = lf.describe_file(tmp_path / "v")
    assert facts["class"] == "VAE"
    assert facts["metadata"] == {"data": "toy", "n": 40}
    assert facts["landform"] == lf.__version__
    assert ("F64", (54, 2)) not in facts["arrays"].values()
    assert ("F64", vae.codes.shape) in facts["arrays"].values()


def test_a_function_is_refused_with_its_place(tmp_path):
    for obj, place in [
        (lf.Pullback(lambda z: z), "obj.f"),
        ({"a": [lf.from_callable(lambda z: 2 * z, [[1.0, 2.0]])]}, r"obj\['a'\]\[0\]"),
        ([np.sin], r"obj\[0\]"),
    ]:
        with pytest.raises(TypeError, match=place + ".* is .*callable that no file can hold"):
            lf.save(tmp_path / "f", obj)
    assert not (tmp_path / "f").exists()


def test_other_foreign_things_are_refused(tmp_path):
    for obj, message in [
        (np.array([object()]), "Python objects"),
        ({"a": np.array([b"ab"])}, r"obj\['a'\] is an array of \|S2.*give text as"),
        (np.zeros(2, [("x", float)]), "which cannot be saved: give text"),
        (np.void(b"abc"), "which cannot be saved: give text"),
        (np.ma.masked_equal([1.0, 2.0], 2.0), "a masked array: save its data and its mask"),
        ({1.5: 2}, "strings and integers"),
        ({1, 2}, "builtins.set"),
    ]:
        with pytest.raises(TypeError, match=message):
            lf.save(tmp_path / "f", obj)
    with pytest.raises(TypeError, match="metadata"):
        lf.save(tmp_path / "f", 1, metadata={"x": np.zeros(2)})
    with pytest.raises(TypeError, match="traced"):
        jax.jit(lambda x: lf.save(tmp_path / "f", x))(1.0)


class Ring(eqx.Module):
    radius: jax.Array
    name: str = eqx.field(static=True, default="ring")


class Pair(NamedTuple):
    first: jax.Array
    second: int


def test_a_class_of_ones_own_must_be_made_known(tmp_path, monkeypatch):
    monkeypatch.setattr(io, "_registered", {})
    ring = Ring(jnp.asarray(2.0), "big")
    with pytest.raises(TypeError, match=r"Ring, which cannot be saved; lf\.register_class"):
        lf.save(tmp_path / "r", ring)
    lf.register_class(Ring)
    lf.register_class(Pair)
    assert_same(ring, roundtrip(tmp_path, ring))
    assert roundtrip(tmp_path, Pair(jnp.ones(()), 3)) == Pair(1.0, 3)
    lf.save(tmp_path / "r", ring)
    monkeypatch.setattr(io, "_registered", {})
    with pytest.raises(ValueError, match="needs the class 'Ring'"):
        lf.load(tmp_path / "r")


def test_a_registered_name_must_be_free():
    with pytest.raises(TypeError, match="cls"):
        lf.register_class(int)
    other = type("VAE", (eqx.Module,), {})
    with pytest.raises(ValueError, match="a name of its own"):
        lf.register_class(other)


def write(path, tree, **header):
    text = json.dumps({"format": 1, "tree": tree, **header})
    save_file({"t0": np.zeros(2)}, path, metadata={"landform": text})


def test_a_file_makes_only_known_classes(tmp_path):
    for name in ["os.system", "subprocess.Popen", "Module", "TestCase", "landform.io"]:
        write(tmp_path / "bad", {"class": name, "fields": {}})
        with pytest.raises(ValueError, match="which this version of landform does not have"):
            lf.load(tmp_path / "bad")


def test_a_file_reaches_only_public_methods(tmp_path):
    rbf = {"class": "Euclidean", "fields": {"_dim": 2}}
    for method in ["__init__", "_exp", "dim", "nothing"]:
        write(tmp_path / "bad", {"method": method, "self": rbf})
        with pytest.raises(ValueError, match="has no method"):
            lf.load(tmp_path / "bad")


def test_a_history_without_its_newer_fields_has_their_defaults(tmp_path):
    arrays = ("elbo", "held_out_elbo", "variance_elbo", "variance_held_out_elbo")
    fields = {name: {"array": "t0", "kind": "jax"} for name in arrays} | {"stopped_early": False}
    write(tmp_path / "old", {"class": "History", "fields": fields})
    history = lf.load(tmp_path / "old")
    assert (history.likelihood, history.held_out) == ("gaussian", None)
    assert history.best_held_out_elbo == 0.0
    assert len(jax.tree.leaves(jax.jit(lambda one: one)(history))) == 4


def test_no_file_at_all_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        lf.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="folder"):
        lf.save(tmp_path / "none" / "x", 1)
    with pytest.raises(ValueError, match="is a folder"):
        lf.save(tmp_path, 1)


def test_a_foreign_or_damaged_file_is_one_clear_value_error(tmp_path):
    good = tmp_path / "good"
    lf.save(good, OBJECTS["LocalVariance"])
    content = good.read_bytes()
    bad = tmp_path / "bad"
    for broken in [
        b"",
        b"hello",
        b"\x80\x04K\x01.",
        content[: len(content) // 2],
        content[:-8],
        content[9:],
        content.replace(b"fields", b"f\xff\xfelds"),
        b"\xff" * 200,
    ]:
        bad.write_bytes(broken)
        with pytest.raises(ValueError, match="bad is not a landform file, or is damaged"):
            lf.load(bad)
    with pytest.raises(ValueError, match="is not a file"):
        lf.load(tmp_path)
    save_file({"a": np.zeros(2)}, bad)
    with pytest.raises(ValueError, match="landform did not write it"):
        lf.load(bad)
    for tree in [
        {"class": "LocalVariance", "fields": {}},
        {"array": "t9", "kind": "jax"},
        {"x": 1},
        [1],
        {"class": "LocalVariance"},
        {"array": "t0"},
        {"list": 3},
        {},
    ]:
        write(bad, tree)
        with pytest.raises(ValueError, match="bad is damaged"):
            lf.load(bad)
    write(bad, {"class": "Euclidean", "fields": {"_dim": 2, "colour": 1}})
    with pytest.raises(ValueError, match="unknown fields: colour"):
        lf.load(bad)


def test_a_file_of_a_newer_format_asks_for_an_upgrade(tmp_path):
    write(tmp_path / "new", None, format=99, landform="9.0")
    with pytest.raises(ValueError, match=r"landform 9\.0 in format 99.*upgrade"):
        lf.load(tmp_path / "new")


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "kept"
    lf.save(path, 1)
    with pytest.raises(TypeError):
        lf.save(path, [lambda: 0])
    assert lf.load(path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


def test_what_is_saved_over_stays_what_it_was(tmp_path):
    lf.save(tmp_path / "file", 1)
    (tmp_path / "file").chmod(0o600)
    (tmp_path / "link").symlink_to("file")
    lf.save(tmp_path / "link", 2)
    assert (tmp_path / "link").is_symlink()
    assert lf.load(tmp_path / "file") == 2
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    os.mkfifo(tmp_path / "pipe")
    content = []
    reader = threading.Thread(
        target=lambda: content.append((tmp_path / "pipe").read_bytes()), daemon=True
    )
    reader.start()
    lf.save(tmp_path / "pipe", 2)
    reader.join(timeout=10)
    assert content == [(tmp_path / "file").read_bytes()]
    assert (tmp_path / "pipe").is_fifo()


def test_a_file_may_have_the_longest_name(tmp_path):
    path = tmp_path / ("ä" * 120 + ".landform")
    lf.save(path, 3)
    assert lf.load(path) == 3


def test_no_two_classes_of_landform_share_a_name():
    seen = {}
    queue = [eqx.Module, tuple]
    while queue:
        for cls in queue.pop().__subclasses__():
            queue.append(cls)
            home = sys.modules.get(cls.__module__)
            if cls.__module__.startswith("landform.") and hasattr(home, cls.__name__):
                assert seen.setdefault(cls.__name__, cls) is cls
    assert "LocalVariance" in seen
