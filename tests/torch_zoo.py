"""Decoders of the kinds that people train, small and with random weights."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal

from torch_zoo_images import (
    ConvVAE as ConvVAE,
    conv3d,
    conv_vae,
    dcgan,
    film,
    pixel_shuffle,
    resnet,
    style,
    unet,
)


def mlp():
    return nn.Sequential(
        nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 20)
    ), 2


class AttentionDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(6, 16))
        self.memory = nn.Linear(2, 3 * 16)
        self.cross = nn.MultiheadAttention(16, 4, batch_first=True)
        layer = nn.TransformerEncoderLayer(
            16, 2, 32, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(16, 5)

    def forward(self, z):
        memory = self.memory(z).view(z.size(0), 3, 16)
        queries = self.queries.expand(z.size(0), -1, -1)
        h, _ = self.cross(queries, memory, memory)
        return self.out(self.body(h))


def attention():
    return AttentionDecoder(), 2


class TwoHeaded(nn.Module):
    """LayerNorm mean and an RBF precision with the scale of [LSO]."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Sequential(
            nn.Linear(2, 24), nn.LayerNorm(24), nn.Softplus(), nn.Linear(24, 12)
        )
        self.register_buffer("centers", torch.randn(7, 2))
        self.bandwidth = nn.Parameter(torch.rand(7) + 0.5)
        self.weight = nn.Parameter(torch.rand(12, 7))

    def forward(self, z):
        distances = (z[:, None] - self.centers).pow(2).sum(-1)
        precision = F.linear(torch.exp(-self.bandwidth * distances), self.weight.abs()) + 1e-2
        return self.mean(z), precision.rsqrt()


def layernorm_rbf():
    return TwoHeaded(), 2


class Conv1d(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(2, 8 * 5)
        self.up = nn.ConvTranspose1d(8, 8, 5, stride=3, padding=1, output_padding=1)
        self.norm = nn.InstanceNorm1d(8, affine=True)
        self.gate = nn.Conv1d(8, 12, 3, padding=1)
        self.smooth = nn.Upsample(scale_factor=2, mode="linear")
        self.pool = nn.AvgPool1d(3, 1, 1)

    def forward(self, z):
        h = torch.tanh(self.norm(self.up(self.lift(z).view(-1, 8, 5))))
        return self.pool(self.smooth(F.glu(self.gate(h), dim=1)))


def conv1d():
    return Conv1d(), 2


class SequenceDecoder(nn.Module):
    """Free of recurrence: sinusoidal positions, causal attention over learned tokens."""

    def __init__(self, length=7, width=12):
        super().__init__()
        self.length, self.width = length, width
        self.embed = nn.Embedding(length, width)
        self.condition = nn.Linear(2, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.norm = nn.RMSNorm(width)
        self.out = nn.Linear(width, 6)

    def positions(self):
        t = torch.arange(self.length)[:, None].float()
        rate = torch.exp(-math.log(1e4) * torch.arange(0, self.width, 2).float() / self.width)
        return torch.stack([torch.sin(t * rate), torch.cos(t * rate)], -1).flatten(1)

    def forward(self, z):
        tokens = self.embed(torch.arange(self.length, device=z.device)) + self.positions().to(z)
        x = self.norm(tokens[None] + self.condition(z)[:, None])
        q, k, v = (
            t.view(len(z), self.length, 3, -1).transpose(1, 2)
            for t in self.qkv(x).split(self.width, -1)
        )
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + h.transpose(1, 2).reshape(len(z), self.length, self.width)
        return F.log_softmax(self.out(x), dim=-1)


def sequence():
    return SequenceDecoder(), 2


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.state = nn.Linear(2, 10)
        self.lstm = nn.LSTM(3, 5, num_layers=2, batch_first=True, dropout=0.2)
        self.gru = nn.GRU(5, 4, batch_first=True, bidirectional=True)
        self.rnn = nn.RNN(8, 3)
        self.cell = nn.GRUCell(3, 2)

    def forward(self, z):
        h = torch.tanh(self.state(z)).view(len(z), 2, 5).transpose(0, 1).contiguous()
        x = torch.linspace(-1, 1, 18).view(1, 6, 3).to(z).expand(len(z), -1, -1)
        x, _ = self.lstm(x, (h, torch.zeros_like(h)))
        x, _ = self.gru(x)
        x, last = self.rnn(x.transpose(0, 1))
        return x.transpose(0, 1), self.cell(last[0])


def recurrent():
    return Recurrent(), 2


class Gaussian(nn.Module):
    """Returns distributions, as probabilistic code does."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 16), nn.Softplus(beta=2), nn.Linear(16, 18))

    def forward(self, z):
        mean, raw, logits = self.net(z).chunk(3, -1)
        return Independent(Normal(mean, F.softplus(raw) + 1e-3), 1), Bernoulli(logits=logits)


def distributions():
    return Gaussian(), 2


class MixerBlock(nn.Module):
    """Weight norm, spectral norm, einsum, squeeze-and-excitation."""

    def __init__(self):
        super().__init__()
        self.lift = nn.utils.parametrizations.weight_norm(nn.Linear(2, 8 * 6))
        self.tokens = nn.Parameter(torch.randn(6, 6) / 3)
        self.channels = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 8), nn.Sigmoid()
        )

    def forward(self, z):
        x = self.lift(z).view(-1, 8, 6)
        x = x + F.gelu(torch.einsum("bct,ts->bcs", x, self.tokens))
        x = x + self.channels(x.mT).mT
        return x * self.squeeze(x)[:, :, None]


def mixer():
    return MixerBlock(), 2


class CouplingFlow(nn.Module):
    """An affine coupling flow in the generating direction with a learned rotation."""

    def __init__(self, dim=4):
        super().__init__()
        self.nets = nn.ModuleList(
            nn.Sequential(nn.Linear(dim // 2, 16), nn.Tanh(), nn.Linear(16, dim)) for _ in range(3)
        )
        self.rotation = nn.utils.parametrizations.orthogonal(nn.Linear(dim, dim, bias=False))
        self.register_buffer("order", torch.randperm(dim))

    def forward(self, z):
        for net in self.nets:
            a, b = z.tensor_split(2, dim=1)
            scale, shift = net(a).split(a.shape[1], dim=1)
            z = torch.cat([a, b * torch.exp(torch.tanh(scale)) + shift], 1)[:, self.order]
        return self.rotation(z)


def flow():
    return CouplingFlow(), 4


class ImplicitField(nn.Module):
    """A coordinate network with Fourier features, conditioned on the latent point."""

    def __init__(self):
        super().__init__()
        axis = torch.linspace(-1, 1, 5)
        self.register_buffer(
            "grid", torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).view(-1, 2)
        )
        self.register_buffer("frequencies", torch.randn(2, 6))
        self.net = nn.Sequential(nn.Linear(14, 24), nn.GELU(), nn.Linear(24, 1))

    def forward(self, z):
        phase = 2 * math.pi * self.grid @ self.frequencies
        features = torch.cat([phase.sin(), phase.cos()], -1).expand(len(z), -1, -1)
        codes = z.unsqueeze(1).expand(-1, self.grid.shape[0], -1)
        return self.net(torch.cat([features, codes], -1)).view(-1, 5, 5)


def implicit():
    return ImplicitField(), 2


ARCHITECTURES = {
    f.__name__: f
    for f in (
        mlp,
        conv_vae,
        resnet,
        unet,
        dcgan,
        attention,
        layernorm_rbf,
        conv1d,
        conv3d,
        sequence,
        pixel_shuffle,
        film,
        recurrent,
        distributions,
        mixer,
        flow,
        style,
        implicit,
    )
}
SMOOTH = sorted(ARCHITECTURES.keys() - {"dcgan", "style", "pixel_shuffle", "conv3d"})


def build(name, dtype=torch.float64):
    """A decoder in evaluation mode with fixed random weights, and three points for it."""
    torch.manual_seed(0)
    module, shape = ARCHITECTURES[name]()
    for m in module.modules():  # running statistics as after training
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.running_mean.normal_(0, 0.3)
            m.running_var.uniform_(0.5, 1.5)
    shape = shape if isinstance(shape, tuple) else (shape,)
    points = torch.randn(3, *shape, dtype=torch.float64)
    return module.to(dtype).eval(), points.to(dtype)
