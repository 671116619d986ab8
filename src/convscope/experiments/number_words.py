"""Numbers in words, as every table, claim and figure says them: number -> str."""

from __future__ import annotations

import re
from collections.abc import Sequence

from convscope.stats import Estimate, mean_of

__all__ = [
    "NONE", "duration", "interval_words", "minus", "percent", "plus_minus", "points",
    "signed_number", "spread_words",
]  # fmt: skip

NONE = "–"  # where there is no number


def percent(share: float, digits: int = 0) -> str:
    """0.34 as "34 %"."""
    return minus(f"{100 * float(share):.{digits}f} %")


def points(share: float) -> str:
    """0.34 as "34 points"."""
    return minus(f"{100 * float(share):.0f} points")


def plus_minus(mean: float, deviation: float | None, *, digits: int = 1, unit: float = 0.01) -> str:
    """Write a mean and its deviation, in hundredths: 0.865 and 0.005 as "86.5 ± 0.5".

    Args:
        mean: The mean.
        deviation: Its spread; None where there is none, of which nothing is written.
        digits: After the point.
        unit: What is written as 1.

    Example:
        >>> plus_minus(0.865, 0.005)
        '86.5 ± 0.5'
    """
    said = minus(f"{mean / unit:.{digits}f}")
    return said if deviation is None else f"{said} ± {deviation / unit:.{digits}f}"


def spread_words(values: Sequence[float]) -> str:
    """Shares as their mean ± standard deviation in hundredths; of one the mean, of none NONE."""
    if not values:
        return NONE
    estimate = mean_of(values)
    return plus_minus(estimate.mean, estimate.deviation)


def interval_words(estimate: Estimate, digits: int = 2, unit: float = 1) -> str:
    """Such as "0.63 to 0.78"; of a single value, which has no interval, "no interval of one"."""
    if estimate.low is None or estimate.high is None:
        return "no interval of one"
    low, high = (
        f"{round(end / unit, digits) + 0.0:.{digits}f}" for end in (estimate.low, estimate.high)
    )
    return minus(f"{low} to {high}")


def signed_number(value: float, digits: int = 1) -> str:
    """1.93 as "+1.9", -0.4 as "−0.4"; what rounds to 0 has no sign."""
    said = f"{value:+.{digits}f}"
    return minus(said) if float(said) else said[1:]


def minus(words: str) -> str:
    """With minus signs before numbers, where there were hyphens."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", words)


def duration(seconds: float) -> str:
    """83 as "83 seconds", 600 as "10 minutes", 9000 as "2.5 hours"."""
    if seconds < 90:
        return "1 second" if round(seconds) == 1 else f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
