"""Values read from constants, constant and moving masks, scripted functions, rounding."""

import io
import warnings
from contextlib import redirect_stderr, redirect_stdout

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from torch.distributions import (  # noqa: E402
    Categorical,
    MixtureSameFamily,
    Normal,
    SigmoidTransform,
    TransformedDistribution,
)

import landform as lf  # noqa: E402
from torch_oracle import check, convert, rough  # noqa: E402

pytestmark = pytest.mark.torch


class Apply(nn.Module):
    """A module with a linear layer `net` and given buffers, whose forward is a function."""

    def __init__(self, function, dim=2, out=6, **buffers):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.function = nn.Linear(dim, out), function
        for name, value in buffers.items():
            self.register_buffer(name, value)
        self.double().eval()

    def forward(self, z):
        return self.function(self, z)


def test_code_may_read_constants():
    def decode(self, z):
        if self.initialised.item() == 0:
            raise RuntimeError("not initialised")
        x = z
        for _ in range(int(self.steps)):
            x = torch.tanh(x) * float(self.steps)
        mask = torch.full((3, 3), -torch.inf).triu(1).to(z)
        causal = bool((mask == torch.full((3, 3), -torch.inf).triu(1)).all())
        return self.net(x) * torch.as_tensor(self.weight.numpy()) * (2.0 if causal else 1.0)

    buffers = {
        "initialised": torch.tensor(1, dtype=torch.uint8),
        "steps": torch.tensor(3),
        "weight": torch.arange(6.0),
    }
    check(Apply(decode, **buffers), rough((3, 2)))


def test_weights_behind_an_operation_of_torch_alone_are_constants():
    """`embedding_bag` returns four tensors and has no JAX form; its indices are constant."""
    module = Apply(lambda self, z: self.net(z).tanh() + self.bag(torch.tensor([[0, 2]])))
    module.bag = nn.EmbeddingBag(5, 6, mode="mean").double()
    check(module, rough((2, 2)))


def test_transformer_decoder_with_a_mask():
    torch.manual_seed(0)
    layer = nn.TransformerDecoderLayer(8, 2, 16, activation="gelu", batch_first=True)

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.memory = nn.TransformerDecoder(layer, 1), nn.Linear(2, 24)
            self.queries = nn.Parameter(torch.randn(5, 8))

        def forward(self, z):
            queries = self.queries.expand(len(z), -1, -1)
            mask = nn.Transformer.generate_square_subsequent_mask(5).to(z)
            return self.body(queries, self.memory(z).view(-1, 3, 8), tgt_mask=mask)

    check(Decoder().double().eval(), rough((2, 2)))


def test_checks_for_finite_numbers_are_no_branches():
    def decode(self, z):
        assert z.abs().max() < 100.0
        if torch.isnan(z).any() or not torch.isfinite(self.net(z)).all():
            raise ValueError("not finite")
        return self.net(z)

    check(Apply(decode), rough((2, 2)))


@pytest.mark.parametrize(
    "function",
    [
        lambda self, z: self.net(z) if z.sum() > 0 else -self.net(z),
        lambda self, z: self.net(z) * float(z.detach().norm()),
        lambda self, z: self.net(z) * torch.zeros_like(z)[0].copy_(z[0]).sum().item(),
    ],
    ids=["branch", "number", "in place"],
)
def test_code_that_reads_the_point_is_refused_with_its_place(function):
    out = io.StringIO()
    with (
        redirect_stdout(out),
        redirect_stderr(out),
        pytest.raises(NotImplementedError, match=r"constants\.py:\d+: `|reads a number"),
    ):
        lf.from_torch(Apply(function), rough((1, 2)))
    assert not out.getvalue()


def test_random_numbers_read_by_code_are_no_constants():
    module = Apply(lambda self, z: self.net(z) * torch.rand(1).item())
    with pytest.raises(NotImplementedError, match="random numbers"):
        lf.from_torch(module, rough((1, 2)))


def test_rounding_on_the_way_is_left_out_and_said():
    module = Apply(lambda self, z: F.softmax(self.net(z).float(), -1).double())
    with pytest.warns(UserWarning, match="rounds to float32"):
        decoder = lf.from_torch(module, rough((2, 2)))
    z = rough((1, 2), seed=1)
    exact = F.softmax(module.net(z), -1)[0].detach().numpy()
    np.testing.assert_allclose(decoder(jnp.asarray(z[0])), exact, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inside_is_refused(dtype):
    module = Apply(lambda self, z: torch.tanh(self.net(z).to(dtype)).to(z)).float()
    with pytest.raises(NotImplementedError, match="too coarse"):
        lf.from_torch(module, torch.zeros(1, 2))


def test_masks_that_move_fill_and_are_otherwise_refused():
    def fill(self, z):
        x = self.net(z)
        x[x < 0] = 0.25
        return x

    def select(self, z):
        x = self.net(z)
        x[x > 0] = x[x > 0].sin()
        return x

    check(Apply(fill), rough((2, 2)))
    with pytest.raises(NotImplementedError, match=r"torch\.where"):
        convert(Apply(select), rough((1, 2)))


def test_quantised_modules_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="quantised"):
        lf.from_torch(module, torch.zeros(1, 2))


def test_mixtures_give_all_their_parameters():
    def mixture(self, z):
        logits, loc, log_scale = self.net(z).chunk(3, -1)
        return MixtureSameFamily(Categorical(logits=logits), Normal(loc, log_scale.exp()))

    module = Apply(mixture)
    decoder = lf.from_torch(module, rough((2, 2)))
    assert decoder.output_names == ("mixture.probs", "component.mean", "component.stddev")
    z = rough((1, 2), seed=2)
    np.testing.assert_allclose(
        decoder(jnp.asarray(z[0]))[0], module(z).mixture_distribution.probs[0].detach(), atol=1e-14
    )


def test_transformed_distributions_are_refused_with_what_to_do():
    def law(self, z):
        return TransformedDistribution(Normal(self.net(z), 1.0), [SigmoidTransform()])

    with pytest.raises(TypeError, match="transform applied to a tensor"):
        lf.from_torch(Apply(law), rough((1, 2)))


def test_numbers_beside_tensors_are_left_out():
    module = Apply(lambda self, z: {"x": self.net(z), "loss": 0.0, "mode": "eval", "aux": None})
    assert lf.from_torch(module, rough((1, 2))).output_names == ("x",)


def test_sampling_an_image_at_fixed_places_is_smooth_and_at_moving_ones_is_not():
    def sample(self, z, grid):
        return F.grid_sample(self.net(z).view(-1, 1, 2, 3), grid, align_corners=True)

    fixed = torch.tensor([[[[0.2, -0.7], [0.9, 0.1]]]], dtype=torch.float64)
    still = Apply(lambda self, z: sample(self, z, fixed.expand(len(z), -1, -1, -1)))
    moving = Apply(lambda self, z: sample(self, z, torch.tanh(z)[:, None, None]))
    assert check(still, rough((2, 2))).kinks == ()
    assert check(moving, rough((2, 2))).kinks == ("grid_sampler",)


def test_inference_mode_keeps_the_derivative_and_says_so():
    @torch.inference_mode()
    def decode(self, z):
        return torch.tanh(self.net(z))

    module = Apply(decode)
    with pytest.warns(UserWarning, match="stops gradients"):
        decoder = lf.from_torch(module, rough((2, 2)))
    bias, weight = (p.detach().numpy() for p in (module.net.bias, module.net.weight))
    jacobian = jax.jacfwd(decoder)(np.zeros(2))
    np.testing.assert_allclose(jacobian, (1 - np.tanh(bias) ** 2)[:, None] * weight, atol=1e-13)


def test_constant_masks_select_as_many_entries_as_they_have():
    mask = torch.tensor([True, False, True])
    rows = torch.tensor([[True, False, True], [False, True, False]])

    def masked(self, z):
        return z[:, self.mask], z[..., ~self.mask]

    def assigned(self, z):
        a, b = masked(self, z)
        out = a.new_empty(z.shape)
        out[..., self.mask], out[..., ~self.mask] = a.sin(), b.cos()
        return out

    def sized(self, z):
        a, b = masked(self, z)
        assert a.shape[-1] == 2
        return torch.cat([a.reshape(-1, 2) + torch.ones_like(a), b.expand(-1, 3)], -1)

    def positions(self, z):
        (where,) = self.mask.nonzero(as_tuple=True)
        (other,) = torch.where(~self.mask)
        return z[..., where] * z[..., other], z[:, self.mask.nonzero().squeeze(-1)]

    def scattered(self, z):
        a, b = masked(self, z)
        out = torch.zeros_like(z).masked_scatter(self.mask, a)
        return out + torch.zeros_like(z).masked_scatter_(~self.mask, b)

    def selected(self, z):
        return torch.masked_select(z[0], self.mask)[None], z[0].masked_select(~self.mask)[None]

    def two_axes(self, z):
        x = z[:, None] * torch.arange(1.0, 3.0).to(z)[:, None]
        y = x.clone()
        y[:, self.rows] = x[:, self.rows].square()
        return x[:, self.rows], y, torch.index_put(x, (torch.tensor([0]), self.rows[0][:2]), z[:1])

    def repeated(self, z):
        return z.repeat_interleave(self.mask.long() + 1, dim=1)

    def listed(self, z):
        return z[:, [True, False, True]], torch.ones_like(z[:, self.mask.numpy()]).cumsum(1)

    def split(self, z):
        return torch.split(z, (self.mask.long() + 1).tolist()[1:], -1)[::-1]

    def kept_in_a_list(self, z):
        return z[:, self.masks[0]] + torch.zeros_like(z[:, self.masks[0]])

    for function in (
        masked,
        assigned,
        sized,
        positions,
        scattered,
        selected,
        repeated,
        split,
        listed,
    ):
        check(Apply(function, 3, mask=mask), rough((1, 3)))
    check(Apply(two_axes, 3, rows=rows), rough((1, 3)))
    module = Apply(kept_in_a_list, 3)
    module.masks = [mask]
    check(module, rough((2, 3)))


def test_a_mask_in_a_coupling_layer_has_the_sizes_that_networks_need():
    def couple(self, z):
        a, b = z[..., self.mask], z[..., ~self.mask]
        shift, scale = self.net(a).view(len(z), -1, 2).mean(1).chunk(2, -1)
        out = torch.empty_like(z)
        out[..., self.mask], out[..., ~self.mask] = a, b * scale.exp() + shift
        return out

    check(Apply(couple, 1, mask=torch.tensor([True, False])), rough((3, 2)))


@pytest.mark.parametrize(
    "function",
    [
        lambda self, z: torch.masked_select(self.net(z), z.sum() > 0),
        lambda self, z: torch.ones_like(z[:, (z > 0)[0]]),
        lambda self, z: z[:, (z > 0)[0].nonzero().squeeze(-1)],
    ],
    ids=["masked_select", "sizes", "nonzero"],
)
def test_selections_whose_size_moves_are_refused_in_words(function):
    with pytest.raises(NotImplementedError, match=r"depends on values|reads a value|a mask that"):
        convert(Apply(function), torch.ones(1, 2, dtype=torch.float64))


def curved(x: torch.Tensor, k: torch.Tensor):
    if bool((k < 0).all()):
        return torch.tanh(x * (-k).sqrt()) / (-k).sqrt()
    return x


def sign(x: torch.Tensor):
    if bool((x.sum() > 0).all()):
        return x
    return -x


@pytest.fixture
def script():
    """`torch.jit.script` without its deprecation warning."""

    def scripted(function):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.script(function)

    return scripted


def test_a_scripted_function_converts_as_its_python_code_does(script):
    scripted = script(curved)
    check(Apply(lambda self, z: scripted(self.net(z), self.k), k=-torch.ones(1)), rough((2, 2)))


def test_scripted_parts_that_cannot_be_traced_are_named(script):
    scripted = script(sign)
    module = Apply(lambda self, z: scripted(self.net(z)))
    with pytest.raises(NotImplementedError, match=r"torch\.jit\.script: sign\(\)\..*PYTORCH_JIT=0"):
        lf.from_torch(module, rough((1, 2)))
    module = Apply(lambda self, z: self.part(z))
    module.part = script(nn.Sequential(nn.Linear(2, 2), nn.Tanh()).double())
    with pytest.raises(NotImplementedError, match=r"torch\.jit\.script: 'part'.*PYTORCH_JIT=0"):
        lf.from_torch(module, rough((1, 2)))
