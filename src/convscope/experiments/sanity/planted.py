"""What was planted must be found: small networks of which it is known what their units look at."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convscope.experiments.sanity.pointing import PointingMethod, marks
from convscope.images.datasets import SceneImages
from convscope.methods.checks import SPECIFIC, check
from convscope.methods.removal import losses_without
from convscope.network.network import Network, open_network
from convscope.network.trace import Trace
from convscope.record import Record

__all__ = ["Planted", "planted_classes", "planted_detectors", "planted_grounds"]


@dataclass(frozen=True)
class Planted(Record):
    """How often what was planted was found.

    Attributes:
        what: What had to be found, in words.
        found: How often it was.
        count: How often it was planted.
        by: The kind of picture that had to find it; "" where it is known without saying.
    """

    what: str
    found: int
    count: int
    by: str = ""


# ---- detectors ----------------------------------------------------------------------------------

FIELD, STRIDE, SPOT = 16, 8, 5  # pixels: what a unit sees, from one to the next, what it looks at
MIDDLE = (1, 1)  # the position of the unit that is checked, of 3 x 3
DETECTOR, OTHER, TWIN, DEAF = range(4)


def planted_detectors(count: int, seed: int) -> tuple[Planted, ...]:
    """Check units that look at a spot of their field, that are built alike, and that are deaf.

    Args:
        count: How many of each.
        seed: Of the spots and the images.
    """
    module = nn.Sequential(nn.Conv2d(3, 4, FIELD, stride=STRIDE), nn.ReLU())
    network = open_network(module, (3, FIELD + 2 * STRIDE, FIELD + 2 * STRIDE))
    passed = twins = deaf = 0
    for trial in range(count):
        generator = torch.Generator().manual_seed(1000 * seed + trial)
        spots = _spots(generator)
        image = _spotted(spots, generator)

        def checked(channel: int, *there: int) -> tuple[bool, bool, bool, float | None]:
            trace = _detectors(network, spots, there).trace(image)  # noqa: B023 - called at once
            [trust] = check(trace, f"1/{channel}@{MIDDLE[0]},{MIDDLE[1]}")
            own = trust.own_weights is not None and trust.own_weights.mean >= SPECIFIC
            specific = None if trust.specific is None else trust.specific.mean
            return trust.in_place, trust.is_specific, own, specific

        passed += all(checked(DETECTOR, DETECTOR, OTHER)[:3])
        twins += checked(DETECTOR, DETECTOR, OTHER, TWIN)[3] == 0
        deaf += not checked(DEAF, DETECTOR, DEAF)[0]
    return (
        Planted("detectors built by hand that pass place, specific and own weights", passed, count),
        Planted("units built twice whose pictures score 0 specific", twins, count),
        Planted("units rewired to ignore their input that fail place", deaf, count),
    )


def _spots(generator: torch.Generator) -> list[tuple[int, int]]:
    """The upper left pixels of two spots, in different corners of the field."""
    corners = torch.randperm(4, generator=generator)[:2].tolist()
    far = FIELD - SPOT - 3
    jitter = torch.randint(0, 3, (2, 2), generator=generator).tolist()
    return [
        (far * (corner // 2) + 1 + down, far * (corner % 2) + 1 + right)
        for corner, (down, right) in zip(corners, jitter, strict=True)
    ]


def _spotted(spots: list[tuple[int, int]], generator: torch.Generator) -> Tensor:
    """Dim noise, bright where the unit in the middle looks."""
    side = FIELD + 2 * STRIDE
    image = 0.05 * torch.rand(3, side, side, generator=generator)
    for row, column in spots:
        top, left = STRIDE * MIDDLE[0] + row, STRIDE * MIDDLE[1] + column
        image[:, top : top + SPOT, left : left + SPOT] = 1.0
    return image


def _detectors(network: Network, spots: list[tuple[int, int]], there: tuple[int, ...]) -> Network:
    """The network with those of the units that are there; the others are never above zero."""
    weight = torch.zeros(4, 3, FIELD, FIELD)
    for channel, (row, column) in zip((DETECTOR, OTHER, TWIN), (*spots, spots[0]), strict=True):
        weight[channel, :, row : row + SPOT, column : column + SPOT] = 0.1
    bias = torch.tensor([-0.5, -0.5, -0.5, 2.0])
    for channel in set(range(4)) - set(there):
        weight[channel], bias[channel] = 0.0, -1.0
    return network.with_tensors({"0": {"weight": weight, "bias": bias}})


# ---- grounds ------------------------------------------------------------------------------------

SIDE, GREY, SHARE = 48, 0.5, 0.6  # pixels of a scene; the occluder; how much of a pixel is painted
SHARP = 20.0  # the score of a picture that is all of the colour that the network reads


def planted_grounds(count: int, seed: int) -> tuple[Planted, ...]:
    """Look into networks that read the ground, and others that read the object, of one picture.

    The objects of rendered scenes are painted in one colour and their grounds in another. Both
    networks have the same layers and units; only the class's weights tell them apart. A picture
    exposes the first if it marks the ground in that one, and the object in the other.

    Args:
        count: How many scenes, each with colours of its own.
        seed: Of the scenes and the colours.
    """
    module = nn.Sequential(
        nn.Conv2d(3, 3, 5), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(3, 2),
    )  # fmt: skip
    network = open_network(module, (3, SIDE, SIDE))
    scenes = SceneImages(f"scenes:val:{count}", size=SIDE, seed=seed)
    exposed = dict.fromkeys(
        (kind for kind in PointingMethod if kind is not PointingMethod.CENTRE), 0
    )
    draw = np.random.default_rng(seed)
    for index in range(count):
        hue = draw.uniform()
        colours = _colour(hue), _colour(hue + draw.uniform(0.35, 0.65))
        mask = np.asarray(scenes.scene(index).mask)
        image = _painted(np.asarray(scenes.picture(index)) / 255, mask, colours)
        of_object, of_ground = (
            marks(_reader(network, colours, read), image, 0, "1", GREY) for read in (0, 1)
        )
        for kind in exposed:
            both = of_object.get(kind), of_ground.get(kind)
            exposed[kind] += (
                both[0] is not None and both[0].hit(mask)
                and both[1] is not None and not both[1].hit(mask)
            )  # fmt: skip
    return tuple(
        Planted("networks that read the ground exposed", found, count, str(kind))
        for kind, found in exposed.items()
    )


def _colour(hue: float) -> NDArray[np.float64]:
    return np.array(colorsys.hsv_to_rgb(hue % 1, 1.0, 1.0))


def _painted(
    pixels: NDArray[np.float64], mask: NDArray[np.bool_], colours: tuple[NDArray[np.float64], ...]
) -> Tensor:
    """A picture whose object has the first colour and whose ground has the second."""
    paint = np.where(mask[..., None], colours[0], colours[1])
    mixed = (1 - SHARE) * pixels.mean(-1, keepdims=True) + SHARE * paint
    return torch.from_numpy(mixed.transpose(2, 0, 1)).float()


def _reader(network: Network, colours: tuple[NDArray[np.float64], ...], read: int) -> Network:
    """Units for either colour, and one for brightness; the class rests on one of the colours."""
    directions = np.stack([*(colour - colour.mean() for colour in colours), np.full(3, 1 / 3)])
    weight = torch.from_numpy(directions).float()[:, :, None, None].expand(-1, -1, 5, 5) / 25
    scores = torch.zeros(2, 3)
    scores[0, read] = SHARP
    return network.with_tensors({
        "0": {"weight": weight.contiguous(), "bias": torch.zeros(3)},
        "5": {"weight": scores, "bias": torch.zeros(2)},
    })  # fmt: skip


# ---- classes ------------------------------------------------------------------------------------

CLASSES, MAPS, IMAGES, PIXELS = 12, 24, 360, 16
RANDOM_LABELS, DRAWS, LEVEL = 20, 200, 0.05
LOUD, NOISE = 8.0, 0.25  # weight of a class's own map, per deviation of its mean; of all maps


def planted_classes(seed: int) -> tuple[Planted, ...]:
    """Plant classes on feature maps, and find them by what the network loses without each map.

    A map belongs to a class if the class loses more without it than the other images do, above
    95 % of the largest such differences among permuted labels. The losses of permuted labels are
    computed anew: what a class loses without its map has another mean for any images.

    Args:
        seed: Of the network, its images, and the permutations.
    """
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(IMAGES, 3, PIXELS, PIXELS, generator=generator)
    network, owners = _class_network(images, generator)
    trace = network.trace(images)
    drops = _drops(trace)
    labels = trace[network.output].argmax(1)
    excess = _excess(drops, labels)
    threshold = _threshold(drops, labels, generator)
    right = (excess.argmax(0) == owners) & (excess.amax(0) > threshold)
    silent = 0
    for _ in range(RANDOM_LABELS):
        drawn = labels[torch.randperm(IMAGES, generator=generator)]
        silent += bool(_excess(drops, drawn).max() <= _threshold(drops, drawn, generator))
    return (
        Planted("classes planted on units found by removing units", int(right.sum()), CLASSES),
        Planted("random labels for which no unit is found (95 % expected)", silent, RANDOM_LABELS),
    )


def _drops(trace: Trace) -> Tensor:
    """What each image loses without each map, set to its mean, were it of each class: in nats.

    Shape:
        The result: (maps, N, classes), float64.
    """
    units, means = [f"1/{i}" for i in range(MAPS)], {"1": trace["1"].mean((0, 2, 3))}
    drops = []
    for number in range(CLASSES):
        labels = torch.full((len(trace),), number)
        before, without = losses_without(trace, units, labels, means=means)
        drops.append(without - before)
    return torch.stack(drops, -1)


def _class_network(images: Tensor, generator: torch.Generator) -> tuple[Network, Tensor]:
    """Random filters, and for each class a score that rests on one map and a little on all."""
    module = nn.Sequential(
        nn.Conv2d(3, MAPS, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(MAPS, CLASSES),
    )  # fmt: skip
    network = open_network(module, (3, PIXELS, PIXELS))
    filters = torch.randn(MAPS, 3, 3, 3, generator=generator) / 27**0.5
    network = network.with_tensors({"0": {"weight": filters, "bias": torch.zeros(MAPS)}})
    means = network.values(images, ["3"])["3"]  # (N, maps)
    owners = torch.randperm(MAPS, generator=generator)[:CLASSES]
    weight = NOISE * torch.randn(CLASSES, MAPS, generator=generator)
    weight[torch.arange(CLASSES), owners] += LOUD
    weight = weight / means.std(0)
    bias = -(weight * means.mean(0)).sum(1)
    return network.with_tensors({"4": {"weight": weight, "bias": bias}}), owners


def _excess(drops: Tensor, labels: Tensor) -> Tensor:
    """How much more each class loses without each map than the other images do.

    Shape:
        drops: (maps, N, classes). labels: (N,). The result: (maps, classes).
    """
    own = nn.functional.one_hot(labels, CLASSES).to(drops)  # (N, classes)
    lost = (drops * own).sum(-1)  # (maps, N)
    counts = own.sum(0)
    inside = lost @ own
    outside = lost.sum(1, keepdim=True) - inside
    return inside / counts.clamp(min=1) - outside / (len(labels) - counts).clamp(min=1)


def _threshold(drops: Tensor, labels: Tensor, generator: torch.Generator) -> float:
    """What the largest difference exceeds for one in twenty permutations of the labels."""
    largest = torch.stack([
        _excess(drops, labels[torch.randperm(len(labels), generator=generator)]).max()
        for _ in range(DRAWS)
    ])  # fmt: skip
    return float(largest.quantile(1 - LEVEL))
