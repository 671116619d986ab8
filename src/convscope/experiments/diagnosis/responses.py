"""What can be said of a layer's maps from what they answer to images.

`Tally` counts, image by image, which maps answer at all. `measured_folding` and `unsteadiness` ask
whether a layer's grid is fine enough for what its filters pass on, and need few images.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import NonFinite
from convscope.experiments.diagnosis.filters import TOP_SHARE, beyond_nyquist
from convscope.images.batches import Batch
from convscope.network.network import Network
from convscope.network.node import Node
from convscope.record import Record
from convscope.scan.observer import Observer
from convscope.scan.strongest import as_maps
from convscope.text import some_maps

__all__ = [
    "Activity",
    "ResponseTally",
    "Tally",
    "interpolation",
    "is_rectified",
    "measured_folding",
    "unsteadiness",
]  # fmt: skip

NEARLY_DEAD = 1e-3  # share of positions below which a map counts as nearly dead
LEAST_POSITIONS = 3000  # seen, to call a map that: 3 expected answers, and none in 5 % of cases
CONSTANT = 1e-6  # of the layer's largest range: a map that varies less is constant
TAPS = 3  # neighbours on either side from which a shifted map is interpolated
CARRIED = 0.75  # of the Nyquist frequency, up to which interpolation has to be right
SMALLEST_GRID = 8  # positions along an axis, so that two are left away from the edges

Counts = dict[str, dict[str, NDArray[Any]]]
"""By layer, the arrays of a tally."""


@dataclass(frozen=True)
class Activity(Record):
    """What a layer's maps answered to all images.

    Attributes:
        images: How many images were looked at.
        positions: How many positions of a map, over all images.
        dead: Maps that never left zero; without a rectifier, that never changed.
        nearly_dead: Maps active at fewer than 0.1 % of the positions, and not dead; None where a
            rectifier is missing or too few positions were looked at to tell.
        active: For each map, the share of positions where it was above zero, None for one that is
            not finite; None without a rectifier.
        images_active: For each map, the share of images in which it was above zero somewhere, None
            for one that is not finite; None without a rectifier.
        top_share: What the strongest twentieth of the maps holds of all squared activation; None
            where no map is finite.
        missed: A map that answers in this share of images or more would have been seen alive with
            95 % confidence (the rule of three, 3 / images).
        not_finite: Maps that were NaN or infinite somewhere in an image. All else leaves them out.
    """

    images: int
    positions: int
    dead: tuple[int, ...]
    nearly_dead: tuple[int, ...] | None
    active: tuple[float | None, ...] | None
    images_active: tuple[float | None, ...] | None
    top_share: float | None
    missed: float
    not_finite: tuple[int, ...] = ()

    also = ("sparsity",)

    @property
    def sparsity(self) -> float | None:
        """Share of all activations that are zero."""
        known = [share for share in self.active or () if share is not None]
        return 1 - sum(known) / len(known) if known else None


class Tally:
    """Counts one layer's answers, batch by batch."""

    def __init__(self, maps: int, *, rectified: bool) -> None:
        self.rectified = rectified
        self.images = self.positions = 0
        self.positions_active = torch.zeros(maps, dtype=torch.int64)
        self.images_active = torch.zeros(maps, dtype=torch.int64)
        self.not_finite = torch.zeros(maps, dtype=torch.int64)  # images
        self.energy = torch.zeros(maps, dtype=torch.float64)
        self.highest = torch.full((maps,), -torch.inf)
        self.lowest = torch.full((maps,), torch.inf)

    def add(self, maps: Tensor) -> None:
        """Count the activations of some images.

        Args:
            maps: The activations.

        Shape:
            maps: (N, K, H, W).
        """
        high, low = maps.amax((2, 3)), maps.amin((2, 3))
        lost = ~(high.isfinite() & low.isfinite())  # (N, K)
        if bool(lost.any()):  # such a map is told by its number alone
            self.not_finite += lost.sum(0).cpu()
            high, low = high.masked_fill(lost, 0), low.masked_fill(lost, 0)
            maps = maps.masked_fill(lost[:, :, None, None], 0)
        self.highest = torch.maximum(self.highest, high.amax(0).cpu())
        self.lowest = torch.minimum(self.lowest, low.amin(0).cpu())
        self.images += len(maps)
        self.positions += len(maps) * maps.shape[2] * maps.shape[3]
        self.images_active += (high > 0).sum(0).cpu()
        self.positions_active += (maps > 0).sum((0, 2, 3)).cpu()
        energy = maps.square().sum((0, 2, 3))
        if not bool(energy.isfinite().all()):  # squares beyond the largest float32
            energy = maps.double().square().sum((0, 2, 3))
        self.energy += energy.double().cpu()

    def include(self, other: Mapping[str, NDArray[Any]]) -> None:
        """Adds what another tally counted, as its `arrays` say."""
        theirs = {name: torch.from_numpy(value) for name, value in other.items()}
        self.images += int(theirs["images"])
        self.positions += int(theirs["positions"])
        self.positions_active += theirs["positions_active"]
        self.images_active += theirs["images_active"]
        self.energy += theirs["energy"]
        self.not_finite += theirs.get("not_finite", 0)  # an older state had none such
        self.highest = torch.maximum(self.highest, theirs["highest"])
        self.lowest = torch.minimum(self.lowest, theirs["lowest"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was counted, by name."""
        return {
            name: np.asarray(value) for name, value in vars(self).items() if name != "rectified"
        }

    def activity(self) -> Activity:
        known = self.not_finite == 0
        spread = self.highest.double() - self.lowest.double()
        dead = spread <= CONSTANT * spread.masked_fill(~known, 0).max()
        if self.rectified:
            dead |= self.highest <= 0
        dead &= known
        shares = self.positions_active.double() / self.positions
        rare = (shares < NEARLY_DEAD) & ~dead & known
        tells = self.rectified and self.positions >= LEAST_POSITIONS
        energy = self.energy[known].sort(descending=True).values
        top = math.ceil(TOP_SHARE * len(energy))
        return Activity(
            images=self.images,
            positions=self.positions,
            dead=_places(dead),
            nearly_dead=_places(rare) if tells else None,
            active=_known(shares, known) if self.rectified else None,
            images_active=(
                _known(self.images_active.double() / self.images, known) if self.rectified else None
            ),
            top_share=float(energy[:top].sum() / energy.sum().clip(min=1e-30)) if top else None,
            missed=min(1.0, 3 / self.images),
            not_finite=_places(~known),
        )


class ResponseTally(Observer):
    """A tally of every activation, over all images of a scan.

    Args:
        network: that is looked at.
        layers: activations.

    Attributes:
        tallies: by layer.
    """

    def __init__(self, network: Network, layers: Iterable[str]) -> None:
        self.tallies = {name: _tally(network, name) for name in dict.fromkeys(layers)}
        self._network = network
        self._now: Counts = {}
        self._waiting: list[tuple[int, Counts]] = []

    @property
    def layers(self) -> Collection[str]:
        return self.tallies

    def see(self, layer: str, value: Tensor, batch: Batch) -> None:
        tally = _tally(self._network, layer)
        tally.add(as_maps(value))
        self._now[layer] = tally.arrays()

    def end(self, batch: Batch, number: int) -> None:
        self._waiting.append((number, self._now))
        self._now = {}

    def part(self) -> list[tuple[int, Counts]]:
        part, self._waiting = self._waiting, []
        return part

    def take(self, parts: Sequence[list[tuple[int, Counts]]]) -> None:
        """Energies are added up in the order of the batches: the sum depends on it."""
        for _, counts in sorted((each for part in parts for each in part), key=lambda x: x[0]):
            for layer, arrays in counts.items():
                self.tallies[layer].include(arrays)

    def check(self) -> None:
        """Refuse answers of which nothing is left.

        Raises:
            NonFinite: All maps of all layers are NaN or infinite.
        """
        lost = {name: tally.not_finite > 0 for name, tally in self.tallies.items()}
        if lost and all(bool(maps.all()) for maps in lost.values()):
            layer, maps = next(iter(lost.items()))
            raise NonFinite(
                f"layer {layer} answers with NaN or infinity, in "
                f"{some_maps(_places(maps), len(maps))} that are not finite: check the weights"
            )

    def state(self) -> dict[str, Tensor]:
        return {
            f"{number}/{name}": torch.from_numpy(value)
            for number, tally in enumerate(self.tallies.values())
            for name, value in tally.arrays().items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for number, layer in enumerate(self.tallies):
            start = f"{number}/"
            own = (name for name in state if name.startswith(start))
            self.tallies[layer] = _tally(self._network, layer)
            self.tallies[layer].include(
                {name.removeprefix(start): state[name].numpy() for name in own}
            )


def _tally(network: Network, name: str) -> Tally:
    node = network.nodes[name]
    return Tally(node.shape[0], rectified=is_rectified(node))


def is_rectified(node: Node) -> bool:
    """Whether a layer's values are zero or more, and zero where it does not answer."""
    return node.op.rectifies(node)


@torch.no_grad()
def measured_folding(network: Network, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """Measure the share of each map's answer that the layer's stride folds over (aliasing).

    Each strided convolution is run at stride 1; of the spectrum of every map's answer (its mean
    taken off, a Hann window laid over it), the share of power beyond the Nyquist frequency of the
    real stride is what the strided layer cannot tell from lower frequencies.

    Args:
        network: The network.
        images: The images, preprocessed.
        layers: Strided convolutions; those on grids below 8 x 8 positions are left out.

    Returns:
        The share of each map, by layer; NaN for one that is NaN or infinite.

    Shape:
        images: (N, C, H, W). A layer's shares: (K,).
    """
    nodes = {name: network.nodes[name] for name in layers}
    nodes = {name: node for name, node in nodes.items() if min(node.below[0][1:]) >= SMALLEST_GRID}
    total: dict[str, Tensor] = {}
    for image in images.split(1):
        below = network.values(image, {node.inputs[0] for node in nodes.values()})
        for name, node in nodes.items():
            dense = replace(node, settings={**node.settings, "stride": (1, 1)})
            answer = dense.forward(below[node.inputs[0]])[0]  # (K, H, W)
            total[name] = total.get(name, 0) + _spectrum(answer).double().cpu()
    return {name: _share(total[name], nodes[name].settings["stride"]) for name in total}


@torch.no_grad()
def unsteadiness(network: Network, images: Tensor, layers: Mapping[str, str]) -> dict[str, Tensor]:
    """Measure how much of each map is not where it was when the image moves, 0 to 1.

    The image is shifted by half a step of the layer's grid, the worst case, along rows and along
    columns. A map that its grid carries in full can then be had from the unshifted map by
    interpolation (`interpolation`). Unsteadiness is the mean squared difference between the two,
    over the sum of their variances, at most 1: 0 for a map that moves with the image, 1 for one
    whose values have nothing to do with each other, or change their sign.
    Positions within three steps of the edge are left out. Maps that hardly vary are NaN.

    Args:
        network: The network.
        images: The images, preprocessed.
        layers: By layer, the one whose value is its activation, as in `Network.activation`. Grids
            of stride 1 or below 8 x 8 are left out.

    Returns:
        The unsteadiness of each map, by layer.

    Shape:
        images: (N, C, H, W). A layer's values: (K,).
    """
    shifts: dict[tuple[int, int], list[str]] = {}
    for name, activation in layers.items():
        for shift in _half_steps(network, activation):
            shifts.setdefault(shift, []).append(name)
    found: dict[tuple[str, int], _Comparison] = {}
    for image in images.split(1):
        still = network.values(image, {layers[n] for names in shifts.values() for n in names})
        for (rows, columns), names in shifts.items():
            axis = 1 if rows else 2
            moved_image = image.roll((-rows, -columns), (2, 3))
            moved = network.values(moved_image, {layers[name] for name in names})
            for name in names:
                fraction = (rows + columns) / _step(network, layers[name], axis)
                compared = found.setdefault((name, axis), _Comparison(fraction))
                compared.add(still[layers[name]][0], moved[layers[name]][0], axis)
    return {name: (found[name, 1].left() + found[name, 2].left()) / 2 for name, _ in found}


class _Comparison:
    """A layer's maps of shifted images beside what interpolation makes of the unshifted ones."""

    def __init__(self, fraction: float) -> None:
        """Start without maps; the image was shifted by this fraction of a grid step."""
        self.weights = interpolation(fraction)
        self.count = 0
        self.sums: Tensor | float = 0.0

    def add(self, still: Tensor, moved: Tensor, axis: int) -> None:
        """Take in maps (K, H, W); axis is 1 for a shift along rows, 2 along columns."""
        still, moved = (
            maps.double().cpu().movedim(axis, 2)[:, TAPS:-TAPS] for maps in (still, moved)
        )
        predicted = still.unfold(2, 2 * TAPS, 1) @ self.weights  # of positions TAPS - 1 and on
        moved = moved[:, :, TAPS - 1 : -TAPS]
        parts = (moved - predicted, moved, predicted)
        sums = [torch.stack([part.sum((1, 2)), part.square().sum((1, 2))]) for part in parts]
        self.sums = self.sums + torch.stack(sums)  # (3, 2, K)
        self.count += moved[0].numel()

    def left(self) -> Tensor:
        """(K,) mean squared difference over the sum of both variances, at most 1."""
        assert isinstance(self.sums, Tensor)
        mean, square = self.sums[:, 0] / self.count, self.sums[:, 1] / self.count
        variance = (square - mean.square())[1:].sum(0)
        known = variance.isfinite()  # a map that is NaN or infinite has none
        varied = known & (
            variance > CONSTANT * variance.masked_fill(~known, 0).max().clip(min=1e-30)
        )
        left = (square[0] / variance.clip(min=1e-30)).clip(0, 1)
        return torch.where(varied, left, torch.nan)


def interpolation(fraction: float) -> Tensor:
    """The weights of the six nearest positions for a value that fraction of a step away, float64.

    They are the best ones, in the mean square, for a map whose spectrum is white up to three
    quarters of its grid's Nyquist frequency and empty above.
    """
    at = torch.arange(1 - TAPS, TAPS + 1, dtype=torch.float64)
    among = torch.sinc(CARRIED * (at[:, None] - at[None, :]))
    return torch.linalg.solve(
        among + 1e-6 * torch.eye(len(at), dtype=torch.float64),
        torch.sinc(CARRIED * (at - fraction)),
    )


def _half_steps(network: Network, layer: str) -> list[tuple[int, int]]:
    """The shifts (rows, columns) of half a grid step, pixels; none where the layer has no grid of
    its own or too small a one."""
    found = network.layer(layer)
    if len(found.shape) != 3 or min(found.shape[1:]) < SMALLEST_GRID:
        return []
    windows = (found.field.rows, found.field.columns)
    if any(window.is_whole or window.stride < 2 for window in windows):
        return []
    rows, columns = (int(window.stride / Fraction(2)) for window in windows)
    return [(rows, 0), (0, columns)]


def _step(network: Network, layer: str, axis: int) -> float:
    """Pixels between two positions of a layer's grid."""
    field = network.layer(layer).field
    return float((field.rows if axis == 1 else field.columns).stride)


def _spectrum(answer: Tensor) -> Tensor:
    """(K, H, W) power of maps (K, H, W)."""
    height, width = answer.shape[1:]
    hann = torch.hann_window(height, device=answer.device)[:, None]
    hann = hann * torch.hann_window(width, device=answer.device)
    centred = answer - (answer * hann).sum((1, 2), keepdim=True) / hann.sum()
    return torch.fft.fft2(centred * hann).abs().square()


def _share(spectrum: Tensor, stride: tuple[int, int]) -> Tensor:
    height, width = spectrum.shape[1:]
    beyond = beyond_nyquist((height, width), (int(stride[0]), int(stride[1])))
    return spectrum[:, beyond].sum(1) / spectrum.sum((1, 2)).clip(min=1e-30)


def _known(shares: Tensor, known: Tensor) -> tuple[float | None, ...]:
    pairs = zip(shares.tolist(), known.tolist(), strict=True)
    return tuple(share if there else None for share, there in pairs)


def _places(chosen: Tensor) -> tuple[int, ...]:
    return tuple(chosen.nonzero().flatten().tolist())
