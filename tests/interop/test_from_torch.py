"""Decoders from torch: agreement, derivatives, dtypes and structure."""

import json
import os
import subprocess
import sys
import textwrap

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import landform as lf  # noqa: E402
import torch_zoo as zoo  # noqa: E402
from landform.interop import TorchDecoder  # noqa: E402
from torch_oracle import as_tuple, check, convert, rough, second_difference  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def smooth():
    """A small decoder of two latent coordinates in double precision, and its torch original."""
    torch.manual_seed(0)
    module = (
        nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 5)).double().eval()
    )
    return lf.from_torch(module, rough((3, 2))), module


@pytest.mark.parametrize("name", zoo.ARCHITECTURES)
def test_double_precision_agrees_to_the_last_digits(name):
    module, points = zoo.build(name, torch.float64)
    check(_plain(module, name), points, value=1e-12, jacobian=1e-12)


@pytest.mark.parametrize("name", zoo.ARCHITECTURES)
def test_single_precision_agrees_to_five_digits(name):
    module, points = zoo.build(name, torch.float32)
    check(_plain(module, name), points, value=1e-5, jacobian=1e-5)


def _plain(module, name):
    """Distributions are compared through their parameters."""
    return _Parameters(module) if name == "distributions" else module


class _Parameters(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, z):
        normal, bernoulli = self.module(z)
        return {
            "mean": normal.base_dist.loc,
            "std": normal.base_dist.scale,
            "probs": bernoulli.probs,
        }


@jax.jit
def _second(decoder, z, v, w, weights):
    """``d²/ds dt`` of the weighted heads along v and w, in forward and in mixed mode."""

    def total(x):
        return jnp.concatenate(as_tuple(decoder(x))) @ weights

    def slope(x):
        return jax.jvp(total, (x,), (w,))[1]

    forward = jax.jvp(slope, (z,), (v,))[1]
    reverse = jax.jvp(jax.grad(total), (z,), (v,))[1] @ w
    return forward, reverse


@pytest.mark.parametrize("name", [n for n in zoo.SMOOTH if n != "distributions"])
def test_second_derivatives_agree_with_differences_of_gradients(name):
    module, points = zoo.build(name)
    decoder = convert(module, points, check=False)
    point = points[0].reshape(-1)
    size = sum(h.size for h in as_tuple(jax.eval_shape(decoder, jnp.asarray(point.numpy()))))
    rng = np.random.default_rng(1)
    v, w = rng.standard_normal((2, len(point)))
    weights = rng.standard_normal(size) / np.sqrt(size)
    forward, reverse = _second(decoder, jnp.asarray(point.numpy()), v, w, weights)

    class Reshaped(nn.Module):
        def forward(self, z):
            return module(z.reshape(1, *points.shape[1:]))

    expected = second_difference(
        Reshaped(), point, torch.from_numpy(v), torch.from_numpy(w), torch.from_numpy(weights)
    )
    assert forward == pytest.approx(expected, rel=1e-6, abs=1e-7)
    assert reverse == pytest.approx(float(forward), rel=1e-10, abs=1e-12)


LAYERS = st.sampled_from(["linear", "conv", "transposed", "norm", "pool", "resize", "activation"])
ACTIVATIONS = [nn.Tanh, nn.GELU, nn.SiLU, nn.Softplus, nn.Mish, nn.Sigmoid]


@st.composite
def decoders(draw):
    """A random stack of image layers on a random number of latent coordinates."""
    dim, channels, size = (
        draw(st.integers(1, 4)),
        2 * draw(st.integers(1, 3)),
        draw(st.integers(2, 5)),
    )
    layers: list = [nn.Linear(dim, channels * size**2), nn.Unflatten(1, (channels, size, size))]
    for kind in draw(st.lists(LAYERS, min_size=1, max_size=4)):
        if kind == "linear":
            layers.append(nn.Linear(size, size))
        elif kind == "conv":
            groups, dilation = draw(st.sampled_from([1, 2])), draw(st.integers(1, 2))
            kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
            pad = dilation * (kernel - 1)
            layers.append(nn.Conv2d(channels, channels, kernel, stride, pad, dilation, groups))
            size = (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
        elif kind == "transposed":
            stride, kernel = draw(st.integers(1, 3)), draw(st.integers(1, 4))
            pad, extra = draw(st.integers(0, (kernel - 1) // 2)), draw(st.integers(0, stride - 1))
            groups = draw(st.sampled_from([1, 2]))
            layers.append(
                nn.ConvTranspose2d(channels, channels, kernel, stride, pad, extra, groups)
            )
            size = (size - 1) * stride - 2 * pad + kernel + extra
        elif kind == "norm":
            norms = [
                nn.BatchNorm2d(channels),
                nn.GroupNorm(2, channels),
                nn.LayerNorm([channels, size, size]),
            ]
            layers.append(draw(st.sampled_from(norms)))
        elif kind == "pool" and size > 1:
            layers.append(
                nn.AvgPool2d(2, 1, draw(st.integers(0, 1)), count_include_pad=draw(st.booleans()))
            )
            size += 2 * layers[-1].padding - 1
        elif kind == "resize" and size < 6:
            mode = draw(st.sampled_from(["nearest", "bilinear", "bicubic"]))
            corners = None if mode == "nearest" else draw(st.booleans())
            size = draw(st.integers(2, 8))
            layers.append(nn.Upsample(size=(size, size), mode=mode, align_corners=corners))
        else:
            layers.append(draw(st.sampled_from(ACTIVATIONS))())
    return nn.Sequential(*layers, nn.Flatten()).double().eval(), dim


@settings(max_examples=12)
@given(decoders(), st.integers(0, 2**16))
def test_any_stack_of_layers_agrees(decoder, seed):
    module, dim = decoder
    check(module, rough((2, dim), seed=seed), value=1e-12, jacobian=1e-12)


def test_a_module_that_goes_on_training_leaves_the_decoder_as_it_was():
    layer = nn.Linear(2, 2000).double()
    decoder = lf.from_torch(layer, np.zeros((1, 2)))
    before = np.array(decoder(np.ones(2)))
    with torch.no_grad():
        layer.weight.add_(1.0)
    np.testing.assert_array_equal(decoder(np.ones(2)), before)


def test_float64_weights_survive_when_the_64_bit_flag_is_off():
    code = """
    import numpy as np, torch, jax, landform as lf
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh()).double()
    z = np.array([0.3, -0.7])
    decoder = lf.from_torch(net, z[None])
    assert not jax.config.jax_enable_x64
    assert {str(p.dtype) for p in decoder.parameters.values()} == {"float64"}
    out = decoder(z)
    assert out.dtype == np.float64
    assert np.abs(np.asarray(out) - net(torch.tensor(z)).detach().numpy()).max() < 1e-15
    """
    _run(code, JAX_ENABLE_X64="0")


def _run(code, **environment):
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert process.returncode == 0, process.stderr


def test_importing_landform_does_not_import_torch():
    _run("import sys, landform, landform.interop; assert 'torch' not in sys.modules")


def test_a_decoder_runs_in_a_process_without_torch(smooth, tmp_path):
    decoder, module = smooth
    arrays = {
        f"{kind}/{k}": np.asarray(v)
        for kind in ("parameters", "buffers")
        for k, v in getattr(decoder, kind).items()
    }
    np.savez(tmp_path / "weights.npz", **arrays)
    (tmp_path / "program.json").write_text(decoder.program)
    expected = module(torch.tensor([[0.1, 0.2]], dtype=torch.float64))[0].tolist()
    code = f"""
    import sys

    class Absent:
        def find_spec(self, name, *_):
            if name.split(".")[0] == "torch":
                raise ModuleNotFoundError("No module named 'torch'", name="torch")

    sys.meta_path.insert(0, Absent())
    import numpy as np
    from landform.interop import TorchDecoder
    tables = {{"parameters": {{}}, "buffers": {{}}}}
    for name, value in np.load({str(tmp_path / "weights.npz")!r}).items():
        kind, key = name.split("/", 1)
        tables[kind][key] = value
    decoder = TorchDecoder(**tables, program=open({str(tmp_path / "program.json")!r}).read())
    out = np.asarray(decoder(np.array([0.1, 0.2])))
    assert np.abs(out - np.array({expected})).max() < 1e-14
    """
    _run(code)


def test_a_float32_decoder_at_float64_points_works_in_float64():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(2, 16), nn.Softplus(), nn.BatchNorm1d(16), nn.Linear(16, 4)
    ).eval()
    decoder = lf.from_torch(module, torch.zeros(1, 2))
    assert decoder.parameters["0.weight"].dtype == jnp.float32
    z = np.array([0.3, -0.2])
    out = decoder(z)
    assert out.dtype == jnp.float64
    expected = module.double()(torch.from_numpy(z)[None]).detach().numpy()[0]
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-12)


def test_weights_are_leaves_that_can_be_trained(smooth):
    decoder, _ = smooth
    assert len(jax.tree.leaves(decoder)) == len(decoder.parameters) == 6
    z = jnp.array([0.2, 0.1])
    gradient = eqx.filter_grad(lambda d: jnp.sum(d(z) ** 2))(decoder)
    np.testing.assert_allclose(gradient.parameters["3.bias"], 2 * decoder(z), atol=1e-12)


def test_batches_come_from_vmap(smooth):
    decoder, module = smooth
    z = rough((7, 2), seed=3)
    out = jax.jit(jax.vmap(decoder))(jnp.asarray(z.numpy()))
    np.testing.assert_allclose(out, module(z).detach().numpy(), atol=1e-13)


def test_new_weights_of_one_shape_do_not_compile_again(smooth):
    decoder, _ = smooth
    count = 0

    @jax.jit
    def run(d, z):
        nonlocal count
        count += 1
        return d(z)

    other = jax.tree.map(lambda x: x + 1.0, decoder)
    run(decoder, jnp.zeros(2))
    run(other, jnp.ones(2))
    assert count == 1


def test_the_program_is_json(smooth):
    decoder, _ = smooth
    program = json.loads(decoder.program)
    assert program["shape"] == [2]
    assert [node[0] for node in program["nodes"]] == [
        "linear.default",
        "layer_norm.default",
        "gelu.default",
        "linear.default",
    ]
    assert TorchDecoder(decoder.parameters, decoder.buffers, json.dumps(program)).latent_dim == 2


def test_a_program_with_unknown_operations_is_refused(smooth):
    decoder, _ = smooth
    text = decoder.program.replace("gelu.default", "sorcery.default")
    with pytest.raises(ValueError, match="sorcery"):
        TorchDecoder(decoder.parameters, decoder.buffers, text)


def test_a_decoder_method_of_a_vae_is_taken():
    torch.manual_seed(0)
    vae = zoo.ConvVAE().eval()
    decoder = lf.from_torch(vae.decode, torch.zeros(2, 2))
    assert decoder(np.zeros(2)).shape == (196,)
    assert all(not name.startswith("encoder") for name in decoder.parameters)


def test_distributions_give_their_parameters():
    module, points = zoo.build("distributions")
    decoder = lf.from_torch(module, points)
    assert decoder.output_names == ("0.mean", "0.stddev", "1.probs")
    normal, bernoulli = module(points[:1])
    mean, std, probs = decoder(points[0].numpy())
    np.testing.assert_allclose(mean, normal.base_dist.loc[0].detach(), atol=1e-13)
    np.testing.assert_allclose(std, normal.base_dist.scale[0].detach(), atol=1e-13)
    np.testing.assert_allclose(probs, bernoulli.probs[0].detach(), atol=1e-13)


def test_a_head_without_batch_axis_is_taken_as_it_is():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 3)
            self.log_std = nn.Parameter(torch.tensor([0.1, 0.2, 0.3]))

        def forward(self, z):
            return self.net(z), self.log_std.exp()

    decoder = lf.from_torch(Constant(), torch.zeros(4, 2))
    np.testing.assert_allclose(decoder(np.zeros(2))[1], np.exp([0.1, 0.2, 0.3]), rtol=1e-6)
    assert "log_std" in decoder.parameters


def test_latent_points_of_any_shape_are_flattened():
    decoder = convert(*zoo.build("dcgan"))
    assert decoder.latent_dim == 8


def test_fixed_arguments_are_stored():
    class Conditional(nn.Module):
        def __init__(self):
            super().__init__()
            self.labels, self.net = nn.Embedding(5, 3), nn.Linear(5, 4)

        def forward(self, z, label, scale=1.0):
            return scale * self.net(torch.cat([z, self.labels(label)], 1))

    module = Conditional()
    decoder = lf.from_torch(
        module, torch.zeros(3, 2), args=(torch.tensor([3]),), kwargs={"scale": 2.0}
    )
    expected = module(torch.ones(1, 2), torch.tensor([3]), 2.0)[0].detach()
    np.testing.assert_allclose(decoder(np.ones(2, "float32")), expected, rtol=1e-6)


def test_constant_masks_become_positions():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 6)
            self.register_buffer("keep", torch.tensor([True, False, True, True, False, True]))

        def forward(self, z):
            return self.net(z)[:, self.keep]

    assert jax.jit(lf.from_torch(Masked(), torch.zeros(1, 2)))(jnp.zeros(2)).shape == (4,)
