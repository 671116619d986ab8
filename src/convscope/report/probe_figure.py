"""The paper's Table 7 as a figure: accuracy by depth of the layer whose features are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from convscope.experiments.transfer.layers import LayerProbe
from convscope.experiments.transfer.multilabel import MultiTransfer
from convscope.report.score_curves import LEFT, TALL, Curve, score_curves
from convscope.report.style import FAINT, HEADER, MARGIN, write

__all__ = ["depth_figure", "probe_figure"]

STEP, BELOW = 0.62, 0.85  # inches: between layers, their names below
NARROWEST = 3.0


def probe_figure(found: LayerProbe, *, title: str = "", subtitle: str = "") -> Figure:
    """Accuracy by layer, bottom up: a curve per classifier, one standard deviation over the folds
    as bars; the dashed line is what guessing reaches."""
    curves = []
    for classifier, points in found.points.items():
        spread = [point.std for point in points]
        curves.append(_curve(classifier, [point.mean for point in points], spread, spread))
    under = [(layer.name, f"{layer.pooling}, {layer.length:,}") for layer in found.layers]
    words = f"accuracy, mean over classes, %, {found.protocol.per_class[0]} images per class"
    return _figure(curves, under, found.chance, words, title or "Feature analysis", subtitle)


def depth_figure(found: MultiTransfer, *, title: str = "", subtitle: str = "") -> Figure:
    """Mean average precision by layer, with its interval over images."""
    layers = found.layers
    curve = _curve(
        "logistic",
        [layer.mean for layer in layers],
        [max(layer.mean - layer.low, 0) for layer in layers],
        [max(layer.high - layer.mean, 0) for layer in layers],
    )
    under = [(layer.layer, f"{layer.length:,}") for layer in layers]
    words = "mean average precision, %"
    return _figure([curve], under, found.chance, words, title or "Feature analysis", subtitle)


def _curve(
    classifier: str, values: Sequence[float], below: Sequence[float], above: Sequence[float]
) -> Curve:
    said = f"{100 * max(values):.1f} at best"
    return Curve(classifier, said, range(len(values)), values, below, above)


def _figure(
    curves: Sequence[Curve],
    under: Sequence[tuple[str, str]],
    chance: float,
    words: str,
    title: str,
    subtitle: str,
) -> Figure:
    wide = max(STEP * len(under), NARROWEST)
    figure = score_curves(
        curves,
        (-0.5, len(under) - 0.5),
        wide=wide,
        under=BELOW,
        chance=chance,
        words=words,
        title=title,
        subtitle=subtitle,
    )
    _layers(figure, under, wide)
    return figure


def _layers(figure: Figure, under: Sequence[tuple[str, str]], wide: float) -> None:
    """The layers' names and how many features they gave, aslant below the axes."""
    top = HEADER + 0.1 + TALL + 0.08
    aslant: dict[str, Any] = {"rotation": 38, "rotation_mode": "anchor", "ha": "right", "va": "top"}
    for at, (name, length) in enumerate(under):
        left = MARGIN + LEFT + wide * (at + 0.5) / len(under)
        write(figure, left, top, name, "small", **aslant)
        write(figure, left + 0.1, top + 0.06, length, "small", color=FAINT, **aslant)
