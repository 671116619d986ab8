"""Zeiler & Fergus's own numbers, and how their networks are called: a constant per table.

Errors, accuracies and average precisions are in %. "arXiv" is the first version, 1311.2901.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = [
    "ARXIV_TABLE1", "FIRST_LAYERS", "NAMES", "TABLE1", "TABLE2", "TABLE3", "TABLE4", "TABLE5",
    "TABLE7", "Errors", "ErrorsAveraged", "Table2Row",
]  # fmt: skip

NAMES: Mapping[str, str] = {
    "zfnet": "ZFNet",
    "alexnet": "AlexNet",
    "free": "ZFNet without renormalisation",
    "wide": "ZFNet with wider layers 3, 4, 5",
}
FIRST_LAYERS: Mapping[str, str] = {"zfnet": "7×7, stride 2", "alexnet": "11×11, stride 4"}


class ErrorsAveraged(NamedTuple):
    """On ImageNet: validation top-1 and top-5, test top-5."""

    top1: float
    top5: float
    test: float | None


TABLE1: Mapping[str, ErrorsAveraged] = {
    "Krizhevsky et al., 1 net": ErrorsAveraged(40.7, 18.2, None),
    "Krizhevsky et al., 5 nets": ErrorsAveraged(38.1, 16.4, 16.4),
    "replication, 1 net": ErrorsAveraged(40.5, 18.1, None),
    "ZFNet, 1 net": ErrorsAveraged(38.4, 16.5, None),
    "5 ZFNets (a)": ErrorsAveraged(36.7, 15.3, 15.3),
    "layers 3,4,5 with 512,1024,512 maps (b)": ErrorsAveraged(37.5, 16.0, 16.1),
    "6 nets, (a) and (b)": ErrorsAveraged(36.0, 14.7, 14.8),
}


class Errors(NamedTuple):
    """On ImageNet: training top-1, validation top-1 and top-5."""

    train: float
    top1: float
    top5: float


class Table2Row(NamedTuple):
    """A row of the paper's Table 2.

    Attributes:
        changes: To the network, as ablation/variants.py reads them.
        alexnet: Errors of the replication of Krizhevsky et al.; None where the paper has no number.
        zfnet: Errors of the paper's own network; None where it has no number.
    """

    changes: str
    alexnet: Errors | None
    zfnet: Errors | None


TABLE2: Mapping[str, Table2Row] = {
    "none": Table2Row("", Errors(35.1, 40.5, 18.1), Errors(33.1, 38.4, 16.5)),
    "without layers 3,4": Table2Row("-3 -4", Errors(41.8, 45.4, 22.1), None),
    "without layer 7": Table2Row("-7", Errors(27.4, 40.0, 18.4), None),
    "without layers 6,7": Table2Row("-6 -7", Errors(27.4, 44.8, 22.4), None),
    "without layers 3,4,6,7": Table2Row("-3 -4 -6 -7", Errors(71.1, 71.3, 50.1), None),
    "layers 6,7 half as wide": Table2Row(
        "6,7*0.5", Errors(40.3, 41.7, 18.8), Errors(38.2, 40.2, 17.6)
    ),
    "layers 6,7 twice as wide": Table2Row(
        "6,7*2", Errors(26.8, 40.0, 18.1), Errors(22.0, 38.8, 17.0)
    ),
    "layers 3,4,5 wider": Table2Row("3*4/3 4*8/3 5*2", None, Errors(18.8, 37.5, 16.0)),
    "layers 3 to 7 wider": Table2Row("3*4/3 4*8/3 5*2 6,7*2", None, Errors(10.0, 38.3, 16.9)),
}
"""arXiv: Table 3. Layers 6, 7 of 4096 units become 2048 and 8192; layers 3, 4, 5 of 384, 384, 256
maps become 512, 1024, 512."""

TABLE3: Mapping[str, Mapping[int, tuple[float, float]]] = {
    "softmax": {15: (83.8, 0.5), 30: (86.5, 0.5)},
    "scratch": {15: (22.8, 1.5), 30: (46.5, 1.7)},
}
"""Caltech-101: accuracy and its deviation over the folds, by images per class."""

TABLE4: Mapping[str, Mapping[int, tuple[float, float]]] = {
    "softmax": {15: (65.7, 0.2), 30: (70.6, 0.2), 45: (72.7, 0.4), 60: (74.2, 0.3)},
    "scratch": {15: (9.0, 1.4), 30: (22.5, 0.7), 45: (31.2, 0.5), 60: (38.8, 1.4)},
}
"""Caltech-256, as TABLE3."""

TABLE5: Mapping[str, float] = {"ZFNet": 79.0, "Sande et al.": 74.3, "Yan et al.": 82.2}
"""PASCAL VOC 2012: mean average precision."""

TABLE7: Mapping[int, Mapping[str, tuple[float, float]]] = {
    1: {"svm": (44.8, 24.6)},
    2: {"svm": (66.2, 39.6)},
    3: {"svm": (72.3, 46.0)},
    4: {"svm": (76.6, 51.3)},
    5: {"svm": (86.2, 65.6), "softmax": (82.9, 65.7)},
    7: {"svm": (85.5, 71.7), "softmax": (85.4, 72.6)},
}
"""Accuracy on Caltech-101 with 30 images per class and on Caltech-256 with 60, by layer."""

ARXIV_TABLE1: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "left eye": ((0.069, 0.007), (0.068, 0.013)),
    "right eye": ((0.067, 0.007), (0.069, 0.015)),
    "nose": ((0.079, 0.017), (0.069, 0.011)),
    "random": ((0.107, 0.017), (0.073, 0.014)),
}
"""Δ and its deviation over the pairs, in layer 5 and in layer 7."""
