"""A network's mistakes as a figure: Mistakes -> a matplotlib Figure."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.experiments.mistakes.result import Confused, Mistakes, TellingMap
from convscope.experiments.number_words import percent
from convscope.report.chart import chart, inside, name_rows, row_height, value_rows
from convscope.report.sheet import PAGE, Panel, Sheet
from convscope.report.style import CHANCE, FAINT, INK, MAP, color_of

__all__ = ["errors_figure"]

NAMES = 2.4  # inches: names beside rows
CELL = 0.25  # inches: of the square of confusions a row at least
SQUARE = 15  # classes at most whose confusions are a square; of more the worst pairs are shown
PAIRS, MAPS = 24, 16  # rows that are shown


def errors_figure(found: Mistakes, *, title: str = "", subtitle: str = "") -> Figure:
    """(a) what is taken for what; (b) the maps that tell mistakes from right answers."""
    sheet = Sheet(title or _told(found), subtitle)
    if found.confused:
        _add_confusions(sheet, found)
    _add_maps(sheet, found)
    if found.noise is not None and found.agreed is not None:
        warning = f" {found.warning}" if found.warning else ""
        sheet.text(
            f"{len(found.doubts):,} labels are in doubt by confident learning on the features of "
            f"{found.layer} (a probe gives {percent(found.agreed)} of the labels of images that it "
            f"did not learn from).{warning} {found.same} pairs of images are the same picture.",
            color=FAINT,
        )
    return sheet.figure()


def _told(found: Mistakes) -> str:
    share = percent(found.wrong / max(1, found.images))
    if not found.confused:
        return f"{found.judge.capitalize()} is right about all {found.images:,} images"
    worst = found.confused[0]
    return (
        f"{found.judge.capitalize()} is wrong about {share} of the images, most often taking "
        f"{worst.label} for {worst.predicted}"
    )


def _add_confusions(sheet: Sheet, found: Mistakes) -> None:
    count = len(found.classes)
    if count <= SQUARE:
        numbered = [f"{name}  ({number})" for number, name in enumerate(found.classes, 1)]
        side = max(CELL, row_height(numbered, NAMES)) * count
        wide = min(max(CELL * count, 2.2, side), PAGE - NAMES)
        beside = Panel(width=max(0.1, PAGE - NAMES - wide))
        draw = partial(_draw_square, found=found, names=numbered)
        sheet.row([Panel(draw, "What is taken for what", height=side, width=wide), beside])
        sheet.text(
            "Down: the labels. Across: what was said, by the classes' numbers. Colours are shares "
            "of a label's images.",
            color=FAINT,
        )
        return
    shown = found.confused[:PAIRS]
    names = [f"{each.label} → {each.predicted}" for each in shown]
    height = row_height(names, NAMES) * len(names)
    more = len(found.confused) - len(shown)
    draw = partial(_draw_pairs, pairs=shown, names=names)
    sheet.row([Panel(draw, "What is taken for what most often", height=height)])
    if more:
        sheet.text(f"{more:,} more pairs of classes are in result.json.", color=FAINT)


def _draw_square(axes: Axes, found: Mistakes, names: list[str]) -> None:
    count = len(names)
    shares = found.table / np.maximum(found.table.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap=MAP, vmin=0, vmax=1.15, aspect="auto")
    name_rows(axes, names, NAMES)
    axes.set_xticks(range(count), [str(number) for number in range(1, count + 1)])
    axes.tick_params(axis="x", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for row, column in np.argwhere(found.table):
        color = "white" if shares[row, column] < 0.65 else INK
        words = _short(int(found.table[row, column]))
        inside(axes, column, row, words, data="xy", ha="center", va="center", color=color)


def _short(count: int) -> str:
    """A count that fits into a cell."""
    return str(count) if count < 10**5 else f"{count / 1000:.0f}k"


def _draw_pairs(axes: Axes, pairs: tuple[Confused, ...], names: list[str]) -> None:
    chart(axes, "images", lines="x")
    axes.barh(range(len(pairs)), [each.count for each in pairs], height=0.7, color=color_of(1))
    name_rows(axes, names, NAMES)
    value_rows(axes, [f"{each.count} of {each.of}" for each in pairs])


def _add_maps(sheet: Sheet, found: Mistakes) -> None:
    maps, classes = found.looked_at
    if not found.telling:
        words = (
            f"No map of {maps:,} tells mistakes from right answers beyond chance, in {classes} "
            "classes with enough of both."
            if classes
            else "No class has enough mistakes and right answers for its maps to be judged."
        )
        sheet.text(words)
        return
    shown = found.telling[:MAPS]
    names = [f"{each.label}: {each.unit}" for each in shown]
    height = row_height(names, NAMES) * len(names)
    draw = partial(_draw_maps, shown=shown, names=names)
    words = "Maps that tell mistakes; at the right what comes right without the map"
    sheet.row([Panel(draw, words, height=height)])
    more = len(found.telling) - len(shown)
    sheet.text(
        "How often the map is more active in a mistake of the class than in a right answer, in "
        "images that it was not chosen by, with its 95 % interval. Beyond chance: dealt mistakes "
        "reach as much for any map and class in less than 5 %. Filled: removing the map has an "
        "effect above that of all other maps that were tried."
        + (f" {more} more maps are in result.json." if more > 0 else ""),
        color=FAINT,
    )


def _draw_maps(axes: Axes, shown: tuple[TellingMap, ...], names: list[str]) -> None:
    chart(axes, "ROC area: 0 less active in mistakes, 1 more active", lines="x")
    for row, each in enumerate(shown):
        color = color_of(1 if each.more else 0)
        filled = each.removal is not None and each.removal.confirmed
        axes.plot([each.low, each.high], [row, row], color=color, linewidth=1.2)
        axes.plot(
            [each.area], [row], "o", color=color, markersize=4.5,
            markerfacecolor=color if filled else "white",
        )  # fmt: skip
    axes.axvline(0.5, **CHANCE)
    axes.set_xlim(-0.02, 1.02)
    name_rows(axes, names, NAMES)
    value_rows(axes, [_without(each) for each in shown])


def _without(each: TellingMap) -> str:
    if each.removal is None:
        return "-"
    found = each.removal
    return f"{found.mended} of {found.mistakes} mended, {found.broken} of {found.right} lost"
