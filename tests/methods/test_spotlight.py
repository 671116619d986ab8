"""The spotlight lights what the projection has energy in, and nothing else."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from convscope.methods.blur import blur, energy_map
from convscope.methods.spotlight import light, spotlight


def test_the_blur_is_scipys() -> None:
    maps = torch.rand(2, 3, 17, 23, dtype=torch.float64, generator=torch.manual_seed(0))
    for sigma in (0.0, 0.7, (2.0, 1.0), 9.0):
        down, across = sigma if isinstance(sigma, tuple) else (sigma, sigma)
        radius = [max(1, round(3 * s)) if s else 0 for s in (down, across)]
        expected = ndimage.gaussian_filter(
            maps.numpy(), (0, 0, down, across), mode="nearest", radius=(0, 0, *radius)
        )
        np.testing.assert_allclose(blur(maps, sigma).numpy(), expected, atol=1e-12)


def test_energy_has_no_sign_and_adds_the_colours() -> None:
    field = torch.zeros(1, 3, 5, 5)
    field[0, :, 2, 2] = torch.tensor([-1.0, 2.0, -3.0])
    assert float(energy_map(field, 0)[0, 2, 2]) == 6.0


def test_where_the_energy_is_the_patch_shows_and_elsewhere_is_grey() -> None:
    patch = torch.full((1, 56, 56, 3), 200, dtype=torch.uint8)
    field = torch.zeros(1, 3, 56, 56)
    field[:, :, 10:20, 10:20] = -1.0
    shown = spotlight(patch, field)[0]
    assert shown.dtype == torch.uint8
    assert shown[15, 15].tolist() == [200] * 3
    assert shown[40, 40].tolist() == [128] * 3
    assert 128 < int(shown[9, 15, 0]) < 200


def test_no_energy_is_all_dark_and_what_is_not_finite_does_not_count() -> None:
    empty = torch.zeros(1, 3, 9, 9)
    assert float(light(empty).max()) == 0
    broken = empty.clone()
    broken[0, 0, 0, 0] = torch.nan
    broken[0, 0, 4, 4] = 1.0
    lit = light(broken)
    assert bool(torch.isfinite(lit).all()) and float(lit[0, 4, 4]) == 1.0 and lit[0, 0, 0] < 0.01


def test_the_strength_of_a_projection_does_not_matter() -> None:
    field = torch.randn(2, 3, 30, 30, generator=torch.manual_seed(1))
    torch.testing.assert_close(light(field), light(field * 1e-6))
