"""Modules that `from_torch` refuses or warns about: modes, kinks, bad arguments."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import landform as lf  # noqa: E402
from landform.interop import KinkWarning  # noqa: E402
from torch_oracle import check, rough  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def smooth():
    """A small decoder of two latent coordinates in double precision, and its torch original."""
    torch.manual_seed(0)
    module = (
        nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 5)).double().eval()
    )
    return lf.from_torch(module, rough((3, 2))), module


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


def test_norms_of_low_order_and_casts_to_integers_are_kinks():
    centers = torch.tensor([[0.0, 1.0], [2.0, 3.0]])

    class Steps(nn.Module):
        def forward(self, z):
            return z.norm(p=1, dim=1), torch.cdist(z, centers, p=1.5), z * (3 * z).long()

    class Smooth(nn.Module):
        def forward(self, z):
            return z.norm(dim=1), torch.cdist(z, centers), z.norm(p=4, dim=1)

    with pytest.warns(KinkWarning):
        kinks = lf.from_torch(Steps(), torch.rand(1, 2)).kinks
    assert kinks == ("cdist", "linalg_vector_norm", "to_int64")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lf.from_torch(Smooth(), torch.rand(1, 2)).kinks == ()


class Sampling(nn.Module):
    def forward(self, z):
        return z + torch.randn_like(z) * torch.bernoulli(torch.sigmoid(z))


class Exotic(nn.Module):
    def forward(self, z):
        return torch.linalg.eigvals(z[:, :, None] * z[:, None]).real + torch.special.bessel_j0(z)


class Branching(nn.Module):
    def forward(self, z):
        return z if z.sum() > 0 else -z


class Texts(nn.Module):
    def forward(self, z):
        return "no tensor"


class Slope(nn.Module):
    def forward(self, z):
        return torch.autograd.grad((z**3).sum(), z, create_graph=True)[0]


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
    assert "eig" in message
    assert "bessel_j0" in message
    assert "from_callable" in message


def test_branching_on_values_is_refused():
    with pytest.raises(NotImplementedError, match=r"refusals\.py:\d+: `return z if"):
        lf.from_torch(Branching(), torch.rand(1, 2))


def test_mixing_the_points_of_a_batch_is_refused_or_said_of_one_point():
    module = nn.Sequential(
        nn.Linear(2, 8), nn.Unflatten(1, (2, 4)), nn.BatchNorm1d(2, track_running_stats=False)
    ).eval()
    with pytest.raises(ValueError, match="mixes the points"):
        lf.from_torch(module, torch.rand(3, 2))
    with pytest.warns(UserWarning, match="mixes the points.*one point alone"):
        lf.from_torch(module, torch.rand(1, 2))


def test_a_module_for_one_point_at_a_time_is_taken():
    class One(nn.Module):
        def forward(self, z):
            return torch.stack([z, z.square()]).view(1, 4)

    check(One(), rough((3, 2)))


def test_buffers_are_left_as_they_were():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("average", torch.zeros(2))

        def forward(self, z):
            self.calls += 1
            self.average = 0.9 * self.average + 0.1 * z.detach().mean(0)
            return torch.tanh(z)

    module = Counting()
    average = module.average
    lf.from_torch(module, torch.ones(2, 2))
    assert module.calls == 0
    assert module.average is average
    assert not average.any()


@pytest.mark.parametrize(
    ("module", "example", "error", "message"),
    [
        (lambda z: z, torch.zeros(1, 2), TypeError, "torch.nn.Module.*args and kwargs.*select"),
        (nn.Bilinear(2, 2, 2), torch.zeros(1, 2), ValueError, "missing 1.*args and kwargs"),
        (Texts(), torch.zeros(1, 2), TypeError, "returns a str"),
        (Integers(), torch.zeros(1, 2), TypeError, "integers and booleans have no derivative"),
        (nn.Linear(3, 2), torch.zeros(1, 2), ValueError, "does not accept"),
        (nn.Linear(2, 2), torch.zeros(2), ValueError, "must be a batch"),
        (nn.Linear(2, 2), torch.zeros(0, 2), ValueError, "must be a batch"),
        (nn.Linear(2, 2), torch.full((1, 2), torch.nan), ValueError, "NaN"),
        (nn.Linear(2, 2), "points", TypeError, "array of real numbers"),
        (nn.Linear(2, 2).half(), torch.zeros(1, 2), ValueError, "module.float"),
        (nn.Linear(2, 2).bfloat16(), torch.zeros(1, 2), ValueError, "module.float"),
        (nn.Linear(2, 2, device="meta"), torch.zeros(1, 2), ValueError, "meta"),
        (nn.LazyLinear(2), torch.zeros(1, 2), ValueError, "lazy"),
    ],
)
def test_bad_arguments_are_refused_with_what_to_do(module, example, error, message):
    with pytest.raises(error, match=message):
        lf.from_torch(module, example)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Slope(), "module takes gradients inside its forward"),
        (
            nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=False)).eval(),
            "normalises by statistics of the batch",
        ),
    ],
)
def test_the_cause_of_a_failing_call_is_named(module, message):
    with pytest.raises(ValueError, match=message):
        lf.from_torch(module, torch.zeros(3, 2))


def test_arguments_for_several_points_are_refused_with_what_is_expected():
    with pytest.raises(ValueError, match="as tensors for a batch of one"):
        lf.from_torch(nn.Bilinear(2, 2, 2), torch.zeros(3, 2), args=(torch.zeros(3, 2),))


@pytest.mark.parametrize(
    "use",
    [
        lf.Pullback,
        lf.ExpectedPullback,
        lambda net: lf.Pullback(net.forward),
        lambda net: lf.FisherRaoPullback(net, "poisson"),
        lambda net: lf.EnsemblePullback([net, net]),
        lambda net: lf.BlendedDecoder(net, [[0.0, 0.0]], 1.0),
        lambda net: lf.from_callable(net, [[0.0, 0.0]]),
    ],
)
def test_a_module_that_is_not_converted_is_refused_with_what_to_do(use):
    with pytest.raises(TypeError, match=r"PyTorch module.*from_torch"):
        use(nn.Sequential(nn.Linear(2, 3), nn.Tanh()))


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
