"""What averaging networks gains, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from convscope.experiments.ensemble.combined import Group, Scoring
from convscope.experiments.number_words import interval_words, plus_minus, signed_number
from convscope.experiments.published import TABLE1, ErrorsAveraged
from convscope.experiments.study import Result
from convscope.record import Record, key
from convscope.text import table

__all__ = ["Ensemble"]

PUBLISHED = ("ZFNet, 1 net", "5 ZFNets (a)", "6 nets, (a) and (b)")  # rows of Table 1


@dataclass(frozen=True)
class Ensemble(Record, Result):
    """The paper's Table 1 for some networks.

    Attributes:
        data: which images.
        images: how many.
        classes: their names.
        scorings: of one crop of each picture, and of ten where they were asked for.
        kinds: the networks' names by architecture, lettered as in the paper.
        random: networks of random weights, which no average can help.
        skipped: names of images that could not be read.
    """

    also: ClassVar[tuple[str, ...]] = ("paper",)

    data: str
    images: int
    classes: tuple[str, ...]
    scorings: tuple[Scoring, ...]
    kinds: Mapping[str, tuple[str, ...]]
    random: tuple[str, ...] = field(metadata=key("random_weights"))
    skipped: tuple[str, ...]

    @property
    def paper(self) -> Mapping[str, ErrorsAveraged]:
        """The paper's own numbers."""
        return TABLE1

    def words(self) -> list[str]:
        """A table of all networks and averages, and what each average gains."""
        return [*self._table(), "", *self._findings()]

    def warnings(self) -> list[str]:
        """Which networks were never trained, and which images could not be read."""
        return [
            *(f"{name} has random weights: it was never trained" for name in self.random),
            *(f"skipped {name}: it could not be read" for name in self.skipped),
        ]

    def _table(self) -> list[str]:
        """A line per network and per average; errors ± binomial standard error, %."""
        head = ["network"]
        rows = [[name] for name in self.scorings[0].singles]
        rows += [[_called(group)] for group in self.scorings[0].groups]
        for scoring in self.scorings:
            crops = "" if scoring.crops == 1 else ", 10 crops"
            head += [f"top-1{crops}", f"top-5{crops}"]
            scores = [*scoring.singles.values(), *(group.score for group in scoring.groups)]
            for row, score in zip(rows, scores, strict=True):
                row += [
                    plus_minus(score.error, score.error_se),
                    plus_minus(score.top5_error, score.top5_se),
                ]
        said = f"errors on {self.images:,} images ± standard error, %"
        return [said, *table(head, rows)]

    def _findings(self) -> list[str]:
        lines = []
        for scoring in self.scorings:
            crops = f"{scoring.crops} crop{'s' if scoring.crops > 1 else ''}"
            lines += [f"{crops}: {_finding(group)}" for group in scoring.groups]
            lines.append(f"{crops}: {_apart(scoring)}")
        one, five, six = (TABLE1[name].top1 for name in PUBLISHED)
        lines.append(
            f"in the paper: 1 ZFNet {one}, 5 of them {five}, 6 of two kinds {six} (top-1, ImageNet)"
        )
        return lines


def _called(group: Group) -> str:
    return f"average of {len(group.members)}: {group.name}"


def _finding(group: Group) -> str:
    alone, best, gain = 100 * group.sizes[0].error, group.best, group.gain
    return (
        f"{_called(group)}: {signed_number(-100 * gain.mean)} points from a single one's "
        f"{alone:.1f} (gain, 95 % over images: {interval_words(gain, 1, 0.01)}); against the best, "
        f"{best.against}: {best.rescued} images gained, {best.lost} lost, p = {best.p:.2g}"
    )


def _apart(scoring: Scoring) -> str:
    count = len(scoring.disagreement)
    mean = scoring.disagreement.sum() / (count * (count - 1))
    return f"two of the networks name {mean:.1%} of the images differently, on average"
