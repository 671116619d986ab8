"""Tables of the reproduction, ours beside the paper's: a stage's typed result -> a Table."""

from __future__ import annotations

from convscope.experiments.ablation.study import Ablation
from convscope.experiments.correspondence.study import Alike, Baseline, Correspondence
from convscope.experiments.ensemble.study import TABLE1 as TABLE1_AVERAGES
from convscope.experiments.ensemble.study import Ensemble
from convscope.experiments.paper.plan import Table
from convscope.experiments.paper.results import MultiStudy, Trainings
from convscope.experiments.transfer.layers import LayerProbe
from convscope.experiments.transfer.study import Point, Transfer
from convscope.experiments.wording import NONE, percent, plus_minus, spread_words

__all__ = [
    "ablation_table", "correspondence_table", "depth_table", "ensemble_table", "several_table",
    "trainings_table", "transfer_table",
]  # fmt: skip

TABLE1 = {"zfnet": ("38.4", "16.5"), "alexnet": ("40.7 (their own 40.5)", "18.2 (18.1)")}
"""Validation top-1 and top-5 error of one network, %."""

CALTECH = {  # images per class -> (Caltech-101, Caltech-256)
    "softmax": {15: ("83.8 ± 0.5", "65.7 ± 0.2"), 30: ("86.5 ± 0.5", "70.6 ± 0.2"),
                45: (NONE, "72.7 ± 0.4"), 60: (NONE, "74.2 ± 0.3")},
    "scratch": {15: ("22.8 ± 1.5", "9.0 ± 1.4"), 30: ("46.5 ± 1.7", "22.5 ± 0.7"),
                45: (NONE, "31.2 ± 0.5"), 60: (NONE, "38.8 ± 1.4")},
}  # fmt: skip

TABLE7 = {  # layer in the paper's count -> (SVM, softmax), Caltech-101 with 30 / -256 with 60
    "1": ("44.8 / 24.6", NONE), "2": ("66.2 / 39.6", NONE), "3": ("72.3 / 46.0", NONE),
    "4": ("76.6 / 51.3", NONE), "5": ("86.2 / 65.6", "82.9 / 65.7"),
    "7": ("85.5 / 71.7", "85.4 / 72.6"),
}  # fmt: skip

PARTS = {  # arXiv Table 1: layer 5, layer 7
    "left eye": ("0.069 ± 0.007", "0.068 ± 0.013"),
    "right eye": ("0.067 ± 0.007", "0.069 ± 0.015"),
    "nose": ("0.079 ± 0.017", "0.069 ± 0.011"),
    "random": ("0.107 ± 0.017", "0.073 ± 0.014"),
}


def trainings_table(found: Trainings) -> Table:
    """Table 1 as far as single networks go."""
    rows = []
    for name, words in (("zfnet", "ZFNet, 7×7 stride 2"), ("alexnet", "AlexNet, 11×11 stride 4")):
        runs, paper = [run.training for run in found.of(name)], TABLE1[name]
        rows.append(
            (
                words,
                spread_words([run.train_error for run in runs]),
                spread_words([run.error for run in runs]),
                paper[0],
                spread_words([run.top5_error for run in runs]),
                paper[1],
            )
        )
    return Table(
        ("1 network", "train", "val top-1", "paper", "val top-5", "paper"),
        tuple(rows),
        f"Errors, %; mean ± standard deviation over {len(found.of('zfnet'))} seeds. Here "
        f"{found.classes} classes and {found.images:,} images, there 1,000 and 1.3 million.",
    )


def ensemble_table(found: Ensemble) -> Table:
    """Table 1, averages."""
    rows: list[tuple[str, ...]] = []
    scoring = found.scorings[-1]
    for group in scoring.groups:
        alone = group.sizes[0]
        rows.append((f"here, {group.name}: 1 net, mean", *_pair(alone.error, alone.top5_error)))
        score = group.score
        rows.append(
            (
                f"here, {group.name}: {len(group.members)} nets",
                *_pair(score.error, score.top5_error),
            )
        )
    rows += [
        (f"paper, {name}", f"{top1:.1f}", f"{top5:.1f}")
        for name, (top1, top5, _) in TABLE1_AVERAGES.items()
    ]
    return Table(
        ("networks", "val top-1", "val top-5"),
        tuple(rows),
        f"Errors, %, of averaged softmax outputs; here {found.images:,} images of "
        f"{len(found.classes)} classes.",
    )


def _pair(first: float, five: float) -> tuple[str, str]:
    return f"{100 * first:.1f}", f"{100 * five:.1f}"


def ablation_table(found: Ablation) -> Table:
    """Table 2."""
    rows = []
    for row in found.rows:
        paper = ("",) * 2
        if row.paper is not None:
            column, (train, top1, _) = row.paper.beside(found.architecture.name)
            mark = "" if found.architecture.name.startswith(column) else " (ZFNet)"
            paper = (f"{train:.1f}{mark}", f"{top1:.1f}{mark}")
        weights = f"{row.parameters:,}"
        here = (spread_words(row.values("train_error")), spread_words(row.values("error")))
        rows.append((row.variant.name, weights, here[0], paper[0], here[1], paper[1]))
    return Table(
        ("change", "weights", "train", "paper", "val top-1", "paper"),
        tuple(rows),
        f"{found.architecture.name.partition(' ')[0]}; errors, %, mean ± standard deviation over "
        f"{len(found.seeds)} seeds; always saying the most frequent class errs in "
        f"{percent(found.chance)}.",
    )


def transfer_table(found: Transfer) -> Table:
    """Tables 3 and 4."""
    counts = sorted({*found.protocol.per_class, *CALTECH["softmax"]})
    rows: list[tuple[str, ...]] = []
    names = {"softmax": "features, softmax", "svm": "features, linear SVM",
             "scratch": "from scratch"}  # fmt: skip
    for classifier in dict.fromkeys(point.classifier for point in found.points):
        own = {p.per_class: p for p in found.points if p.classifier == classifier}
        here = (_accuracy(own.get(n)) for n in counts)
        rows.append((f"{names.get(classifier, classifier)}, here", *here))
    for at, name in enumerate(("Caltech-101", "Caltech-256")):
        for classifier, words in (("softmax", "features"), ("scratch", "from scratch")):
            known = CALTECH[classifier]
            cells = (known[n][at] if n in known else NONE for n in counts)
            rows.append((f"paper, {name}, {words}", *cells))
    return Table(
        ("images per class", *map(str, counts)),
        tuple(rows),
        f"Accuracy averaged over the classes, %; mean ± standard deviation over "
        f"{found.protocol.folds} folds. Here {len(found.classes)} classes, guessing "
        f"{percent(found.chance)}.",
    )


def several_table(both: MultiStudy) -> Table:
    """Table 5."""
    found = both.trained
    best = max(found.layers, key=lambda layer: layer.mean)
    before = {each.name: each.precision for each in both.untrained.layers[0].classes}
    rows: list[tuple[str, ...]] = [
        (
            each.name,
            f"{100 * each.precision:.1f}",
            f"{100 * before[each.name]:.1f}",
            f"{100 * each.chance:.1f}",
            "",
        )
        for each in sorted(best.classes, key=lambda each: -each.precision)
    ]
    mean = (f"mean, {best.layer}", f"{100 * best.mean:.1f}", f"{100 * found.chance:.1f}",
            "79.0 (others 74.3, 82.2)")  # fmt: skip
    return Table(
        ("class", "average precision", "before training", "guessing", "paper, PASCAL VOC 2012"),
        (mean, *rows),
        f"Average precision as in VOC 2012, %; {found.test_images} images, each scored by "
        "classifiers that learned from others.",
    )


def depth_table(found: LayerProbe) -> Table:
    """Table 7."""
    curves = {name: {p.layer: p for p in points} for name, points in found.points.items()}
    rows = []
    for layer in found.layers:
        number = "".join(filter(str.isdigit, layer.name)) or layer.name
        paper = TABLE7.get(number, (NONE, NONE)) if _stands_for(layer.name) else (NONE, NONE)
        here = [_accuracy(curves.get(name, {}).get(layer.name)) for name in ("svm", "softmax")]
        rows.append((layer.name, f"{layer.length:,}", here[0], paper[0], here[1], paper[1]))
    return Table(
        ("layer", "features", "SVM", "paper", "softmax", "paper"),
        tuple(rows),
        f"Accuracy, %, {found.protocol.per_class[0]} images per class here; the paper's on "
        "Caltech-101 with 30 / Caltech-256 with 60.",
    )


def correspondence_table(found: Correspondence) -> Table:
    """Table 1 of the first version."""
    lower, upper = found.layers[0], found.layers[-1]
    rows = []
    for part in found.parts:
        cells = [_difference(found.table[at][part]) for at in (lower, upper)]
        paper = PARTS.get(part.replace("_", " "), (NONE, NONE))
        rows.append((part, cells[0], paper[0], cells[1], paper[1]))
    cells = [_difference(found.random[at]) for at in (lower, upper)]
    rows.append(("random places", cells[0], PARTS["random"][0], cells[1], PARTS["random"][1]))
    return Table(
        ("covered", lower, "paper, layer 5", upper, "paper, layer 7"),
        tuple(rows),
        f"Δ, mean over pairs ± its standard deviation over pairs; {len(found.faces.names)} "
        "pictures here, 5 there. Lower is more alike.",
    )


def _stands_for(name: str) -> bool:
    """Whether a layer is the paper's last of its number: after pooling and rectification."""
    return name.startswith(("norm", "pool", "relu"))


def _accuracy(point: Point | None) -> str:
    return NONE if point is None else plus_minus(point.mean, point.std)


def _difference(found: Alike | Baseline) -> str:
    return plus_minus(found.delta, found.deviation, digits=3, unit=1)
