"""Where the objects are, as a figure: a Localization -> a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from convscope.experiments.localization.result import (
    CENTRED,
    RIGHT,
    BoxScore,
    DetectedImage,
    Detection,
    Example,
    Localization,
)
from convscope.experiments.number_words import minus, percent
from convscope.geometry.overlap import overlaps
from convscope.report.chart import chart, name_rows, picture, row_height, ticks, value_rows
from convscope.report.occlusion_figure import class_name
from convscope.report.sheet import Note, Panel, Sheet
from convscope.report.style import CHANCE, FAINT, INK, LABELS, MAP, color_of
from convscope.text import first_name

__all__ = ["localization_figure"]

NAMES = 1.2  # inches: the kinds of boxes
TALL = 1.3  # inches: a chart
MARKED = "#ffffff"
FRAME = 1.6  # points
VERDICTS = {1: LABELS[2], 0: LABELS[1], -1: FAINT}  # right, wrong, does not count
DETECTED = (
    " Detected boxes are drawn where the SVM's score is above 0, at most three of an image, and "
    "the surest always; below stand the marked class, and the surest detection with its score."
)
COLUMNS, DRAWN = 4, 3  # images in a row of detections; the surest boxes of each


def localization_figure(
    found: Localization,
    *,
    classes: Sequence[str] | None = None,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """How well each kind of box finds the objects, and some images with their maps and boxes.

    (a) the mean intersection over union, (b) how often it is RIGHT or more, each with its 95 %
    interval, the centred box dashed; then images, each with the map and the box of every method;
    then, where objects were detected, the average precision, and images with what was found.

    Args:
        found: What was found.
        classes: The names of the network's outputs.
        title: Above all.
        subtitle: Which network and images.
    """
    sheet = Sheet(title or _sentence(found.verdict()), subtitle)
    names = [row.kind for row in found.scores]
    height = max(TALL, row_height(names, NAMES) * len(names))
    sheet.row([
        Panel(partial(_draw_iou, rows=found.scores), "Mean intersection over union (IoU)",
              height=height),
        Panel(partial(_draw_right, rows=found.scores), f"Boxes that are right (IoU ≥ {RIGHT:g})",
              height=height),
    ])  # fmt: skip
    for number, example in enumerate(found.examples):
        sheet.row(_panels(example, classes, first=number == 0))
    if found.examples:
        methods = list(found.examples[0].boxes)
        sheet.legend(_legend((_color(i), name) for i, name in enumerate(methods)))
    if found.detection is not None:
        for panels in _detected(found.detection):
            sheet.row(panels)
        words = ((VERDICTS[1], "detected, right"), (VERDICTS[0], "detected, wrong"))
        sheet.legend(_legend(words))
    tall, wide = found.centred
    sheet.text(
        f"Maps of the {found.asked} class are cut at a share of their largest value, chosen on "
        f"{found.tuned} other images; the box holds the largest connected part. The {CENTRED} "
        f"stands in the middle, as large as the objects of those images are on average "
        f"({tall:.0f}×{wide:.0f} px), dashed above: a map must beat it. Bars: 95 % intervals."
        + (DETECTED if found.detection is not None else ""),
        color=FAINT, size="small",
    )  # fmt: skip
    return sheet.figure()


def _legend(lines: Iterable[tuple[str, str]]) -> list[Line2D]:
    """Below the images whose boxes have these colours: one colour means two things in two rows."""
    return [
        *(Line2D([], [], color=color, linewidth=2, label=name) for color, name in lines),
        Line2D([], [], color=INK, linewidth=2, linestyle=(0, (2, 1)), label="marked"),
    ]


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _color(number: int) -> str:
    return color_of(number)


def _colors(rows: Sequence[BoxScore]) -> list[str]:
    return [FAINT if row.threshold is None else _color(i) for i, row in enumerate(rows)]


def _draw_iou(axes: Axes, rows: Sequence[BoxScore]) -> None:
    ends = [(row.iou.low, row.iou.high) for row in rows]
    _draw(axes, rows, [row.iou.mean for row in rows], ends)
    value_rows(axes, [minus(f"{row.iou.mean:.2f}") for row in rows], _colors(rows))


def _draw_right(axes: Axes, rows: Sequence[BoxScore]) -> None:
    shares = [row.accuracy for row in rows]
    _draw(axes, rows, [each.share for each in shares], [(each.low, each.high) for each in shares])
    value_rows(axes, [percent(each.share) for each in shares], _colors(rows))


def _draw(
    axes: Axes,
    rows: Sequence[BoxScore],
    values: Sequence[float],
    ends: Sequence[tuple[float | None, float | None]],
) -> None:
    """A dot and its interval for each kind; the centred box's as a line through all."""
    colors = _colors(rows)
    chart(axes, lines="x")
    axes.set_xlim(0, 1)
    ticks(axes, x=[0, 0.25, 0.5, 0.75, 1])
    name_rows(axes, [row.kind for row in rows], NAMES, colors)
    for y, (row, value, (low, high), color) in enumerate(
        zip(rows, values, ends, colors, strict=True)
    ):
        if row.kind == CENTRED:
            axes.axvline(value, **CHANCE)
        if low is not None and high is not None:
            axes.plot([max(low, 0), min(high, 1)], [y, y], color=color, linewidth=2, clip_on=False)
        axes.plot([value], [y], "o", color=color, markersize=5, clip_on=False)


# ---- detection


def _detected(found: Detection) -> list[list[Panel]]:
    """Mean average precision and that of each class; then images, COLUMNS to a row."""
    kinds = [row.kind for row in found.scores]
    names = [f"{first_name(name)} ({count})" for name, count, _ in found.classes]
    charts = [
        Panel(partial(_draw_precision, found=found), "Detection: mean average precision",
              height=max(TALL, row_height(kinds, NAMES) * len(kinds))),
        Panel(partial(_draw_classes, found=found, names=names),
              "Of each class, from sliding windows (objects)",
              height=max(TALL, row_height(names, NAMES) * len(names))),
    ]  # fmt: skip
    images = [_image_panel(image, first=i == 0) for i, image in enumerate(found.shown)]
    return [charts, *(images[at : at + COLUMNS] for at in range(0, len(images), COLUMNS))]


def _draw_precision(axes: Axes, found: Detection) -> None:
    chart(axes, lines="x")
    axes.set_xlim(0, 1)
    ticks(axes, x=[0, 0.25, 0.5, 0.75, 1])
    name_rows(axes, [row.kind for row in found.scores], NAMES)
    for y, row in enumerate(found.scores):
        axes.plot([max(row.low, 0), min(row.high, 1)], [y, y], color=INK, linewidth=2)
        axes.plot([row.precision], [y], "o", color=INK, markersize=5, clip_on=False)
    value_rows(axes, [percent(row.precision) for row in found.scores], [INK] * len(found.scores))


def _draw_classes(axes: Axes, found: Detection, names: Sequence[str]) -> None:
    chart(axes, lines="x")
    axes.set_xlim(0, 1)
    ticks(axes, x=[0, 0.25, 0.5, 0.75, 1])
    name_rows(axes, names, NAMES)
    values = [precision for _, _, precision in found.classes]
    axes.barh(range(len(values)), values, height=0.6, color=FAINT)
    value_rows(axes, [percent(value) for value in values], [INK] * len(values))


def _image_panel(image: DetectedImage, *, first: bool) -> Panel:
    objects = ", ".join(dict.fromkeys(map(first_name, image.objects)))
    surest = Note(
        first_name(image.found[0]), minus(f"{image.scores[0]:.2f}"), size="small",
        color=VERDICTS[int(image.right[0])],
    )  # fmt: skip
    draw = partial(_draw_detected, image=image)
    notes = [Note(objects, size="small", bold=True), surest]
    return Panel(draw, "Detected objects" if first else "", notes)


def _draw_detected(axes: Axes, image: DetectedImage) -> None:
    picture(axes, image.picture)
    for box, right in reversed(list(zip(image.boxes[:DRAWN], image.right, strict=False))):
        _frame(axes, box, VERDICTS[int(right)])
    for box in image.truth:
        _frame(axes, box, MARKED, marked=True)


# ---- images


def _panels(example: Example, classes: Sequence[str] | None, *, first: bool) -> list[Panel]:
    """The image with all boxes, and each method's map with its own."""
    name = class_name(example.target, classes)
    whole = Panel(
        partial(_draw_boxes, example=example), "All boxes" if first else "",
        [Note(example.name, size="small"), Note(name, size="small", bold=True)],
    )  # fmt: skip
    panels = [whole]
    for number, method in enumerate(example.boxes):
        over = float(overlaps(example.boxes[method], example.truth).max())
        draw = partial(_draw_map, example=example, method=method, color=_color(number))
        note = Note("IoU", minus(f"{over:.2f}"), size="small")
        panels.append(Panel(draw, method if first else "", [note]))
    return panels


def _draw_boxes(axes: Axes, example: Example) -> None:
    picture(axes, example.picture)
    for number, box in enumerate(example.boxes.values()):
        _frame(axes, box, _color(number))
    for box in example.truth:
        _frame(axes, box, MARKED, marked=True)


def _draw_map(axes: Axes, example: Example, method: str, color: str) -> None:
    picture(axes, example.maps[method], cmap=MAP, vmin=0, vmax=280)
    for box in example.truth:
        _frame(axes, box, MARKED, marked=True)
    _frame(axes, example.boxes[method], color)


def _frame(axes: Axes, box: NDArray[np.float64], color: str, *, marked: bool = False) -> None:
    """A box's edges; those of marked ones are dashed in black and white."""
    top, left, bottom, right = box.tolist()
    if bottom <= top or right <= left:
        return
    corner, size = (left, top), (right - left, bottom - top)
    if marked:
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=INK, linewidth=FRAME))
    style = (0, (2, 1)) if marked else "-"
    axes.add_patch(
        Rectangle(corner, *size, fill=False, edgecolor=color, linewidth=FRAME, linestyle=style)
    )
