"""The graph of a network: named layers, their receptive fields, and a forward pass."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from convscope.display import Brief
from convscope.errors import BadInput, BadOption, NoSuchLayer, NoSuchUnit
from convscope.geometry.window import Field, Status, Window
from convscope.network.constants import Constants, moved
from convscope.network.from_export import INPUT
from convscope.network.legend import Legend
from convscope.network.node import Node
from convscope.network.task import Task
from convscope.network.unit import Unit
from convscope.text import is_number

__all__ = ["Graph", "Layer"]

T = TypeVar("T")

IMAGE = "input"  # what a person calls the image


@dataclass(frozen=True)
class Layer(Brief):
    """What there is to know about a layer without running it.

    Attributes:
        name: The dotted name of its module, or one made from it.
        kind: The kind of operation, such as conv or relu.
        shape: (C, H, W); (C,) for a layer without a grid; () for one number an image.
        field: Its receptive field: a window along each axis, in image pixels.
        inputs: The names of the layers below. "input" is the image (".input" in a network that has
            a layer called input).
        real: Whether it holds real numbers, which can be activations; a comparison's are true or
            false, an argmax's are places.

    Example:
        >>> layer = network.layer("conv2")
        >>> layer.kind, layer.size
        ('conv', '8x16x16')
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    field: Field
    inputs: tuple[str, ...]
    real: bool = True

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


class Graph(Brief):
    """Operations under their layers' names, and what there is to know of them; it can be run.

    Attributes:
        input_shape: (C, H, W) of the images.
        output: the layer that is the network's answer: its scores, if it classifies.
        outputs: all that it returns, name -> layer; the name is "" where that is one value.
        task: what the numbers of its answer are meant as.
        legend: how figures show its images and name its classes.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        input_shape: tuple[int, int, int],
        outputs: Mapping[str, str],
        output: str,
        constants: Constants | None = None,
        task: Task = Task.AUTO,
    ) -> None:
        self._nodes: dict[str, Node] = {node.name: node for node in nodes}
        self._constants = constants
        self.input_shape = input_shape
        self.outputs = dict(outputs)
        self.output = output
        self.task = Task(task)
        self.legend = Legend()
        fields = _receptive_fields(self.nodes.values(), input_shape[-2:])
        self._layers = {
            name: Layer(
                name, node.kind, node.shape, fields[name], self._shown(node.inputs), node.real
            )
            for name, node in self.nodes.items()
        }
        self._cached: dict[object, Any] = {}
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

    def __repr__(self) -> str:
        size = "x".join(map(str, self.input_shape))
        words = f"{len(self.layers)} layers, {size} -> {self.output} {self.layer(self.output).size}"
        title = f"{self.legend.title}: " if self.legend.title else ""
        return f"<{type(self).__name__} {title}{words}>"

    @property
    def device(self) -> torch.device:
        return self._like().device

    @property
    def dtype(self) -> torch.dtype:
        return self._like().dtype

    def _like(self) -> Tensor:
        tensors = (t for node in self.nodes.values() for t in node.tensors.values())
        return next((t for t in tensors if t.is_floating_point() and t.numel()), torch.zeros(()))

    def to(self, target: torch.device | str | torch.dtype) -> Self:
        """The same network with its tensors on another device, or of another dtype."""
        nodes = [
            replace(node, tensors={key: moved(t, target) for key, t in node.tensors.items()})
            for node in self.nodes.values()
        ]
        stays = all(
            now is before
            for new, old in zip(nodes, self.nodes.values(), strict=True)
            for now, before in zip(new.tensors.values(), old.tensors.values(), strict=True)
        )
        return self._with(nodes, self._constants if stays else None)

    def with_tensors(self, changed: Mapping[str, Mapping[str, Tensor]]) -> Self:
        """Return the same network with other numbers in some layers; this one stays as it is.

        Args:
            changed: layer -> tensors by name ("weight", "bias", ...); a tensor that is not named
                stays.
        """
        nodes = [
            replace(node, tensors={**node.tensors, **changed[node.name]})
            if node.name in changed
            else node
            for node in self.nodes.values()
        ]
        return self._with(nodes)

    def _with(self, nodes: Iterable[Node], constants: Constants | None = None) -> Self:
        """The same network of other nodes."""
        other = type(self)(nodes, self.input_shape, self.outputs, self.output, constants, self.task)
        other.legend = self.legend
        return other

    def identity(self) -> str:
        """SHA-256, hex: of every operation with its settings and the bytes of its tensors."""
        whole = hashlib.sha256()
        if len(self.outputs) > 1:
            whole.update(f"{self.output}\n".encode())
        if self.task is not Task.AUTO:
            whole.update(f"{self.task}\n".encode())
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
        """Return what is known about the layer of a name.

        Args:
            name: The layer's name, as `print(network)` has it.

        Raises:
            NoSuchLayer: There is none; the message has the nearest names.
        """
        if name not in self._layers:
            near = difflib.get_close_matches(name, self._layers, n=3, cutoff=0.4)
            hint = f"did you mean {', '.join(near)}?" if near else "see `convscope layers MODEL`"
            raise NoSuchLayer(f"no layer {name!r} in this network: {hint}")
        return self._layers[name]

    def feature_layer(self, name: str) -> Layer:
        """Return the layer of a name, if it can be looked at: if it holds activations.

        Args:
            name: The layer's name, as `print(network)` has it.

        Raises:
            NoSuchLayer: There is none, or it holds no real numbers, as a comparison.
        """
        layer = self.layer(name)
        if not layer.real:
            raise NoSuchLayer(
                f"layer {name} ({layer.kind}) tells what is true or where something is, and has no "
                "activations: look at the layer below or above it"
            )
        return layer

    def unit(self, unit: Unit | str) -> Unit:
        """Return a unit, if this network has it.

        Args:
            unit: A unit, or its address as text, such as "conv5/128@6,6".

        Raises:
            NoSuchLayer: There is no such layer, or it holds no activations.
            NoSuchUnit: The layer has no such channel or position; the message says which it has.
        """
        unit = Unit.parse(unit)
        layer = self.feature_layer(unit.layer)
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

    def conv_layers(self, *, all_outputs: bool = False) -> tuple[str, ...]:
        """List the convolutional layers that the answer depends on, bottom up.

        Args:
            all_outputs: List those that any other output depends on, too.
        """
        tops = self.outputs.values() if all_outputs else [self.output]
        return tuple(node.name for node in self.below(tops) if node.op.convolves)

    def output_layer(self, wish: str | int) -> str:
        """Find the layer that holds an output.

        Args:
            wish: The output's name, or its number from 0.

        Raises:
            BadOption: There is no such output; the message has those that there are.
        """
        if wish in self.outputs:
            return self.outputs[str(wish)]
        if is_number(str(wish), len(self.outputs) - 1):
            return list(self.outputs.values())[int(wish)]
        if len(self.outputs) == 1:
            raise BadOption(f"output {wish}: this network has one output: leave it out, or give 0")
        raise BadOption(
            f"no output {wish} of this network: it returns {', '.join(self.outputs)}; give a "
            f"name, or a number, 0 to {len(self.outputs) - 1}"
        )

    def about_outputs(self) -> str | None:
        """Which of several outputs is taken for the network's answer; None if there is but one."""
        if len(self.outputs) < 2:
            return None
        names = ", ".join(f"{key} ({layer})" for key, layer in self.outputs.items())
        taken = next(key for key, layer in self.outputs.items() if layer == self.output)
        return f"it returns {len(self.outputs)} outputs, {names}: {taken} is taken for its answer"

    def activation(self, name: str) -> str:
        """The layer whose value is the activation of `name`.

        A convolution's activation is what its batch norm (or a scale and a shift per channel that
        are written out) and nonlinearity make of it, as far as nothing else reads the value in
        between; otherwise it is the layer's own output.
        """
        activation = at = self.layer(name).name
        while not self.nodes[at].op.activation and len(self._readers[at]) == 1:
            reader = self.nodes[self._readers[at][0]]
            if _is_affine(reader) or (reader.op.activation and reader.op.elementwise):
                activation = reader.name
            elif not reader.op.passes_through:
                break
            at = reader.name
        return activation

    def below(self, names: Iterable[str]) -> list[Node]:
        """The nodes that the given layers depend on, and themselves, in order of execution."""
        nodes, todo = self.nodes, list(names)
        needed: set[str] = set()
        while todo:
            name = todo.pop()
            if name != INPUT and name not in needed:
                needed.add(name)
                todo += nodes[name].inputs
        return [node for name, node in nodes.items() if name in needed]

    def first_below(self, name: str, wanted: Callable[[Node], bool]) -> list[Node]:
        """The nodes of a kind that are met first on the ways down from a layer, itself included.

        Args:
            name: The layer.
            wanted: Whether a node is of the kind.

        Returns:
            In order of execution.
        """
        found: set[str] = set()
        seen: set[str] = set()
        todo = [name]
        while todo:
            name = todo.pop()
            if name == INPUT or name in seen:
                continue
            seen.add(name)
            if wanted(self.nodes[name]):
                found.add(name)
            else:
                todo += self.nodes[name].inputs
        return [node for name, node in self.nodes.items() if name in found]

    def values(self, images: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Compute the values of some layers, and of the images themselves under "input".

        Args:
            images: The images, preprocessed.
            names: The layers.

        Returns:
            The values by the layer's name.

        Shape:
            images: (N, C, H, W). Values: (N, *layer.shape).
        """
        keys = {name: self.resolve(name) for name in names}
        values = dict(self.stream(images, keys.values()))
        return {name: values[key] for name, key in keys.items()}

    def differentiable(self, images: Tensor, names: Sequence[str]) -> list[Tensor]:
        """Compute the values of some layers so that torch can differentiate them by the images.

        Args:
            images: The images, preprocessed; a leaf that requires a gradient.
            names: The layers.

        Shape:
            images: (N, C, H, W). Values: (N, *layer.shape).
        """
        with torch.enable_grad():
            values = dict(self._stream(images, names))
        return [values[name] for name in names]

    @torch.no_grad()
    def stream(self, images: Tensor, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Give out the value of some layers as soon as each is known.

        A value is let go after its last use, and nothing above the layers is run.

        Args:
            images: The images, preprocessed; they are never written to.
            names: The layers; "input" is the images themselves.

        Yields:
            The layer's name and its value.

        Shape:
            images: (N, C, H, W). A value: (N, *layer.shape).

        Raises:
            NoSuchLayer: There is no such layer.
            BadInput: The images have another shape.
        """
        yield from self._stream(images, names)

    def _stream(self, images: Tensor, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
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
            # to touch no new memory takes a tenth off ZFNet's pass
            in_place = None if torch.is_grad_enabled() else node.op.in_place
            if in_place is not None and only_reader and self._reads_new_memory(node):
                value = in_place(node, *inputs)
            else:
                value = node.forward(*inputs)
            if node.name in last_use:
                values[node.name] = value
            if node.name in wanted:
                yield node.name, value

    def _reads_new_memory(self, node: Node) -> bool:
        """Whether a node's input is a fresh result, no view of anything."""
        below = self.nodes.get(node.inputs[0])
        return below is not None and below.op.new_memory

    def cached(self, key: object, make: Callable[[], T]) -> T:
        """What `make` works out of the graph's shape, once; it must not depend on the weights."""
        if key not in self._cached:
            self._cached[key] = make()
        return self._cached[key]

    def check_images(self, images: Tensor) -> Tensor:
        """Bring images to the network's shape, dtype and device.

        Args:
            images: The images, with or without a batch axis.

        Shape:
            images: (N, C, H, W) or (C, H, W). The result: (N, C, H, W).

        Raises:
            BadInput: They have another shape, or are no numbers.
        """
        if images.dim() == 3:
            images = images.unsqueeze(0)
        if images.dim() != 4 or tuple(images.shape[1:]) != tuple(self.input_shape):
            expected = "x".join(map(str, self.input_shape))
            shape = "x".join(map(str, images.shape))
            raise BadInput(f"images are {shape}: this network was opened for N x {expected}")
        return images.to(device=self.device, dtype=self.dtype)


def _is_affine(node: Node) -> bool:
    """Whether it is a batch norm, or scales or shifts each channel by a number of its own."""
    if node.op.scale_shift is not None:
        return True
    if not node.op.arithmetic or len(node.inputs) > 1 or node.shape != node.below[0]:
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
