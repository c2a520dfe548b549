"""Conversion does not change the module, and a decoder of NaN is refused."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import landform as lf  # noqa: E402
from landform.interop._from_torch.conversion import _on_cpu  # noqa: E402
from landform.interop._from_torch.state import Snapshot  # noqa: E402
from torch_oracle import check, rough  # noqa: E402

pytestmark = pytest.mark.torch


class FromFirstBatch(nn.Module):
    """A layer that takes shift and scale from the first batch it sees, as ActNorm does."""

    def __init__(self, kind, store):
        super().__init__()
        self.kind, self.store, self.done = kind, store, False
        for name in ("shift", "scale"):
            if store == "parameter":
                setattr(self, name, nn.Parameter(torch.zeros(1, 2, dtype=torch.float64)))
            else:
                self.register_buffer(name, torch.zeros(1, 2, dtype=torch.float64))

    def forward(self, z):
        if not self.done:
            self.done = True
            shift = z.detach().mean(0, keepdim=True)
            scale = z.detach().std(0, keepdim=True) if self.kind == "deviation" else 1 + shift**2
            if self.store == "parameter":
                self.shift.data, self.scale.data = shift, scale
            elif self.store == "in place":
                self.shift.copy_(shift)
                self.scale.copy_(scale)
            else:
                self.shift, self.scale = shift, scale
        return (z - self.shift) / self.scale


def _state_of(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def _same(before, module):
    now = module.state_dict()
    return before.keys() == now.keys() and all(torch.equal(v, now[k]) for k, v in before.items())


@pytest.mark.parametrize("kind", ["deviation", "mean"])
@pytest.mark.parametrize("store", ["parameter", "in place", "assigned"])
def test_a_layer_set_by_its_first_batch_is_refused_and_stays_unset(kind, store):
    layer = FromFirstBatch(kind, store)
    module = nn.Sequential(layer, nn.Linear(2, 3).double())
    before = _state_of(module)
    with pytest.raises(ValueError, match="initialises itself from the first batch"):
        lf.from_torch(module, rough((4, 2)))
    assert _same(before, module)
    assert not layer.done
    module(rough((16, 2)))
    check(module, rough((3, 2)))


def test_a_hidden_state_that_is_carried_over_is_refused():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = torch.zeros(1, 2)

        def forward(self, z):
            self.hidden = torch.tanh(z + self.hidden.detach())
            return self.hidden

    module = Recurrent()
    hidden = module.hidden
    with pytest.raises(ValueError, match="depends on the points before"):
        lf.from_torch(module, torch.ones(2, 2))
    assert module.hidden is hidden


def test_attributes_containers_flags_and_random_numbers_are_left_as_they_were():
    seen = []

    class Busy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 3)
            self.net.bias.requires_grad_(False)
            self.net.weight.grad = torch.ones_like(self.net.weight)
            self.calls, self.log, self.cache, self.grid = 0, [], {"a": [1]}, None

        def forward(self, z):
            self.calls += 1
            self.log.append(self.calls)
            self.cache["a"].append(z)
            self.cache["calls"] = self.calls
            if self.grid is None:
                self.grid = torch.linspace(0.0, 1.0, 3)
            self.net.requires_grad_(True)
            self.new = (random.random(), np.random.normal(), torch.rand(1))  # noqa: NPY002
            return torch.tanh(self.net(z)) + self.grid

    module = Busy().train()
    module.register_forward_hook(lambda m, args, out: seen.append(out))
    attributes, grad = set(vars(module)), module.net.weight.grad
    numbers = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    decoder = lf.from_torch(module, torch.ones(2, 2))
    z = torch.tensor([0.3, -0.2])
    assert (module.calls, module.log, module.grid, seen) == (0, [], None, [])
    assert set(vars(module)) == attributes
    assert module.cache == {"a": [1]}
    assert module.training
    assert module.net.weight.requires_grad
    assert not module.net.bias.requires_grad
    assert module.net.weight.grad is grad
    assert random.getstate() == numbers[0]
    assert np.random.get_state()[1].tolist() == numbers[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), numbers[2])
    np.testing.assert_allclose(decoder(z.numpy()), module(z[None])[0].detach(), atol=1e-6)


def test_a_refused_module_is_left_as_it_was():
    class Draws(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls, self.sums = 0, [torch.zeros(2)]

        def forward(self, z):
            self.calls += 1
            self.sums[0] += z.detach()[0]
            return z + torch.randn_like(z)

    module, state = Draws(), torch.get_rng_state()
    with pytest.raises(NotImplementedError):
        lf.from_torch(module, torch.ones(1, 2))
    assert module.calls == 0
    assert not module.sums[0].any()
    assert torch.equal(torch.get_rng_state(), state)


def test_global_switches_are_restored():
    def decode(z):
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return torch.tanh(z)

    with pytest.warns(UserWarning, match="stops gradients"):
        lf.from_torch(Function(decode), torch.ones(2, 2))
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize(
    "wrap",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
    ],
)
def test_parametrised_weights_are_left_as_they_were(wrap):
    torch.manual_seed(0)
    layer = wrap(nn.Linear(2, 3).double()).eval()
    before, weight = _state_of(layer), layer.weight.clone()
    lf.from_torch(layer.train(), rough((2, 2)))
    assert layer.training
    assert _same(before, layer)
    torch.testing.assert_close(layer.eval().weight, weight, rtol=0.1, atol=0.1)
    check(layer, rough((2, 2)))


def test_a_graph_in_use_survives_a_restored_tensor():
    module = nn.Linear(2, 2)
    loss = module(torch.ones(1, 2, requires_grad=True)).sum()
    state = Snapshot(module)
    module.weight.data.mul_(0.5)
    state.restore()
    loss.backward()


def test_a_snapshot_sees_and_undoes_a_change_of_memory_class_and_dtype():
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    weight = module[0].weight
    state = Snapshot(module)
    assert not state.changed()
    weight.data = torch.zeros(3, dtype=torch.float64)
    module[1].__class__ = nn.Tanh
    assert state.changed()
    state.restore()
    assert not state.changed()
    assert (weight.shape, weight.dtype, type(module[1])) == ((2, 2), torch.float32, nn.ReLU)


def test_a_module_that_works_in_place_leaves_the_example_alone():
    def double(z):
        z[:, 0] = z[:, 1]
        return z.mul_(2.0).sin()

    z = rough((3, 2))
    before = z.clone()
    decoder = lf.from_torch(Function(double), z)
    assert torch.equal(z, before)
    np.testing.assert_allclose(decoder(np.array([1.0, 3.0])), np.sin([6.0, 6.0]), atol=1e-15)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_a_copy_for_the_processor_takes_computed_weights():
    layer = nn.utils.weight_norm(nn.Linear(2, 3))
    layer(torch.ones(1, 2))  # computes a weight with a graph, which deepcopy refuses
    copied = _on_cpu(layer)
    assert copied.weight is not layer.weight
    assert torch.equal(copied(torch.ones(1, 2)), layer(torch.ones(1, 2)))


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, z):
        return self.function(z)


def test_a_decoder_of_nan_is_refused():
    module = nn.Linear(2, 2)
    module.weight.data[0, 0] = torch.nan
    for check_it in (True, False):
        with pytest.raises(ValueError, match=r"'0' of module is NaN at the first point"):
            lf.from_torch(module, torch.ones(1, 2), check=check_it)
    with pytest.raises(ValueError, match="NaN at point 1 of example"):
        lf.from_torch(Function(torch.log), torch.tensor([[1.0, 2.0], [1.0, -2.0]]))


def test_infinite_outputs_are_said():
    with pytest.warns(UserWarning, match="infinite at the first point"):
        decoder = lf.from_torch(
            Function(lambda z: torch.cat([z, torch.full_like(z, -torch.inf)], 1)), torch.ones(1, 2)
        )
    np.testing.assert_array_equal(decoder(np.ones(2)), [1.0, 1.0, -np.inf, -np.inf])


def test_derivatives_are_compared_where_the_module_has_values():
    """The logarithm is undefined far beside these codes, so that nearer points are compared."""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.log(x)

        @staticmethod
        def backward(ctx, g):
            return g

    module, codes = Function(Wrong.apply), torch.full((2, 2), 0.02, dtype=torch.float64)
    with pytest.warns(UserWarning, match="custom backward"):
        decoder = lf.from_torch(module, codes)
    np.testing.assert_allclose(jax.jacfwd(decoder)(jnp.full(2, 0.02)), 50 * np.eye(2), rtol=1e-12)


def test_derivatives_that_are_nan_in_torch_too_are_said():
    module = Function(lambda z: z + torch.nan_to_num((z - 5.0).sqrt()))
    with pytest.warns(UserWarning, match="derivatives that are NaN"):
        lf.from_torch(module, torch.zeros(1, 2))
