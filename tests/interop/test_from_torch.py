"""Decoders brought in from torch: agreement, derivatives, modes, dtypes, refusals and warnings."""

import json
import os
import subprocess
import sys
import textwrap
import warnings

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
from landform.interop import KinkWarning, TorchDecoder  # noqa: E402
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
        "linear.default", "layer_norm.default", "gelu.default", "linear.default",
    ]  # fmt: skip
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


def test_training_mode_is_converted_as_evaluation_and_restored():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(2, 4), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 3)
    ).train()
    with pytest.warns(UserWarning, match="training mode"):
        decoder = lf.from_torch(module, torch.zeros(2, 2))
    assert all(m.training for m in module.modules())
    z = torch.randn(1, 2)
    np.testing.assert_allclose(decoder(z[0].numpy()), module.eval()(z)[0].detach(), atol=1e-6)


def test_training_mode_without_consequence_is_silent():
    lf.from_torch(nn.Sequential(nn.Linear(2, 3), nn.Tanh()).train(), torch.zeros(1, 2))


def test_global_switches_of_torch_are_left_alone(smooth):
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.distributions.Distribution._validate_args


def test_frozen_weights_and_no_grad_use_the_open_attention():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(2, 8),
        nn.Unflatten(1, (2, 4)),
        nn.TransformerEncoderLayer(4, 2, 8, activation="gelu", batch_first=True),
    ).eval()
    module.requires_grad_(False)
    with torch.no_grad():
        check(module.double(), rough((2, 2)))


def test_no_grad_inside_the_module_keeps_the_derivative_and_says_so():
    class Quiet(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 3)

        @torch.no_grad()
        def forward(self, z):
            return torch.tanh(self.net(z))

    module = Quiet().double()
    with pytest.warns(UserWarning, match="stops gradients"):
        decoder = lf.from_torch(module, rough((2, 2)))
    weight = module.net.weight.detach().numpy()
    jacobian = jax.jacfwd(decoder)(jnp.zeros(2))
    slope = 1 - np.tanh(module.net.bias.detach().numpy()) ** 2
    np.testing.assert_allclose(jacobian, slope[:, None] * weight, atol=1e-13)


def test_kinks_are_named_in_one_warning():
    module = nn.Sequential(
        nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4), nn.Hardtanh()
    )
    with pytest.warns(KinkWarning, match=r"hardtanh, relu.*energy.*graph") as record:
        decoder = lf.from_torch(module, torch.zeros(1, 2))
    assert len(record) == 1
    assert decoder.kinks == ("hardtanh", "relu")


def test_guards_and_operations_on_weights_are_no_kinks():
    class Guarded(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 2))

        def forward(self, z):
            x = nn.functional.linear(nn.functional.normalize(z + 2.0), torch.relu(self.weight))
            return torch.log(x.square().clamp(min=1e-8) + 1.0)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lf.from_torch(Guarded(), torch.ones(1, 2)).kinks == ()


class Sampling(nn.Module):
    def forward(self, z):
        return z + torch.randn_like(z) * torch.bernoulli(torch.sigmoid(z))


class Exotic(nn.Module):
    def forward(self, z):
        return torch.linalg.eigh(z[:, :, None] * z[:, None])[0] + torch.linalg.svdvals(
            z[:, :, None] + 1
        )


class Branching(nn.Module):
    def forward(self, z):
        return z if z.sum() > 0 else -z


class Mixing(nn.Module):
    def forward(self, z):
        return z - z.mean(0)


class Texts(nn.Module):
    def forward(self, z):
        return "no tensor"


class Integers(nn.Module):
    def forward(self, z):
        return z.argmax(1)


def test_random_operations_are_refused_by_name_all_at_once():
    with pytest.raises(NotImplementedError, match="2 operation") as caught:
        lf.from_torch(Sampling(), torch.zeros(1, 2))
    assert "randn_like" in str(caught.value)
    assert str(caught.value).count("random numbers") == 2


def test_unknown_operations_are_refused_all_at_once_with_a_way_out():
    with pytest.raises(NotImplementedError) as caught:
        lf.from_torch(Exotic(), torch.rand(1, 2))
    message = str(caught.value)
    assert "eigh" in message
    assert "svd" in message
    assert "from_callable" in message


def test_branching_on_values_is_refused():
    with pytest.raises(NotImplementedError, match="depends on the values"):
        lf.from_torch(Branching(), torch.rand(1, 2))


def test_mixing_the_points_of_a_batch_is_refused():
    with pytest.raises(ValueError, match="mixes the points"):
        lf.from_torch(Mixing(), torch.rand(3, 2))


@pytest.mark.parametrize(
    ("module", "example", "error", "message"),
    [
        (lambda z: z, torch.zeros(1, 2), TypeError, "torch.nn.Module"),
        (Texts(), torch.zeros(1, 2), TypeError, "returns a str"),
        (Integers(), torch.zeros(1, 2), TypeError, "real floats"),
        (nn.Linear(3, 2), torch.zeros(1, 2), ValueError, "does not accept"),
        (nn.Linear(2, 2), torch.zeros(2), ValueError, "must be a batch"),
        (nn.Linear(2, 2), torch.zeros(0, 2), ValueError, "must be a batch"),
        (nn.Linear(2, 2), torch.full((1, 2), torch.nan), ValueError, "NaN"),
        (nn.Linear(2, 2), "points", TypeError, "array of numbers"),
        (nn.Linear(2, 2).half(), torch.zeros(1, 2), ValueError, "module.float"),
        (nn.Linear(2, 2).bfloat16(), torch.zeros(1, 2), ValueError, "module.float"),
        (nn.Linear(2, 2, device="meta"), torch.zeros(1, 2), ValueError, "meta"),
        (nn.LazyLinear(2), torch.zeros(1, 2), ValueError, "lazy"),
    ],
)
def test_bad_arguments_are_refused_with_what_to_do(module, example, error, message):
    with pytest.raises(error, match=message):
        lf.from_torch(module, example)


def test_script_modules_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.script(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="TorchScript"):
        lf.from_torch(module, torch.zeros(1, 2))


def test_several_points_at_once_are_refused(smooth):
    decoder, _ = smooth
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        decoder(np.zeros((3, 2)))


def test_numpy_examples_of_another_dtype_are_cast():
    decoder = lf.from_torch(nn.Linear(2, 3), np.zeros((4, 2)))
    assert decoder.parameters["weight"].dtype == jnp.float32


def test_tied_weights_are_one_leaf():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
            self.b.weight = self.a.weight

        def forward(self, z):
            return self.b(torch.tanh(self.a(z)))

    decoder = lf.from_torch(Tied(), torch.zeros(1, 2))
    assert len(decoder.parameters) == 3


def test_the_check_catches_a_wrong_derivative():
    class Straight(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.sin(x)

        @staticmethod
        def backward(ctx, g):
            return g

    class Module(nn.Module):
        def forward(self, z):
            return Straight.apply(z)

    with pytest.warns(UserWarning, match="custom backward"):
        decoder = lf.from_torch(Module(), rough((2, 2)))
    np.testing.assert_allclose(
        jax.jacfwd(decoder)(jnp.array([1.0, 2.0])), np.diag(np.cos([1.0, 2.0])), atol=1e-12
    )
