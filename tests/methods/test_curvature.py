"""Curvature at a step where the second derivatives are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import BadInput, BadOption
from convscope.methods.ascent.loop import AscentSettings, whole_image
from convscope.methods.ascent.parametrisations import Canvas
from convscope.methods.curvature import (
    WALK,
    CurvatureSettings,
    curvature,
    curvatures,
    slopes_at_step,
    smooth_functions,
)
from convscope.network.network import Network, open_network

SHAPE = (1, 9, 9)
CANVAS = Canvas(torch.full(SHAPE, -2.0), torch.full(SHAPE, 2.0))
GENTLE = CurvatureSettings(samples=400)


def drawn(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Quadratic(nn.Module):
    """A unit sum_j c_j (w_j . x)^2 + b . x, of everything that a 7 x 7 filter sees."""

    def __init__(self, filters: torch.Tensor, weights: torch.Tensor) -> None:
        super().__init__()
        count = len(filters)
        self.conv = nn.Conv2d(1, count, 7)
        self.mix = nn.Conv2d(count, 1, 1)
        with torch.no_grad():
            self.conv.weight.copy_(filters[:, None])
            self.conv.bias.fill_(0.3)
            self.mix.weight.copy_(weights[None, :, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        responses = self.conv(x)
        return self.mix(responses * responses)


def some_filters(count: int) -> torch.Tensor:
    """Orthonormal mixtures of the smooth functions of a 7 x 7 window."""
    basis = smooth_functions(7, 7, 48).flatten(1)
    mixed, _ = torch.linalg.qr(torch.randn(48, count, generator=drawn(), dtype=torch.float64))
    return (mixed.T @ basis).reshape(count, 7, 7).float()


def test_the_smooth_functions_are_orthonormal_and_the_slowest_first() -> None:
    for height, width, most in ((7, 7, 48), (20, 9, 16), (2, 1, 48)):
        found = smooth_functions(height, width, most)
        count = min(most, height * width)
        assert found.shape == (count, height, width)
        gram = found.flatten(1) @ found.flatten(1).T
        torch.testing.assert_close(gram, torch.eye(count, dtype=torch.float64))
    first = found = smooth_functions(20, 9, 16)[0]
    hann = np.outer(*(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (20, 9)))
    np.testing.assert_allclose(first.abs().numpy(), hann / np.linalg.norm(hann), atol=1e-12)


def test_the_eigenvectors_of_a_quadratic_unit_are_found() -> None:
    filters, weights = some_filters(4), torch.tensor([-3.0, 2.0, -1.0, 0.4])
    network = open_network(Quadratic(filters, weights), SHAPE)
    found = curvature(network, torch.randn(SHAPE, generator=drawn()), "mix/0@1,1", CANVAS, GENTLE)
    torch.testing.assert_close(found.eigenvalues[:4], 2 * weights.double(), rtol=1e-3, atol=1e-3)
    assert float(found.eigenvalues[4:].abs().max()) < 1e-3
    for one, filter_, weight in zip(found.directions[:3], filters, weights, strict=False):
        cosine = float((one.direction[0] * filter_).sum().abs())
        assert cosine > 0.999 and one.split_half > 0.999 and one.most
        assert one.curvature == pytest.approx(2 * float(weight), rel=1e-3)
    assert all(abs(one.curvature) < 1e-3 for one in found.directions[3:])


def test_it_is_found_through_rectifiers_whose_second_derivatives_are_zero() -> None:
    """|w x| = relu(w x) + relu(-w x) is bent at 0 alone; averaged over steps s it is a bowl.

    E |a + s t| of normal t has the second derivative 2 / (s sqrt(2 pi)) at a = 0.
    """
    [one_filter] = some_filters(1)
    both = nn.Conv2d(1, 2, 7, bias=False)
    add = nn.Conv2d(2, 1, 1, bias=False)
    with torch.no_grad():
        both.weight.copy_(torch.stack([one_filter, -one_filter])[:, None])
        add.weight.fill_(-1.0)
    network = open_network(nn.Sequential(both, nn.ReLU(), add), SHAPE)
    image = torch.zeros(SHAPE)
    flat = torch.autograd.functional.hessian(
        lambda x: whole_image(network).forward(x[None], ["2"])["2"][0, 0, 1, 1],
        image + 0.1 * torch.randn(SHAPE, generator=drawn()),
    )
    assert float(flat.abs().max()) == 0
    found = curvature(network, image, "2/0@1,1", CANVAS, CurvatureSettings(samples=4000))
    first, second = found.directions[:2]
    assert float((first.direction[0] * one_filter).sum().abs()) > 0.99 and first.split_half > 0.99
    sigma = found.norm / math.sqrt(48)
    expected = -2 / (sigma * math.sqrt(2 * math.pi))
    assert first.curvature == pytest.approx(expected, rel=0.05)
    assert float(found.eigenvalues[0]) == pytest.approx(expected, rel=0.05)
    assert abs(second.curvature) < 0.1 * abs(expected)


def test_a_linear_unit_has_no_curvature_within_its_interval() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 3))
    found = curvature(
        open_network(plain, SHAPE), torch.randn(SHAPE, generator=drawn()), "1/1", CANVAS, GENTLE
    )
    scale = max(one.slope for one in found.directions) / found.norm
    for one in found.directions:
        assert abs(one.curvature) < 1e-4 * scale
        assert one.low <= 1e-6 * scale and one.high >= -1e-6 * scale


def test_an_interval_holds_the_truth_as_often_as_it_says_where_gradients_are_noisy() -> None:
    truth = torch.diag(torch.linspace(-3, 1, 8, dtype=torch.float64))
    held = total = 0
    for seed in range(40):
        noise = drawn(1000 + seed)

        def gradient(at: torch.Tensor, noise: torch.Generator = noise) -> torch.Tensor:
            return at @ truth + torch.randn(at.shape, generator=noise, dtype=torch.float64)

        slopes = slopes_at_step(gradient, 8, 0.5, 200, drawn(seed))
        one, other = slopes.halves()
        for direction in one.directions()[1]:
            found, error = other.along(direction)
            held += abs(found - float(direction @ truth @ direction)) < 1.96 * math.sqrt(error)
            total += 1
    assert 0.90 < held / total < 0.98


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(4)
    return open_network(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        ).eval(),
        (3, 24, 24),
    )  # fmt: skip


WIDE = Canvas(torch.full((3, 24, 24), -2.0), torch.full((3, 24, 24), 2.0))
QUICK = CurvatureSettings(samples=256, ascent=AscentSettings(steps=8))


def test_a_walk_shows_what_the_unit_does_in_the_whole_image(network: Network) -> None:
    image = torch.randn(3, 24, 24, generator=drawn())
    for unit, place in (("3/2@5,6", (7, 9)), ("3/2@0,11", (-3, 19)), ("3/2", None)):
        found = curvature(network, image, unit, WIDE, QUICK)
        assert found.picture.shape == (3, 8, 8) and found.unit.position is not None
        if place is None:  # the strongest position
            values = network.values(image[None], ["3"])["3"][0, 2]
            assert float(values.max()) == float(values[found.unit.row, found.unit.column])
            continue
        for one in (found.directions[0], found.directions[-1]):
            assert float(one.direction.norm()) == pytest.approx(1, rel=1e-5)
            for frame, activation, at in zip(one.frames, one.activations, WALK, strict=True):
                changed = image.clone()
                for i in range(8):
                    for j in range(8):
                        row, column = place[0] + i, place[1] + j
                        if 0 <= row < 24 and 0 <= column < 24:
                            changed[:, row, column] = frame[:, i, j]
                moved = changed - image
                assert float(moved.norm()) == pytest.approx(
                    abs(at) * found.norm, rel=1e-4, abs=1e-5
                )
                value = network.values(changed[None], ["4"])["4"][0, 2]
                own = float(value[found.unit.row, found.unit.column])
                assert float(activation) == pytest.approx(own, rel=1e-4, abs=1e-5)


def test_optimised_pictures_of_several_units_are_measured_alike(network: Network) -> None:
    together = curvatures(network, "3", [1, 5], WIDE, QUICK)
    [alone] = curvatures(network, "3", [5], WIDE, QUICK)
    assert [str(one.unit) for one in together] == ["3/1", "3/5"]
    torch.testing.assert_close(together[1].picture, alone.picture)
    [again] = curvatures(network, "3", [5], WIDE, QUICK)
    assert torch.equal(again.eigenvalues, alone.eigenvalues)
    assert torch.equal(again.directions[0].frames, alone.directions[0].frames)
    [score] = curvatures(network, "7", [2], WIDE, QUICK)  # sees the whole image
    assert score.picture.shape == (3, 24, 24) and len(score.eigenvalues) == 48


def test_the_step_is_a_share_of_the_way_from_black_to_white(network: Network) -> None:
    found = curvature(network, torch.zeros(3, 24, 24), "3/2@5,6", WIDE, QUICK)
    assert found.norm == pytest.approx(0.05 * 4 * math.sqrt(3 * 8 * 8))


def test_what_cannot_be_measured_is_refused(network: Network) -> None:
    image = torch.zeros(3, 24, 24)
    with pytest.raises(BadOption, match="196 or more"):
        curvature(network, image, "3/2@5,6", WIDE, CurvatureSettings(samples=192))
    for options in ({"step": 0}, {"step": math.inf}, {"samples": 1026}, {"directions": 0}):
        with pytest.raises(BadOption, match="give"):
            CurvatureSettings(**options)
    dot = open_network(nn.Conv2d(1, 2, 1), (1, 4, 4))
    with pytest.raises(BadInput, match="sees a single number"):
        curvature(dot, torch.zeros(1, 4, 4), f"{dot.layers[0].name}/0@1,1", CANVAS, QUICK)
