"""What is checked of one network, in float64: read, values, projections, occlusion."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import coverage_table
import eager
import torch
from torch import Tensor, nn

from convscope.errors import BadInput, BadModel, ConvscopeError, UnsupportedOp
from convscope.methods.occluder import Occluder
from convscope.methods.project import project
from convscope.methods.rules import DECONVNET, GRADIENT, Rules
from convscope.methods.sweep import Method, sweep
from convscope.network.network import Network, open_network
from convscope.network.ops import op_of
from convscope.network.unit import Unit

SIDES = (64, 96, 128, 224)


def examine(module: nn.Module, own_side: int) -> dict[str, Any]:
    """What a line of the log says of a network."""
    eager.enliven(module, seed=0)
    side, channels = accepted(module, own_side)
    images = noise(2, channels, side)
    line: dict[str, Any] = {
        "side": side,
        "kind": "transformer or hybrid" if eager.attends(module, images[:1]) else "CNN",
    }
    if line["kind"] == "CNN" and _convolutions(module) < 2:
        line["kind"] = "MLP"
    try:
        found = checks(module, images, line["kind"])
        if not exact(found) and casts(module, images):  # parts of it count in float32
            with patch.object(Tensor, "float", _float64):
                found = {**checks(module, images, line["kind"]), "values": found["values"]}
            line["float32"] = True
    except (UnsupportedOp, BadModel, BadInput) as error:
        others = outside(module, images) if isinstance(error, UnsupportedOp) else []
        return {**line, "read": False, "refused": str(error), "outside": others}
    return {**line, "read": True, **found}


def checks(module: nn.Module, images: Tensor, kind: str) -> dict[str, Any]:
    """How far the network is from its module; see `exact`."""
    network = open_network(module, tuple(images.shape[1:]))
    return {
        "values": values_apart(network, module, images),
        **projections(network, module, images[:1], kind),
        "occlusion": occlusion_apart(network, images[0]),
    }


def exact(found: dict[str, Any]) -> bool:
    """Whether all checks are passed."""
    return not coverage_table.wrong(found)


def casts(module: nn.Module, images: Tensor) -> bool:
    """Whether forward() asks for float32 itself, whatever the network's own numbers are."""
    asked = []

    def noted(value: Tensor) -> Tensor:
        asked.append(value.is_floating_point() and value.dtype != torch.float32)
        return value.to(torch.float32)

    with torch.no_grad(), patch.object(Tensor, "float", noted):
        module(images)
    return any(asked)


def _float64(value: Tensor) -> Tensor:
    return value.double()


def _convolutions(module: nn.Module) -> int:
    return sum(isinstance(child, (nn.Conv2d, nn.Conv1d)) for child in module.modules())


def noise(count: int, channels: int, side: int) -> Tensor:
    """Coarse and fine noise, so that there is something to see at every depth."""
    generator = torch.Generator().manual_seed(1)
    total = torch.randn(count, channels, side, side, generator=generator, dtype=torch.float64)
    coarse = torch.randn(count, channels, 8, 8, generator=generator, dtype=torch.float64)
    return total + nn.functional.interpolate(coarse, (side, side), mode="bilinear")


def accepted(module: nn.Module, own_side: int) -> tuple[int, int]:
    """The smallest side of images that the network takes, and their channels."""
    first = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    channels = 1 if first is not None and first.in_channels == 1 else 3
    for side in sorted({*SIDES, own_side}):
        if side > max(own_side, SIDES[0]):
            break
        try:
            with torch.no_grad():
                module(noise(2, channels, side))
        except Exception:  # whatever a network says of images that it does not take
            continue
        return side, channels
    return own_side, channels


def outside(module: nn.Module, images: Tensor) -> list[str]:
    """All operations of the exported graph that are not in the op table."""
    try:
        batch = {0: torch.export.Dim("batch", min=1, max=2**20)}
        with torch.no_grad():
            program = torch.export.export(module, (images,), dynamic_shapes=(batch,), strict=False)
    except Exception:
        return []
    targets = [node.target for node in program.graph.nodes if node.op == "call_function"]
    aten = [target for target in targets if str(target).startswith("aten")]
    unknown = {str(t) for t in aten if op_of(t) is None}
    return sorted(unknown - {"aten.sym_size.int"})


# --- the three checks -----------------------------------------------------------------------------


def apart(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, relative to the largest number."""
    if ours.shape != theirs.shape:
        return math.inf
    scale = float(theirs.abs().max()) if theirs.numel() else 0.0
    gap = float((ours - theirs).abs().max()) if theirs.numel() else 0.0
    return gap / scale if scale else gap


def values_apart(network: Network, module: nn.Module, images: Tensor) -> float:
    """Of what the network answers from what the module answers."""
    with torch.no_grad():
        answer = module(images)
    found = network.values(images, network.outputs.values())
    return max(apart(found[layer], _at(answer, key)) for key, layer in network.outputs.items())


def _at(answer: Any, key: str) -> Tensor:
    for part in filter(None, key.split(".")):
        answer = answer[part] if isinstance(answer, dict) else answer[int(part)]
    return answer  # type: ignore[no-any-return]


def projections(network: Network, module: nn.Module, image: Tensor, kind: str) -> dict[str, Any]:
    """Of three units, low, in the middle and on top, against the module run eagerly."""
    apart_, cosines, layers = 0.0, 1.0, []
    methods = (DECONVNET, GRADIENT) if kind == "CNN" else (GRADIENT,)
    for layer in _low_middle_top(network, eager.called_once(module, image)):
        trace = network.trace(image, [layer])
        unit, place = _strongest(network, trace[layer][0], layer, module, image)
        layers.append(str(unit))
        for rules in methods:
            ours = _projected(trace, unit, rules)
            theirs = eager.projected(module, image, layer, place, deconvnet=rules is DECONVNET)
            apart_ = max(apart_, apart(ours, theirs))
            cosines = min(cosines, cosine(ours, theirs))
    return {"units": layers, "projections": apart_, "cosine": cosines}


def _projected(trace: Any, unit: Unit, rules: Rules) -> Tensor:
    return project(trace, unit, rules).projection[0]


def cosine(a: Tensor, b: Tensor) -> float:
    """1 for two pictures of nothing."""
    lengths = float(a.norm()), float(b.norm())
    if not all(lengths):
        return 1.0 if not any(lengths) else 0.0
    return float((a / lengths[0]).flatten() @ (b / lengths[1]).flatten())


def _low_middle_top(network: Network, names: list[str]) -> Iterator[str]:
    """Three of the module's layers that the network knows as feature maps or vectors."""
    ours = {layer.name: layer for layer in network.layers}
    fit = [name for name in names if name in ours and len(ours[name].shape) in (1, 3)]
    maps = [name for name in fit if len(ours[name].shape) == 3] or fit
    if maps:
        yield from dict.fromkeys(maps[round(i * (len(maps) - 1))] for i in (0.1, 0.5, 1.0))


def _strongest(
    network: Network, ours: Tensor, layer: str, module: nn.Module, image: Tensor
) -> tuple[Unit, tuple[int, ...]]:
    """A layer's strongest unit, and its index in what the module's own layer answers.

    The values there must be the same.
    """
    theirs = eager.layer_value(module, image, layer)
    flat = int(ours.argmax())
    if ours.dim() == 1:
        unit, place = Unit(layer, flat), (flat,)
    else:
        rows, columns = ours.shape[1:]
        channel, at = divmod(flat, rows * columns)
        row, column = divmod(at, columns)
        unit = Unit(layer, channel, row, column)
        if theirs.dim() == 3:  # a dense layer has its channels last
            place = (channel, row, column)
            as_it_is = theirs.shape == ours.shape and torch.allclose(theirs, ours)
            if isinstance(module.get_submodule(layer), nn.Linear) and not as_it_is:
                place = (row, column, channel)
                if theirs.shape[:2] != (rows, columns):  # windows and their tokens: by its value
                    at = int((theirs[..., channel] - ours[channel, row, column]).abs().argmin())
                    place = (*divmod(at, theirs.shape[1]), channel)
        else:  # tokens, those of no place first
            place = (len(theirs) - rows * columns + at, channel)
    gap = float((ours.flatten()[flat] - theirs[place]).abs())
    if gap > coverage_table.EXACT * max(1.0, float(theirs.abs().max())):
        raise ArithmeticError(f"{unit} is {float(ours.flatten()[flat])}, {float(theirs[place])}")
    return unit, place


def occlusion_apart(network: Network, image: Tensor) -> float | str:
    """Of an incremental sweep from the whole network at every position."""
    side = image.shape[-1]
    occluder = Occluder(max(1, side // 7), max(1, side // 2))
    fill = image.mean()
    convolutions = network.conv_layers()
    units = [Unit(convolutions[len(convolutions) // 2], 0)] if convolutions else []
    try:
        found = [
            sweep(network, image, occluder, fill=float(fill), units=units, method=method)
            for method in (Method.INCREMENTAL, Method.FULL)
        ]
    except BadInput:  # no score per class
        found = [
            sweep(network, image, occluder, fill=float(fill), units=units, classify=False,
                  method=method)
            for method in (Method.INCREMENTAL, Method.FULL)
        ]  # fmt: skip
    except ConvscopeError as error:
        return str(error)
    ours, theirs = found
    gaps = [apart(ours.activity, theirs.activity)] if units else []
    if ours.logits is not None and theirs.logits is not None:
        gaps.append(apart(ours.logits, theirs.logits))
    return max(gaps, default=0.0)
