"""Curves over epochs as inline SVG: numbers -> places on a chart that page/training.html.j2 draws.

Small enough (360 by 216) that its words are readable on a phone as they are; sharp in print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Chart", "Curve", "chart", "number"]

WIDTH, HEIGHT = 360, 216
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 26  # around the plot
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TICKS = 5  # about as many, and never many more

Points = Sequence[tuple[int, float]]
Bar = tuple[float, float, float, float, str]


@dataclass(frozen=True)
class Curve:
    """One line of a chart, and the words for it.

    kind : its class in the style sheet;   segments : "x,y x,y ..." of each unbroken stretch
    dots : (x, y, what it says);   last : the last value in words
    """

    name: str
    kind: str
    segments: tuple[str, ...]
    dots: tuple[tuple[float, float, str], ...]
    last: str


@dataclass(frozen=True)
class Chart:
    """A chart ready to be drawn, in user units of a 360 by 216 view.

    rows : (y, label) of the value axis;   columns : (x, label) of the epochs
    bars : (x, y, width, height, what it says)
    """

    title: str
    curves: tuple[Curve, ...]
    bars: tuple[Bar, ...]
    rows: tuple[tuple[float, str], ...]
    columns: tuple[tuple[float, str], ...]

    width, height, left, bottom = WIDTH, HEIGHT, LEFT, HEIGHT - BOTTOM
    right = WIDTH - RIGHT

    @property
    def note(self) -> str:
        """What stands in a plot that shows nothing."""
        if not any(curve.dots for curve in self.curves):
            return "nothing to show yet"
        return "0 at every epoch" if self.bars and not any(bar[3] for bar in self.bars) else ""


def chart(
    title: str,
    named: Sequence[tuple[str, str, Points]],
    epochs: int,
    *,
    log: bool = False,
    percent: bool = False,
    bars: bool = False,
) -> Chart:
    """A chart of curves over epochs 1 to `epochs`.

    named : (name, kind, points (epoch, value)) of each curve; NaN and infinity break a curve
    log : a logarithmic axis, on which values of 0 and less break a curve; else it begins at 0
    percent : values are shares;   bars : of the first curve, in place of the curve
    """
    scale = _Scale.around(named, epochs, log=log, percent=percent, bars=bars)
    curves = tuple(_curve(scale, name, kind, points) for name, kind, points in named)
    return Chart(
        title=title,
        curves=curves,
        bars=_bars(scale, curves[0], epochs) if bars else (),
        rows=tuple((scale.down(tick), scale.words(tick)) for tick in scale.ticks),
        columns=tuple((scale.across(tick), str(tick)) for tick in _epochs(epochs)),
    )


@dataclass(frozen=True)
class _Scale:
    """From an epoch and a value to a place on the chart, and to words.

    low, high : the ends of the value axis;   ticks : its values that are named
    log, percent, bars : as of `chart`
    """

    epochs: int
    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool
    percent: bool
    bars: bool

    @classmethod
    def around(
        cls, named: Sequence[tuple[str, str, Points]], epochs: int, *, log: bool, percent: bool,
        bars: bool,
    ) -> _Scale:  # fmt: skip
        """The scale that holds all values that can be shown."""
        values = [value for _, _, points in named for _, value in points if _shown(value, log)]
        low, high, ticks = _log_axis(values) if log else _axis(values)
        return cls(epochs, low, high, tuple(ticks), log, percent, bars)

    def across(self, epoch: float) -> float:
        room = 12 if self.bars else 6  # on both sides of the plot
        share = (epoch - 1) / max(1, self.epochs - 1)
        return round(LEFT + room + share * (WIDTH - RIGHT - LEFT - 2 * room), 2)

    def down(self, value: float) -> float:
        low, high, at = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return round(HEIGHT - BOTTOM - (at - low) / (high - low) * (HEIGHT - BOTTOM - TOP), 2)

    def shown(self, value: float) -> bool:
        return _shown(value, self.log)

    def words(self, value: float) -> str:
        return f"{100 * value:.3g} %" if self.percent else number(value)


def _shown(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log)


def _curve(scale: _Scale, name: str, kind: str, points: Points) -> Curve:
    places = [
        (
            scale.across(epoch),
            scale.down(value) if scale.shown(value) else None,
            f"epoch {epoch}: {scale.words(value)}",
        )
        for epoch, value in points
    ]
    return Curve(
        name=name,
        kind=kind,
        segments=() if scale.bars else _segments(places),
        dots=tuple((x, y, said) for x, y, said in places if y is not None),
        last=scale.words(points[-1][1]) if points else "",
    )


def _bars(scale: _Scale, curve: Curve, epochs: int) -> tuple[Bar, ...]:
    """A bar in place of each of the curve's dots, as wide as the epochs leave room for."""
    wide = max(1.0, min(24.0, 0.7 * (WIDTH - LEFT - RIGHT) / max(1, epochs)))
    floor = HEIGHT - BOTTOM
    return tuple(
        (round(x - wide / 2, 2), y, round(wide, 2), round(floor - y, 2), said)
        for x, y, said in curve.dots
    )


def _segments(places: Sequence[tuple[float, float | None, str]]) -> tuple[str, ...]:
    """Each unbroken stretch as the points of a polyline."""
    stretches: list[list[str]] = [[]]
    for x, y, _ in places:
        if y is None:
            stretches.append([])
        else:
            stretches[-1].append(f"{x},{y}")
    return tuple(" ".join(stretch) for stretch in stretches if len(stretch) > 1)


def _axis(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """From 0 to a round number at or above the largest: (low, high, ticks)."""
    highest = max([0.0, *values])
    if highest == 0:
        return 0.0, 1.0, [0.0, 1.0]
    raw = highest / (TICKS - 1)
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * 0.999)
    count = math.ceil(highest / step - 1e-9)
    return 0.0, count * step, [i * step for i in range(count + 1)]


def _log_axis(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Between powers of ten, or 2 and 5 times them, at or around the values."""
    low, high = (min(values), max(values)) if values else (0.1, 1.0)
    marks = [
        factor * 10.0**power
        for power in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
        for factor in (1, 2, 5)
    ]
    first = max(i for i, mark in enumerate(marks) if mark <= low * 1.001)
    last = min(i for i, mark in enumerate(marks) if mark >= high * 0.999)
    within = marks[first : max(last, first + 1) + 1]
    decades = [mark for i, mark in enumerate(marks) if i % 3 == 0 and mark in within]
    ticks = within if len(within) <= TICKS + 2 else decades
    return within[0], within[-1], ticks


def _epochs(epochs: int) -> list[int]:
    """The first, the last, and round ones between."""
    step = next(
        step for power in range(9) for step in (10**power, 2 * 10**power, 5 * 10**power)
        if epochs / step <= TICKS + 2
    )  # fmt: skip
    between = [tick for tick in range(step, epochs, step) if tick > 1 and epochs - tick >= step / 2]
    return sorted({1, *between, max(1, epochs)})


def number(value: float) -> str:
    """Three digits, or all of those before the point; 2.7 × 10⁻⁷ where there were many zeros."""
    if not math.isfinite(value):
        return "not finite"
    if value and abs(value) < 1e-4:
        digits, _, power = f"{value:.2e}".partition("e")
        digits = f"{float(digits):g}"
        times = "" if digits == "1" else f"{digits} × "
        return f"{times}10{str(int(power)).translate(RAISED)}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
