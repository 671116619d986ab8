"""One pass over every position of an occluder, and any number of maps read from it.

Zeiler & Fergus 2014, §4.2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NoReturn

import torch
from torch import Tensor

from convscope.errors import BadInput, BadOption, NonFinite
from convscope.geometry.box import Box
from convscope.methods.classes import Head
from convscope.methods.numbers import widened
from convscope.methods.occluder import Fill, Occluder, covered, fill_planes
from convscope.network.from_export import INPUT
from convscope.network.local.incremental import IncrementalSweep
from convscope.network.network import Network
from convscope.network.unit import Unit
from convscope.progress import Progress

__all__ = ["Job", "Method", "Sweep", "sweep"]

MEMORY = 24 * 2**20
"""Bytes of the largest activation of one batch of occluded images. The C library hands blocks over
32 MiB back to the system each time, which made SqueezeNet twice as slow."""
LARGEST_BATCH = 16
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

    logits, probability : largest difference of any class;   labels : positions with another label
    checked : positions compared, spread evenly
    """

    logits: float
    probability: float
    labels: int
    checked: int

    def __str__(self) -> str:
        return (
            f"against float32 at {self.checked} positions: logits differ by at most "
            f"{self.logits:.2g}, probabilities by {self.probability:.2g}, "
            f"{self.labels} labels changed"
        )


@dataclass(frozen=True, eq=False)
class Sweep:
    """What the network says with the occluder at each of R x C positions.

    rows (R,), columns (C,) : int64, top-left of the occluder in image pixels
    logits : (R, C, outputs), the network's output as it is; None if it was not asked for. One
        number tells two classes, see `methods.classes`
    activity : (R, C, U), each unit's feature map summed over its positions
    base_logits (outputs,), base_activity (U,) : the same for the image as it is
    units : whose maps `activity` holds
    normalised : the output is probabilities already (the network ends in a softmax or a sigmoid)
    rounding : what was lost; None for float32, and where the classes were not asked for
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

    @property
    def head(self) -> Head:
        """How the output is read as classes.   Raises  BadInput: it was not asked for."""
        return Head(_output(self.logits).shape[-1], self.normalised)

    def probability(self, target: int) -> Tensor:
        """(R, C), the probability of one class.   Raises  BadOption: there is no such class."""
        return self.head.probabilities(_output(self.logits))[..., self.head.check(target)]

    def log_odds(self, target: int) -> Tensor:
        """(R, C) float64, log p/(1-p) of one class.   Raises  BadOption: there is no such class.

        From the logits, so that it still tells 0.99999999 from 0.9999; of a network that ends in
        probabilities, as far as float32 tells them from 0 and 1.
        """
        return self.head.log_odds(_output(self.logits), target)

    def base_log_odds(self, target: int) -> float:
        """The same for the image as it is."""
        return float(self.head.log_odds(_output(self.base_logits), target))

    def label(self) -> Tensor:
        """(R, C) int64, the most probable class; the lowest index of equals."""
        return self.head.labels(_output(self.logits))

    def base_probabilities(self) -> Tensor:
        """(classes,), for the image as it is."""
        return self.head.probabilities(_output(self.base_logits))


@dataclass(frozen=True, eq=False)
class Job:
    """One sweep, as a method of running it sees it.

    image, fill : (C, H, W), preprocessed, on the network's device
    units : whose feature maps are wanted summed;   classify : whether the output is wanted
    batch_size : images at a time in a full run; None: as many as fit in `MEMORY`
    """

    network: Network
    image: Tensor
    fill: Tensor
    occluder: Occluder
    units: tuple[Unit, ...]
    classify: bool
    batch_size: int | None

    @property
    def layers(self) -> list[str]:
        """Those whose values answer the job; nothing above them needs to run."""
        output = [self.network.output] if self.classify else []
        return list(dict.fromkeys([*output, *(unit.layer for unit in self.units)]))

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
        """The network's output (N, classes) and activity (N, U) of images (N, C, H, W)."""
        images = images.contiguous(memory_format=torch.channels_last)  # faster on most machines
        values = self.network.values(images, self.layers)
        activity = images.new_zeros((len(images), len(self.units)))
        for i, unit in enumerate(self.units):
            activity[:, i] = values[unit.layer][:, unit.channel].reshape(len(images), -1).sum(1)
        if not self.classify:
            return None, activity
        return Head.of(self.network).vectors(values[self.network.output]), activity


def sweep(
    network: Network,
    image: Tensor,
    occluder: Occluder,
    *,
    fill: Fill,
    units: Sequence[Unit | str] = (),
    classify: bool = True,
    batch_size: int | None = None,
    method: Method | str = Method.INCREMENTAL,
    precision: SweepPrecision | str = SweepPrecision.FLOAT32,
    progress: Progress | None = None,
) -> Sweep:
    """Run the network with the occluder at every position of its grid.

    image : (C, H, W), preprocessed
    fill : what the occluder shows, in preprocessed units: a number, (C,), or (C, H, W)
    units : feature maps to sum over positions; a layer stands for itself, and a unit's own
        position is not looked at
    classify : False runs no further than the units need, and leaves `logits` out
    precision : bfloat16 rounds; the image as it is and some positions are run in float32, too
    Raises  NoSuchLayer, NoSuchUnit; BadInput: the image has another shape, or the network ends in
        maps and not in classes; BadOption: fill, batch size, method or precision; NonFinite: the
        network makes NaN or infinity of this image.     Source: Zeiler & Fergus 2014, §4.2
    """
    if method not in list(Method):
        raise BadOption(f"method {method!r}: it is {', '.join(Method)}")
    if precision not in list(SweepPrecision):
        raise BadOption(f"precision {precision!r}: it is {', '.join(SweepPrecision)}")
    if batch_size is not None and batch_size < 1:
        raise BadOption(f"batch size {batch_size}: it is 1 or more")
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
    )
    base_logits, base_activity = job.answers(image[None])
    base_logits = None if base_logits is None else widened(base_logits)
    base_activity = widened(base_activity)
    if not all(_finite(found) for found in (base_logits, base_activity)):
        refuse_not_finite(network, image)
    exact = precision == SweepPrecision.FLOAT32
    logits, activity = METHODS[Method(method)](
        job if exact else job.to(torch.bfloat16), _counting(progress, job)
    )
    logits, activity = None if logits is None else widened(logits), widened(activity)
    if not all(_finite(found) for found in (logits, activity)):
        raise NonFinite("NaN or infinity under the occluder, not without it: try another fill")
    rows, columns = occluder.grid(*image.shape[-2:])
    return Sweep(
        rows=rows,
        columns=columns,
        logits=logits,
        activity=activity,
        base_logits=None if base_logits is None else base_logits[0].cpu(),
        base_activity=base_activity[0].cpu(),
        units=job.units,
        normalised=head is not None and head.normalised,
        rounding=None if exact or logits is None else _rounding(job, logits),
    )


Answers = tuple[Tensor | None, Tensor]
"""The network's output (..., classes), None if it was not asked for, and activity (..., U)."""


def run_full(job: Job, count: Callable[[int], None]) -> Answers:
    """Answers (R, C, ...): the whole network on every occluded image, a batch at a time.

    count : called with the number of positions just done
    """
    boxes, found = job.boxes, []
    size = job.batch_size or full_batch_size(job.network, job.layers)
    for batch in (boxes[i : i + size] for i in range(0, len(boxes), size)):
        logits, activity = job.answers(covered(job.image, batch, job.fill))
        found.append((None if logits is None else logits.cpu(), activity.cpu()))
        count(len(batch))
    activities = torch.cat([activity for _, activity in found]).unflatten(0, job.shape)
    outputs = [logits for logits, _ in found if logits is not None]
    return torch.cat(outputs).unflatten(0, job.shape) if outputs else None, activities


def run_incremental(job: Job, count: Callable[[int], None]) -> Answers:
    """Answers (R, C, ...): the unoccluded image once, then only what each occluder touches."""
    sums: dict[str, list[int]] = {}
    for unit in job.units:
        sums.setdefault(unit.layer, []).append(unit.channel)
    boxes = job.occluder.intervals(*job.image.shape[-2:])
    outputs = [job.network.output] if job.classify else []
    variants = IncrementalSweep(job.network, boxes, outputs, sums)
    values, activities = variants.run(job.image, job.fill, count)
    activity = torch.zeros(*job.shape, len(job.units), dtype=job.image.dtype)
    for i, unit in enumerate(job.units):
        place = sums[unit.layer].index(unit.channel)
        activity[..., i] = activities[unit.layer][..., place].cpu()
    logits = values[job.network.output].reshape(*job.shape, -1).cpu() if job.classify else None
    return logits, activity


METHODS: dict[Method, Callable[[Job, Callable[[int], None]], Answers]] = {
    Method.INCREMENTAL: run_incremental,
    Method.FULL: run_full,
}


def full_batch_size(network: Network, layers: Sequence[str]) -> int:
    """How many images run up to these layers together: their largest activation fits `MEMORY`."""
    shapes = [network.input_shape, *(node.shape for node in network.below(layers))]
    largest = max(torch.Size(shape).numel() for shape in shapes) * network.dtype.itemsize
    return max(1, min(LARGEST_BATCH, MEMORY // largest))


def _rounding(job: Job, logits: Tensor) -> Rounding:
    """The sweep's logits (R, C, outputs) against float32, at some positions."""
    if job.image.dtype.itemsize < torch.float32.itemsize:
        job = job.to(torch.float32)
    boxes = job.boxes
    chosen = torch.linspace(0, len(boxes) - 1, min(CHECKED, len(boxes))).long()
    true, _ = job.answers(covered(job.image, [boxes[i] for i in chosen.tolist()], job.fill))
    assert true is not None
    found, true = logits.flatten(0, 1)[chosen], true.cpu()
    head = Head.of(job.network)
    shares = [head.probabilities(logits) for logits in (found, true)]
    return Rounding(
        logits=float((found - true).abs().max()),
        probability=float((shares[0] - shares[1]).abs().max()),
        labels=int((head.labels(found) != head.labels(true)).sum()),
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
    """(C, H, W), as the network takes it.   Raises  BadInput: another shape, or several images."""
    images = network.check_images(image)
    if len(images) != 1:
        raise BadInput(f"{len(images)} images: occlusion looks at one at a time")
    return images[0]


def _output(logits: Tensor | None) -> Tensor:
    if logits is None:
        raise BadInput("this sweep has no classes: run it with classify=True")
    return logits


def _finite(values: Tensor | None) -> bool:
    return values is None or bool(torch.isfinite(values).all())


def check_finite(name: str, values: Tensor) -> None:
    """Raises  NonFinite: the values, of that layer, hold NaN or infinity."""
    if not _finite(values):
        what = "the image holds" if name == INPUT else f"layer {name!r} makes"
        raise NonFinite(f"{what} NaN or infinity: check the weights and the image")


def refuse_not_finite(network: Network, image: Tensor) -> NoReturn:
    """Raises  NonFinite: naming the first layer, in order of execution, that is not finite."""
    trace = network.trace(image)
    for layer in network.layers:
        check_finite(layer.name, trace[layer.name])
    raise NonFinite("a feature map's sum over its positions overflows: use a wider float type")
