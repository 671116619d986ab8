"""Inversion where the image that must come back, or the formula, is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import BadInput, BadOption, NonFinite
from convscope.methods.ascent.loop import optimise, whole_image
from convscope.methods.ascent.natural import levels
from convscope.methods.ascent.parametrisations import Canvas, Count, FourierPictures, decorrelated
from convscope.methods.inversion import (
    NATURAL,
    InversionSettings,
    MomentumPixels,
    invert,
    objective_of,
)
from convscope.network.network import Network, open_network

SHAPE = (3, 8, 10)
CANVAS = Canvas(torch.full(SHAPE, -2.0), torch.full(SHAPE, 2.5))


def some_image(seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, 4, 5, generator=generator)
    shares = nn.functional.interpolate(small, SHAPE[1:], mode="bilinear")[0]
    return CANVAS.preprocessed(0.1 + 0.8 * shares)


def linear() -> Network:
    torch.manual_seed(0)
    dense = nn.Linear(240, 240)
    nn.init.orthogonal_(dense.weight)
    return open_network(nn.Sequential(nn.Flatten(), dense), SHAPE)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(4)
    return open_network(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3),
            nn.ReLU(), nn.Flatten(), nn.Linear(48, 5), nn.ReLU(),
        ).eval(),
        SHAPE,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["fourier", "mahendran"])
def test_an_invertible_dense_layer_returns_the_image(method: str) -> None:
    settings = InversionSettings(method, steps=600, variation=0)
    [found] = invert(linear(), some_image(), ["1"], CANVAS, settings).layers
    assert found.error < 0.02 and found.correlation > 0.99
    assert float((found.picture - some_image()).abs().max()) < 0.2  # of 4.5 from black to white


def test_an_invertible_convolution_returns_the_image() -> None:
    torch.manual_seed(0)
    mixing = nn.Conv2d(3, 3, 1)
    nn.init.orthogonal_(mixing.weight)
    image = some_image()
    settings = InversionSettings(steps=400, variation=0)
    [found] = invert(
        open_network(nn.Sequential(mixing), SHAPE), image, ["0"], CANVAS, settings
    ).layers
    assert found.error < 0.02 and found.correlation > 0.999


@pytest.mark.parametrize("method", ["fourier", "mahendran"])
def test_the_loss_falls_and_a_deeper_layer_keeps_less(network: Network, method: str) -> None:
    found = invert(network, some_image(), ["0", "6"], CANVAS, InversionSettings(method))
    low, deep = found.layers
    assert [one.activation for one in found.layers] == ["1", "7"]  # what they make of it
    for one in found.layers:
        assert float(one.losses[-1]) < 0.2 * float(one.losses[0])
        assert len(one.losses) == found.settings.taken
    assert low.correlation > max(0.5, deep.correlation)


def naive_objective(network, layer, image, picture, method, variation, alpha):
    """The formula with loops, in levels of 0 to 255 around mid-grey, in float64."""
    target, reached = (network.values(x[None], [layer])[layer][0] for x in (image, picture))
    gap = sum((a - b) ** 2 for a, b in zip(reached.flatten(), target.flatten(), strict=True))
    total = gap / sum(b**2 for b in target.flatten())
    low, high = CANVAS.low.double().numpy(), CANVAS.high.double().numpy()
    x = 255 * (picture.numpy() - low) / (high - low) - 127.5
    channels, rows, columns = x.shape
    roughness = powers = 0.0
    for c in range(channels):
        for i in range(rows):
            for j in range(columns):
                powers += x[c, i, j] ** 6
                if i + 1 < rows:
                    roughness += (x[c, i + 1, j] - x[c, i, j]) ** 2
                if j + 1 < columns:
                    roughness += (x[c, i, j + 1] - x[c, i, j]) ** 2
    scale = 2 * x.size * NATURAL**2
    return float(total) + variation * roughness / scale + alpha * powers / scale


def test_what_is_minimised_is_the_formula_whatever_the_parameters(network: Network) -> None:
    exact = network.to(torch.float64)
    canvas = Canvas(CANVAS.low.double(), CANVAS.high.double())
    image = some_image().double()
    fourier = FourierPictures(canvas, Count(1), torch.Generator())
    planes = decorrelated(torch.logit(canvas.shares(image * 0.9)))
    spectrum = torch.fft.rfft2(4 * planes)[None] / fourier._scale
    momentum = MomentumPixels(canvas, 10, torch.Generator())
    with torch.no_grad():
        fourier.parameter.copy_(torch.view_as_real(spectrum))
        momentum.parameter.copy_(levels(canvas, image * 0.9))
    for layer, own in (("1", 10.0), ("4", 100.0), ("7", 100.0)):  # a third, two, all three layers
        features = exact.values(image[None], [layer])[layer][0]
        for method, variation, alpha in (("fourier", 0.44, 0.0), ("mahendran", own, 8e-10)):
            objective = objective_of(exact, layer, features, canvas, InversionSettings(method))
            expected = naive_objective(exact, layer, image, image * 0.9, method, variation, alpha)
            for pictures in (fourier, momentum):
                values = whole_image(exact).forward(pictures.images(), objective.layers)
                assert float(objective.value(values).detach()) == pytest.approx(expected, rel=1e-9)


def test_an_error_is_a_share_of_the_distance_between_images_or_of_the_norm(
    network: Network,
) -> None:
    images = torch.stack([some_image(seed) for seed in range(3, 14)])
    settings = InversionSettings(steps=3)
    plain = invert(network, some_image(), ["4"], CANVAS, settings)
    found = invert(network, some_image(), ["4"], CANVAS, settings, examples=images)

    def features(image: torch.Tensor) -> np.ndarray:
        return network.values(image[None], ["4"])["4"].double().numpy().ravel()

    pairs = [
        np.linalg.norm(features(images[a]) - features(images[b]))
        for a in range(len(images))
        for b in range(a)
    ]
    gap = np.linalg.norm(features(found.layers[0].picture) - features(some_image()))
    assert found.layers[0].error == pytest.approx(gap / np.mean(pairs), rel=1e-5)
    norm = np.linalg.norm(features(some_image()))
    assert plain.layers[0].error == pytest.approx(gap / norm, rel=1e-5)
    assert "11 images" in found.unit and "norm" in plain.unit
    expected = np.corrcoef(
        CANVAS.shares(found.layers[0].picture).flatten(), CANVAS.shares(some_image()).flatten()
    )[0, 1]
    assert found.layers[0].correlation == pytest.approx(expected, rel=1e-5)


def test_the_published_descent_is_momentum_in_three_rates() -> None:
    network, image, steps = linear(), some_image(), 8
    weight, bias = (network.nodes["1"].tensors[key].double() for key in ("weight", "bias"))
    target = weight @ image.double().flatten() + bias
    canvas = Canvas(CANVAS.low.double(), CANVAS.high.double())
    pictures = MomentumPixels(CANVAS, steps, torch.Generator().manual_seed(7))
    x = pictures.parameter.detach().double().flatten()
    assert float(x.square().mean().sqrt()) == pytest.approx(NATURAL, rel=1e-5)
    momentum, squared = torch.zeros(240, dtype=torch.float64), 240 * NATURAL**2
    expected, per_level = [], 4.5 / 255
    for step in range(steps):
        seen = (x + 127.5) * per_level - 2.0
        gap = weight @ seen + bias - target
        powers = 8e-10 / (2 * squared)
        total = gap.square().sum() / target.square().sum() + powers * x.pow(6).sum()
        expected.append(float(total))
        rate = 0.004 * (1.0 if step < 2 else 0.1 if step < 6 else 0.01)
        if step in (2, 6):
            momentum = torch.zeros_like(momentum)
        slope = 2 * per_level * weight.T @ gap / target.square().sum()
        slope = slope + 6 * powers * x.pow(5)
        momentum = 0.9 * momentum - rate * squared * slope
        x = x + momentum
    settings = InversionSettings("mahendran", steps=steps, variation=0)
    objective = objective_of(network, "1", target.float(), CANVAS, settings)
    reached = -optimise(pictures, -objective, whole_image(network).forward, steps, lambda _: None)
    torch.testing.assert_close(
        reached[:, 0].double(), torch.tensor(expected).double(), rtol=1e-4, atol=0
    )
    end = levels(canvas, pictures.images().detach().double()).flatten()
    torch.testing.assert_close(end, x, rtol=1e-4, atol=1e-2)


def test_the_same_seed_gives_the_same_bytes(network: Network) -> None:
    def picture(seed: int) -> torch.Tensor:
        settings = InversionSettings(steps=4, seed=seed)
        return invert(network, some_image(), ["4"], CANVAS, settings).layers[0].picture

    assert torch.equal(picture(3), picture(3)) and not torch.equal(picture(3), picture(4))


def test_what_cannot_be_inverted_is_refused(network: Network) -> None:
    dead = network.with_tensors({"6": {"bias": torch.full((5,), -1e4)}})
    with pytest.raises(BadInput, match="6: all of its values are zero"):
        invert(dead, some_image(), ["6"], CANVAS)
    same = some_image()[None].expand(3, -1, -1, -1)
    with pytest.raises(BadInput, match="the same in all 3 images"):
        invert(network, some_image(), ["4"], CANVAS, examples=same)
    with pytest.raises(BadOption, match="two or more"):
        invert(network, some_image(), ["4"], CANVAS, examples=same[:1])
    with pytest.raises(BadOption, match="name one or more"):
        invert(network, some_image(), [], CANVAS)
    with pytest.raises(BadOption, match="fourier, mahendran"):
        InversionSettings("2014")
    with pytest.raises(BadOption, match="0 steps"):
        InversionSettings(steps=0)
    with pytest.raises(BadOption, match="variation nan"):
        InversionSettings(variation=float("nan"))
    steep = network.with_tensors({"0": {"bias": torch.full((6,), 1e30)}})
    with pytest.raises(NonFinite, match="diverges"):
        invert(steep, some_image(), ["4"], CANVAS, InversionSettings("mahendran", variation=1e9))
