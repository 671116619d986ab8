"""The paper's Fig. 6 as a figure: numbers -> a matplotlib Figure, nothing written or displayed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from convscope.experiments.number_words import minus, percent
from convscope.geometry.box import Box
from convscope.images.pictures import grey_scaled
from convscope.images.preprocess import Preprocess
from convscope.methods.occluder import covered
from convscope.methods.occlusion_maps import ClassMaps, OcclusionMaps, TargetMaps
from convscope.methods.targets import Watched
from convscope.report.chart import picture, scale
from convscope.report.sheet import LANDSCAPE, Note, Panel, Sheet
from convscope.report.style import CLIP, FAINT, INK, LABELS, MAP, OTHER, number
from convscope.text import first_name

__all__ = [
    "by_pixel",
    "class_name",
    "draw_activity",
    "draw_image",
    "draw_labels",
    "draw_projection",
    "draw_value",
    "label_notes",
    "occlusion_figure",
    "probability_words",
    "target_name",
]  # fmt: skip

Names = Sequence[str] | None

LISTED = 5  # classes that the legend names
COSTS, LOWEST = "Occluder where it costs most", "Occluder where the value is lowest"
SHOWN = "Shown in log-odds: the probability hardly changes"
MOST_PROBABLE = 4  # classes named for the unoccluded image


def occlusion_figure(
    maps: OcclusionMaps,
    preprocess: Preprocess,
    *,
    classes: Names = None,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """Draw the row of the paper's Fig. 6 for one image.

    (a) the image, the occluder drawn to scale where the target's probability is lowest; (b) the
    summed activity of a feature map, by occluder position; (c) the projection of that map from the
    image; (d) the target's probability and (e) the most probable class, by occluder position.
    Where the network is sure, so that the probability would be of one colour, (d) shows its
    log-odds (`ClassMaps.sure`). Of a target that is no class, (d) shows the value; (e) is left out,
    or shows the classes that maps of them tell in the unoccluded image.
    A pixel of (b), (d), (e) shows the value for the occluder whose visible part has its centre
    nearest to that pixel.

    Args:
        maps: The occlusion maps.
        preprocess: Turns the maps' image and projection back into colours.
        classes: The names of the classes, by number from 0.
        title: Which image it is.
        subtitle: Which network.
    """
    unit = maps.unit
    at = "" if unit.position is None else f"@{unit.row},{unit.column}"
    where = COSTS if isinstance(maps.answer, ClassMaps) else LOWEST
    sheet = Sheet(title or "Occlusion sensitivity", subtitle, width=LANDSCAPE)
    sheet.row([
        Panel(partial(draw_image, maps=maps, preprocess=preprocess),
              where, _unoccluded(maps, classes)),
        Panel(partial(draw_activity, maps=maps),
              f"Activity of feature map {unit.channel}", _activity(maps)),
        Panel(partial(draw_projection, maps=maps, preprocess=preprocess),
              f"Projection of unit {unit.channel}{at}",
              [Note("Activation", number(maps.activation)),
               Note("Receptive field", f"{maps.box.height}×{maps.box.width} px")]),
        Panel(partial(draw_value, maps=maps),
              f"{_capital(maps.quantity)} of {target_name(maps, classes)}", _value(maps)),
        *_labels(maps, classes),
    ])  # fmt: skip
    return sheet.figure()


def by_pixel(values: torch.Tensor, maps: OcclusionMaps) -> NDArray[np.generic]:
    """Values (R, C) by occluder position -> (H, W) by pixel, as `occlusion_figure` shows them."""
    _, height, width = maps.image.shape
    rows = _nearest(maps.rows, maps.occluder.size[0], height)
    columns = _nearest(maps.columns, maps.occluder.size[1], width)
    return values[rows][:, columns].numpy()


def _nearest(corners: torch.Tensor, size: int, extent: int) -> torch.Tensor:
    """For each pixel of an axis the occluder whose visible part has its centre nearest."""
    centres = (corners + (corners + size).clip(max=extent)) / 2
    return (torch.arange(extent)[:, None] + 0.5 - centres).abs().argmin(1)


# ---- what the panels show ---------------------------------------------------------------------


def draw_image(axes: Axes, maps: OcclusionMaps, preprocess: Preprocess) -> None:
    """The image, the occluder where the target's value or log-odds are lowest."""
    worst = divmod(int(maps.score.argmin()), maps.score.shape[1])
    box = maps.occluder.box(*worst).clip(*maps.image.shape[-2:])
    picture(axes, preprocess.to_uint8(covered(maps.image, [box], maps.fill)[0]))
    _outline(axes, box)


def draw_activity(axes: Axes, maps: OcclusionMaps, bar: bool = True) -> None:
    """The feature map's summed activity; `bar` : with its scale."""
    low = min(float(maps.activity.min()), maps.base_activity)
    high = max(float(maps.activity.max()), maps.base_activity)
    _map(axes, by_pixel(maps.activity, maps), low, high)
    if bar:
        scale(axes, low, high, maps.base_activity, "activity")


def draw_projection(axes: Axes, maps: OcclusionMaps, preprocess: Preprocess) -> None:
    """The unit's projection, its receptive field outlined where that is a part of the image."""
    _, height, width = maps.image.shape
    seen = maps.box.clip(height, width)
    share = CLIP * seen.height * seen.width / (height * width)
    picture(axes, grey_scaled(preprocess.rgb(maps.projection), share))
    if seen != Box(0, 0, height, width):
        _outline(axes, seen)


def draw_value(axes: Axes, maps: OcclusionMaps, bar: bool = True) -> None:
    """Draw the target's probability, dark where it is 0; or another value, dark where it is lowest.

    Args:
        axes: Where to draw.
        maps: The occlusion maps.
        bar: Whether to draw the scale beside it.
    """
    low = min(float(maps.value.min()), maps.base_value)
    high = max(float(maps.value.max()), maps.base_value)
    low = 0.0 if isinstance(maps.answer, ClassMaps) and not maps.answer.sure else low
    _map(axes, by_pixel(maps.value, maps), low, high)
    if bar:
        scale(axes, low, high, maps.base_value, maps.quantity)


def draw_labels(axes: Axes, maps: OcclusionMaps) -> None:
    """The most probable class, in the colours of `label_notes`."""
    order = _by_area(maps.label, maps.base_label)
    _classes(axes, by_pixel(_colors(maps.label, order), maps))


def _draw_predicted(axes: Axes, watched: Watched) -> None:
    """The class at each position of the network's maps, a cross at the one that is watched."""
    assert watched.predicted is not None
    predicted = watched.predicted.cpu()
    _classes(axes, _colors(predicted, _by_area(predicted)).numpy())
    if watched.position is not None:
        row, column = watched.position
        for color, weight in ((INK, 2.0), ("white", 0.8)):
            axes.plot([column + 0.5], [row + 0.5], "+", color=color, markeredgewidth=weight)


def _colors(labels: torch.Tensor, order: list[tuple[int, int]]) -> torch.Tensor:
    """For each label the number of its colour."""
    color_of = torch.full((max(label for label, _ in order) + 1,), LISTED)
    for color, (label, _) in enumerate(order[:LISTED]):
        color_of[label] = color
    return color_of[labels]


def _classes(axes: Axes, colors: NDArray[np.generic]) -> None:
    known = ListedColormap([*LABELS[:LISTED], OTHER])
    picture(axes, colors, cmap=known, vmin=0, vmax=LISTED, interpolation="nearest")


def _map(axes: Axes, values: NDArray[np.generic], low: float, high: float) -> None:
    picture(axes, values, cmap=MAP, vmin=low, vmax=high, interpolation="nearest")


def _outline(axes: Axes, box: Box) -> None:
    for color, weight in ((INK, 1.5), ("white", 0.6)):
        corner = (box.left, box.top)
        axes.add_patch(
            Rectangle(corner, box.width, box.height, fill=False, edgecolor=color, linewidth=weight)
        )


# ---- what stands below them -------------------------------------------------------------------


def _labels(maps: OcclusionMaps, classes: Names) -> list[Panel]:
    """The panel of the most probable classes, if the network tells any."""
    if isinstance(maps.answer, ClassMaps):
        return [Panel(partial(draw_labels, maps=maps), "Most probable class",
                      label_notes(maps, classes))]  # fmt: skip
    predicted = maps.answer.watched.predicted
    if predicted is None:
        return []
    notes = _area_notes(predicted, _by_area(predicted), classes)
    draw = partial(_draw_predicted, watched=maps.answer.watched)
    return [Panel(draw, "Predicted classes, unoccluded", notes)]


def _unoccluded(maps: OcclusionMaps, classes: Names) -> list[Note]:
    head = Note("Unoccluded", color=FAINT)
    if isinstance(maps.answer, TargetMaps):
        return [head, Note(_capital(maps.quantity), number(maps.base_value))]
    best = maps.base_probabilities.topk(min(MOST_PROBABLE, len(maps.base_probabilities)))
    said = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    found = [Note(class_name(label, classes), probability_words(value)) for label, value in said]
    return [head, *found]


def _activity(maps: OcclusionMaps) -> list[Note]:
    base, lowest = maps.base_activity, float(maps.activity.min())
    fallen = f" ({minus(f'{100 * (lowest / base - 1):+.0f} %')})" if base > 0 else ""
    return [
        Note("Unoccluded", number(base)),
        Note("Lowest", number(lowest) + fallen),
        Note(f"Layer {maps.unit.layer}", color=FAINT),
    ]


def _value(maps: OcclusionMaps) -> list[Note]:
    if isinstance(maps.answer, TargetMaps):
        where = maps.answer.watched.where
        return [
            Note("Unoccluded", number(maps.base_value)),
            Note("Lowest", number(float(maps.value.min()))),
            Note("Highest", number(float(maps.value.max()))),
            *([Note(_capital(where), color=FAINT)] if where else []),
        ]
    least = minus(f"{maps.base_log_odds:.1f} to {float(maps.log_odds.min()):.1f}")
    return [
        Note("Unoccluded", probability_words(maps.base_probability)),
        Note("Lowest", probability_words(float(maps.probability.min()))),
        Note("In log-odds", least),
        *([Note(SHOWN, color=FAINT)] if maps.answer.sure else []),
    ]


def label_notes(
    maps: OcclusionMaps, classes: Names, listed: int = LISTED, size: str = "text"
) -> list[Note]:
    """The classes that are most probable somewhere, with their colours and areas."""
    order = _by_area(maps.label, maps.base_label)
    return _area_notes(maps.label, order, classes, listed, size)


def _area_notes(
    labels: torch.Tensor,
    order: list[tuple[int, int]],
    classes: Names,
    listed: int = LISTED,
    size: str = "text",
) -> list[Note]:
    total = labels.numel()
    notes = [
        Note(class_name(label, classes), _share(count / total), swatch=LABELS[i], size=size)
        for i, (label, count) in enumerate(order[: min(listed, LISTED)])
    ]
    rest = [count for _, count in order[len(notes) :]]
    if rest:
        words = f"{len(rest)} other{'s' if len(rest) > 1 else ''}"
        notes.append(Note(words, _share(sum(rest) / total), swatch=OTHER, size=size))
    return notes


def _by_area(labels: torch.Tensor, first: int | None = None) -> list[tuple[int, int]]:
    """(class, positions) of each class: that of the unoccluded image first, then the largest."""
    found, counts = labels.unique(return_counts=True)
    pairs = zip(found.tolist(), counts.tolist(), strict=True)
    return sorted(pairs, key=lambda pair: (pair[0] != first, -pair[1], pair[0]))


def _share(area: float) -> str:
    """In percent; what rounds to 0 is less than one."""
    return percent(area) if round(100 * area) else "<1 %"


def class_name(label: int, classes: Names) -> str:
    """The first of a class's names, which stand between commas; its number if it has none."""
    if classes is None or label >= len(classes):
        return f"class {label}"
    return first_name(classes[label]).strip() or f"class {label}"


def target_name(maps: OcclusionMaps, classes: Names) -> str:
    """What is watched: the name of a class or of a value, or the target's own."""
    if isinstance(maps.answer, ClassMaps):
        return class_name(maps.answer.target, classes)
    watched = maps.answer.watched
    if watched.index is None or classes is None:
        return watched.target.name
    return class_name(watched.index, classes)


def _capital(words: str) -> str:
    """With a capital letter at the beginning, the others as they are."""
    return words[:1].upper() + words[1:]


def probability_words(probability: float) -> str:
    """Three digits after the point, or that it is less."""
    return f"{probability:.3f}" if probability >= 0.001 or probability == 0 else "<0.001"
