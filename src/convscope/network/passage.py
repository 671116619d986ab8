"""A piece of the exported graph that is run as it stands: one node of the network.

Between values whose first axis is the images, a network may compute on values that list them
otherwise: attention heads beside the images, windows among them, tokens before them. Such values
are no layers. What reads them computes them, from layers, as the module wrote it down; whether
images stay apart on the way is tried on numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convscope.network.aliasing import writes_in_place

__all__ = ["Passage", "keeps_images_apart"]

aten = torch.ops.aten
TRIED = 3
"""Images that a passage is tried on."""

_MOVING = frozenset(
    getattr(aten, name)
    for name in (
        *("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "_unsafe_view"),
        *("reshape_as", "view_as", "permute", "transpose", "t", "mT", "movedim", "swapaxes"),
        *("select", "slice", "narrow", "unbind", "split", "split_with_sizes", "chunk", "unfold"),
        *("expand", "expand_as", "repeat", "cat", "stack", "roll", "flip", "index"),
        *("index_select", "gather", "pad", "constant_pad_nd"),
        *("contiguous", "clone", "alias", "dropout"),
    )
)
"""What puts values elsewhere and changes none."""
_LINEAR_IN_ONE = frozenset(
    (aten.linear, aten.matmul, aten.bmm, aten.mul, aten.conv1d, aten.conv2d, aten.einsum)
)
"""What is linear in a value of the network as long as the other operands are stored."""
_VIEWS = (aten.view.default, aten._unsafe_view.default)
_SUMS = frozenset((aten.add, aten.sub, aten.mean, aten.sum, aten.avg_pool2d, aten.avg_pool1d))


@dataclass(frozen=True, eq=False)
class Passage:
    """Steps of an exported graph, from layers to one value.

    Attributes:
        steps: The graph's nodes in order; the last one makes the value.
        values: The graph's nodes whose values they read, which are layers.
        stored: Names of stored tensors that they read.
        per_image: Those of them that are to have a row for each image.
    """

    steps: tuple[Any, ...]
    values: tuple[Any, ...]
    stored: tuple[str, ...]
    per_image: frozenset[str]

    @classmethod
    def to(
        cls, fx: Any, is_layer: Callable[[Any], bool], is_stored: Callable[[str], bool]
    ) -> Passage:
        """The passage that makes a node's value from layers and stored tensors."""
        steps: dict[Any, None] = {}
        values: dict[Any, None] = {}
        constants: dict[str, None] = {}
        per_image: set[str] = set()

        def visit(node: Any) -> None:
            if node in steps:
                return
            for below in () if _is_number(node) else node.all_input_nodes:
                if is_stored(below.name):
                    constants[below.name] = None
                    shape: Any = getattr(below.meta["val"], "shape", None)
                    if shape and not isinstance(shape[0], int):
                        per_image.add(below.name)
                elif is_layer(below):
                    values[below] = None
                else:
                    visit(below)
            steps[node] = None

        visit(fx)
        return cls(tuple(steps), tuple(values), tuple(constants), frozenset(per_image))

    @property
    def writes(self) -> bool:
        """Whether a step overwrites what it reads."""
        return any(callable(step.target) and writes_in_place(step) for step in self.steps)

    @property
    def place(self) -> Any:
        """The step that the passage is there for: the last that does not only move values."""
        told = [step for step in self.steps if _packet(step) not in _MOVING and _is_aten(step)]
        return told[-1] if told else self.steps[-1]

    @property
    def moves(self) -> bool:
        """Whether it only puts values elsewhere."""
        return all(_packet(step) in _MOVING for step in self.steps if _is_aten(step))

    @property
    def linear(self) -> bool:
        """Whether it is linear, up to a constant, in all that it reads of the network."""
        from_images = {value.name for value in self.values}
        for step in self.steps:
            operands = [n for n in step.all_input_nodes if n.name in from_images]
            if not operands or not _is_aten(step):
                if operands:
                    from_images.add(step.name)
                continue
            from_images.add(step.name)
            packet = _packet(step)
            one = packet in _LINEAR_IN_ONE and len(operands) == 1 and _reads_once(step, operands[0])
            if not (packet in _MOVING or packet in _SUMS or one):
                return False
        return True

    def __call__(self, tensors: Mapping[str, Tensor], *values: Tensor) -> Tensor:
        """The value, for as many images as there are."""
        images = len(values[0])
        known: dict[str, Any] = dict(tensors)
        for name in self.per_image:
            known[name] = known[name].expand(images, *known[name].shape[1:])
        known.update(zip((value.name for value in self.values), values, strict=True))
        for step in self.steps:
            known[step.name] = _result(step, known, images)
        result: Tensor = known[self.steps[-1].name]
        return result

    def __repr__(self) -> str:
        """The words that caches of features hash: they stay, whatever is renamed, and are the same
        in every process, in which a set has another order."""
        names = f"{{{', '.join(map(repr, sorted(self.per_image)))}}}" if self.per_image else ""
        read = f"values={self.values}, stored={self.stored}, per_image=frozenset({names})"
        return f"Passage(steps={self.steps}, {read})"

    def __str__(self) -> str:
        return "; ".join(f"{s.name} = {s.target}{s.args}{s.kwargs or ''}" for s in self.steps)


def _result(step: Any, known: Mapping[str, Any], images: int) -> Any:
    if _is_number(step):
        count = step.meta["val"].node.expr
        return int(count.subs(dict.fromkeys(count.free_symbols, images)))
    args, kwargs = torch.fx.node.map_arg((step.args, step.kwargs), lambda n: known[n.name])
    run = aten.reshape.default if step.target in _VIEWS else step.target
    return run(*args, **kwargs)  # a view asks for a layout that a layer's value may not have


def keeps_images_apart(
    passage: Passage, tensors: Mapping[str, Tensor], shapes: Iterable[Sequence[int]], like: Tensor
) -> bool:
    """Whether each image's value is computed from its own alone, tried on random numbers.

    In float64, unless the network asks for a type of numbers itself.
    """
    casts = any(_packet(step) in (aten.to, aten._to_copy, aten.type_as) for step in passage.steps)
    dtype, tolerance = (like.dtype, 1e-3) if casts else (torch.float64, 1e-9)
    tensors = {k: t.to(dtype) if t.is_floating_point() else t for k, t in tensors.items()}
    generator = torch.Generator().manual_seed(0)
    values = [
        torch.randn((TRIED, *shape), generator=generator).to(like.device, dtype) for shape in shapes
    ]
    with torch.no_grad():
        together = passage(tensors, *values)
        for i in range(TRIED):
            alone = passage(tensors, *(value[i : i + 1] for value in values))
            if alone.shape != together[i : i + 1].shape:
                return False
            scale = together[i].abs().amax().clamp(min=1e-30)
            if float((alone[0] - together[i]).abs().amax() / scale) > tolerance:
                return False
    return True


def _packet(step: Any) -> Any:
    return getattr(step.target, "overloadpacket", None)


def _is_aten(step: Any) -> bool:
    return _packet(step) is not None and not _is_number(step)


def _is_number(step: Any) -> bool:
    """Whether it is a number that follows from how many images there are."""
    return isinstance(step.meta.get("val"), torch.SymInt)


def _reads_once(step: Any, operand: Any) -> bool:
    flat = torch.utils._pytree.tree_leaves((step.args, step.kwargs))
    return sum(item is operand for item in flat) == 1
