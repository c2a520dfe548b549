"""Heads of decoders from torch: selected, saved, and passed to metrics."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import landform as lf  # noqa: E402
from torch_oracle import rough  # noqa: E402

pytestmark = pytest.mark.torch


class Heads(nn.Module):
    """A mean, a log-variance with a kink, and a learned constant."""

    def __init__(self):
        super().__init__()
        self.trunk, self.mean, self.logvar = nn.Linear(2, 8), nn.Linear(8, 3), nn.Linear(8, 3)
        self.size = nn.Parameter(torch.rand(3))

    def forward(self, z):
        h = torch.tanh(self.trunk(z)).chunk(2, dim=1)
        h = torch.cat([h[1], h[0]], dim=1)
        logvar = torch.relu(self.logvar(h)) - 4.0
        return {"logvar": logvar, "mean": self.mean(h).exp(), "size": self.size.exp()}


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    with pytest.warns(lf.interop.KinkWarning):
        return lf.from_torch(Heads().double(), rough((3, 2)))


Z = np.array([0.3, -0.7])


def test_a_head_alone_needs_its_own_weights_and_operations_only(decoder):
    mean = decoder.select("mean")
    np.testing.assert_array_equal(mean(Z), decoder(Z)[1])
    assert mean.output_names == ("mean",)
    assert set(mean.parameters) == {"trunk.weight", "trunk.bias", "mean.weight", "mean.bias"}
    assert decoder.kinks == ("relu",)
    assert mean.kinks == ()


def test_heads_come_in_the_order_asked_for(decoder):
    pair = decoder.select("mean", 0)
    assert pair.output_names == ("mean", "logvar")
    for ours, theirs in zip(pair(Z), (decoder(Z)[1], decoder(Z)[0]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert pair.kinks == ("relu",)
    assert decoder.select("size").parameters.keys() == {"size"}


@pytest.mark.parametrize("heads", [(), ("std",), (3,), (-1,), (True,), (None,)])
def test_unknown_heads_are_refused_with_those_there_are(decoder, heads):
    with pytest.raises(ValueError, match=r"heads must .*mean"):
        decoder.select(*heads)


def test_a_log_variance_is_read_as_such(decoder, tmp_path):
    metric = lf.ExpectedPullback(decoder.select("mean", "logvar"), scale="log-variance")
    lf.save(tmp_path / "metric.landform", metric)
    mean, logvar = decoder.select("mean"), decoder.select("logvar")
    by_hand = lf.ExpectedPullback(mean, lambda z: jax.numpy.exp(0.5 * logvar(z)))
    expected = lf.metric_tensor(by_hand, Z)
    np.testing.assert_allclose(lf.metric_tensor(metric, Z), expected, rtol=1e-13)
    again = lf.load(tmp_path / "metric.landform")
    np.testing.assert_array_equal(lf.metric_tensor(again, Z), lf.metric_tensor(metric, Z))
