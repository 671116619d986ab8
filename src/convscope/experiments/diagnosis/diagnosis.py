"""Diagnosis: what is wrong with an architecture, read from its filters and its answers to images.

Zeiler & Fergus 2014, Fig. 5 and §4.1, where the authors look at the pictures of AlexNet's first two
layers and change the architecture. Here the looking is measured: filters.py has the measures of
weights, responses.py those of answers, findings.py says what follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.errors import BadInput, BadModel, NonFinite, NoSuchLayer
from convscope.experiments.diagnosis.filters import filter_spectrum, folded, strength_of, twins_of
from convscope.experiments.diagnosis.findings import Finding, Severity, findings_of
from convscope.experiments.diagnosis.layer import LayerDiagnosis, StrideAliasing
from convscope.experiments.diagnosis.responses import (
    ResponseTally,
    Tally,
    measured_folding,
    unsteadiness,
)
from convscope.images.batches import Batch
from convscope.network.network import Network
from convscope.progress import Progress
from convscope.record import Record, not_in_json
from convscope.scan.engine import Commits, Scan, forward_batch
from convscope.text import some_maps

__all__ = ["Diagnosis", "diagnose"]

STEADY_IMAGES = 16  # of the first ones, for aliasing: thousands of positions in each


@dataclass(frozen=True)
class Diagnosis(Record):
    """What `diagnose` returns.

    Attributes:
        images: how many were seen for activity.
        steady_images: of these, used for the measures of aliasing.
        findings: faults first.
        layers: every convolutional layer.
        skipped: (index, name, reason) of each image of a scan that could not be read.
    """

    images: int
    steady_images: int
    findings: tuple[Finding, ...]
    layers: tuple[LayerDiagnosis, ...]
    skipped: tuple[tuple[int, str, str], ...] = not_in_json(default=())

    @property
    def faults(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity is Severity.FAULT)

    def layer(self, name: str) -> LayerDiagnosis:
        """Return what was found in one layer.

        Args:
            name: A convolutional layer.

        Raises:
            NoSuchLayer: No convolutional layer has that name.
        """
        found = {layer.name: layer for layer in self.layers}
        if name not in found:
            raise NoSuchLayer(f"no convolutional layer {name!r}: there are {', '.join(found)}")
        return found[name]


@torch.no_grad()
def diagnose(
    network: Network,
    images: Tensor | Iterable[Tensor] | Scan | None = None,
    *,
    total: int | None = None,
    commits: Commits | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Measure every convolutional layer, and say what is wrong with it.

    Args:
        network: to be diagnosed.
        images: (N, 3, H, W) preprocessed, batches of them, or a scan of a set; without any, only
            what the weights tell.
        total: how many images the batches hold, for `progress`.
        commits: where a scan keeps how far it is.
        progress: called with ("images", done, total), but of a scan, which has its own.

    Raises:
        BadModel: no convolutional layer.
        BadInput: images of another shape, or none in them.
        NonFinite: NaN or infinity among weights, the layer named, or in all maps of all layers.
            Else maps that are not finite are a finding, and left out of all others.

    Source:
        Zeiler & Fergus 2014, §4.1 and Fig. 5.

    Example:
        >>> diagnosis = convscope.diagnose(network, image[None])
        >>> [layer.name for layer in diagnosis.layers]
        ['conv1', 'conv2']
    """
    names = network.conv_layers()
    if not names:
        raise BadModel("the network has no convolutional layer: there is nothing to diagnose")
    for name in names:
        whole = network.nodes[name].tensors["weight"].isfinite().flatten(1).all(1)
        if not whole.all():
            lost = (~whole).nonzero().flatten().tolist()
            raise NonFinite(
                f"layer {name} holds NaN or infinite weights, in "
                f"{some_maps(lost, len(whole))} that are not finite"
            )
    activations = {name: network.activation(name) for name in names}
    responses = ResponseTally(network, activations.values())
    few: Tensor | None = None
    skipped: tuple[tuple[int, str, str], ...] = ()
    if isinstance(images, Scan):
        skipped = images.run(responses, commits=commits).skipped
        few = images.first(STEADY_IMAGES)
    elif images is not None:
        batches = [images] if isinstance(images, Tensor) else images
        few = _see(network, batches, responses, _counter(progress, total))
    responses.check()
    measured: dict[str, Tensor] = {}
    moved: dict[str, Tensor] = {}
    if few is not None:
        if not len(few):
            raise BadInput("no image to diagnose with: give at least one, or none at all")
        strided = [name for name in names if max(network.nodes[name].settings["stride"]) > 1]
        measured = measured_folding(network, few, strided)
        moved = unsteadiness(network, few, activations)
    tallies = {} if few is None else responses.tallies
    layers = tuple(
        _diagnosed(
            network, name, tallies.get(activations[name]), measured.get(name), moved.get(name)
        )
        for name in names
    )
    seen = next((tally.images for tally in tallies.values()), 0)
    return Diagnosis(seen, 0 if few is None else len(few), findings_of(layers), layers, skipped)


def _see(
    network: Network,
    batches: Iterable[Tensor],
    responses: ResponseTally,
    seen: Callable[[int], None],
) -> Tensor:
    """Show batches to the responses. Returns the first images, STEADY_IMAGES at most."""
    few: list[Tensor] = []
    count = 0
    for number, tensors in enumerate(batches):
        if count < STEADY_IMAGES:
            few.append(tensors[: STEADY_IMAGES - count])
        forward_batch(network, Batch.of(tensors, count), [responses], number)
        count += len(tensors)
        seen(count)
    responses.take([responses.part()])
    return torch.cat(few) if few else torch.empty(0)


def _diagnosed(
    network: Network,
    name: str,
    tally: Tally | None,
    measured: Tensor | None,
    moved: Tensor | None,
) -> LayerDiagnosis:
    node, layer = network.nodes[name], network.layer(name)
    first = (
        node.tensors["weight"].shape[1] == network.input_shape[0]
        and layer.field == node.fields()[0]
    )
    strided = max(node.settings["stride"]) > 1
    folding = None
    if measured is not None:
        shares = tuple(None if math.isnan(share) else share for share in measured.tolist())
        if any(share is not None for share in shares):
            folding = StrideAliasing(shares, measured=True)
    elif first and strided:
        folding = StrideAliasing(tuple(folded(node).tolist()), measured=False)
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


def _counter(progress: Progress | None, total: int | None) -> Callable[[int], None]:
    return lambda seen: progress("images", seen, total or seen) if progress else None
