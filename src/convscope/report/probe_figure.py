"""The paper's Table 7 as a figure: accuracy by depth of the layer whose features are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.experiments.transfer.layers import LayerProbe
from convscope.experiments.transfer.multilabel import MultiTransfer
from convscope.report.chart import chart, name_rows, row_height
from convscope.report.score_curves import LOOKS, classifier_legend
from convscope.report.sheet import Panel, Sheet
from convscope.report.style import CHANCE

__all__ = ["depth_figure", "probe_figure", "taught_figure"]

WIDTH, LINE, NAMES = 6.6, 0.32, 2.2  # inches: the page, a layer, its name
SHIFT = 0.14  # of a row, between curves: equal ones both show


@dataclass(frozen=True)
class _Curve:
    """A classifier's scores, from the first layer on, as shares.

    Attributes:
        classifier: Its name.
        values: A score for each layer.
        below: How far the bars reach below the scores.
        above: How far the bars reach above the scores.
    """

    classifier: str
    values: Sequence[float]
    below: Sequence[float]
    above: Sequence[float]


def probe_figure(probe: LayerProbe, *, title: str = "", subtitle: str = "") -> Figure:
    """Accuracy by layer, from the first down: a curve per classifier, one standard deviation over
    the folds as bars; the dashed line is what guessing reaches."""
    curves = []
    for classifier, points in probe.points.items():
        spread = [point.std for point in points]
        curves.append(_Curve(classifier, [point.mean for point in points], spread, spread))
    names = [f"{layer.name} ({layer.pooling}, {layer.length:,})" for layer in probe.layers]
    words = f"accuracy, mean over classes, %, {probe.protocol.per_class[0]} images per class"
    return _figure(curves, names, probe.chance, words, title, subtitle)


def taught_figure(
    probes: Mapping[str, LayerProbe], *, title: str = "", subtitle: str = ""
) -> Figure:
    """Accuracy of the SVM by layer, a curve for each way in which the same layers were taught.

    Args:
        probes: By what taught them, a key of LOOKS; of the same layers and folds.
        title: In place of the figure's own.
        subtitle: What was looked at.
    """
    curves = []
    for taught, probe in probes.items():
        points = probe.points["svm"]
        spread = [point.std for point in points]
        curves.append(_Curve(taught, [point.mean for point in points], spread, spread))
    first = next(iter(probes.values()))
    names = [f"{layer.name} ({layer.pooling}, {layer.length:,})" for layer in first.layers]
    words = f"accuracy of an SVM, %, {first.protocol.per_class[0]} images per class"
    return _figure(curves, names, first.chance, words, title or "Learned without labels", subtitle)


def depth_figure(transfer: MultiTransfer, *, title: str = "", subtitle: str = "") -> Figure:
    """Mean average precision by layer, with its interval over images."""
    layers = transfer.layers
    curve = _Curve(
        "logistic",
        [layer.mean for layer in layers],
        [max(layer.mean - layer.low, 0) for layer in layers],
        [max(layer.high - layer.mean, 0) for layer in layers],
    )
    names = [f"{layer.layer} ({layer.length:,})" for layer in layers]
    return _figure([curve], names, transfer.chance, "mean average precision, %", title, subtitle)


def _figure(
    curves: Sequence[_Curve],
    names: Sequence[str],
    chance: float,
    words: str,
    title: str,
    subtitle: str,
) -> Figure:
    sheet = Sheet(title or "Feature analysis", subtitle, width=WIDTH)
    height = max(LINE, row_height(names, NAMES)) * len(names)
    draw = partial(_draw, curves=curves, names=names, chance=chance, words=words)
    sheet.row([Panel(draw, height=height)])
    best = [(curve.classifier, f"{100 * max(curve.values):.1f} at best") for curve in curves]
    sheet.legend(classifier_legend(best))
    return sheet.figure()


def _draw(
    axes: Axes, curves: Sequence[_Curve], names: Sequence[str], chance: float, words: str
) -> None:
    chart(axes, words, lines="x")
    name_rows(axes, names, NAMES)
    most = 0.0
    for i, curve in enumerate(curves):
        _, color, mark = LOOKS[curve.classifier]
        shift = SHIFT * (i - (len(curves) - 1) / 2)
        values, below, above = (
            [100 * share for share in shares] for shares in (curve.values, curve.below, curve.above)
        )
        axes.errorbar(
            values, [row + shift for row in range(len(values))], xerr=[below, above], color=color,
            marker=mark, markersize=4, linewidth=1.4, elinewidth=1, capsize=2.5,
        )  # fmt: skip
        most = max(most, *(a + b for a, b in zip(values, above, strict=True)))
    axes.axvline(100 * chance, **CHANCE)
    axes.set_xlim(0, 100 if most > 60 else 1.1 * most)
