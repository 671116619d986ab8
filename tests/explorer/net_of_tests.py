"""A network that is small and quick, with weights that are always the same, for the explorer."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import nn

SIDE, CLASSES = 32, ["cat", "dog", "</script><img src=x onerror=alert(1)>"]


def build() -> nn.Module:
    """Three convolutions and a dense layer, over 32x32 pixels."""
    torch.manual_seed(0)
    module = nn.Sequential()
    for number, (below, above) in enumerate([(3, 8), (8, 12), (12, 6)], 1):
        module.add_module(f"conv{number}", nn.Conv2d(below, above, 3, padding=1))
        module.add_module(f"relu{number}", nn.ReLU())
        if number < 3:
            module.add_module(f"pool{number}", nn.MaxPool2d(2))
    module.add_module("flatten", nn.Flatten())
    module.add_module("fc", nn.Linear(6 * 64, len(CLASSES)))
    with torch.no_grad():
        module.fc.weight *= 8  # so that its answers differ
    return module.eval()


def picture(seed: int = 0) -> Image.Image:
    """Blocks of random colours."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(blocks.repeat(SIDE // 4, 0).repeat(SIDE // 4, 1))
