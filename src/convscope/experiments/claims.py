"""What a claim of the paper is, and how it is judged: an effect with its spread -> a verdict.

No verdict is given by hand. A claim is put as an effect that must lie above a threshold; its 95 %
interval decides: all of it above, the claim holds; none of it, it does not; else this run cannot
tell. claims.py has the claims.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from convscope.experiments.number_words import minus, signed_number
from convscope.record import Record
from convscope.stats import contrast_of_means, over_folds

__all__ = [
    "Claim", "Effect", "Judgement", "Verdict", "decide", "failed", "judged", "not_run",
    "untold",
]  # fmt: skip


class Verdict(StrEnum):
    """Whether a claim of the paper is borne out by a run."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNCLEAR = "unclear"
    NOT_RUN = "not run"
    ERROR = "failed"


@dataclass(frozen=True)
class Effect(Record):
    """How much speaks for a claim.

    Attributes:
        value: The measured effect.
        low: Lower end of its 95 % interval; None where there is a single value, and so no spread.
        high: Upper end of the interval.
        unit: "points" (hundredths, shown as such), or "" for a plain number.
        count: How many values the spread is over.
        over: What those values are, such as "folds".
    """

    value: float
    low: float | None
    high: float | None
    unit: str
    count: int
    over: str

    @classmethod
    def of(cls, values: Sequence[float], over: str, unit: str = "") -> Effect:
        """Compute a mean and its t-interval over independent values.

        Args:
            values: The values.
            over: What they are, such as "seeds".
            unit: "points", or "" for a plain number.
        """
        difference = contrast_of_means([(1.0, values)])
        return cls(difference.value, difference.low, difference.high, unit, len(values), over)

    @classmethod
    def over_folds(
        cls, values: Sequence[float], learned: int, tested: int, unit: str = ""
    ) -> Effect:
        """Compute a mean over random folds of one set, and its interval (`stats.over_folds`).

        Args:
            values: One for each fold.
            learned: Images that a fold learns from.
            tested: Images that a fold is tested on.
            unit: "points", or "" for a plain number.
        """
        estimate = over_folds(values, learned, tested)
        low, high = (None, None) if estimate.count < 2 else (estimate.low, estimate.high)
        return cls(estimate.mean, low, high, unit, estimate.count, "folds")

    @classmethod
    def between(
        cls, more: Sequence[float], less: Sequence[float], over: str, unit: str = ""
    ) -> Effect:
        """The mean of one group less that of another (Welch's interval)."""
        difference = contrast_of_means([(1.0, more), (-1.0, less)])
        return cls(
            difference.value, difference.low, difference.high, unit, len(more) + len(less), over
        )

    def words(self, *, sign: bool = True) -> str:
        """Such as "+3.1 points (95 %: +1.0 to +5.2, over 5 folds)"."""
        size = f"{self._number(self.value, sign)} {self.unit}".strip()
        if self.low is None or self.high is None:
            return f"{size} (no spread over {self.over})"
        low, high = self._number(self.low, sign), self._number(self.high, sign)
        return f"{size} (95 %: {low} to {high}, over {self.count:,} {self.over})"

    def _number(self, value: float, sign: bool) -> str:
        size, digits = (100 * value, 1) if self.unit == "points" else (value, 2)
        return signed_number(size, digits) if sign else minus(f"{size:.{digits}f}")


@dataclass(frozen=True)
class Judgement(Record):
    """What came of a claim.

    Attributes:
        verdict: Whether it holds here.
        here: Our numbers, in words.
        effect: What was measured; None where nothing was.
        threshold: What the effect had to exceed.
        reason: Why the claim was not run, failed, or cannot be told; "" otherwise.
    """

    verdict: Verdict
    here: str
    effect: Effect | None = None
    threshold: float = 0.0
    reason: str = ""

    @property
    def said(self) -> str:
        """The effect, and the threshold where it is not 0."""
        if self.effect is None:
            return ""
        if not self.threshold:
            return self.effect.words()
        return f"{self.effect.words(sign=False)}, threshold {self.threshold:g}"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Judgement:
        """The inverse of `to_dict`."""
        effect = values["effect"]
        return cls(
            Verdict(values["verdict"]),
            values["here"],
            None if effect is None else Effect(**effect),
            values["threshold"],
            values["reason"],
        )


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, as data.

    Attributes:
        key: Its name, unique.
        item: The stage whose result it is judged by.
        where: The place in the paper.
        words: The claim.
        paper: The paper's own numbers.
        rule: In words, what must be above what.
        judge: Judges the typed result of that stage.
    """

    key: str
    item: str
    where: str
    words: str
    paper: str
    rule: str
    judge: Callable[[Any], Judgement]


def decide(effect: Effect, threshold: float = 0.0) -> Verdict:
    """HOLDS where all of the interval lies above the threshold, FAILS where none of it does."""
    if effect.low is None or effect.high is None:
        return Verdict.UNCLEAR
    if effect.low > threshold:
        return Verdict.HOLDS
    return Verdict.FAILS if effect.high <= threshold else Verdict.UNCLEAR


def judged(here: str, effect: Effect, threshold: float = 0.0) -> Judgement:
    """The judgement that the effect's interval gives."""
    verdict = decide(effect, threshold)
    reason = untold(effect, threshold) if verdict is Verdict.UNCLEAR else ""
    return Judgement(verdict, here, effect, threshold, reason)


def untold(effect: Effect, threshold: float = 0.0) -> str:
    """Why an effect decides nothing; "" where it does."""
    if effect.low is None:
        return f"one value has no spread over {effect.over}"
    undecided = decide(effect, threshold) is Verdict.UNCLEAR
    return f"the 95 % interval includes {threshold:g}" if undecided else ""


def not_run(reason: str) -> Judgement:
    """Of a claim that these data or this budget do not allow to judge."""
    return Judgement(Verdict.NOT_RUN, "", reason=reason)


def failed(error: str) -> Judgement:
    """Of a claim whose stage failed."""
    return Judgement(Verdict.ERROR, "", reason=error)
