"""Projection: milliseconds per unit, against Captum's deconvolution and zennit's deconvnet.

Each library runs as its users run it, one call per unit, and at its best: many units in one batch
(Captum through a function as its neuron selector), the network cut off above the layer, in the
channels-last layout. Ours projects every feature map of several images (at most 256 each) in one
call. Every figure holds the forward pass that it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from types import ModuleType

import measure
import torch
from captum.attr import NeuronDeconvolution
from torch import Tensor, nn

from convscope.errors import BadModel
from convscope.images.torchvision_import import import_torchvision
from convscope.methods.project import project
from convscope.models.architectures import Architecture, architecture_named, build
from convscope.network.from_export import INPUT
from convscope.network.network import Network, open_network
from convscope.network.unit import Unit

LAYERS = ("conv2", "conv3", "conv4", "conv5")
BATCH = 16
"""Units in one batch of the peers at their best."""


@dataclass(frozen=True, eq=False)
class Case:
    """Units of one layer, at the strongest position of their maps, in several images.

    cut : the module up to the layer's activation, channels last;   rows (U,) : their images
    """

    module: nn.Sequential
    cut: nn.Sequential
    network: Network
    layer: str
    images: Tensor
    units: tuple[Unit, ...]
    rows: tuple[int, ...]

    @classmethod
    def of(cls, architecture: Architecture, layer: str, images: int, per_image: int) -> Case:
        module = build(architecture, seed=0).eval()
        network = open_network(module, architecture.input_shape)
        activation = network.activation(layer)
        names = [name for name, _ in module.named_children()]
        below = list(module)[: names.index(activation) + 1]
        cut = deepcopy(nn.Sequential(*below))
        cut = cut.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        batch = measure.noise_images(images, architecture.input_shape, seed=2)
        trace = network.trace(batch, [activation])
        channels = torch.linspace(0, network.layer(layer).channels - 1, per_image).long().tolist()
        units = [
            trace.strongest(Unit(activation, channel), row)
            for row in range(images)
            for channel in channels
        ]
        rows = [row for row in range(images) for _ in channels]
        return cls(module, cut, network, layer, batch, tuple(units), tuple(rows))

    def ours(self) -> Tensor:
        """The last unit's field; Captum's picture is this one with zeros around it."""
        trace = self.network.trace(self.images, [self.units[0].layer])
        return project(trace, self.units, images=self.rows).fields[-1]

    def captum_each(self, count: int) -> Tensor:
        """The first units, a call each, as in Captum's documentation."""
        layer = getattr(self.module, self.units[0].layer)
        method = NeuronDeconvolution(self.module, layer)
        found = [
            method.attribute(
                self.images[row : row + 1].contiguous(), (unit.channel, *unit.position)
            )
            for unit, row in zip(self.units[:count], self.rows[:count], strict=True)
            if unit.position is not None
        ]
        return torch.cat(found)

    def captum_batch(self, count: int) -> Tensor:
        """The first units in one call: row i of the batch is asked for unit i."""
        images, channels, positions = self._batch(count)
        each = torch.arange(count)

        def select(values: Tensor) -> Tensor:
            return values[each, channels, positions[:, 0], positions[:, 1]]

        return NeuronDeconvolution(self.cut, self.cut[-1]).attribute(images, select)

    def zennit_batch(self, count: int, composites: ModuleType) -> Tensor:
        """The first units in one backward pass."""
        images, channels, positions = self._batch(count)
        images = images.requires_grad_()
        with composites.DeconvNet().context(self.cut) as model:
            values = model(images)
            seed = torch.zeros_like(values)
            seed[torch.arange(count), channels, positions[:, 0], positions[:, 1]] = 1.0
            (found,) = torch.autograd.grad(values, images, seed)
        return found

    def _batch(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        images = self.images[list(self.rows[:count])]
        channels = torch.tensor([unit.channel for unit in self.units[:count]])
        positions = torch.tensor([unit.position for unit in self.units[:count]])
        return images.contiguous(memory_format=torch.channels_last), channels, positions


def zennit_composites() -> ModuleType | None:
    """zennit's composites; None where zennit, or torchvision that it imports, is not there."""
    try:
        import_torchvision()
        import zennit.composites
    except (BadModel, ImportError):
        return None
    return zennit.composites


def agreement(composites: ModuleType | None) -> str:
    """How far the libraries differ on ZFNet without LRN, of which each takes its own view."""
    whole = architecture_named("zfnet")
    plain = tuple(replace(layer, normalised=False) for layer in whole.convolutions)
    apart: dict[str, float] = {}
    for layer in LAYERS:
        case = Case.of(replace(whole, convolutions=plain), layer, images=1, per_image=4)
        trace = case.network.trace(case.images, [case.units[0].layer])
        ours = project(trace, case.units, images=case.rows)
        theirs = {"Captum": case.captum_each(4), "Captum in a batch": case.captum_batch(4)}
        if composites is not None:
            theirs["zennit"] = case.zennit_batch(4, composites)
        for name, pictures in theirs.items():
            seeded = pictures.detach() * ours.activation[:, None, None, None]
            off = float((ours.projection - seeded).abs().max() / seeded.abs().max())
            apart[name] = max(apart.get(name, 0.0), off)
    return ", ".join(f"{name} {off:.1e}" for name, off in apart.items())


def compare(case: Case, rounds: int, calls: int, composites: ModuleType | None) -> list[object]:
    """One line of the table: ms per unit."""
    units = len(case.units)
    layer = case.units[0].layer
    runs: dict[str, Callable[[], object]] = {
        "ours": case.ours,
        "forward": lambda: case.network.trace(case.images, [layer]),
        "each": lambda: case.captum_each(calls),
        "batch": lambda: case.captum_batch(BATCH),
    }
    counts = {"ours": units, "forward": units, "each": calls, "batch": BATCH, "zennit": BATCH}
    if composites is not None:
        runs["zennit"] = lambda: case.zennit_batch(BATCH, composites)
    times = {name: t.per(counts[name]) for name, t in measure.in_turn(runs, rounds).items()}
    cone = case.network.cone(case.units[0].layer)
    window = "whole" if cone is None else "×".join(map(str, cone.size(INPUT)))
    ours, forward = times.pop("ours"), times.pop("forward")
    peers = [f"{t}, {measure.ratio(t, ours)}" for t in times.values()]
    print(f"{case.layer}: ours {ours}, of which forward {forward}", *peers, sep="; ", flush=True)
    return [case.layer, window, units, ours, forward, *peers]


def main() -> None:
    options = measure.parser(__doc__, rounds=7)
    options.add_argument("--images", type=int, default=4)
    options.add_argument("--units", type=int, default=256, help="per layer and image; default 256")
    given = measure.read(options)
    composites = zennit_composites()
    units, calls = (8, 1) if given.quick else (given.units, 4)
    architecture = architecture_named("zfnet")
    rows = [
        compare(Case.of(architecture, layer, given.images, units), given.rounds, calls, composites)
        for layer in LAYERS
    ]
    head = ["ZFNet", "window px", "units", "convscope", "of which forward"]
    head.append("Captum, a call per unit")
    head.append(f"Captum at its best, {BATCH} units")
    head += [f"zennit at its best, {BATCH} units"] if composites else []
    words = (
        f"Per unit, the forward pass included; × is the peer's time ÷ ours, round by round. "
        f"{given.images} images. Largest difference from ours on ZFNet without LRN, relative to "
        f"the largest pixel, theirs times the unit's activation: {agreement(composites)}."
    )
    body = f"{measure.table(head, rows)}\n\n{words}"
    measure.report("projection", "Projection of units", body, write=not given.quick)


if __name__ == "__main__":
    main()
