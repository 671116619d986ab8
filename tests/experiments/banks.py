"""Networks whose first layer is made by hand, and images with the statistics of photographs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from convscope.network.network import Network, open_network

SIDE = 64


def gabor(size: int, frequency: float, angle: float, colour: tuple[float, float, float]) -> Tensor:
    """(3, size, size): a wave of that frequency (cycles per pixel) in a Gaussian, RMS 0.05."""
    at = torch.arange(size) - (size - 1) / 2
    rows, columns = at[:, None], at[None, :]
    along = columns * math.cos(angle) + rows * math.sin(angle)
    envelope = torch.exp(-(rows**2 + columns**2) / (2 * (size / 4) ** 2))
    wave = envelope * torch.sin(2 * math.pi * frequency * along + 0.4)
    planes = torch.tensor(colour)[:, None, None] * wave
    return planes * 0.05 / planes.square().mean().sqrt()


def sound_bank(size: int = 9) -> Tensor:
    """(24, 3, size, size): eight filters in each octave below what a stride of 2 carries, and
    along the diagonals above, in eight directions; every second one is coloured."""
    filters = []
    for frequency in (0.08, 0.18, 0.27):
        for k in range(8):
            slant = math.pi / 4 + (k // 2) * math.pi / 2 + (k % 2 - 0.5) * 0.3
            angle = slant if frequency > 0.25 else k * math.pi / 8
            colour = (1.0, 1.0, 1.0) if k % 2 else (1.0, 0.0, -1.0)
            filters.append(gabor(size, frequency, angle, colour))
    return torch.stack(filters)


def network_of(bank: Tensor, stride: int = 2, *, bias: Tensor | None = None) -> Network:
    """conv1 (the bank) -> relu -> conv2 (16 random 3 x 3 filters, stride 1) -> relu."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        second = nn.Conv2d(len(bank), 16, 3, padding=1)
    first = nn.Conv2d(3, len(bank), bank.shape[-1], stride, bank.shape[-1] // 2)
    with torch.no_grad():
        first.weight.copy_(bank)
        first.bias.zero_() if bias is None else first.bias.copy_(bias)  # type: ignore[union-attr]
    module = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
    return open_network(module.eval(), (3, SIDE, SIDE))


def photographs(count: int, *, seed: int = 0, slope: float = 1.0) -> Tensor:
    """(count, 3, SIDE, SIDE) noise whose amplitude falls as 1 / frequency ** slope, size 60;
    planes partly alike, as in photographs."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((count, 3, SIDE, SIDE), generator=generator)
    noise = noise + 1.5 * noise[:, :1]
    axis = torch.fft.fftfreq(SIDE)
    radius = torch.hypot(axis[:, None], axis[None, :])
    radius[0, 0] = torch.inf
    images = torch.fft.ifft2(torch.fft.fft2(noise) / radius**slope).real
    return images * 60 / images.std()
