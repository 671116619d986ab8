"""How the scores of classifiers are drawn, the same in every figure: Fig. 9 and Table 7."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.lines import Line2D

from convscope.report.style import CHANCE, LABELS

__all__ = ["LOOKS", "classifier_legend"]

LOOKS = {
    "softmax": ("softmax", LABELS[0], "o"),
    "svm": ("linear SVM", LABELS[1], "s"),
    "scratch": ("from scratch", LABELS[2], "^"),
    "logistic": ("logistic loss per class", LABELS[0], "o"),
    "labels": ("learned from labels", LABELS[0], "o"),
    "autoencoders": ("learned without, by autoencoders", LABELS[1], "s"),
    "nothing": ("random, before any step", LABELS[2], "^"),
}
"""By classifier, or by what taught the features: name, colour and mark."""


def classifier_legend(said: Iterable[tuple[str, str]]) -> list[Line2D]:
    """What the curves are.

    Args:
        said: Each classifier, and words about its curve.
    """
    lines = []
    for classifier, words in said:
        name, color, mark = LOOKS[classifier]
        label = f"{name}: {words}"
        lines.append(Line2D([], [], color=color, marker=mark, markersize=4, label=label))
    return [*lines, Line2D([], [], **CHANCE, label="guessing")]
