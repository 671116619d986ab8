"""One pass over every position of an occluder, and any number of maps read from it.

The experiment is that of Zeiler & Fergus 2014, §4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NoReturn

import torch
from torch import Tensor

from convscope.display import Brief
from convscope.errors import BadInput, BadOption, NonFinite
from convscope.geometry.box import Box
from convscope.methods.classes import Head
from convscope.methods.numbers import widened
from convscope.methods.occluder import Fill, Occluder, covered, fill_planes
from convscope.methods.targets import Target
from convscope.network.from_export import INPUT
from convscope.network.local.grouping import BoxGrid
from convscope.network.local.incremental import IncrementalSweep
from convscope.network.network import Network
from convscope.network.unit import Unit
from convscope.progress import Progress

__all__ = ["Job", "Method", "Sweep", "sweep"]

MEMORY = 24 * 2**20
"""Bytes of the largest activation of one batch of occluded images. The C library hands blocks over
32 MiB back to the system each time, which made SqueezeNet twice as slow."""
LARGEST_BATCH = 16
HELD = 256 * 2**20
"""Bytes of outputs that an incremental run holds at once: maps of classes for every position may
be gigabytes, of which a target makes one number each."""
CHECKED = 16
"""Positions at which a sweep in fewer bits is compared with float32."""


class Method(StrEnum):
    """How the network is run on the occluded images."""

    INCREMENTAL = "incremental"
    """Only what the occluder touches is computed again: exact, and several times faster."""
    FULL = "full"
    """The whole network on every image: the reference."""


class SweepPrecision(StrEnum):
    """The numbers that the network is run in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """Eight bits of precision: faster where the processor has instructions for it. The sweep
    measures what that costs, see `Rounding`."""


@dataclass(frozen=True)
class Rounding:
    """What a sweep in fewer bits lost, against float32 at some of its positions.

    Attributes:
        logits: The largest difference of a logit.
        probability: The largest difference of a probability.
        labels: At how many positions the most probable class is another one.
        checked: How many positions were compared, spread evenly.

    A target has neither classes nor probabilities: `logits` is the largest difference of its value.
    """

    logits: float
    probability: float | None
    labels: int | None
    checked: int

    def __str__(self) -> str:
        if self.probability is None:
            return (
                f"against float32 at {self.checked} positions: values differ by at most "
                f"{self.logits:.2g}"
            )
        return (
            f"against float32 at {self.checked} positions: logits differ by at most "
            f"{self.logits:.2g}, probabilities by {self.probability:.2g}, "
            f"{self.labels} labels changed"
        )


@dataclass(frozen=True, eq=False)
class Sweep(Brief):
    """What a network answers with the occluder at each of R x C positions.

    Attributes:
        rows: Top of the occluder, in image pixels.
        columns: Left side of the occluder, in image pixels.
        logits: The network's output as it is; None if it was not asked for. One number tells two
            classes, see `methods.classes`.
        activity: Each unit's feature map, summed over its positions.
        base_logits: The logits of the image without the occluder.
        base_activity: The activity of the image without the occluder.
        units: The units whose maps `activity` holds.
        normalised: Whether the output is probabilities already: the network ends in a softmax or a
            sigmoid.
        separate: Whether each class is judged by itself (task multilabel).
        values: Of a target, which was asked for instead of classes.
        base_value: The target's value for the image without the occluder.
        rounding: What was lost by fewer bits; None for float32, and where the classes were not
            asked for.

    Shape:
        rows: (R,), int64. columns: (C,), int64. logits: (R, C, outputs). activity: (R, C, U).
        base_logits: (outputs,). base_activity: (U,). values: (R, C).
    """

    rows: Tensor
    columns: Tensor
    logits: Tensor | None
    activity: Tensor
    base_logits: Tensor | None
    base_activity: Tensor
    units: tuple[Unit, ...]
    normalised: bool
    rounding: Rounding | None = None
    separate: bool = False
    values: Tensor | None = None
    base_value: float | None = None

    @property
    def head(self) -> Head:
        """How the output is read as classes.

        Raises:
            BadInput: The classes were not asked for.
        """
        return Head(_output(self.logits).shape[-1], self.normalised, self.separate)

    def probability(self, target: int) -> Tensor:
        """Compute the probability of one class at every position.

        Args:
            target: The number of the class, from 0.

        Shape:
            The result: (R, C).

        Raises:
            BadOption: There is no such class.
        """
        return self.head.probabilities(_output(self.logits))[..., self.head.check(target)]

    def log_odds(self, target: int) -> Tensor:
        """Compute log p/(1-p) of one class at every position, from the logits.

        The log-odds still tell 0.99999999 from 0.9999. Where the network ends in probabilities,
        they reach as far as float32 tells those from 0 and 1.

        Args:
            target: The number of the class, from 0.

        Shape:
            The result: (R, C), float64.

        Raises:
            BadOption: There is no such class.
        """
        return self.head.log_odds(_output(self.logits), target)

    def base_log_odds(self, target: int) -> float:
        """Compute log p/(1-p) of one class for the image without the occluder.

        Args:
            target: The number of the class, from 0.
        """
        return float(self.head.log_odds(_output(self.base_logits), target))

    def label(self) -> Tensor:
        """Find the most probable class at every position; of equals, the lowest number.

        Shape:
            The result: (R, C), int64.
        """
        return self.head.labels(_output(self.logits))

    def base_probabilities(self) -> Tensor:
        """Compute the probability of every class for the image without the occluder.

        Shape:
            The result: (classes,).
        """
        return self.head.probabilities(_output(self.base_logits))


@dataclass(frozen=True, eq=False)
class Job:
    """All that a sweep is made from, whichever way the network is run.

    Attributes:
        network: The network.
        image: The image, preprocessed, on the network's device.
        fill: What the occluder shows, in the same units.
        occluder: The box and its step.
        units: The units whose feature maps are wanted, summed.
        classify: Whether the classes are wanted.
        batch_size: Images at a time in a full run; None: as many as fit in `MEMORY`.
        target: A number of the output that is wanted instead of the classes.

    Shape:
        image, fill: (C, H, W).
    """

    network: Network
    image: Tensor
    fill: Tensor
    occluder: Occluder
    units: tuple[Unit, ...]
    classify: bool
    batch_size: int | None
    target: Target | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The layers that hold the answer."""
        if self.target is not None:
            return self.target.layers(self.network)
        return (self.network.output,) if self.classify else ()

    @property
    def layers(self) -> list[str]:
        """Those whose values answer the job; nothing above them needs to run."""
        return list(dict.fromkeys([*self.outputs, *(unit.layer for unit in self.units)]))

    @property
    def boxes(self) -> list[Box]:
        """The occluder's positions in reading order, cut by the edge."""
        return self.occluder.boxes(*self.image.shape[-2:])

    @property
    def shape(self) -> tuple[int, int]:
        """(R, C), positions down and across."""
        rows, columns = self.occluder.grid(*self.image.shape[-2:])
        return len(rows), len(columns)

    def to(self, dtype: torch.dtype) -> Job:
        """The same job in numbers of another type."""
        return replace(
            self,
            network=self.network.to(dtype),
            image=self.image.to(dtype),
            fill=self.fill.to(dtype),
        )

    def answers(self, images: Tensor) -> tuple[Tensor | None, Tensor]:
        """Run the network on some images.

        Returns:
            The classes or the target, None if neither is wanted, and the activity of the units.

        Shape:
            images: (N, C, H, W). The result: (N, numbers) and (N, U).
        """
        images = images.contiguous(memory_format=torch.channels_last)  # faster on most machines
        values = self.network.values(images, self.layers)
        activity = images.new_zeros((len(images), len(self.units)))
        for i, unit in enumerate(self.units):
            activity[:, i] = values[unit.layer][:, unit.channel].reshape(len(images), -1).sum(1)
        return self.read(values), activity

    def read(self, values: Mapping[str, Tensor]) -> Tensor | None:
        """Read the answer for each of N images out of what the answer's layers hold.

        Args:
            values: The layers' values.

        Returns:
            One number per class, or the target's; None if neither is wanted.

        Shape:
            values: (N, ...) each. The result: (N, classes) or (N, 1).
        """
        if self.target is not None:
            return self.target.values([values[name] for name in self.outputs])[:, None]
        if not self.classify:
            return None
        return Head.of(self.network).vectors(values[self.network.output])


def sweep(
    network: Network,
    image: Tensor,
    occluder: Occluder,
    *,
    fill: Fill,
    units: Sequence[Unit | str] = (),
    classify: bool = True,
    target: Target | None = None,
    batch_size: int | None = None,
    method: Method | str = Method.INCREMENTAL,
    precision: SweepPrecision | str = SweepPrecision.FLOAT32,
    progress: Progress | None = None,
) -> Sweep:
    """Run the network with the occluder at every position of its grid.

    Args:
        network: The network.
        image: The image, preprocessed.
        occluder: The box and its step.
        fill: What the box shows, in preprocessed units: a number, a number for each channel, or
            planes as large as the image.
        units: Feature maps to sum over their positions. A layer stands for itself, not for its
            activation, and a unit's own position is not looked at.
        classify: False runs the network no further than the units need, and leaves `logits` out.
        target: A number of the output to work out at each position, into `values`; no classes then.
        batch_size: Images at a time in a full run; by default as many as fit in the memory budget.
        method: How the network is run; both give the same numbers.
        precision: The numbers that the network is run in. bfloat16 rounds; the image without the
            occluder and some positions are run in float32, too, to measure what that costs.
        progress: Is told how many positions are done.

    Shape:
        image: (C, H, W).

    Raises:
        NoSuchLayer: There is no such layer.
        NoSuchUnit: There is no such feature map.
        BadInput: The image has another shape, or the network ends in maps and not in classes.
        BadOption: A fill, batch size, method or precision is not one that is allowed.
        NonFinite: The network makes NaN or infinity of this image.

    Source:
        Zeiler & Fergus 2014, §4.2.

    Example:
        >>> result = sweep(network, image, Occluder(16, 8), fill=0.0, units=["conv1/2"])
        >>> result.label().shape, result.activity.shape
        (torch.Size([4, 4]), torch.Size([4, 4, 1]))
    """
    if method not in list(Method):
        raise BadOption(f"method {method!r}: it is {', '.join(Method)}")
    if precision not in list(SweepPrecision):
        raise BadOption(f"precision {precision!r}: it is {', '.join(SweepPrecision)}")
    if batch_size is not None and batch_size < 1:
        raise BadOption(f"batch size {batch_size}: it is 1 or more")
    classify = classify and target is None
    head = Head.of(network) if classify else None
    image = one_image(network, image)
    check_finite(INPUT, image)
    job = Job(
        network,
        image,
        fill_planes(fill, image),
        occluder,
        tuple(network.unit(unit) for unit in units),
        classify,
        batch_size,
        target,
    )
    base, base_activity = job.answers(image[None])
    base = None if base is None else widened(base[0].cpu())
    base_activity = widened(base_activity[0].cpu())
    if not all(_finite(found) for found in (base, base_activity)):
        refuse_not_finite(network, image, target)
    exact = precision == SweepPrecision.FLOAT32
    answers, activity = METHODS[Method(method)](
        job if exact else job.to(torch.bfloat16), _counting(progress, job)
    )
    answers, activity = None if answers is None else widened(answers), widened(activity)
    if not all(_finite(found) for found in (answers, activity)):
        raise NonFinite("NaN or infinity under the occluder, not without it: try another fill")
    rows, columns = occluder.grid(*image.shape[-2:])
    found = Sweep(
        rows=rows,
        columns=columns,
        logits=None,
        activity=activity,
        base_logits=None,
        base_activity=base_activity,
        units=job.units,
        normalised=head is not None and head.normalised,
        separate=head is not None and head.separate,
        rounding=None if exact or answers is None else _rounding(job, answers),
    )
    if answers is None or base is None:
        return found
    if target is None:
        return replace(found, logits=answers, base_logits=base)
    return replace(found, values=answers[..., 0], base_value=float(base[0]))


Answers = tuple[Tensor | None, Tensor]
"""The answer (..., numbers), None if it was not asked for, and activity (..., U)."""


def run_full(job: Job, count: Callable[[int], None]) -> Answers:
    """Run the whole network on every occluded image, a batch at a time.

    Args:
        job: The sweep.
        count: Is called with the number of positions just done.
    """
    boxes, answers = job.boxes, []
    size = job.batch_size or full_batch_size(job.network, job.layers)
    for batch in (boxes[i : i + size] for i in range(0, len(boxes), size)):
        logits, activity = job.answers(covered(job.image, batch, job.fill))
        answers.append((None if logits is None else logits.cpu(), activity.cpu()))
        count(len(batch))
    activities = torch.cat([activity for _, activity in answers]).unflatten(0, job.shape)
    outputs = [logits for logits, _ in answers if logits is not None]
    return torch.cat(outputs).unflatten(0, job.shape) if outputs else None, activities


def run_incremental(job: Job, count: Callable[[int], None]) -> Answers:
    """Run the unoccluded image once, then compute only what each occluder touches.

    Args:
        job: The sweep.
        count: Is called with the number of positions just done.
    """
    sums: dict[str, list[int]] = {}
    for unit in job.units:
        sums.setdefault(unit.layer, []).append(unit.channel)
    whole = job.occluder.intervals(*job.image.shape[-2:])
    found = [_run_rows(job, sums, boxes, count) for boxes in _rows_at_once(job, whole)]
    answers = [answer for answer, _ in found if answer is not None]
    return torch.cat(answers) if answers else None, torch.cat([activity for _, activity in found])


def _run_rows(
    job: Job, sums: Mapping[str, list[int]], boxes: BoxGrid, count: Callable[[int], None]
) -> Answers:
    """Answers (r, C, ...) of some rows of the occluder's positions."""
    variants = IncrementalSweep(job.network, boxes, dict.fromkeys(job.outputs), sums)
    values, activities = variants.run(job.image, job.fill, count)
    activity = torch.zeros(*boxes.shape, len(job.units), dtype=job.image.dtype)
    for i, unit in enumerate(job.units):
        place = sums[unit.layer].index(unit.channel)
        activity[..., i] = activities[unit.layer][..., place].cpu()
    answer = job.read({name: value.flatten(0, 1) for name, value in values.items()})
    return None if answer is None else answer.cpu().unflatten(0, boxes.shape), activity


def _rows_at_once(job: Job, whole: BoxGrid) -> Iterator[BoxGrid]:
    """Positions whose outputs fit `HELD` together, a row of them at least."""
    image = sum(torch.Size(job.network.layer(name).shape).numel() for name in job.outputs)
    row = max(1, image * len(whole.columns) * job.network.dtype.itemsize)
    some = max(1, HELD // row)
    for first in range(0, len(whole.rows), some):
        yield BoxGrid(whole.rows[first : first + some], whole.columns)


METHODS: dict[Method, Callable[[Job, Callable[[int], None]], Answers]] = {
    Method.INCREMENTAL: run_incremental,
    Method.FULL: run_full,
}


def full_batch_size(network: Network, layers: Sequence[str]) -> int:
    """Count how many images run together: their largest activation fits `MEMORY`.

    Args:
        network: The network.
        layers: The layers up to which it runs.
    """
    shapes = [network.input_shape, *(node.shape for node in network.below(layers))]
    largest = max(torch.Size(shape).numel() for shape in shapes) * network.dtype.itemsize
    return max(1, min(LARGEST_BATCH, MEMORY // largest))


def _rounding(job: Job, answers: Tensor) -> Rounding:
    """The sweep's answers (R, C, numbers) against float32, at some positions."""
    if job.image.dtype.itemsize < torch.float32.itemsize:
        job = job.to(torch.float32)
    boxes = job.boxes
    chosen = torch.linspace(0, len(boxes) - 1, min(CHECKED, len(boxes))).long()
    true, _ = job.answers(covered(job.image, [boxes[i] for i in chosen.tolist()], job.fill))
    assert true is not None
    rounded, true = answers.flatten(0, 1)[chosen], true.cpu()
    apart = float((rounded - true).abs().max())
    if job.target is not None:
        return Rounding(logits=apart, probability=None, labels=None, checked=len(chosen))
    head = Head.of(job.network)
    shares = [head.probabilities(logits) for logits in (rounded, true)]
    return Rounding(
        logits=apart,
        probability=float((shares[0] - shares[1]).abs().max()),
        labels=int((head.labels(rounded) != head.labels(true)).sum()),
        checked=len(chosen),
    )


def _counting(progress: Progress | None, job: Job) -> Callable[[int], None]:
    total, done = job.shape[0] * job.shape[1], 0

    def count(positions: int) -> None:
        nonlocal done
        done += positions
        if progress is not None:
            progress("positions", done, total)

    return count


def one_image(network: Network, image: Tensor) -> Tensor:
    """Bring a single image into the form that the network takes.

    Args:
        network: The network.
        image: The image, with or without a batch axis.

    Shape:
        image: (C, H, W) or (1, C, H, W). The result: (C, H, W).

    Raises:
        BadInput: The image has another shape, or there are several.
    """
    images = network.check_images(image)
    if len(images) != 1:
        raise BadInput(f"{len(images)} images: give one at a time")
    return images[0]


def _output(logits: Tensor | None) -> Tensor:
    if logits is None:
        raise BadInput("this sweep has no classes: run it with classify=True")
    return logits


def _finite(values: Tensor | None) -> bool:
    return values is None or bool(torch.isfinite(values).all())


def check_finite(name: str, values: Tensor) -> None:
    """Refuse values that hold NaN or infinity.

    Args:
        name: The layer that they belong to.
        values: The values.

    Raises:
        NonFinite: They hold NaN or infinity.
    """
    if not _finite(values):
        what = "the image holds" if name == INPUT else f"layer {name!r} makes"
        raise NonFinite(f"{what} NaN or infinity: check the weights and the image")


def refuse_not_finite(network: Network, image: Tensor, target: Target | None = None) -> NoReturn:
    """Name the first layer, in order of execution, that holds NaN or infinity.

    Args:
        network: The network.
        image: The image that it makes NaN or infinity of.
        target: The number of the output that was asked for, if it was one.

    Raises:
        NonFinite: Always.
    """
    trace = network.trace(image)
    for layer in network.layers:
        if layer.real:
            check_finite(layer.name, trace[layer.name])
    if target is not None:
        raise NonFinite(f"target {target.name!r} is NaN or infinite for this image")
    raise NonFinite("a feature map's sum over its positions overflows: use a wider float type")
