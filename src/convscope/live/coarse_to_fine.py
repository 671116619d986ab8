"""The maps of the paper's Fig. 6, coarse to fine: exact at each place that is there.

An occluder's positions form a grid. First every 4th or 8th of them is visited, down and across, so
that there is a picture soon; then those half-way between, and so on, until all are there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from convscope.errors import BadInput
from convscope.live.answers import finite
from convscope.live.cancel import Cancel
from convscope.live.engine import Engine
from convscope.live.kept_images import Activations, KeptImage
from convscope.methods.numbers import widened
from convscope.methods.occlusion import answer_maps, assembled
from convscope.methods.occlusion_maps import OcclusionMaps
from convscope.methods.project import project
from convscope.methods.rules import DECONVNET, Rules
from convscope.methods.sweep import Job, Sweep
from convscope.methods.targets import Watched
from convscope.network.local.grouping import BoxGrid
from convscope.network.local.incremental import IncrementalSweep
from convscope.network.unit import Unit

__all__ = ["FigureSix", "SweepPart", "coarse_to_fine"]

FIRST = 64
"""Places of the first level at most."""
SECONDS = 0.12
"""What a batch of places should take: after each, what is there can be drawn."""
WIDEST = 32
"""Places across that go together at most; those of a row, up to these, always do."""

Places = tuple[list[int], list[int]]
"""Rows and columns of the grid of positions: every pair of them is visited."""


def coarse_to_fine(rows: int, columns: int, first: int = FIRST) -> Iterator[tuple[int, Places]]:
    """Order the places of a grid so that the first ones cover it, and later ones fill the gaps.

    Args:
        rows: How many there are down.
        columns: How many there are across.
        first: Places of the first level at most.

    Yields:
        The level, from 0, and some of its places; all together hold every place once.

    Example:
        >>> [(level, places) for level, places in coarse_to_fine(3, 2, first=2)]
        [(0, ([0, 2], [0])), (1, ([1], [0, 1])), (1, ([0, 2], [1]))]
    """
    step = 1
    while -(-rows // step) * -(-columns // step) > first:
        step *= 2
    yield 0, (list(range(0, rows, step)), list(range(0, columns, step)))
    level = 0
    while step > 1:
        half, level = step // 2, level + 1
        between = list(range(half, rows, step))
        if between:
            yield level, (between, list(range(0, columns, half)))
        across = list(range(half, columns, step))
        if across:
            yield level, (list(range(0, rows, step)), across)
        step = half


@dataclass(frozen=True, eq=False)
class SweepPart:
    """What was found at some places of the occluder.

    Attributes:
        level: How fine the grid is that they belong to, from 0.
        done: Places that are there now, these included.
        total: Of all places.
        places: The places, (i, j) in the maps.
        value: Of what is watched, at each.
        log_odds: Of the class that is watched; None where the answer is no vector of classes.
        label: The most probable class at each; None likewise.
        activity: The watched map, summed over its positions, at each.

    Shape:
        places: (n, 2). value, log_odds, label, activity: (n,).
    """

    level: int
    done: int
    total: int
    places: NDArray[np.int64]
    value: NDArray[np.float64]
    log_odds: NDArray[np.float64] | None
    label: NDArray[np.int64] | None
    activity: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary."""
        return {
            "level": self.level, "done": self.done, "total": self.total,
            "places": self.places.tolist(),
            "value": _listed(self.value),
            "log_odds": _listed(self.log_odds),
            "label": _listed(self.label),
            "activity": _listed(self.activity),
        }  # fmt: skip


def _listed(values: NDArray[Any] | None) -> list[float | None] | None:
    return None if values is None else [finite(value) for value in values.tolist()]


class FigureSix:
    """Maps that fill while one iterates over it; made by `LiveNetwork.sweep`.

    Attributes:
        rows: Top of the occluder at each position down, in image pixels.
        columns: Left side of it at each position across.
        size: Height and width of the occluder.
        stride: Its step, down and across.
        unit: Whose map's activity is measured.
        target: The class that is watched; None for a function of the answer.
        quantity: What `value` is.
        total: How many places there are.
        done: How many are there.

    Example:
        >>> for part in live.sweep(key):
        ...     print(part.level, part.done, part.total)
    """

    def __init__(
        self,
        engine: Engine,
        image: KeptImage,
        activations: Activations,
        job: Job,
        watching: tuple[Watched | None, int | None],
        cancel: Cancel | None,
    ) -> None:
        self._engine, self._image, self._activations = engine, image, activations
        self._job, self._cancel = job, cancel
        height, width = image.tensor.shape[-2:]
        rows, columns = job.occluder.grid(height, width)
        self.rows: list[int] = rows.tolist()
        self.columns: list[int] = columns.tolist()
        self.size, self.stride = job.occluder.size, job.occluder.stride
        self.unit: Unit = job.units[0]
        self._watched, index = watching
        sums = {self.unit.layer: [self.unit.channel]}
        self._plan = engine.planned(job.outputs, sums)
        trace = activations.trace
        base = job.read({name: trace[name] for name in job.outputs})
        assert base is not None
        self._base = widened(base[0].cpu())
        self._base_activity = float(widened(trace[self.unit.layer][0, self.unit.channel]).sum())
        shape = (len(self.rows), len(self.columns))
        self._answers = torch.full((*shape, len(self._base)), torch.nan, dtype=self._base.dtype)
        self._activity = torch.full(shape, torch.nan, dtype=self._base.dtype)
        self._known = np.zeros(shape, bool)
        self._fit = FIRST // 4  # places of the next batch
        self.total, self.done = shape[0] * shape[1], 0
        if self._watched is not None:
            self.target, self.quantity = self._watched.index, self._watched.target.quantity
        else:
            assert engine.reader.head is not None
            probable = int(engine.reader.head.labels(self._base))
            self.target, self.quantity = probable if index is None else index, "probability"

    def __iter__(self) -> Iterator[SweepPart]:
        """Visit the places that are not there yet; every batch gives a part.

        Raises:
            Cancelled: Nobody waits any more; what is there stays, and it can be gone on with.
            NonFinite: An occluded image makes NaN or infinity.
        """
        for level, (rows, columns) in coarse_to_fine(*self._known.shape):
            for first in range(0, len(columns), WIDEST):
                some = columns[first : first + WIDEST]
                missing = [i for i in rows if not self._known[i, some].all()]
                while missing:
                    down = max(1, self._fit // len(some))
                    yield self._visit(level, (missing[:down], some))
                    missing = missing[down:]

    def _visit(self, level: int, places: Places) -> SweepPart:
        """Run the network with the occluder at some places, and keep what it answers."""
        engine, job = self._engine, self._job
        whole = job.occluder.intervals(*job.image.shape[-2:])
        boxes = BoxGrid(
            tuple(whole.rows[i] for i in places[0]), tuple(whole.columns[j] for j in places[1])
        )
        pause = engine.pausing(self._cancel)
        with engine.turns.long():
            pause()
            started = time.perf_counter()
            sweep = IncrementalSweep.planned(self._plan, boxes)
            base = self._activations.base
            values, sums = sweep.run(job.image, job.fill, base=base, pause=pause)
            answers = job.read({name: value.flatten(0, 1) for name, value in values.items()})
            took = time.perf_counter() - started
        assert answers is not None
        answers = widened(answers.cpu()).unflatten(0, boxes.shape)
        activity = widened(sums[self.unit.layer][..., 0].cpu())
        engine.check_finite(answers, activity)
        where = np.ix_(*places)
        self._answers[where], self._activity[where] = answers, activity
        self._known[where] = True
        self._fit = round(SECONDS / max(took, 1e-4) * activity.numel())
        self.done = int(self._known.sum())
        return self._part(level, places)

    def _part(self, level: int, places: Places) -> SweepPart:
        where = np.ix_(*places)
        answers = self._answers[where].flatten(0, 1)
        grid = np.stack(np.meshgrid(*places, indexing="ij"), -1).reshape(-1, 2)
        read = self._read(answers)
        return SweepPart(
            level, self.done, self.total, grid.astype(np.int64), read["value"],
            read.get("log_odds"), read.get("label"),
            self._activity[where].flatten().double().numpy(),
        )  # fmt: skip

    def _read(self, answers: Tensor) -> dict[str, NDArray[Any]]:
        """Value, log-odds and label of answers (..., numbers)."""
        if self._watched is not None:
            return {"value": answers[..., 0].double().numpy()}
        head = self._engine.reader.head
        assert head is not None and self.target is not None
        return {
            "value": head.probabilities(answers)[..., self.target].double().numpy(),
            "log_odds": head.log_odds(answers, self.target).numpy(),
            "label": head.labels(answers).numpy(),
        }

    # -- what is there

    def maps(self) -> dict[str, NDArray[Any]]:
        """All that is there by now.

        Returns:
            `known`, whether a place was visited; `value` and `activity`, NaN where not; for a class
            `log_odds` too, and `label`, -1 where not.

        Shape:
            (R, C) each.
        """
        read = self._read(self._answers)
        if "label" in read:
            read["label"] = np.where(self._known, read["label"], -1)
        return {"known": self._known.copy(), **read, "activity": self._activity.double().numpy()}

    def spread(self, name: str) -> NDArray[Any]:
        """One of the maps, with the nearest visited place's value where none is known yet.

        Args:
            name: Of the map, as `maps` has it.

        Raises:
            BadInput: No place was visited yet.
        """
        if not self.done:
            raise BadInput("no place of the occluder was visited yet: iterate first")
        nearest = distance_transform_edt(~self._known, return_distances=False, return_indices=True)
        return self.maps()[name][tuple(nearest)]

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary: what is known before any place is visited."""
        base = {name: value.item() for name, value in self._read(self._base).items()}
        return {
            "rows": self.rows, "columns": self.columns, "shape": list(self._known.shape),
            "size": list(self.size), "stride": list(self.stride), "unit": str(self.unit),
            "target": self.target, "quantity": self.quantity, "total": self.total,
            "base_value": finite(base["value"]), "base_log_odds": finite(base.get("log_odds")),
            "base_label": base.get("label"), "base_activity": finite(self._base_activity),
        }  # fmt: skip

    def result(self, rules: Rules = DECONVNET) -> OcclusionMaps:
        """Everything as `convscope.occlude` returns it, for figures and files.

        Args:
            rules: Of the unit's projection.

        Raises:
            BadInput: Places are missing.
        """
        if self.done < self.total:
            raise BadInput(f"{self.done} of {self.total} places are there: iterate to the end")
        found = self._as_sweep()
        with self._engine.turns.short():
            projected = project(self._activations.trace, self.unit, rules)
        answer = answer_maps(found, self.target, self._watched)
        job, image = self._job, self._image.tensor
        maps = assembled(found, answer, projected, image, job.fill, job.occluder)
        return replace(maps, legend=self._engine.network.legend)

    def _as_sweep(self) -> Sweep:
        head = self._engine.reader.head
        classes = self._watched is None
        return Sweep(
            rows=torch.tensor(self.rows),
            columns=torch.tensor(self.columns),
            logits=self._answers if classes else None,
            activity=self._activity[..., None],
            base_logits=self._base if classes else None,
            base_activity=self._activity.new_tensor([self._base_activity]),
            units=(self.unit,),
            normalised=head is not None and head.normalised,
            separate=head is not None and head.separate,
            values=None if classes else self._answers[..., 0],
            base_value=None if classes else float(self._base[0]),
        )
