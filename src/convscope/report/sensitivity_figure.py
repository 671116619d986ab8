"""Occlusion of several images as figures: the rows of the paper's Fig. 6, and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from convscope.experiments.number_words import interval_words, minus, percent
from convscope.experiments.sensitivity.result import OccludedImage, OcclusionStudy
from convscope.geometry.box import Box
from convscope.images.pictures import grey_scaled
from convscope.images.preprocess import Preprocess
from convscope.report.chart import Mosaic, chart, name_rows, row_height, ticks
from convscope.report.occlusion_figure import (
    Names,
    class_name,
    draw_activity,
    draw_image,
    draw_labels,
    draw_value,
    label_notes,
    probability_words,
)
from convscope.report.sheet import Note, Panel, Sheet
from convscope.report.style import CHANCE, CLIP, FAINT, INK, OTHER, RULE, color_of, number

__all__ = ["MOST_ROWS", "scores_figure", "sensitivity_figure"]

MOST_ROWS = 8
"""Images of a page."""
WORDS = 1.9  # of a row: the words beside its pictures, which are 1 wide
LISTED = 3  # classes that a row names
NAMES = 2.0  # inches: the networks' names beside their scores
BESIDE = "Beside each row: values as the image is, and the lowest when covered; areas of classes."
CAPTIONS = (
    "Costs most when covered",
    "Activity of the strongest map",
    "Its projection here (framed)",
    "Probability of the class",
    "Most probable class",
)
DRAWN = 96  # pixels of a projection's side that are drawn


def sensitivity_figure(
    study: OcclusionStudy,
    preprocess: Preprocess,
    *,
    classes: Names = None,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """A row of the paper's Fig. 6 per image, the first MOST_ROWS of them: one page.

    As `occlusion_figure`, and in (c) beside the feature map's projection from this image (framed)
    its projections from the other images that excite it most; of each block of pixels that is
    drawn as one, the value of the largest size. In (b) and (d) dark is little, each picture on its
    own scale, whose highest and lowest value the words beside it give. Above all rows stands what
    they say together.
    """
    rows = study.rows[:MOST_ROWS]
    if len(rows) < len(study.rows):
        subtitle += f" · {len(rows)} of {len(study.rows)} images"
    sheet = Sheet(title or "Occlusion sensitivity", subtitle)
    sheet.notes([*_verdict(study), Note(BESIDE, color=FAINT, size="small")])
    for i, row in enumerate(rows):
        draws = (
            partial(draw_image, maps=row.maps, preprocess=preprocess),
            partial(draw_activity, maps=row.maps, bar=False),
            partial(_draw_projections, row=row, preprocess=preprocess),
            partial(draw_value, maps=row.maps, bar=False),
            partial(draw_labels, maps=row.maps),
        )
        captions = CAPTIONS if i == 0 else [""] * len(CAPTIONS)
        panels = [Panel(draw, words) for draw, words in zip(draws, captions, strict=True)]
        sheet.row([*panels, Panel(notes=_words(row, classes), width=WORDS)])
    return sheet.figure()


def _draw_projections(axes: Axes, row: OccludedImage, preprocess: Preprocess) -> None:
    """The map's projection from this image, framed, and from others, in a square of four."""
    maps = row.maps
    found = [(maps.projection, maps.box), *((e.projection, e.box) for e in row.elsewhere[:3])]
    side = 2 if len(found) > 1 else 1
    height, width = maps.image.shape[-2:]
    mosaic = Mosaic(axes, side, side, tall=height / width)
    for i, (projection, box) in enumerate(found):
        seen: Box = box.clip(*projection.shape[-2:])
        share = CLIP * seen.height * seen.width / (projection.shape[-2] * projection.shape[-1])
        edge, weight = (INK, 1.4) if i == 0 else (RULE, 0.4)
        pixels = grey_scaled(_reduced(preprocess.rgb(projection)), share)
        mosaic.show(*divmod(i, 2), pixels, edge, weight)


def _reduced(projection: Tensor) -> Tensor:
    """A projection with `DRAWN` pixels a side at most: of a block, the value of the largest size.

    A mean would leave nothing of the fine stripes that projections of deep maps are made of.

    Shape:
        projection: (3, H, W). The result: (3, h, w).
    """
    step = -(-max(projection.shape[-2:]) // DRAWN)
    if step == 1:
        return projection
    high = F.max_pool2d(projection[None], step, ceil_mode=True)[0]
    low = -F.max_pool2d(-projection[None], step, ceil_mode=True)[0]
    return torch.where(high >= -low, high, low)


def _verdict(study: OcclusionStudy) -> list[Note]:
    """What all images say together: how far the class falls, and whether the map falls with it."""
    count = len(study.rows)
    halved = sum(row.fallen >= 0.5 for row in study.rows)
    other = sum(bool((row.maps.label != row.maps.base_label).any()) for row in study.rows)
    said = (
        f"One covered place halves the class's probability in {halved} of {count} images, and "
        f"makes another class the most probable one in {other}."
    )
    rank = minus(f"{study.correlation.mean:.2f}")
    map_said = f"The strongest map falls where its projection has its energy: mean rank {rank}."
    return [Note(said, bold=True), Note(map_said)]


def _words(row: OccludedImage, classes: Names) -> list[Note]:
    """What is beside an image's pictures: its name and its numbers, as it is and at the lowest."""
    maps, found = row.maps, row.probability
    small = partial(Note, size="small")
    lowest, least = probability_words(float(maps.probability.min())), float(maps.activity.min())
    unit = f"{maps.unit.layer}/{maps.unit.channel}"
    notes = [
        small(class_name(maps.target, classes), f"{probability_words(maps.base_probability)} to "
              f"{lowest}"),
        small(unit, minus(f"{number(maps.base_activity)} to {number(least)}")),
        small("activity with projection", minus(f"rank {row.agreement.correlation:.2f}")),
    ]  # fmt: skip
    if row.hardly_falls:
        most = percent(max(row.fallen, 0), 1)
        notes.append(small(f"probability hardly falls: by {most} of itself at most"))
    elif found is not None:
        on, beside = round(100 * found.inside), round(100 * found.outside)
        notes.append(small(minus(f"falls by {on} points on the object, {beside} beside")))
    if found is not None:
        where = "on" if found.hit else "beside"
        notes.append(small(f"log-odds fall most {where} it, ROC area", f"{found.detection:.2f}"))
    if maps.classes.sure:
        odds = f"{maps.base_log_odds:.1f} to {float(maps.log_odds.min()):.1f}"
        notes.append(small("d shows its log-odds", minus(odds)))
    return [
        Note(row.name, bold=True),
        *notes,
        *label_notes(maps, classes, LISTED, "small"),
    ]


def scores_figure(
    studies: Mapping[str, OcclusionStudy], *, title: str = "", subtitle: str = ""
) -> Figure:
    """How well the probability's fall finds the object, for each network on the same images.

    (a) the area under the ROC curve of each image, its mean and 95 % interval, chance dashed;
    (b) how often the probability falls most on the object, with its interval, beside chance.
    The scores are of its log-odds.
    """
    known = {name: study for name, study in studies.items() if study.probability is not None}
    names = list(known)
    sheet = Sheet(title or "Does the probability fall where the object is?", subtitle)
    height = max(0.5, row_height(names, NAMES)) * len(known)
    sheet.row([
        Panel(partial(_draw_areas, known=known), "Positions told apart (ROC area)", height=height),
        Panel(partial(_draw_rates, known=known), "Falls most on the object", height=height),
    ])  # fmt: skip
    sheet.notes(Note(f"{name}: {_scored(known[name])}", swatch=color_of(i))
                for i, name in enumerate(names))  # fmt: skip
    sheet.text(
        "a: a dot an image, bar the mean and its 95 % interval, dashed chance; "
        "b: the rate and its 95 % interval, grey mark chance",
        color=FAINT,
        size="small",
    )
    return sheet.figure()


def _scored(study: OcclusionStudy) -> str:
    found = study.probability
    assert found is not None
    area, rate = found.detection, found.pointing
    on, beside = round(100 * found.inside.mean), round(100 * found.outside.mean)
    words = (
        f"area {area.mean:.2f}, {interval_words(area)}; {rate.hits} of {rate.count} on it, chance "
        f"{percent(rate.expected)}; falls by {on} points on it, {beside} beside"
    )
    return minus(words) + (f"; hardly in {study.hardly}" if study.hardly else "")


def _draw_areas(axes: Axes, known: Mapping[str, OcclusionStudy]) -> None:
    _shares(axes)
    name_rows(axes, list(known), NAMES, [color_of(i) for i in range(len(known))])
    axes.axvline(0.5, **CHANCE)
    for y, study in enumerate(known.values()):
        assert study.probability is not None
        areas = [row.probability.detection for row in study.rows if row.probability is not None]
        shake = np.random.default_rng(0).uniform(-0.2, 0.2, len(areas))
        axes.plot(areas, y + shake, "o", color=OTHER, markersize=3, zorder=1, clip_on=False)
        mean = study.probability.detection
        if mean.low is not None and mean.high is not None:
            # of few images it may be wider than the axis, which cuts it
            axes.plot([mean.low, mean.high], [y, y], color=color_of(y), linewidth=2)
        axes.plot([mean.mean], [y], "o", color=color_of(y), markersize=5.5, clip_on=False)


def _draw_rates(axes: Axes, known: Mapping[str, OcclusionStudy]) -> None:
    _shares(axes)
    axes.set(ylim=(len(known) - 0.5, -0.5), yticks=[])
    axes.spines["left"].set_visible(False)
    for y, study in enumerate(known.values()):
        assert study.probability is not None
        rate = study.probability.pointing
        axes.plot([rate.expected] * 2, [y - 0.2, y + 0.2], color=OTHER, linewidth=3)
        axes.plot([rate.low, rate.high], [y, y], color=color_of(y), linewidth=2, clip_on=False)
        axes.plot([rate.rate], [y], "o", color=color_of(y), markersize=5.5, clip_on=False)


def _shares(axes: Axes) -> None:
    chart(axes, lines="x")
    axes.set_xlim(0, 1)
    ticks(axes, x=[0, 0.25, 0.5, 0.75, 1])
