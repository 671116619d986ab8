"""What the paper says of its Table 2, put to figures over several seeds.

A claim is a weighted sum of the rows' mean errors and the sign that it must have. Its 95 % interval
comes from the spread over the seeds alone (Welch–Satterthwaite): it says what another set of seeds
would have told, not what other images would.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from convscope.experiments.claims import Verdict
from convscope.stats import MeansContrast, contrast_of_means

__all__ = ["CLAIMS", "JudgedClaim", "Quantity", "RowClaim", "judge"]

LITTLE = 0.25  # of what the loss of all four layers costs; the paper's own rows are below 0.16


class Quantity(StrEnum):
    """What of a row is compared."""

    ERROR = "validation error"
    GAP = "validation error less training error"


@dataclass(frozen=True)
class RowClaim:
    """A claim about rows of Table 2: the sign of a weighted sum of their errors.

    Attributes:
        key: Its name, unique.
        words: The claim as the paper would put it.
        weights: The weight of each row's error in the sum.
        sign: +1 or -1: that of the sum where the claim is true.
        total: What the weighted sum is, in words.
        quantity: Which error of a row is meant.
        otherwise: A claim that is enough as well; only if both fail does this one.
        also: A claim that must hold as well.
    """

    key: str
    words: str
    weights: Mapping[str, float]
    sign: int
    total: str
    quantity: Quantity = Quantity.ERROR
    otherwise: RowClaim | None = None
    also: RowClaim | None = None


_NONE, _MIDDLE, _LAST, _DENSE = (
    "none",
    "without layers 3,4",
    "without layer 7",
    "without layers 6,7",
)
_ALL, _HALF = "without layers 3,4,6,7", "layers 6,7 half as wide"
_DOUBLE, _WIDER = "layers 6,7 twice as wide", "layers 3,4,5 wider"
_WIDEST = "layers 3 to 7 wider"


def _little(key: str, words: str, row: str, worse: int = 1) -> RowClaim:
    """The row differs from the whole network by at most LITTLE of what removing all four costs;
    or not at all in that direction, also where all four cost nothing."""
    what = "loss" if worse > 0 else "gain"
    weights = {row: float(worse), _NONE: LITTLE - worse, _ALL: -LITTLE}
    nothing = RowClaim(key, words, {row: float(worse), _NONE: -float(worse)}, -1, what)
    total = f"{what} less a quarter of the loss of all four"
    return RowClaim(key, words, weights, -1, total, otherwise=nothing)


def _depth_matters(key: str) -> RowClaim:
    """Where the parts are gains, the whole exceeds their sum without being a loss: both count."""
    words = "Without all four the loss is far more than that of both pairs together: depth matters"
    weights = {_ALL: 1.0, _MIDDLE: -1.0, _DENSE: -1.0, _NONE: 1.0}
    loss = RowClaim(key, words, {_ALL: 1.0, _NONE: -1.0}, 1, "loss")
    return RowClaim(key, words, weights, 1, "loss of all four less those of both pairs", also=loss)


CLAIMS = (
    _little("table2-middle", "Without the two middle convolutions (3, 4) little is lost", _MIDDLE),
    _little("table2-last", "Without the last hidden layer (7) little is lost", _LAST),
    _little("table2-dense", "Without both fully connected layers (6, 7) little is lost", _DENSE),
    _depth_matters("table2-depth"),
    _little("table2-half", "With half as many units in layers 6, 7 little is lost", _HALF),
    _little(
        "table2-double", "With twice as many units in layers 6, 7 little is gained", _DOUBLE, -1
    ),
    RowClaim(
        "table2-wider",
        "Wider middle convolutions (3, 4, 5) lower the error",
        {_WIDER: 1.0, _NONE: -1.0},
        -1,
        "difference",
    ),
    RowClaim(
        "table2-widest",
        "Widening layers 6, 7 as well only makes the network learn its images by heart",
        {_WIDEST: 1.0, _WIDER: -1.0},
        1,
        "difference of the gaps",
        Quantity.GAP,
    ),
)
"""Zeiler & Fergus 2014, §5.1, "Varying ImageNet Model Sizes"."""


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with what came out.

    Attributes:
        claim: The claim.
        verdict: Whether it holds here.
        contrast: The weighted sum that it is about.
        evidence: The numbers in words, points of error.
    """

    claim: RowClaim
    verdict: Verdict
    contrast: MeansContrast
    evidence: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "key": self.claim.key,
            "claim": self.claim.words,
            "verdict": str(self.verdict),
            "quantity": str(self.claim.quantity),
            "weights": dict(self.claim.weights),
            "contrast": self.contrast.to_dict(),
            "evidence": self.evidence,
        }

    def lines(self) -> list[str]:
        """For a person."""
        return [f"{self.verdict}: {self.claim.words}", f"    {self.evidence}"]


Rows = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""By row of Table 2: training and validation errors over the seeds, shares."""


def judge(rows: Rows) -> tuple[JudgedClaim, ...]:
    """Every claim whose rows are there."""
    return tuple(_judged(claim, rows) for claim in CLAIMS if claim.weights.keys() <= rows.keys())


def _judged(claim: RowClaim, rows: Rows) -> JudgedClaim:
    values = {name: _values(claim.quantity, rows[name]) for name in claim.weights}
    difference = contrast_of_means(
        [(weight, values[name]) for name, weight in claim.weights.items()]
    )
    judged = JudgedClaim(
        claim, _verdict(difference, claim.sign), difference, _evidence(claim, values, difference)
    )
    if claim.also is not None and judged.verdict is Verdict.HOLDS:
        beside = _judged(claim.also, rows)
        return judged if beside.verdict is Verdict.HOLDS else beside
    if claim.otherwise is None or judged.verdict is Verdict.HOLDS:
        return judged
    other = _judged(claim.otherwise, rows)
    if other.verdict is Verdict.HOLDS:
        return other
    both = {judged.verdict, other.verdict}
    return replace(judged, verdict=Verdict.FAILS if both == {Verdict.FAILS} else Verdict.UNCLEAR)


def _verdict(difference: MeansContrast, sign: int) -> Verdict:
    if difference.low is None or difference.high is None:
        return Verdict.UNCLEAR
    ends = (sign * difference.low, sign * difference.high)
    return Verdict.HOLDS if min(ends) > 0 else Verdict.FAILS if max(ends) < 0 else Verdict.UNCLEAR


def _values(quantity: Quantity, errors: tuple[Sequence[float], Sequence[float]]) -> list[float]:
    train, val = errors
    if quantity is Quantity.ERROR:
        return list(val)
    return [v - t for t, v in zip(train, val, strict=True)]


def _evidence(
    claim: RowClaim, values: Mapping[str, Sequence[float]], difference: MeansContrast
) -> str:
    means = {name: 100 * statistics.fmean(each) for name, each in values.items()}
    if claim.quantity is Quantity.GAP:
        said = [f"{name}: a gap of {mean:.1f} points" for name, mean in means.items()]
    else:
        said = [f"{n}: {m - means[_NONE]:+.1f} points" for n, m in means.items() if n != _NONE]
    lines = "; ".join(sorted(said, key=len))
    total = f"{lines}; {claim.total} {100 * difference.value:+.1f}"
    if difference.low is None or difference.high is None:
        return f"{total}, of one seed: there is no spread to set it against"
    size = "" if difference.spreads is None else f", {difference.spreads:+.1f} seed deviations"
    return f"{total} (95 %: {100 * difference.low:+.1f} to {100 * difference.high:+.1f}{size})"
