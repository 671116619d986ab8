"""The figures of transfer: every number that they show is the study's."""

from __future__ import annotations

import pytest

from convscope.experiments.transfer.folds import Protocol
from convscope.experiments.transfer.layers import LayerProbe, Probed
from convscope.experiments.transfer.learning_curve import Point, Transfer
from convscope.experiments.transfer.linear_model import Loss
from convscope.experiments.transfer.multilabel import ClassScore, LayerScore, MultiTransfer
from convscope.report.probe_figure import depth_figure, probe_figure
from convscope.report.style import figure_bytes
from convscope.report.transfer_figure import precision_figure, transfer_figure
from report.figures_seen import words

BOTH = (Loss.SOFTMAX, Loss.SVM)


def point(classifier: str, per_class: int, mean: float, layer: str = "relu7") -> Point:
    return Point(layer, classifier, per_class, (mean,), mean, 0.02)


def curve(*per_class: int) -> Transfer:
    points = [
        point(c, n, 0.3 + 0.015 * n) for c in ("softmax", "svm", "scratch") for n in per_class
    ]
    protocol = Protocol(per_class, classifiers=BOTH)
    return Transfer("relu7", "flatten", 9, ("a", "b"), 90, 30, 0.5, protocol, tuple(points))


@pytest.mark.parametrize("per_class", [(1, 5, 15, 30), (30,)])
def test_the_learning_curve_shows_each_classifier_with_its_bars(per_class: tuple[int, ...]) -> None:
    figure = transfer_figure(curve(*per_class), subtitle="a network · <b>$x$")
    axes = figure.axes[0]
    assert len(axes.containers) == 3
    heights = axes.containers[0].lines[0].get_ydata()
    assert heights == pytest.approx([100 * (0.3 + 0.015 * n) for n in per_class])
    for name in ("softmax", "linear SVM", "from scratch", "75.0 ± 2.0 at 30"):
        assert name in words(figure)
    assert figure_bytes(figure)[:4] == b"\x89PNG"


def test_the_depth_curve_names_every_layer_and_its_features() -> None:
    names = ("conv1", "layer2.0.relu:2", "fc")
    points = {str(c): tuple(point(str(c), 30, 0.2, n) for n in names) for c in BOTH}
    layers = tuple(Probed(name, (4, 2, 2), "flatten", 1600) for name in names)
    rises = {str(c): 0.0 for c in BOTH}
    protocol = Protocol((30,), classifiers=BOTH)
    figure = probe_figure(LayerProbe(layers, ("a",) * 9, 9, 9, 0.1, protocol, points, rises))
    assert all(name in words(figure) for name in (*names, "flatten, 1,600", "30 images per class"))
    figure_bytes(figure)


def test_average_precision_is_drawn_by_class_with_its_mean_and_interval() -> None:
    classes = tuple(ClassScore(f"class {i}", 9, 0.9 - 0.1 * i, 0.2) for i in range(5))
    layers = tuple(LayerScore(n, 8, 0.6, 0.01, 0.5, 0.7, classes) for n in ("low", "high"))
    found = MultiTransfer(layers, "auto", 60, 60, 5, 5, 5, 0.2, (), 0)
    figure = precision_figure(found)
    bars = [bar.get_width() for bar in figure.axes[0].patches]
    assert bars == pytest.approx([90, 80, 70, 60, 50, 60])
    figure_bytes(figure)
    assert "low" in words(depth_figure(found)) and "60.0 at best" in words(depth_figure(found))
