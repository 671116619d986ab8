"""A network as Convscope sees it: named layers, their receptive fields, and a forward pass."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from convscope.errors import BadInput, BadOption, NoSuchLayer, NoSuchUnit
from convscope.geometry.window import Field, Status, Window
from convscope.network.constants import Constants
from convscope.network.node import Node
from convscope.network.ops import ACTIVATION_KINDS, OUTPUT_KINDS
from convscope.network.reader import INPUT, read_network
from convscope.network.unit import Unit

if TYPE_CHECKING:
    from convscope.network.cone import Cone
    from convscope.network.trace import Trace

__all__ = ["Layer", "Network", "open_network"]

IMAGE = "input"  # what a person calls the image
ARITHMETIC = ("add", "sub", "mul", "div")
FRESH = ("conv", "batch_norm")  # kinds whose result is new memory


@dataclass(frozen=True)
class Layer:
    """What there is to know about a layer without running it.

    shape : (C, H, W), or (C,) for a layer without a grid, or () for one number an image
    field : its receptive field, a window per axis, in image pixels
    inputs : names of the layers below; "input" is the image (".input" in a network that has a layer
        called input)
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    field: Field
    inputs: tuple[str, ...]

    @property
    def channels(self) -> int:
        return self.shape[0] if self.shape else 1

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns); a layer without a grid has one position."""
        return (self.shape[-2], self.shape[-1]) if len(self.shape) >= 3 else (1, 1)

    @property
    def size(self) -> str:
        """The shape in words, such as 96x27x27; one number an image is 1."""
        return "x".join(map(str, self.shape)) or "1"

    @property
    def status(self) -> Status:
        return self.field.status


class Network:
    """An exported network. Opened with `open_network`; `print(network)` is its table.

    The tensors are the module's own, not copies: train the module on, and this follows. What the
    module computes from its parameters in forward(), as weight standardisation and weight norm do,
    is computed anew after a parameter was written to, by an optimiser, `load_state_dict` or under
    `torch.no_grad()`; but not through `.data`, which PyTorch does not count. Open the network again
    after that, and where a parameter was replaced by another one. A network that `to` has moved to
    another device or dtype has copies, and follows no more.

    output : the layer that is the network's answer: its scores, if it classifies
    outputs : all that it returns, name -> layer; the name is "" where that is one value
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        input_shape: tuple[int, int, int],
        outputs: Mapping[str, str],
        output: str,
        constants: Constants | None = None,
    ) -> None:
        self._nodes: dict[str, Node] = {node.name: node for node in nodes}
        self._constants = constants
        self.input_shape = input_shape
        self.outputs = dict(outputs)
        self.output = output
        fields = _receptive_fields(self.nodes.values(), input_shape[-2:])
        self._layers = {
            name: Layer(name, node.kind, node.shape, fields[name], self._shown(node.inputs))
            for name, node in self.nodes.items()
        }
        self._cones: dict[str, Cone | None] = {}
        self._readers: dict[str, list[str]] = {name: [] for name in (INPUT, *self.nodes)}
        for node in self.nodes.values():
            for below in node.inputs:
                self._readers[below].append(node.name)

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Every operation by its layer's name, in order of execution, its tensors up to date."""
        if self._constants is not None:
            self._constants.follow()
        return self._nodes

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer in order of execution."""
        return tuple(self._layers.values())

    @property
    def device(self) -> torch.device:
        return self._like().device

    @property
    def dtype(self) -> torch.dtype:
        return self._like().dtype

    def _like(self) -> Tensor:
        tensors = (t for node in self.nodes.values() for t in node.tensors.values())
        return next((t for t in tensors if t.is_floating_point()), torch.zeros(()))

    def to(self, target: torch.device | str | torch.dtype) -> Network:
        """The same network with its tensors on another device, or of another dtype."""
        moved = [
            replace(node, tensors={key: t.to(target) for key, t in node.tensors.items()})
            for node in self.nodes.values()
        ]
        stays = all(
            now is before
            for new, old in zip(moved, self.nodes.values(), strict=True)
            for now, before in zip(new.tensors.values(), old.tensors.values(), strict=True)
        )
        constants = self._constants if stays else None
        return Network(moved, self.input_shape, self.outputs, self.output, constants)

    def identity(self) -> str:
        """SHA-256, hex: of every operation with its settings and the bytes of its tensors."""
        whole = hashlib.sha256()
        if len(self.outputs) > 1:
            whole.update(f"{self.output}\n".encode())
        for node in self.nodes.values():
            settings = sorted((key, str(value)) for key, value in node.settings.items())
            inputs = self._shown(node.inputs)
            whole.update(f"{node.name}\0{node.kind}\0{inputs}\0{settings}\n".encode())
            for key, tensor in sorted(node.tensors.items()):
                flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
                whole.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                whole.update(flat.numpy().data)
        return whole.hexdigest()

    def _shown(self, names: Iterable[str]) -> tuple[str, ...]:
        """Names for a person: the image is "input", if no layer is called so."""
        image = INPUT if IMAGE in self.nodes else IMAGE
        return tuple(image if name == INPUT else name for name in names)

    def resolve(self, name: str) -> str:
        """The name inside a pass: "input" is the image, unless a layer is called so."""
        return INPUT if name == IMAGE and name not in self.nodes else name

    def layer(self, name: str) -> Layer:
        """Raises  NoSuchLayer: with the nearest names."""
        if name not in self._layers:
            near = difflib.get_close_matches(name, self._layers, n=3, cutoff=0.4)
            hint = f"did you mean {', '.join(near)}?" if near else "see `convscope layers MODEL`"
            raise NoSuchLayer(f"no layer {name!r} in this network: {hint}")
        return self._layers[name]

    def unit(self, unit: Unit | str) -> Unit:
        """A unit that exists in this network.

        Raises  NoSuchLayer, NoSuchUnit: what is allowed is said.
        """
        unit = Unit.parse(unit)
        layer = self.layer(unit.layer)
        if len(layer.shape) not in (1, 3):
            raise NoSuchUnit(
                f"{unit}: layer {layer.name} is {layer.size}, neither feature "
                "maps nor a vector: look at the layer below or above it"
            )
        if not 0 <= unit.channel < layer.channels:
            raise NoSuchUnit(
                f"{unit}: layer {layer.name} has feature maps 0 to {layer.channels - 1}"
            )
        if unit.position is not None:
            rows, columns = layer.grid
            row, column = unit.position
            if not (0 <= row < rows and 0 <= column < columns):
                raise NoSuchUnit(
                    f"{unit}: layer {layer.name} has rows 0 to {rows - 1} "
                    f"and columns 0 to {columns - 1}"
                )
        return unit

    def conv_layers(self) -> tuple[str, ...]:
        """Names of the convolutional layers that the output depends on, bottom up."""
        return tuple(node.name for node in self.below([self.output]) if node.kind == "conv")

    def about_outputs(self) -> str | None:
        """Which of several outputs is taken for the network's answer; None if there is but one."""
        if len(self.outputs) < 2:
            return None
        each = ", ".join(f"{key} ({layer})" for key, layer in self.outputs.items())
        taken = next(key for key, layer in self.outputs.items() if layer == self.output)
        return f"it returns {len(self.outputs)} outputs, {each}: {taken} is taken for its answer"

    def activation(self, name: str) -> str:
        """The layer whose value is the activation of `name`.

        A convolution's activation is what its batch norm (or a scale and a shift per channel that
        are written out) and nonlinearity make of it, as far as nothing else reads the value in
        between; otherwise it is the layer's own output.
        """
        activation = at = self.layer(name).name
        while self.nodes[at].kind not in ACTIVATION_KINDS and len(self._readers[at]) == 1:
            reader = self.nodes[self._readers[at][0]]
            if _is_affine(reader) or reader.kind in ACTIVATION_KINDS - OUTPUT_KINDS:
                activation = reader.name
            elif not reader.op.passes_through:
                break
            at = reader.name
        return activation

    def below(self, names: Iterable[str]) -> list[Node]:
        """The nodes that the given layers depend on, and themselves, in order of execution."""
        needed: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name != INPUT and name not in needed:
                needed.add(name)
                todo += self.nodes[name].inputs
        return [node for name, node in self.nodes.items() if name in needed]

    def values(self, images: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Values of some layers, and of the images themselves under "input".

        images : (N, C, H, W) preprocessed.   Returns  name -> (N, *layer.shape).
        """
        keys = {name: self.resolve(name) for name in names}
        found = dict(self.stream(images, keys.values()))
        return {name: found[key] for name, key in keys.items()}

    @torch.no_grad()
    def stream(self, images: Tensor, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """(name, value) of some layers as soon as each is known; "input" is the images themselves.

        A value is let go after its last use; nothing above the layers is run.
        images : (N, C, H, W) preprocessed; they are never written to

        Raises  NoSuchLayer; BadInput: images of another shape.
        """
        asked = {self.resolve(name): name for name in names}
        wanted = {name if name == INPUT else self.layer(name).name for name in asked}
        plan = self.below(wanted)
        last_use = {below: i for i, node in enumerate(plan) for below in node.inputs}
        reads = Counter(below for node in plan for below in node.inputs)
        values = {INPUT: self.check_images(images)}
        if INPUT in wanted:
            yield asked[INPUT], values[INPUT]
        for i, node in enumerate(plan):
            inputs = [values[below] for below in node.inputs]
            for below in set(node.inputs):
                if last_use[below] == i:
                    del values[below]
            only_reader = reads[node.inputs[0]] == 1 and node.inputs[0] not in wanted
            if only_reader and self._overwrites(node):
                value = inputs[0].relu_()  # to touch no new memory takes a tenth off ZFNet's pass
            else:
                value = node.forward(*inputs)
            if node.name in last_use:
                values[node.name] = value
            if node.name in wanted:
                yield node.name, value

    def _overwrites(self, node: Node) -> bool:
        """Whether it is a rectifier whose input is a fresh result, no view of anything."""
        below = self.nodes.get(node.inputs[0])
        return node.kind == "relu" and below is not None and below.kind in FRESH

    def trace(self, images: Tensor, layers: Iterable[str] | None = None) -> Trace:
        """One forward pass with everything kept that a projection may ask for.

        images : (N, C, H, W) or (C, H, W), preprocessed
        layers : run no further than these (default: the whole network)
        """
        from convscope.network.trace import Trace  # a trace belongs to a network, and knows it

        return Trace.record(self, images, layers)

    def cone(self, layer: str) -> Cone | None:
        """The receptive cone of a layer's units; None where their windows do not move with them."""
        from convscope.network.cone import Cone  # as above

        name = self.layer(layer).name
        if name not in self._cones:
            self._cones[name] = Cone.of(self, name)
        return self._cones[name]

    def check_images(self, images: Tensor) -> Tensor:
        """A batch of the right shape, dtype and device.   Raises  BadInput otherwise."""
        if images.dim() == 3:
            images = images.unsqueeze(0)
        if images.dim() != 4 or tuple(images.shape[1:]) != tuple(self.input_shape):
            expected = "x".join(map(str, self.input_shape))
            found = "x".join(map(str, images.shape))
            raise BadInput(f"images are {found}: this network was opened for N x {expected}")
        return images.to(device=self.device, dtype=self.dtype)

    def table(self) -> list[dict[str, object]]:
        """A row per layer, JSON-able: what `convscope layers --json` prints."""
        return [_row(layer) for layer in self.layers]

    def __str__(self) -> str:
        head = ("layer", "kind", "shape", "field", "stride", "start", "status")
        rows = [head, *(_cells(layer) for layer in self.layers)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)


def open_network(
    module: nn.Module, input_shape: tuple[int, int, int], *, output: str | int | None = None
) -> Network:
    """Read a PyTorch module into a `Network`, through `torch.export`.

    input_shape : (C, H, W) of the images it takes.   The module comes back as it was.
    output : which of several outputs is the network's answer, by its name or its number from 0;
        default: the first that it returns. The others are layers like any other.
    Raises  BadModel: it cannot be exported;  UnsupportedOp: an operation outside the op table;
        BadOption: no such output.
    """
    if len(input_shape) != 3 or any(n < 1 for n in input_shape):
        raise BadInput(f"input_shape is {tuple(input_shape)}: give (channels, height, width)")
    read = read_network(module, input_shape)
    chosen = _chosen(read.outputs, output)
    return Network(read.nodes, input_shape, read.outputs, chosen, read.constants)


def _chosen(outputs: Mapping[str, str], wish: str | int | None) -> str:
    """The layer of the output that is asked for by name or number."""
    if wish is None:
        return next(iter(outputs.values()))
    if wish in outputs:
        return outputs[str(wish)]
    if str(wish).isdecimal() and int(wish) < len(outputs):
        return list(outputs.values())[int(wish)]
    if len(outputs) == 1:
        raise BadOption(f"output {wish}: this network has one output: leave it out, or give 0")
    raise BadOption(
        f"no output {wish} of this network: it returns {', '.join(outputs)}; give a name, or a "
        f"number, 0 to {len(outputs) - 1}"
    )


def _is_affine(node: Node) -> bool:
    """Whether it is a batch norm, or scales or shifts each channel by a number of its own."""
    if node.kind == "batch_norm":
        return True
    if node.kind not in ARITHMETIC or len(node.inputs) > 1 or node.shape != node.below[0]:
        return False
    other = node.tensors.get("other")
    if other is None or len(node.shape) == 1:
        return True
    places = other.shape[-min(other.dim(), len(node.shape) - 1) :] if other.dim() else ()
    return all(n == 1 for n in places)


def _receptive_fields(nodes: Iterable[Node], extent: tuple[int, int]) -> Mapping[str, Field]:
    fields = {INPUT: Field()}
    for node in nodes:
        seen = [
            reach.after(fields[below])
            for reach, below in zip(node.fields(), node.inputs, strict=True)
        ]
        field = seen[0]
        for other in seen[1:]:
            field = field.hull(other, extent)
        fields[node.name] = Field(*map(_whole_image, (field.rows, field.columns), extent))
    return fields


def _whole_image(window: Window, extent: int) -> Window:
    """A global window sees the whole image: say just that."""
    return Window.whole(extent) if window.is_whole else window


def _row(layer: Layer) -> dict[str, object]:
    windows = (layer.field.rows, layer.field.columns)
    return {
        "name": layer.name,
        "kind": layer.kind,
        "shape": list(layer.shape),
        "receptive_field": [w.size for w in windows],
        "stride": [_number(w.stride) for w in windows],
        "start": [_number(w.start) for w in windows],
        "status": layer.status.value,
        "inputs": list(layer.inputs),
    }


def _cells(layer: Layer) -> tuple[str, ...]:
    row = _row(layer)
    if layer.field.rows.is_whole and layer.field.columns.is_whole:
        geometry: tuple[str, ...] = ("whole image", "-", "-")
    else:
        geometry = tuple(_axes(row[key]) for key in ("receptive_field", "stride", "start"))
    return (layer.name, layer.kind, layer.size, *geometry, layer.status.value)


def _axes(values: object) -> str:
    assert isinstance(values, list)
    rows, columns = (f"{v:g}" for v in values)
    return rows if rows == columns else f"{rows}x{columns}"


def _number(value: object) -> int | float:
    number = float(value)  # type: ignore[arg-type]
    return int(number) if number.is_integer() else number
