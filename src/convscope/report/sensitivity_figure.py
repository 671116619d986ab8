"""Occlusion of several images as figures: the rows of the paper's Fig. 6, and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.experiments.sensitivity.study import OcclusionStudy, Row
from convscope.experiments.wording import interval_words, minus, percent
from convscope.geometry.box import Box
from convscope.images.pictures import grey_scaled
from convscope.images.preprocess import Preprocess
from convscope.report.chart import chart, ticks
from convscope.report.occlusion_figure import ACROSS, CAPTION, FOOTER, Panel, draw_row, picture_size
from convscope.report.style import (
    CLIP,
    FAINT,
    HEADER,
    INK,
    LABELS,
    MARGIN,
    OTHER,
    RULE,
    caption,
    frame,
    head,
    number,
    place,
    write,
)

__all__ = ["MOST_ROWS", "scores_figure", "sensitivity_figure"]

MOST_ROWS = 12
NAME = 0.26  # inches for an image's name above its row
ROOM = 0.14  # inches below a row
WIDE, LINE = 7.6, 0.9  # inches: the figure of scores, and a network in it
TEXT = 1.9


def sensitivity_figure(
    study: OcclusionStudy,
    preprocess: Preprocess,
    *,
    classes: Sequence[str] | None = None,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """A row of the paper's Fig. 6 per image, the first MOST_ROWS of them.

    As `occlusion_figure`, and in (c) beside the feature map's projection from this image (framed)
    its projections from the other images that excite it most.
    """
    rows = study.rows[:MOST_ROWS]
    tall = picture_size(*preprocess.size)[1]
    each = NAME + CAPTION + tall + FOOTER + ROOM
    if len(rows) < len(study.rows):
        subtitle += f" · {len(rows)} of {len(study.rows)} images"
    figure = head(ACROSS, each * len(rows), title or "Occlusion sensitivity", subtitle)
    for i, row in enumerate(rows):
        top = HEADER + i * each
        write(figure, MARGIN, top, row.name, "panel", weight="bold", width=ACROSS / 2 - 0.8)
        write(figure, ACROSS - MARGIN, top, _found(row), ha="right", color=FAINT, width=ACROSS / 2)
        panels = draw_row(figure, top + NAME, row.maps, preprocess, classes)
        _projections(panels[2], row, preprocess)
    return figure


def _found(row: Row) -> str:
    found, said = row.probability, []
    if row.hardly_falls:
        said.append(f"probability hardly falls: by {max(row.fallen, 0):.1%} of itself at most")
    elif found is not None:
        on, beside = round(100 * found.inside), round(100 * found.outside)
        said.append(minus(f"probability falls by {on} points on the object, {beside} beside it"))
    if found is not None:
        where = "on" if found.hit else "beside"
        said.append(f"log-odds fall most {where} the object, ROC area {found.detection:.2f}")
    return "; ".join(said)


def _projections(panel: Panel, row: Row, preprocess: Preprocess) -> None:
    """The map's projection from this image, framed, and from others, in a square of four."""
    maps = row.maps
    panel.caption(f"Projections of feature map {maps.unit.channel}")
    panel.axes.remove()
    pictures = [(maps.projection, maps.box), *((e.projection, e.box) for e in row.elsewhere[:3])]
    wide, tall = panel.picture_width, panel.bottom - panel.top - CAPTION
    gap = 0.05
    side, down = (wide - gap) / 2, (tall - gap) / 2
    for i, (projection, box) in enumerate(pictures):
        left = panel.left + (i % 2) * (side + gap)
        top = panel.top + CAPTION + (i // 2) * (down + gap)
        axes = place(panel.figure, left, top, side, down)
        height, width = projection.shape[-2:]
        seen: Box = box.clip(height, width)
        share = CLIP * seen.height * seen.width / (height * width)
        axes.imshow(grey_scaled(preprocess.rgb(projection), share), aspect="auto")
        frame(axes)
        if i == 0:
            for spine in axes.spines.values():
                spine.set(color=INK, linewidth=1.6)
    panel.line(0, "Framed: this image, activation", number(maps.activation))
    for i, other in enumerate(row.elsewhere[:3]):
        panel.line(i + 1, other.name, number(other.activation), colour=FAINT)
    panel.line(4, "Falls with the projection, rank", minus(f"{row.agreement.correlation:.2f}"))


def scores_figure(
    studies: Mapping[str, OcclusionStudy], *, title: str = "", subtitle: str = ""
) -> Figure:
    """How well the probability's fall finds the object, for each network on the same images.

    (a) the area under the ROC curve of each image, its mean and 95 % interval, chance dashed;
    (b) how often the probability falls most on the object, with its interval, beside chance.
    The scores are of its log-odds.
    """
    known = {name: study for name, study in studies.items() if study.probability is not None}
    down = LINE * len(known)
    words = title or "Does the probability fall where the object is?"
    figure = head(WIDE + 2 * MARGIN, 0.3 + down + 0.65, words, subtitle)
    left = MARGIN + TEXT
    wide = (WIDE - TEXT - 0.4) / 2
    first = chart(figure, left, HEADER + 0.3, wide, down)
    second = chart(figure, left + wide + 0.4, HEADER + 0.3, wide, down)
    caption(figure, left, HEADER, "a", "Positions told apart (ROC area)", wide)
    caption(figure, left + wide + 0.4, HEADER, "b", "Falls most on the object", wide)
    for axes in (first, second):
        axes.set_xlim(0, 1)
        axes.set_ylim(len(known), 0)
        axes.spines["left"].set_visible(False)
        ticks(axes, x=[0, 0.25, 0.5, 0.75, 1])
        axes.tick_params(left=False)
    first.axvline(0.5, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    for i, (name, study) in enumerate(known.items()):
        _score(figure, (first, second), i, name, study)
    below = HEADER + 0.3 + down + 0.3
    words = "a: a dot an image, bar the mean and its 95 % interval, dashed chance; "
    words += "b: the rate and its 95 % interval, grey mark chance"
    write(figure, MARGIN, below, words, "small", color=FAINT, width=WIDE)
    return figure


def _score(
    figure: Figure, axes: tuple[Axes, Axes], i: int, name: str, study: OcclusionStudy
) -> None:
    found, colour = study.probability, LABELS[i % len(LABELS)]
    assert found is not None
    areas = [row.probability.detection for row in study.rows if row.probability is not None]
    shake = np.random.default_rng(0).uniform(-0.2, 0.2, len(areas))
    first, second = axes
    y = i + 0.5
    first.plot(areas, y + shake, "o", color=OTHER, markersize=3, zorder=1, clip_on=False)
    mean = found.detection
    if mean.low is not None and mean.high is not None:
        first.plot([mean.low, mean.high], [y, y], color=colour, linewidth=2, clip_on=False)
    first.plot([mean.mean], [y], "o", color=colour, markersize=5.5, clip_on=False)
    rate = found.pointing
    second.plot([rate.expected] * 2, [y - 0.2, y + 0.2], color=RULE, linewidth=3)
    second.plot([rate.low, rate.high], [y, y], color=colour, linewidth=2, clip_on=False)
    second.plot([rate.rate], [y], "o", color=colour, markersize=5.5, clip_on=False)
    top = HEADER + 0.3 + i * LINE + LINE / 2 - 0.22
    write(figure, MARGIN, top, name, width=TEXT - 0.15, color=colour, weight="bold")
    words = f"area {mean.mean:.2f}, {interval_words(mean)}"
    write(figure, MARGIN, top + 0.15, words, width=TEXT - 0.1)
    words = f"{rate.hits} of {rate.count} on it, chance {percent(rate.expected)}"
    write(figure, MARGIN, top + 0.3, words, width=TEXT - 0.1)
    on, beside = round(100 * found.inside.mean), round(100 * found.outside.mean)
    words = f"falls by {on} points on it, {beside} beside"
    words += f"; hardly in {study.hardly}" if study.hardly else ""
    write(figure, MARGIN, top + 0.45, minus(words), "small", color=FAINT, width=TEXT - 0.1)
