"""Targets: one number out of what a network returns for an image, to be watched or projected.

A target is any function of the output. What is not given as a function is made one:

    a number of a regression      the number itself
    a class of maps (C, H, W)     its mean score over the positions where it is predicted in the
                                  image as it is, over all positions if it is so nowhere; or its
                                  score at one position of the maps' grid
    maps of a regression          the mean of one channel over all positions, or at one

The scores of maps are what the network returns, logits or probabilities; of one channel (1, H, W),
class 1 has the number itself, class 0 the rest. The class of a vector needs no target: it has a
probability and log-odds (`methods.classes`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import torch
from torch import Tensor

from convscope.display import Brief
from convscope.errors import BadInput, BadOption, NonFinite
from convscope.methods.classes import Head, is_normalised
from convscope.methods.numbers import widened
from convscope.network.graph import Graph
from convscope.network.task import Task

__all__ = [
    "ClassAt",
    "Function",
    "Target",
    "TargetLike",
    "Watched",
    "about_answer",
    "as_target",
    "choices",
    "class_shares",
    "watched",
]

Function = Callable[..., Any]
"""From what the network returns for one image, (C,), (C, H, W) or whatever it is, without the axis
of the batch, to one number."""


@dataclass(frozen=True, eq=False)
class Target(Brief):
    """A number that is worked out of what the network returns for one image.

    Attributes:
        function: takes a tensor for each of `outputs`, as the network returns them but without the
            axis of the batch, and returns one number. Where it is projected, torch must be able to
            differentiate it.
        name: what figures and files call it; default: the function's.
        outputs: names or numbers of the outputs that it takes; default: the network's answer.
        quantity: what kind of number it is, such as "score" or "similarity".

    Example:
        >>> Target(lambda scores: scores[3] - scores[5], name="cat against dog")
    """

    function: Function
    name: str = ""
    outputs: Sequence[str | int] = ()
    quantity: str = "value"

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise BadOption(
                f"target {self.function!r}: give a class, or a function of the network's output"
            )
        one = isinstance(self.outputs, str | int)
        object.__setattr__(self, "outputs", (self.outputs,) if one else tuple(self.outputs))
        if not self.name:
            named = getattr(self.function, "__name__", type(self.function).__name__)
            object.__setattr__(self, "name", "target" if named == "<lambda>" else named)

    def layers(self, network: Graph) -> tuple[str, ...]:
        """The layers that hold its outputs.

        Raises:
            BadOption: the network has no such output.
        """
        return tuple(network.output_layer(key) for key in self.outputs) or (network.output,)

    def value(self, *outputs: Tensor) -> Tensor:
        """The number for one image.

        Args:
            *outputs: what the network returns for it, without the axis of the batch.

        Raises:
            BadOption: the function fails, or returns anything else than one number.

        Shape:
            (), floating point.
        """
        try:
            found = self.function(*outputs)
        except Exception as error:  # it is the user's: any may come
            sizes = ", ".join("x".join(map(str, each.shape)) or "one number" for each in outputs)
            raise BadOption(
                f"target {self.name!r} fails: {type(error).__name__}: {error}; it is given one "
                f"image's output ({sizes}), without the axis of the batch"
            ) from error
        try:
            number = torch.as_tensor(found, device=outputs[0].device)
        except (TypeError, ValueError, RuntimeError):
            raise BadOption(
                f"target {self.name!r} returned a {type(found).__name__}, not a number"
            ) from None
        if number.numel() != 1:
            sizes = ", ".join("x".join(map(str, each.shape)) or "one number" for each in outputs)
            raise BadOption(
                f"target {self.name!r} returned {'x'.join(map(str, number.shape))} numbers, not "
                f"one: it is given one image's output ({sizes}), without the axis of the batch"
            )
        number = number.reshape(())
        return number if number.is_floating_point() else number.to(torch.float32)

    def values(self, outputs: Sequence[Tensor]) -> Tensor:
        """The number for each of N images.

        Raises:
            BadOption: the function returns anything else than one number.

        Shape:
            (N, ...) for each output -> (N,).
        """
        rows = zip(*(widened(each) for each in outputs), strict=True)
        return torch.stack([self.value(*row).detach() for row in rows])

    def gradients(self, outputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The number for each of N images, and its derivative by each output.

        Raises:
            BadOption: the function returns anything else than one number, or torch cannot
                differentiate it.

        Shape:
            (N, ...) for each output -> (N,), and as the outputs.
        """
        inputs = [widened(each).detach().requires_grad_() for each in outputs]
        with torch.enable_grad():
            values = torch.stack([self.value(*row) for row in zip(*inputs, strict=True)])
            if not values.requires_grad:
                raise BadOption(
                    f"target {self.name!r} has no derivative: compute it with torch from the "
                    "output, without .item(), .detach() or argmax"
                )
            found = torch.autograd.grad(values.sum(), inputs, allow_unused=True)
        slopes = [
            torch.zeros_like(each) if slope is None else slope.to(each.dtype)
            for each, slope in zip(outputs, found, strict=True)
        ]
        return values.detach(), slopes


@dataclass(frozen=True)
class ClassAt:
    """A class, or a number of a regression: anywhere, or at one position of the output's maps.

    Attributes:
        index: of the class or the channel, from 0.
        position: (row, column) on the output's grid, not in pixels; None is all of it.
    """

    index: int
    position: tuple[int, int] | None = None

    @classmethod
    def split(cls, words: str) -> tuple[str, tuple[int, int] | None]:
        """The words of a class, and the position behind an @, if there is one.

        Example:
            >>> ClassAt.split("cat@12,40")
            ('cat', (12, 40))
        """
        found = re.fullmatch(r"(.+)@(\d+),(\d+)", words, re.ASCII | re.DOTALL)
        return (found[1], (int(found[2]), int(found[3]))) if found else (words, None)


TargetLike = int | ClassAt | Target | Function
"""What may be watched: a class, or a function of the output."""


@dataclass(frozen=True, eq=False)
class Watched:
    """A target, and what is known of it beforehand.

    Attributes:
        target: the number that is watched.
        index: the class or channel that it is about; None for a function.
        where: which part of the output it looks at, in words; "" for all of it.
        position: the (row, column) that it looks at, on the grid of the output's maps, or None.
        predicted: (h, w) int64, the class at each position of the output's maps for the image as
            it is; None where the output is no maps of classes.
    """

    target: Target
    index: int | None = None
    where: str = ""
    position: tuple[int, int] | None = None
    predicted: Tensor | None = None


def as_target(given: TargetLike | None) -> Target | ClassAt | None:
    """A function or a class, whichever way it was given.

    Raises:
        BadOption: it is neither.
    """
    if given is None or isinstance(given, Target | ClassAt):
        return given
    if callable(given):
        return Target(given)
    try:
        return ClassAt(index(given))
    except TypeError:
        raise BadOption(
            f"target {given!r}: give a class's index, or a function of the network's output"
        ) from None


def watched(
    network: Graph,
    image: Tensor,
    given: Target | ClassAt | None,
    *,
    background: int | None = None,
) -> Watched | None:
    """What is watched of an image, made a function; None for a class of a vector of scores.

    Args:
        network: that answers.
        image: (C, H, W), preprocessed.
        given: None is the class that is predicted at most positions, or a regression's number 0.
        background: the class of maps that is not taken by itself, unless there is no other.

    Raises:
        BadOption: no such class, channel, position or output.
        BadInput: the answer is neither a vector nor maps: its target has to be a function.
    """
    if isinstance(given, Target):
        given.layers(network)
        return Watched(given)
    if _is_maps(network):
        return _of_maps(network, image, given, background)
    if network.task is Task.REGRESS:
        return _of_numbers(network, given or ClassAt(0))
    classes = Head.of(network).classes
    if given is not None:
        _check(given, classes, "classes", None)
    return None


def choices(network: Graph) -> tuple[str, int]:
    """What a target may be chosen from by number, "classes" or "values", and how many there are.

    Raises:
        BadInput: the answer is neither a vector nor maps.
    """
    if network.task is Task.REGRESS:
        return "values", network.layer(network.output).channels
    return "classes", _Maps.of(network).classes if _is_maps(network) else Head.of(network).classes


def about_answer(network: Graph) -> str | None:
    """How the answer is read, in words; None for scores of classes, as most networks give."""
    layer = network.layer(network.output)
    if network.task is Task.REGRESS:
        return f"{layer.size} values, of which no probabilities are made (task regress)"
    if _is_maps(network):
        return f"maps {layer.size}: a class at each position"
    if torch.Size(layer.shape).numel() == 1:
        what = "probability" if is_normalised(network) else "log-odds"
        return f"one number, the {what} of class 1 (--task regress, if it is a value)"
    if network.task is Task.MULTILABEL:
        return f"{layer.size} classes, each judged by itself (task multilabel)"
    return None


def class_shares(network: Graph, output: Tensor) -> Tensor | None:
    """Compute at which share of the positions each class of maps of classes is predicted.

    Args:
        network: That answers.
        output: Its answer for one image.

    Returns:
        The shares, which add up to 1 unless each class is judged by itself; None where the answer
        is no maps of classes.

    Raises:
        BadInput: They end in a softmax over one channel.

    Shape:
        output: (C, H, W). The result: (classes,) float64.
    """
    if network.task is Task.REGRESS or not _is_maps(network):
        return None
    maps = _Maps.of(network)
    if maps.separate:
        found = [maps.found(output, index) for index in range(maps.classes)]
        return torch.stack([where.double().mean() for where in found])
    predicted = maps.predicted(output).flatten()
    return predicted.bincount(minlength=maps.classes).double() / len(predicted)


def _is_maps(network: Graph) -> bool:
    layer = network.layer(network.output)
    return len(layer.shape) == 3 and layer.grid != (1, 1)


def _of_numbers(network: Graph, at: ClassAt) -> Watched:
    """One number of a regression."""
    layer = network.layer(network.output)
    count = torch.Size(layer.shape).numel()
    if max((1, *layer.shape)) != count:
        raise BadInput(
            f"the network ends in {layer.name!r}, {layer.size}, neither a vector nor maps: "
            "watch a function of it (from Python, target=)"
        )
    _check(at, count, "values", None)
    target = Target(lambda output: output.reshape(-1)[at.index], f"number {at.index}")
    return Watched(target, at.index)


def _of_maps(network: Graph, image: Tensor, at: ClassAt | None, background: int | None) -> Watched:
    """A class of maps, or a channel of a regression's."""
    maps = _Maps.of(network)
    what = "channels" if maps.values else "classes"
    if at is not None:
        _check(at, maps.classes, what, network.layer(network.output).grid)
    if maps.values:
        return _mean(maps, at or ClassAt(0))
    output = widened(network.values(image, [network.output])[network.output][0])
    if not torch.isfinite(output).all():
        raise NonFinite("the network makes NaN or infinity of this image: check the weights")
    predicted = maps.predicted(output)
    areas = predicted.flatten().bincount(minlength=maps.classes)
    if background is not None and areas.sum() > areas[background]:
        areas[background] = 0
    return _mean(maps, at or ClassAt(int(areas.argmax())), output, predicted)


def _mean(
    maps: _Maps, at: ClassAt, seen: Tensor | None = None, predicted: Tensor | None = None
) -> Watched:
    """The score of a class at its position, where it is predicted, or everywhere."""
    name = f"{'channel' if maps.values else 'class'} {at.index}"
    if at.position is not None:
        row, column = at.position

        def there(output: Tensor) -> Tensor:
            return maps.score(output, at.index)[row, column]

        target = Target(there, name, quantity=maps.unit)
        where = f"at row {row}, column {column}"
        return Watched(target, at.index, where, at.position, predicted)
    mask, where = None, ""
    if seen is not None and predicted is not None:
        mask = maps.found(seen, at.index) if maps.separate else predicted == at.index
        share = float(mask.double().mean())
        percent = f"{100 * share:.0f}" if share > 0.005 else "<1"
        where = f"where it is predicted, {percent} % of the map"
        if not share:
            mask, where = None, "over the whole map: it is predicted nowhere"

    def mean(output: Tensor) -> Tensor:
        score = maps.score(output, at.index)
        return (score if mask is None else score[mask.to(score.device)]).mean()

    target = Target(mean, name, quantity=f"mean {maps.unit}")
    return Watched(target, at.index, where, None, predicted)


@dataclass(frozen=True)
class _Maps:
    """Maps of scores (C, H, W), or of a regression's values."""

    channels: int
    normalised: bool
    values: bool
    separate: bool

    @classmethod
    def of(cls, network: Graph) -> _Maps:
        """A network's maps of classes; BadInput where they end in a softmax over one channel."""
        values = network.task is Task.REGRESS
        normalised = not values and is_normalised(network)
        channels = network.layer(network.output).channels
        return cls(channels, normalised, values, network.task is Task.MULTILABEL)

    @property
    def classes(self) -> int:
        return self.channels if self.values else max(2, self.channels)

    @property
    def unit(self) -> str:
        """What one of the numbers is."""
        if self.values:
            return "value"
        return "probability" if self.normalised else "logit"

    def score(self, output: Tensor, index: int) -> Tensor:
        """(C, H, W) -> (H, W), of one class."""
        if self.values or self.channels > 1:
            return output[index]
        if index == 1:
            return output[0]
        return 1 - output[0] if self.normalised else -output[0]

    def found(self, output: Tensor, index: int) -> Tensor:
        """(C, H, W) -> (H, W) bool, where a class that is judged by itself is said to be."""
        return self.score(output, index) > (0.5 if self.normalised else 0.0)

    def predicted(self, output: Tensor) -> Tensor:
        """(C, H, W) -> (H, W) int64, the class with the highest score; the lowest of equals."""
        if self.channels == 1:
            return (output[0] > (0.5 if self.normalised else 0.0)).long()
        return output.argmax(0)


def _check(at: ClassAt, count: int, what: str, grid: tuple[int, int] | None) -> None:
    """Refuse, with BadOption, a class or position that there is not."""
    if not 0 <= at.index < count:
        raise BadOption(f"target {at.index}: the network has {what} 0 to {count - 1}")
    if at.position is None:
        return
    if grid is None:
        raise BadOption(f"target {at.index}@{at.position[0]},{at.position[1]}: the network's "
                        "answer has no positions, leave them out")  # fmt: skip
    if not all(0 <= i < n for i, n in zip(at.position, grid, strict=True)):
        raise BadOption(
            f"target {at.index}@{at.position[0]},{at.position[1]}: the network's answer has rows "
            f"0 to {grid[0] - 1} and columns 0 to {grid[1] - 1}"
        )
