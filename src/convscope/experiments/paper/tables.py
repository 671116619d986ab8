"""Tables of the reproduction, ours beside the paper's: a stage's typed result -> a Table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from convscope.experiments.ablation.table import Ablation
from convscope.experiments.correspondence.result import Alike, Baseline, Correspondence
from convscope.experiments.diagnosis.trial import Trial
from convscope.experiments.ensemble.result import Ensemble
from convscope.experiments.number_words import (
    NONE,
    interval_words,
    percent,
    plus_minus,
    spread_words,
)
from convscope.experiments.paper.plan import PaperTable
from convscope.experiments.paper.results import (
    LEARNED_BY,
    Averages,
    CorrespondenceResult,
    MultiResult,
    Pretraining,
    Trainings,
)
from convscope.experiments.published import (
    ARXIV_TABLE1,
    FIRST_LAYERS,
    NAMES,
    TABLE1,
    TABLE3,
    TABLE4,
    TABLE5,
    TABLE7,
)
from convscope.experiments.sanity.result import Sanity
from convscope.experiments.transfer.layers import LayerProbe
from convscope.experiments.transfer.learning_curve import Point, Transfer

__all__ = [
    "ablation_table",
    "averages_table",
    "correspondence_table",
    "depth_table",
    "pointing_table",
    "pretraining_table",
    "several_table",
    "trainings_table",
    "transfer_table",
    "trial_table",
]  # fmt: skip

Row = tuple[str, ...]


def trainings_table(trainings: Trainings) -> PaperTable:
    """Table 1 as far as single networks go."""
    rows = []
    theirs, replication = TABLE1["Krizhevsky et al., 1 net"], TABLE1["replication, 1 net"]
    published = {
        "zfnet": tuple(f"{error:.1f}" for error in TABLE1["ZFNet, 1 net"][:2]),
        "alexnet": (
            f"{theirs.top1:.1f} (their own {replication.top1:.1f})",
            f"{theirs.top5:.1f} ({replication.top5:.1f})",
        ),
    }
    for name, paper in published.items():
        runs = [run.training for run in trainings.of(name)]
        rows.append(
            (
                f"{NAMES[name]}, {FIRST_LAYERS[name]}",
                spread_words([run.train_error for run in runs]),
                spread_words([run.error for run in runs]),
                paper[0],
                spread_words([run.top5_error for run in runs]),
                paper[1],
            )
        )
    return PaperTable(
        ("1 network", "train", "val top-1", "paper", "val top-5", "paper"),
        tuple(rows),
        f"Errors, %; mean ± standard deviation over {len(trainings.of('zfnet'))} seeds. Here "
        f"{trainings.classes} classes and {trainings.images:,} images, there 1,000 and 1.3 "
        "million.",
    )


def averages_table(averages: Averages) -> PaperTable:
    """Table 1, averages."""
    kinds = list(averages.zfnets.kinds.values())
    rows = [
        _alone("1 net (a), ZFNet", averages.zfnets, kinds[0], "ZFNet, 1 net"),
        *_together("(a)", averages.zfnets, kinds[0], "5 ZFNets (a)"),
    ]
    if len(kinds) > 1:
        (wide,) = kinds[1:]
        words = "layers 3,4,5 with 512,1024,512 maps (b)"
        rows.append(_alone("1 net (b), wider layers 3, 4, 5", averages.zfnets, wide, words))
        rows += _together("(b)", averages.zfnets, wide, "")
        both = (*kinds[0], *wide)
        rows += _together("(a) and (b) together", averages.zfnets, both, "6 nets, (a) and (b)")
    if averages.alexnets is not None:
        (names,) = averages.alexnets.kinds.values()
        rows.append(_alone("1 net, AlexNet", averages.alexnets, names, "Krizhevsky et al., 1 net"))
        rows += _together("AlexNet", averages.alexnets, names, "Krizhevsky et al., 5 nets")
    crops = averages.zfnets.scorings[-1].crops
    return PaperTable(
        ("networks", "val top-1", "paper", "val top-5", "paper"),
        tuple(rows),
        f"Errors, %, of averaged softmax outputs, {crops} crop{'s' if crops > 1 else ''} an image; "
        f"of one network the mean ± standard deviation over the seeds. Here "
        f"{averages.zfnets.images:,} images of {len(averages.zfnets.classes)} classes; the paper's "
        "numbers are of 5 networks, and of 6 for (a) and (b).",
    )


def _alone(words: str, ensemble: Ensemble, names: Sequence[str], paper: str) -> tuple[str, ...]:
    scores = [ensemble.scorings[-1].singles[name] for name in names]
    top1, top5, _ = TABLE1[paper]
    error = spread_words([score.error for score in scores])
    top5_error = spread_words([score.top5_error for score in scores])
    return words, error, f"{top1:.1f}", top5_error, f"{top5:.1f}"


def _together(
    words: str, ensemble: Ensemble, names: Sequence[str], paper: str
) -> list[tuple[str, ...]]:
    """The row of an average, if these networks are one."""
    groups = [group for group in ensemble.scorings[-1].groups if set(group.members) == set(names)]
    known = (NONE, NONE)
    if paper:
        top1, top5, _ = TABLE1[paper]
        known = (f"{top1:.1f}", f"{top5:.1f}")
    return [
        (f"{len(names)} nets {words}", plus_minus(each.score.error, None), known[0],
         plus_minus(each.score.top5_error, None), known[1])
        for each in groups[:1]
    ]  # fmt: skip


def trial_table(trial: Trial) -> PaperTable:
    """AlexNet before and after its remedies, beside the paper's own step to ZFNet."""
    rows = []
    named = (
        ("AlexNet", trial.before, "replication, 1 net"),
        ("with the remedies", trial.after, "ZFNet, 1 net"),
    )
    for words, attempts, paper in named:
        if attempts:
            top1, top5, _ = TABLE1[paper]
            rows.append(
                (
                    words,
                    f"{attempts[0].parameters:,}",
                    spread_words([attempt.training.train_error for attempt in attempts]),
                    spread_words([attempt.training.error for attempt in attempts]),
                    f"{top1:.1f}",
                    spread_words([attempt.training.top5_error for attempt in attempts]),
                    f"{top5:.1f}",
                    f"{sum(bool(attempt.faults) for attempt in attempts)} of {len(attempts)}",
                )
            )
    return PaperTable(
        ("network", "weights", "train", "val top-1", "paper", "val top-5", "paper", "with a fault"),
        tuple(rows),
        f"Errors, %; mean ± standard deviation over {len(trial.before)} seeds. The paper's: its "
        "replication of AlexNet, and ZFNet, 1 network each.",
    )


def ablation_table(ablation: Ablation) -> PaperTable:
    """Table 2."""
    rows = []
    for row in ablation.rows:
        paper = ("",) * 2
        if row.paper is not None:
            column, (train, top1, _) = row.paper.beside(ablation.architecture.name)
            mark = "" if ablation.architecture.name.startswith(column) else " (ZFNet)"
            paper = (f"{train:.1f}{mark}", f"{top1:.1f}{mark}")
        weights = f"{row.parameters:,}"
        here = (spread_words(row.values("train_error")), spread_words(row.values("error")))
        rows.append((row.variant.name, weights, here[0], paper[0], here[1], paper[1]))
    return PaperTable(
        ("change", "weights", "train", "paper", "val top-1", "paper"),
        tuple(rows),
        f"{ablation.architecture.name.partition(' ')[0]}; errors, %, mean ± standard deviation "
        f"over {len(ablation.seeds)} seeds; always saying the most frequent class errs in "
        f"{percent(ablation.chance)}.",
    )


def transfer_table(transfer: Transfer) -> PaperTable:
    """Tables 3 and 4."""
    counts = sorted({*transfer.protocol.per_class, *TABLE4["softmax"]})
    rows: list[tuple[str, ...]] = []
    names = {"svm": "features, linear SVM", "softmax": "features, softmax",
             "scratch": "from scratch"}  # fmt: skip
    for classifier, name in names.items():
        own = {p.per_class: p for p in transfer.points if p.classifier == classifier}
        if not own:
            continue
        here = (_accuracy(own.get(n)) for n in counts)
        rows.append((f"{name}, here", *here))
    for name, published in (("Caltech-101", TABLE3), ("Caltech-256", TABLE4)):
        for classifier, words in (("softmax", "features"), ("scratch", "from scratch")):
            known = published[classifier]
            cells = (plus_minus(*known[n], unit=1) if n in known else NONE for n in counts)
            rows.append((f"paper, {name}, {words}", *cells))
    return PaperTable(
        ("images per class", *map(str, counts)),
        tuple(rows),
        f"Accuracy averaged over the classes, %; mean ± standard deviation over "
        f"{transfer.protocol.folds} folds. Here {len(transfer.classes)} classes, guessing "
        f"{percent(transfer.chance)}.",
    )


def several_table(both: MultiResult) -> PaperTable:
    """Table 5."""
    found = both.trained
    best = max(found.layers, key=lambda layer: layer.mean)
    start = next(layer for layer in both.untrained.layers if layer.layer == best.layer)
    before = {score.name: score.precision for score in start.classes}
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
    mean = (
        f"mean, {best.layer}",
        f"{100 * best.mean:.1f}",
        f"{100 * start.mean:.1f}",
        f"{100 * found.chance:.1f}",
        f"{TABLE5['ZFNet']} (others {TABLE5['Sande et al.']}, {TABLE5['Yan et al.']})",
    )
    return PaperTable(
        ("class", "average precision", "before training", "guessing", "paper, PASCAL VOC 2012"),
        (mean, *rows),
        f"Average precision as in VOC 2012, %; {found.test_images} images, each scored by "
        "classifiers that learned from others.",
    )


def depth_table(probe: LayerProbe) -> PaperTable:
    """Table 7."""
    curves = {name: {p.layer: p for p in points} for name, points in probe.points.items()}
    rows = []
    for layer in probe.layers:
        paper = _published(layer.name)
        here = [_accuracy(curves.get(name, {}).get(layer.name)) for name in ("svm", "softmax")]
        rows.append((layer.name, f"{layer.length:,}", here[0], paper[0], here[1], paper[1]))
    return PaperTable(
        ("layer", "features", "SVM", "paper", "softmax", "paper"),
        tuple(rows),
        f"Accuracy, %, {probe.protocol.per_class[0]} images per class here; the paper's on "
        "Caltech-101 with 30 / Caltech-256 with 60.",
    )


def pretraining_table(found: Pretraining) -> PaperTable:
    """Table 7 by what taught the layers; no table of the paper's."""
    probes = (found.supervised, found.unsupervised, found.random)
    curves = [{point.layer: point for point in probe.points["svm"]} for probe in probes]
    rows = []
    for layer in found.supervised.layers:
        losses = found.losses.get(layer.name, ())
        rows.append((
            layer.name, *(_accuracy(curve.get(layer.name)) for curve in curves),
            percent(losses[-1], 1) if losses else NONE,
        ))  # fmt: skip
    return PaperTable(
        ("layer", *LEARNED_BY, "rebuilt with an error of"), tuple(rows),
        f"Accuracy of a linear SVM, %, {found.supervised.protocol.per_class[0]} images per class; "
        "the autoencoders' squared error, of that of the mean.",
    )  # fmt: skip


def pointing_table(sanity: Sanity) -> PaperTable:
    """How often each kind of picture is brightest on the object; no table of the paper's."""
    rows = [
        (
            each.kind,
            percent(each.rate.rate),
            f"{100 * each.rate.low:.0f} to {100 * each.rate.high:.0f}",
            percent(each.rate.expected),
            NONE
            if each.lead is None
            else f"{plus_minus(each.lead.mean, None, digits=0)} "
            f"({interval_words(each.lead, 0, 0.01)})",
        )
        for each in sanity.pointing
    ]
    return PaperTable(
        ("picture", "brightest on the object", "95 %, %", "chance", "more than the centre, points"),
        tuple(rows),
        f"{sanity.pointing[0].rate.count} images. Chance is the share of the places that it could "
        "have marked that are on the object; the centre is that of what the unit sees, the unit of "
        "the last convolution that speaks most for the class.",
    )


def correspondence_table(both: CorrespondenceResult) -> PaperTable:
    """Table 1 of the first version."""
    found, before = both.trained, both.untrained
    lower, upper = found.layers[0], found.layers[-1]

    def row(name: str, paper: tuple[str, ...], of: Callable[[Correspondence, str], str]) -> Row:
        both_layers = zip((lower, upper), paper, strict=True)
        return (name, *(cell for at, there in both_layers
                        for cell in (of(found, at), of(before, at), there)))  # fmt: skip

    rows = [
        row(
            part,
            _published_difference(part.replace("_", " ")),
            lambda one, at, part=part: _difference(one.table[at][part]),  # type: ignore[misc]
        )
        for part in found.parts
    ]
    elsewhere = _published_difference("random")
    rows.append(row("random places", elsewhere, lambda one, at: _difference(one.random[at])))
    untrained = "before training"
    return PaperTable(
        ("covered", lower, untrained, "paper, layer 5", upper, untrained, "paper, layer 7"),
        tuple(rows),
        f"Δ, mean over pairs ± its standard deviation over pairs; {len(found.faces.names)} "
        "pictures here, 5 there. Lower is more alike.",
    )


def _published(name: str) -> tuple[str, str]:
    """SVM and softmax, where a layer is the paper's of its number: pooled and rectified."""
    number = "".join(filter(str.isdigit, name))
    known: Mapping[str, tuple[float, float]] = {}
    if number and name.startswith(("norm", "pool", "relu")):
        known = TABLE7.get(int(number), known)
    svm, softmax = (" / ".join(map(str, known.get(each, (NONE,)))) for each in ("svm", "softmax"))
    return svm, softmax


def _published_difference(part: str) -> tuple[str, str]:
    """Δ in layers 5 and 7."""
    if part not in ARXIV_TABLE1:
        return NONE, NONE
    lower, upper = (plus_minus(*each, digits=3, unit=1) for each in ARXIV_TABLE1[part])
    return lower, upper


def _accuracy(point: Point | None) -> str:
    return NONE if point is None else plus_minus(point.mean, point.std)


def _difference(found: Alike | Baseline) -> str:
    return plus_minus(found.delta, found.deviation, digits=3, unit=1)
