"""Diagnosis: what is wrong with an architecture, read from its filters and its answers to images.

Zeiler & Fergus 2014, Fig. 5 and §4.1, where the authors look at the pictures of AlexNet's first two
layers and change the architecture. Here the looking is measured: filters.py has the measures of
weights, responses.py those of answers, findings.py says what follows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import BadInput, BadModel, NonFinite, NoSuchLayer
from convscope.experiments.diagnosis.filters import (
    Spectrum,
    Strength,
    Twins,
    filter_spectrum,
    folded,
    strength_of,
    twins_of,
)
from convscope.experiments.diagnosis.findings import Finding, Severity, findings_of
from convscope.experiments.diagnosis.responses import (
    Activity,
    Tally,
    is_rectified,
    measured_folding,
    unsteadiness,
)
from convscope.network.exported import Network
from convscope.progress import Progress
from convscope.scan.strongest import as_maps
from convscope.store.results import ResultStore

__all__ = ["Diagnosis", "Folding", "LayerDiagnosis", "diagnose"]

GROUP = 4  # batches, whose counts are kept together
STEADY_IMAGES = 16  # of the first ones, for aliasing: thousands of positions in each


@dataclass(frozen=True)
class Folding:
    """How much of a strided layer's answer its stride folds over, `by_map`, 0..1.

    measured : on images; else worked out from the filters for images of power 1/f²
    """

    by_map: tuple[float, ...]
    measured: bool

    @property
    def mean(self) -> float:
        return sum(self.by_map) / len(self.by_map)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "mean": self.mean}


@dataclass(frozen=True)
class LayerDiagnosis:
    """All measures of one convolutional layer.

    activation : the layer whose value was looked at;   shape : (C, H, W)
    first : whether it looks at the pixels;   spectrum : only then
    folding : of a strided layer; without images only where `first`
    unsteadiness : mean over the maps of what `responses.unsteadiness` finds, 0..1
    activity, unsteadiness : None without images; the latter also on small grids and at stride 1
    """

    name: str
    activation: str
    shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    first: bool
    strength: Strength
    twins: Twins
    spectrum: Spectrum | None
    folding: Folding | None
    activity: Activity | None
    unsteadiness: float | None

    def to_dict(self) -> dict[str, Any]:
        parts = ("strength", "twins", "spectrum", "folding", "activity")
        own = {key: value for key, value in vars(self).items() if key not in parts}
        found = {key: getattr(self, key) for key in parts}
        return own | {key: part and part.to_dict() for key, part in found.items()}


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` returns.

    images : seen for activity;   steady_images : of these, used for the measures of aliasing
    findings : faults first
    """

    layers: tuple[LayerDiagnosis, ...]
    findings: tuple[Finding, ...]
    images: int
    steady_images: int

    @property
    def faults(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity is Severity.FAULT)

    def layer(self, name: str) -> LayerDiagnosis:
        """Raises  NoSuchLayer: no convolutional layer of that name."""
        found = {layer.name: layer for layer in self.layers}
        if name not in found:
            raise NoSuchLayer(f"no convolutional layer {name!r}: there are {', '.join(found)}")
        return found[name]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "images": self.images,
            "steady_images": self.steady_images,
            "findings": [finding.to_dict() for finding in self.findings],
            "layers": [layer.to_dict() for layer in self.layers],
        }


@torch.no_grad()
def diagnose(
    network: Network,
    images: Tensor | Iterable[Tensor] | None = None,
    *,
    total: int | None = None,
    pieces: ResultStore | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Measures every convolutional layer, and says what is wrong with it.

    images : (N, 3, H, W) preprocessed, or batches of them, read once; without any, only what the
        weights tell
    total : how many images there are, for `progress`
    pieces : keep what was counted, so that the network need not answer again to images that it
        has seen; whoever gives it says in its settings which network and batches these are
    Raises  BadModel: no convolutional layer; BadInput: images of another shape, or none in them;
        NonFinite: NaN or infinity among weights or activations, the layer named.
    Source: Zeiler & Fergus 2014, §4.1 and Fig. 5
    """
    names = network.conv_layers()
    if not names:
        raise BadModel("the network has no convolutional layer: there is nothing to diagnose")
    for name in names:
        if not network.nodes[name].tensors["weight"].isfinite().all():
            raise NonFinite(f"layer {name} holds NaN or infinite weights")
    activations = {name: network.activation(name) for name in names}
    tallies: dict[str, Tally] = {}
    few: Tensor | None = None
    if images is not None:
        batches = iter([images] if isinstance(images, Tensor) else images)
        few, batches = _first(batches, STEADY_IMAGES)
        kept = pieces or ResultStore(None, {})
        tallies = _count(network, batches, activations, kept, _counter(progress, total))
    measured: dict[str, Tensor] = {}
    moved: dict[str, Tensor] = {}
    if few is not None:
        strided = [name for name in names if max(network.nodes[name].settings["stride"]) > 1]
        measured = measured_folding(network, few, strided)
        moved = unsteadiness(network, few, activations)
    layers = tuple(
        _diagnosed(
            network, name, tallies.get(activations[name]), measured.get(name), moved.get(name)
        )
        for name in names
    )
    seen = next((tally.images for tally in tallies.values()), 0)
    return Diagnosis(layers, findings_of(layers), seen, 0 if few is None else len(few))


def _diagnosed(
    network: Network,
    name: str,
    tally: Tally | None,
    measured: Tensor | None,
    moved: Tensor | None,
) -> LayerDiagnosis:
    node, layer = network.nodes[name], network.layer(name)
    first = node.tensors["weight"].shape[1] == 3 and layer.field == node.fields()[0]
    strided = max(node.settings["stride"]) > 1
    folding = None
    if measured is not None:
        folding = Folding(tuple(measured.tolist()), measured=True)
    elif first and strided:
        folding = Folding(tuple(folded(node).tolist()), measured=False)
    steady = moved is not None and not moved.isnan().all()
    channels, height, width = node.shape
    return LayerDiagnosis(
        name=name,
        activation=network.activation(name),
        shape=(channels, height, width),
        kernel=tuple(node.settings["kernel"]),
        stride=tuple(node.settings["stride"]),
        first=first,
        strength=strength_of(network, name),
        twins=twins_of(node),
        spectrum=filter_spectrum(node) if first else None,
        folding=folding,
        activity=None if tally is None else tally.activity(),
        unsteadiness=float(moved.nanmean()) if steady and moved is not None else None,
    )


def _first(batches: Iterator[Tensor], count: int) -> tuple[Tensor, Iterator[Tensor]]:
    """The first images, and all batches again. Raises  BadInput: there are none."""
    read: list[Tensor] = []
    for batch in batches:
        read.append(batch)
        if sum(map(len, read)) >= count:
            break
    if not sum(map(len, read)):
        raise BadInput("no image to diagnose with: give at least one, or none at all")
    return torch.cat(read)[:count], itertools.chain(read, batches)


def _count(
    network: Network,
    batches: Iterator[Tensor],
    activations: dict[str, str],
    pieces: ResultStore,
    seen: Callable[[int], None],
) -> dict[str, Tally]:
    """A tally for every activation, over all images; a piece for each group of batches."""
    names = list(dict.fromkeys(activations.values()))
    whole = {name: _tally(network, name) for name in names}
    images = 0
    for number, group in enumerate(_groups(filter(len, batches), GROUP)):
        counted = pieces.arrays(
            f"answers {number}", partial(_answers, network, group, names, images, seen)
        )
        images += sum(map(len, group))
        for i, name in enumerate(names):
            own = {key[len(f"{i} ") :]: v for key, v in counted.items() if key.startswith(f"{i} ")}
            whole[name].include(own)
    return whole


def _answers(
    network: Network,
    group: list[Tensor],
    names: list[str],
    before: int,
    seen: Callable[[int], None],
) -> dict[str, NDArray[Any]]:
    """What the layers answer to some batches: the arrays of their tallies, by number and name."""
    tallies = {name: _tally(network, name) for name in names}
    for batch in group:
        for name, value in network.stream(batch, names):
            tallies[name].add(as_maps(value))
            if not tallies[name].highest.isfinite().all():
                raise NonFinite(f"layer {name} answers with NaN or infinity: check the weights")
        before += len(batch)
        seen(before)
    return {
        f"{i} {key}": value
        for i, tally in enumerate(tallies.values())
        for key, value in tally.arrays().items()
    }


def _counter(progress: Progress | None, total: int | None) -> Callable[[int], None]:
    return lambda seen: progress("images", seen, total or seen) if progress else None


def _tally(network: Network, name: str) -> Tally:
    node = network.nodes[name]
    return Tally(node.shape[0], rectified=is_rectified(node))


def _groups(batches: Iterable[Tensor], count: int) -> Iterator[list[Tensor]]:
    batches = iter(batches)
    while group := list(itertools.islice(batches, count)):
        yield group
