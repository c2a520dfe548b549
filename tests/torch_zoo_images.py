"""Decoders of images of the kinds that people train, small and with random weights."""

import torch
import torch.nn.functional as F
from torch import nn


class ConvVAE(nn.Module):
    """Both halves of a VAE; the decoder is a method."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(196, 4))
        self.lift = nn.Linear(2, 16 * 4 * 4)
        self.net = nn.Sequential(
            nn.BatchNorm2d(16),
            nn.GELU(),
            nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1),
            nn.Softplus(),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
        )

    def decode(self, z):
        h = self.lift(z).view(-1, 16, 4, 4)
        return torch.sigmoid(self.net(h))

    def forward(self, x):
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return self.decode(mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance))


class DecoderOf(nn.Module):
    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, z):
        return self.vae.decode(z)


def conv_vae():
    return DecoderOf(ConvVAE()), 2


class Residual(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(4, inner), nn.GroupNorm(4, outer)
        self.conv1, self.conv2 = (
            nn.Conv2d(inner, outer, 3, padding=1),
            nn.Conv2d(outer, outer, 3, padding=1),
        )
        self.skip = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class ResNetDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(3, 16 * 3 * 3)
        self.blocks = nn.ModuleList([Residual(16, 16), Residual(16, 8)])
        self.out = nn.Conv2d(8, 3, 3, padding=1, padding_mode="reflect")

    def forward(self, z):
        x = self.lift(z).unflatten(1, (16, 3, 3))
        for block in self.blocks:
            x = F.interpolate(block(x), scale_factor=2, mode="nearest")
        return self.out(x)


def resnet():
    return ResNetDecoder(), 3


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(2, 64)
        self.down = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2)
        self.up = nn.Conv2d(8, 4, 3, padding="same")
        self.out = nn.Conv2d(5, 1, 1)

    def forward(self, z):
        x = self.lift(z).reshape(z.shape[0], 1, 8, 8)
        d = F.gelu(self.down(x), approximate="tanh")
        m = F.mish(self.middle(d)) + d
        u = F.interpolate(self.up(m), size=x.shape[-2:], mode="bilinear", align_corners=True)
        return self.out(torch.cat([x, u], dim=1)).squeeze(1)


def unet():
    return UNet(), 2


def dcgan():
    return (
        nn.Sequential(
            nn.ConvTranspose2d(8, 16, 4, 1, 0, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(True),
            nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False),
            nn.Tanh(),
        ),
        (8, 1, 1),
    )


def conv3d():
    return (
        nn.Sequential(
            nn.Linear(3, 8 * 8),
            nn.Unflatten(1, (8, 2, 2, 2)),
            nn.ConvTranspose3d(8, 6, 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm3d(6),
            nn.ELU(),
            nn.Conv3d(6, 4, 3, padding=1, groups=2),
            nn.Upsample(scale_factor=(1, 2, 2), mode="trilinear", align_corners=False),
            nn.Conv3d(4, 1, 1),
        ),
        3,
    )


def pixel_shuffle():
    return (
        nn.Sequential(
            nn.Linear(2, 4 * 9),
            nn.Unflatten(-1, (4, 3, 3)),
            nn.Conv2d(4, 16, 3, padding=1, padding_mode="circular"),
            nn.PixelShuffle(2),
            nn.Hardswish(),
            nn.Conv2d(4, 12, 3, padding=1, padding_mode="replicate"),
            nn.PixelShuffle(2),
            nn.Sigmoid(),
        ),
        2,
    )


class FiLM(nn.Module):
    def __init__(self):
        super().__init__()
        self.base = nn.Parameter(torch.randn(1, 6, 5, 5))
        self.films = nn.ModuleList(nn.Linear(2, 12) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(6, 6, 3, padding=1) for _ in range(2))
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, z):
        x = self.base.repeat(z.shape[0], 1, 1, 1)
        for film, conv in zip(self.films, self.convs, strict=True):
            gain, shift = film(z)[..., None, None].chunk(2, dim=1)
            x = torch.sin(conv(x) * (1 + gain) + shift)
        return {"mean": self.head(x)[:, :1], "std": F.softplus(self.head(x)[:, 1:])}


def film():
    return FiLM(), 2


class StyleGenerator(nn.Module):
    """Modulated convolution with demodulation, noise inputs off, as in style-based GANs."""

    def __init__(self):
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(0.2), nn.Linear(8, 4))
        self.constant = nn.Parameter(torch.randn(1, 4, 4, 4))
        self.weight = nn.Parameter(torch.randn(4, 4, 3, 3) / 6)
        self.to_rgb = nn.Conv2d(4, 3, 1)

    def forward(self, z):
        z = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        style = self.mapping(z)
        w = self.weight[None] * (1 + style)[:, None, :, None, None]
        w = w * torch.rsqrt(w.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        x = F.interpolate(self.constant.expand(len(z), -1, -1, -1), scale_factor=2, mode="bicubic")
        x = F.conv2d(x.reshape(1, -1, 8, 8), w.flatten(0, 1), padding=1, groups=len(z))
        return torch.tanh(self.to_rgb(x.view(len(z), 4, 8, 8)))


def style():
    return StyleGenerator(), 3
