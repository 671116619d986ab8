"""Curves over epochs as inline SVG: numbers -> places on a chart that page/curves.html.j2 draws.

Small enough (360 by 216) that its words are readable on a phone as they are; sharp in print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Chart", "Curve", "chart"]

WIDTH, HEIGHT = 360, 216
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 26  # around the plot
TICKS = 5  # about as many, and never many more

Points = Sequence[tuple[int, float]]


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
    bars: tuple[tuple[float, float, float, float, str], ...]
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
    known = [
        value
        for _, _, points in named
        for _, value in points
        if math.isfinite(value) and (value > 0 or not log)
    ]
    low, high, ticks = _log_axis(known) if log else _axis(known)

    def across(epoch: float) -> float:
        start = LEFT + (6 if not bars else 12)
        share = (epoch - 1) / max(1, epochs - 1)
        return round(start + share * (WIDTH - RIGHT - 2 * (start - LEFT) - LEFT), 2)

    def down(value: float) -> float:
        share = (_place(value, log) - _place(low, log)) / (_place(high, log) - _place(low, log))
        return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 2)

    def shown(value: float) -> bool:
        return math.isfinite(value) and (value > 0 or not log)

    def words(value: float) -> str:
        return f"{100 * value:.3g} %" if percent else _number(value)

    places = [
        [(across(e), down(v) if shown(v) else None, f"epoch {e}: {words(v)}") for e, v in points]
        for _, _, points in named
    ]
    curves = tuple(
        Curve(
            name=name,
            kind=kind,
            segments=() if bars else _segments(at),
            dots=tuple((x, y, said) for x, y, said in at if y is not None),
            last=words(points[-1][1]) if points else "",
        )
        for (name, kind, points), at in zip(named, places, strict=True)
    )
    wide = max(1.0, min(24.0, 0.7 * (WIDTH - LEFT - RIGHT) / max(1, epochs)))
    base = HEIGHT - BOTTOM
    return Chart(
        title=title,
        curves=curves,
        bars=tuple(
            (round(x - wide / 2, 2), y, round(wide, 2), round(base - y, 2), said)
            for x, y, said in (curves[0].dots if bars else ())
        ),
        rows=tuple((down(tick), words(tick)) for tick in ticks),
        columns=tuple((across(tick), str(tick)) for tick in _epochs(epochs)),
    )


def _place(value: float, log: bool) -> float:
    return math.log10(value) if log else value


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


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "not finite"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
