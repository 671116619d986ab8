"""How the claims of the paper's tables are judged: a stage's typed result -> Judgement.

As judging_figures.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from convscope.experiments.ablation.table import Ablation
from convscope.experiments.claims import (
    Effect,
    Judgement,
    Verdict,
    judged,
    not_run,
    untold,
)
from convscope.experiments.correspondence.result import Correspondence
from convscope.experiments.ensemble.result import Ensemble
from convscope.experiments.number_words import minus, percent, plus_minus, spread_words
from convscope.experiments.paper.results import (
    CorrespondenceResult,
    MultiResult,
    Pretraining,
    Trainings,
)
from convscope.experiments.transfer.layers import LayerProbe
from convscope.experiments.transfer.learning_curve import Point, Transfer
from convscope.stats import interval, rank_correlation

__all__ = [
    "ALIKE",
    "FEW",
    "correspondence_alike",
    "correspondence_fades",
    "depth_deeper",
    "multi_learned",
    "pretraining_lead",
    "table1_averages",
    "table2_claim",
    "training_beats",
    "transfer_features_win",
    "transfer_few_suffice",
]  # fmt: skip

ALIKE = 0.05  # p below which a part is treated more alike than random places
UNTOLD = "one of its conditions cannot be told from these seeds"
FEW = 6  # images per class of the paper's Fig. 9


# ---- Table 1 (arXiv) ----------------------------------------------------------------------------


def correspondence_alike(both: CorrespondenceResult) -> Judgement:
    found = both.trained
    layer = found.layers[0]
    table, random = found.table[layer], found.random[layer]
    lower = [part for part in found.parts if table[part].p_own < ALIKE]
    said = ", ".join(f"{part} {table[part].delta:.3f}" for part in found.parts)
    before, without = _below_random(both.untrained, layer)
    after, less = _below_random(found, layer)
    here = (
        f"Δ in {layer}: {said}; random {random.delta:.3f}. Below random places by "
        f"{percent(after)}; before training, in the same pictures, by {percent(before)}"
    )
    gain = after - before
    low, high = interval(gain, [a - b for a, b in zip(less, without, strict=True)])
    effect = Effect(gain, low, high, "points", len(found.faces.names), "images")
    told = judged(here, effect)
    if told.verdict is Verdict.FAILS or len(lower) == len(found.parts):
        return told
    if not lower:
        return replace(told, verdict=Verdict.FAILS, reason="")
    only = f"p < {ALIKE:g} for {', '.join(lower)} only"
    return replace(told, verdict=Verdict.UNCLEAR, reason=only)


def correspondence_fades(both: CorrespondenceResult) -> Judgement:
    found = both.trained
    if len(found.layers) < 2:
        return not_run("one layer only was looked at")
    (lower, below), (upper, above) = (
        _below_random(found, layer) for layer in (found.layers[0], found.layers[-1])
    )
    here = (
        f"parts are below random places by {percent(lower)} in {found.layers[0]}, "
        f"{percent(upper)} in {found.layers[-1]}"
    )
    low, high = interval(lower - upper, [a - b for a, b in zip(below, above, strict=True)])
    pictures = len(found.faces.names)
    return judged(here, Effect(lower - upper, low, high, "points", pictures, "images"))


def _below_random(correspondence: Correspondence, layer: str) -> tuple[float, list[float]]:
    """By what share Δ, mean over the parts, is below that of random places; the same without each
    picture.
    """  # fmt: skip
    parts, random = (
        [correspondence.table[layer][part] for part in correspondence.parts],
        correspondence.random[layer],
    )

    def share(deltas: Sequence[float], elsewhere: float) -> float:
        return 1 - fmean(deltas) / elsewhere if elsewhere else 0.0

    without = [
        share([part.without[i] for part in parts], elsewhere)
        for i, elsewhere in enumerate(random.without)
    ]
    return share([part.delta for part in parts], random.delta), without


# ---- Tables 1 and 2 -----------------------------------------------------------------------------


def training_beats(trainings: Trainings) -> Judgement:
    zfnet, alexnet = (
        [run.training.error for run in trainings.of(name)] for name in ("zfnet", "alexnet")
    )
    gains = [b - a for a, b in zip(zfnet, alexnet, strict=True)]
    here = f"validation error: ZFNet {spread_words(zfnet)} %, AlexNet {spread_words(alexnet)} %"
    return judged(here, Effect.of(gains, "seeds", "points"))


def table1_averages(ensemble: Ensemble) -> Judgement:
    group = ensemble.scorings[-1].groups[0]
    tested, gain = group.best, group.gain
    alone = group.sizes[0].error
    here = (
        f"{len(group.members)} networks {percent(group.score.error, 1)}, one "
        f"{percent(alone, 1)} on average; {tested.lost} images only the best single network "
        f"gets right, {tested.rescued} only the average"
    )
    return judged(here, Effect(gain.mean, gain.low, gain.high, "points", gain.count, "images"))


def table2_claim(key: str) -> Callable[[Ablation], Judgement]:
    def judge(ablation: Ablation) -> Judgement:
        told = next((claim for claim in ablation.claims if claim.claim.key == key), None)
        if told is None:
            return not_run("the rows that it speaks of were not trained")
        contrast, sign = told.contrast, told.claim.sign
        low = high = None
        if contrast.low is not None and contrast.high is not None:
            low, high = sorted((sign * contrast.low, sign * contrast.high))
        seeds = len(ablation.seeds)
        effect = Effect(sign * contrast.value, low, high, "points", seeds, "seeds")
        reason = (untold(effect) or UNTOLD) if told.verdict is Verdict.UNCLEAR else ""
        return Judgement(told.verdict, minus(told.evidence), effect, reason=reason)

    return judge


# ---- Tables 3 to 5, Fig. 9, Table 7 -------------------------------------------------------------


def _curve(transfer: Transfer, classifier: str) -> list[Point]:
    points = [point for point in transfer.points if point.classifier == classifier]
    return sorted(points, key=lambda point: point.per_class)


def transfer_features_win(transfer: Transfer) -> Judgement:
    scratch, learned = _curve(transfer, "scratch"), _curve(transfer, "softmax")
    if not scratch or not learned:
        return not_run("no network was trained from scratch to compare with")
    pairs = {point.per_class: point for point in learned}
    most = scratch[-1]
    gains = np.array(pairs[most.per_class].accuracies) - np.array(most.accuracies)
    said = ", ".join(
        f"{_accuracy(pairs[point.per_class])} against {_accuracy(point)} at {point.per_class}"
        for point in scratch
    )
    here = f"features against from scratch, %: {said} per class"
    return judged(here, _over_folds(gains.tolist(), transfer, most.per_class, "points"))


def transfer_few_suffice(transfer: Transfer) -> Judgement:
    scratch, learned = _curve(transfer, "scratch"), _curve(transfer, "softmax")
    if not scratch or not learned:
        return not_run("no network was trained from scratch to compare with")
    few = min(learned, key=lambda point: (abs(point.per_class - FEW), point.per_class))
    most = scratch[-1]
    gains = np.array(few.accuracies) - np.array(most.accuracies)
    here = (
        f"{_accuracy(few)} % from {few.per_class} images per class; from scratch "
        f"{_accuracy(most)} % from {most.per_class}"
    )
    return judged(here, _over_folds(gains.tolist(), transfer, few.per_class, "points"))


def multi_learned(transfers: MultiResult) -> Judgement:
    best = max(transfers.trained.layers, key=lambda layer: layer.mean)
    before = next(layer for layer in transfers.untrained.layers if layer.layer == best.layer)
    here = (
        f"mean average precision {100 * best.mean:.1f} over {len(best.classes)} classes; before "
        f"training {100 * before.mean:.1f}, guessing {100 * transfers.trained.chance:.1f}"
    )
    gain = best.mean - before.mean
    down = math.hypot(best.mean - best.low, before.high - before.mean)
    up = math.hypot(best.high - best.mean, before.mean - before.low)
    images = transfers.trained.test_images
    return judged(here, Effect(gain, gain - down, gain + up, "points", images, "images"))


def pretraining_lead(more: str, less: str) -> Callable[[Pretraining], Judgement]:
    """Of the best hidden layer of one network over that of another, fold by fold."""

    def judge(found: Pretraining) -> Judgement:
        probes = {name: getattr(found, name) for name in (more, less)}
        first, second = (probe.best("svm") for probe in probes.values())
        gains = [a - b for a, b in zip(first.accuracies, second.accuracies, strict=True)]
        here = "accuracy, %: " + ", ".join(
            f"{name} {_accuracy(best)} ({best.layer})"
            for name, best in zip(probes, (first, second), strict=True)
        )
        return judged(here, _over_folds(gains, probes[more], first.per_class, "points"))

    return judge


def depth_deeper(classifier: str) -> Callable[[LayerProbe], Judgement]:
    def judge(probe: LayerProbe) -> Judgement:
        points = probe.points.get(classifier, ())
        if len(points) < 2:
            return not_run(f"{classifier} was not put on several layers")
        by_fold = zip(*(point.accuracies for point in points), strict=True)
        rises = [rank_correlation(range(len(points)), fold) for fold in by_fold]
        here = "accuracy, %: " + ", ".join(f"{p.layer} {100 * p.mean:.1f}" for p in points)
        return judged(here, _over_folds(rises, probe, points[0].per_class))

    return judge


def _over_folds(
    values: Sequence[float], found: Transfer | LayerProbe, per_class: int, unit: str = ""
) -> Effect:
    learned = per_class * len(found.classes)
    return Effect.over_folds(values, learned, found.test_images, unit)


# ---- words --------------------------------------------------------------------------------------


def _accuracy(point: Point) -> str:
    return plus_minus(point.mean, point.std)
