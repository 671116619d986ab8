"""What occlusion of several images finds: rows of the paper's Fig. 6, and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convscope.display import Brief
from convscope.errors import BadData
from convscope.experiments.correctly_classified import ChosenImage
from convscope.experiments.number_words import interval_words, minus, plus_minus
from convscope.experiments.sensitivity.pointing_game import (
    HARDLY,
    Agreement,
    PointingGame,
    Scores,
)
from convscope.experiments.sensitivity.stored import Elsewhere
from convscope.experiments.session import UNTRAINED
from convscope.experiments.study import Result
from convscope.methods.occluder import Occluder
from convscope.methods.occlusion import OcclusionMaps
from convscope.record import Record, not_in_json, plain
from convscope.stats import Estimate, mean_of, sign_test

__all__ = [
    "NetworkDifference",
    "NetworkStudy",
    "OccludedImage",
    "OcclusionStudy",
    "Sensitivity",
    "compare_networks",
]


@dataclass(frozen=True, eq=False)
class OccludedImage:
    """One image: the row of Fig. 6, and how it compares with the truth.

    Attributes:
        name: of the image.
        chosen: which class is followed.
        maps: of the sweep.
        elsewhere: the feature map's strongest units in other images.
        agreement: of the activity's fall with the projection.
        probability, activity: the scores of the maps; None where the truth is not known.
        without_object: the target's probability with all of the object covered.
        without_ground: the same with all but the object covered.
    """

    name: str
    chosen: ChosenImage
    maps: OcclusionMaps
    elsewhere: tuple[Elsewhere, ...]
    agreement: Agreement
    probability: PointingGame | None = None
    activity: PointingGame | None = None
    without_object: float | None = None
    without_ground: float | None = None

    @property
    def hardly_falls(self) -> bool:
        """Whether the probability never falls by more than HARDLY of itself, wherever is covered.
        """  # fmt: skip
        return self.fallen <= HARDLY

    @property
    def fallen(self) -> float:
        """By what share of itself the probability falls at most; below 0 where it only rises."""
        base = self.maps.base_probability
        return (base - float(self.maps.probability.min())) / base if base > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without the maps themselves."""
        maps = self.maps
        known: dict[str, Any] = {}
        if self.probability is not None and self.activity is not None:
            known = {
                "probability_map": self.probability.to_dict(),
                "activity_map": self.activity.to_dict(),
                "without_object": self.without_object,
                "without_ground": self.without_ground,
            }
        return {
            "name": self.name,
            "target": maps.target,
            "true_label": self.chosen.known,
            "probability": maps.base_probability,
            "lowest_probability": float(maps.probability.min()),
            "hardly_falls": self.hardly_falls,
            "log_odds": maps.base_log_odds,
            "lowest_log_odds": float(maps.log_odds.min()),
            "unit": str(maps.unit),
            "activity": maps.base_activity,
            "lowest_activity": float(maps.activity.min()),
            "labels": int(maps.label.unique().numel()),
            "others": [{"name": e.name, "unit": str(e.unit)} for e in self.elsewhere],
            "fall_with_projection": self.agreement.correlation,
            "energy_percentile_where_lowest": self.agreement.percentile,
            **known,
        }


@dataclass(frozen=True, eq=False)
class OcclusionStudy(Brief):
    """Fig. 6 for several images, and what they say together.

    Attributes:
        rows: an image each.
        occluder: that was slid over them.
        probability, activity: the scores of the maps over all images; None without a truth.
        correlation, percentile: of the rows' agreement.
        skipped: names of the images that could not be read, in the search for others.
    """

    rows: tuple[OccludedImage, ...]
    occluder: Occluder
    probability: Scores | None
    activity: Scores | None
    correlation: Estimate
    percentile: Estimate
    skipped: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        record: dict[str, Any] = plain(
            {
                "occluder": {"size": self.occluder.size, "stride": self.occluder.stride},
                "images": self.rows,
                "probability_map": self.probability,
                "activity_map": self.activity,
                "hardly_falls": self.hardly,
                "covered": self.covered(),
                "activity_falls_with_projection": self.correlation,
                "energy_percentile_where_activity_lowest": self.percentile,
            }
        )
        return record

    @property
    def hardly(self) -> int:
        """In how many images the probability hardly falls."""
        return sum(row.hardly_falls for row in self.rows)

    def covered(self) -> dict[str, Estimate]:
        """The target's probability as it is, without its object, and without its ground."""
        rows = [row for row in self.rows if row.without_object is not None]
        if not rows:
            return {}
        return {
            "nothing": mean_of([row.maps.base_probability for row in rows]),
            "object": mean_of([row.without_object or 0.0 for row in rows]),
            "ground": mean_of([row.without_ground or 0.0 for row in rows]),
        }

    def words(self) -> list[str]:
        """What the images say together, a line each."""
        lines = [*_scored("probability", self.probability), *_scored("activity", self.activity)]
        if self.hardly:
            lines.append(
                f"the probability hardly falls in {self.hardly} of {len(self.rows)}: by at most "
                f"{HARDLY:.0%} of itself"
            )
        if covered := self.covered():
            lines.append(
                f"probability {covered['nothing'].mean:.2f}; with the whole object covered "
                f"{covered['object'].mean:.2f}, with all but the object "
                f"{covered['ground'].mean:.2f}"
            )
        if self.probability is None:
            lines.append(
                "object positions are unknown: nothing is scored; --parts says where they are"
            )
        rank = plus_minus(self.correlation.mean, self.correlation.deviation, digits=2, unit=1)
        lines.append(
            f"activity falls with the projection's energy: rank correlation {rank}; lowest where "
            f"the energy is at percentile {100 * self.percentile.mean:.0f}"
        )
        return lines


@dataclass(frozen=True)
class NetworkDifference(Record):
    """Two networks on the same images: the first's detection minus the second's, image by image.

    Attributes:
        difference: mean over the images.
        better: in how many the first is better.
        p: exact, two-sided, of a sign test.
    """

    difference: Estimate
    better: int
    p: float


def compare_networks(first: OcclusionStudy, second: OcclusionStudy) -> NetworkDifference | None:
    """Which of two networks' probability maps finds the object; None without a truth.

    Raises:
        BadData: the studies are of different images.
    """
    if [row.name for row in first.rows] != [row.name for row in second.rows]:
        raise BadData("the two studies are of different images: choose the same for both")
    differences = [
        a.probability.detection - b.probability.detection
        for a, b in zip(first.rows, second.rows, strict=True)
        if a.probability is not None and b.probability is not None
    ]
    if not differences:
        return None
    better = sum(value > 0 for value in differences)
    return NetworkDifference(mean_of(differences), better, sign_test(differences))


@dataclass(frozen=True, eq=False)
class NetworkStudy:
    """What was found of one network.

    Attributes:
        name: a short one.
        about: what was used, JSON-able.
        study: what was found.
        random_weights: the network was never trained.
    """

    name: str
    about: Mapping[str, Any]
    study: OcclusionStudy
    random_weights: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"name": self.name, **self.about, **self.study.to_dict()}

    def words(self) -> list[str]:
        """A head, and what was found below it."""
        lines = [*self.study.words(), *([UNTRAINED] if self.random_weights else [])]
        head = f"{self.name}, {len(self.study.rows)} images, occluder {self.study.occluder}"
        return [head, *(f"  {line}" for line in lines)]


@dataclass(frozen=True, eq=False)
class Sensitivity(Record, Result):
    """One network's occlusion study, or two networks' on the same images.

    Attributes:
        images: which set.
        networks: one or two.
        compared: the first with the second; None of one, or without a truth.
        skipped: names of images that could not be read.
    """

    images: str
    networks: tuple[NetworkStudy, ...]
    compared: NetworkDifference | None
    skipped: tuple[str, ...] = not_in_json()

    def words(self) -> list[str]:
        """A block for each network, and which of two is better."""
        lines = [line for network in self.networks for line in ("", *network.words())][1:]
        if self.compared is None:
            return lines
        gap = self.compared.difference
        return [
            *lines,
            "",
            f"{self.networks[0].name} finds the object better in {self.compared.better} of "
            f"{gap.count} images: ROC area higher by {minus(f'{gap.mean:.3f}')} "
            f"({interval_words(gap, 3)}), sign test p {self.compared.p:.2g}",
        ]

    def warnings(self) -> list[str]:
        """Which images could not be read."""
        return [f"skipped {name}: it could not be read" for name in self.skipped]


def _scored(what: str, found: Scores | None) -> list[str]:
    if found is None:
        return []
    rate, area = found.pointing, found.detection
    unit = 0.01 if what == "probability" else 1.0
    on, beside = found.inside.mean / unit, found.outside.mean / unit
    measured = " points" if what == "probability" else ""
    return [
        f"{what} falls most on the object in {rate.hits} of {rate.count} "
        f"({rate.low:.0%} to {rate.high:.0%}), chance {rate.expected:.0%}, p {rate.p:.2g}; "
        f"ROC area {area.mean:.3f} ({interval_words(area, 3)})",
        minus(f"  by {on:.3g}{measured} on it, {beside:.3g} beside it, on average"),
    ]
