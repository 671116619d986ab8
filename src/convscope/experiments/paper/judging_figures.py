"""How the claims of the paper's figures are judged: a stage's typed result -> Judgement.

Each puts its claim as an effect that must lie above a threshold (scorecard.py); claims.py has the
claims in words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from convscope.experiments.claims import Effect, Judgement, Verdict, judged, not_run
from convscope.experiments.diagnosis.diagnosis import Diagnosis
from convscope.experiments.diagnosis.filters import BANDS
from convscope.experiments.diagnosis.trial import Trial
from convscope.experiments.evolution.convergence import Trend
from convscope.experiments.evolution.result import Evolution
from convscope.experiments.invariance.curves import Curves, Invariance
from convscope.experiments.invariance.transforms import Transform
from convscope.experiments.number_words import minus, percent, points, spread_words
from convscope.experiments.paper.results import (
    Fig2,
    Fig5,
    Fig6,
    InvarianceResult,
    Surroundings,
)

__all__ = [
    "LINE",
    "fig2_learned",
    "fig2_rises",
    "fig4_lower_first",
    "fig5_aliasing",
    "fig5_dead",
    "fig5_dominance",
    "fig5_middle",
    "fig6_localises",
    "fig6_structure",
    "invariance_line",
    "invariance_rotation",
    "invariance_sharp",
    "remedy_errs_less",
    "surroundings_told_apart",
]  # fmt: skip

LINE = 0.8  # R² from which a curve counts as nearly a line


# ---- Fig. 2 -------------------------------------------------------------------------------------


def fig2_rises(features: Fig2) -> Judgement:
    grouping = features.grouping
    first, last = grouping.layers[0], grouping.layers[-1]
    if not first.maps or not last.maps:
        return not_run("too few images excite the maps")
    effect = Effect.between(last.maps, first.maps, "maps", "points")
    means = ", ".join(f"{layer.layer} {percent(fmean(layer.maps))}" for layer in grouping.layers
                      if layer.maps)  # fmt: skip
    chance = percent(grouping.chance)
    here = f"pairs of one class among the top {grouping.top}: {means}; chance {chance}"
    return judged(here, effect)


def fig2_learned(features: Fig2) -> Judgement:
    grouping = features.grouping
    last = grouping.layers[-1]
    if not last.maps or not last.untrained:
        return not_run("too few images excite the maps")
    effect = Effect.between(last.maps, last.untrained, "maps", "points")
    return judged(
        f"{last.layer}: {percent(fmean(last.maps))} of pairs are of one class, before training "
        f"{percent(fmean(last.untrained))}, by chance {percent(grouping.chance)}",
        effect,
    )


# ---- Fig. 4 -------------------------------------------------------------------------------------


def fig4_lower_first(measure: str) -> Callable[[Evolution], Judgement]:
    def judge(evolution: Evolution) -> Judgement:
        trend: Trend = evolution.trends[measure]
        medians = ", ".join(
            f"{layer.name} {layer.convergence[measure].median}"
            for layer in evolution.layers
            if measure in layer.convergence
        )
        here = f"median epoch from which on a map is as at the end: {medians}"
        if trend.rho is None:
            return Judgement(Verdict.UNCLEAR, here, reason="all maps settle at one epoch")
        effect = Effect(trend.rho, trend.low, trend.high, "", trend.maps, "maps")
        return judged(here, effect)

    return judge


# ---- Fig. 5 -------------------------------------------------------------------------------------


def fig5_dominance(diagnoses: Fig5) -> Judgement:
    gains = [without - kept for without, kept in diagnoses.inequality]
    kept = _strength(diagnoses.zfnet)
    if not any(diagnoses.free):
        same = Effect(0.0, 0.0, 0.0, "", len(gains), "seeds")
        return judged(
            "no filter ever exceeded the radius: without renormalisation the same networks would "
            f"come out, which are not trained or shown twice; in them {kept}",
            same,
        )
    free = _strength(
        [each or same for each, same in zip(diagnoses.free, diagnoses.zfnet, strict=True)]
    )
    return judged(f"without renormalisation {free}; with it {kept}", Effect.of(gains, "seeds"))


def _strength(networks: Sequence[Diagnosis]) -> str:
    """How unequal the first layer's filters are, on average."""
    found = [network.layers[0].strength for network in networks]
    return (
        f"the strongest twentieth of the filters holds "
        f"{percent(fmean(each.top_share for each in found))} of the energy, largest to median RMS "
        f"{fmean(each.ratio for each in found):.1f}"
    )


def fig5_middle(diagnoses: Fig5) -> Judgement:
    _, low, high = BANDS[1]

    def tuned(network: Diagnosis) -> list[float]:
        spectrum = network.layers[0].spectrum
        return [] if spectrum is None else [float(low <= peak < high) for peak in spectrum.peak]

    what = f"first-layer filters tuned to {low:g} to {high:g} cycles per pixel"
    return _compared(diagnoses, "ZFNet", what, tuned, "no layer looks at the pixels")


def fig5_aliasing(diagnoses: Fig5) -> Judgement:
    def folded(network: Diagnosis) -> Sequence[float]:
        folding = network.layers[0].folding
        by_map = () if folding is None else folding.by_map
        return [share for share in by_map if share is not None]

    what = "the first layer's answer that is too fine for its stride"
    reason = "a first layer without a stride cannot alias"
    return _compared(diagnoses, "AlexNet", what, folded, reason)


def fig5_dead(diagnoses: Fig5) -> Judgement:
    what = "dead or nearly dead maps of layers 1 and 2"
    return _compared(diagnoses, "AlexNet", what, _dead, "no images were looked at")


def _dead(network: Diagnosis) -> list[float]:
    """1 for each map that is dead or nearly dead, else 0."""
    marks = []
    for layer in network.layers[:2]:
        if layer.activity is None:
            return []
        gone = {*layer.activity.dead, *(layer.activity.nearly_dead or ())}
        marks += [float(k in gone) for k in range(layer.shape[0])]
    return marks


def _compared(
    diagnoses: Fig5,
    more: str,
    what: str,
    measured: Callable[[Diagnosis], Sequence[float]],
    reason: str,
) -> Judgement:
    """The network that has more of something, by the claim, less the other one.

    Args:
        diagnoses: The diagnoses.
        more: The network that has more of it.
        what: What is compared, in words.
        measured: Gives a value for each filter or map, whose mean is one trained network's value;
            none where it is not known.
        reason: Why it may not be known.
    """
    shares = {}
    for name, networks in {"ZFNet": diagnoses.zfnet, "AlexNet": diagnoses.alexnet}.items():
        values = [measured(network) for network in networks]
        if not all(values):
            return not_run(reason)
        shares[name] = [fmean(each) for each in values]
    here = ", ".join(f"{name} {spread_words(each)} %" for name, each in shares.items())
    most = shares.pop(more)
    (least,) = shares.values()
    return judged(f"{what}: {here}", Effect.between(most, least, "trainings", "points"))


def remedy_errs_less(trial: Trial) -> Judgement:
    if not trial.after:
        return not_run("AlexNet's diagnosis asks for no other architecture")
    before, after = (
        spread_words([attempt.training.error for attempt in attempts])
        for attempts in (trial.before, trial.after)
    )
    here = (
        f"validation error {before} % as it was, {after} % with {'; '.join(trial.change.applied)}"
    )
    return judged(here, Effect.of([-each for each in trial.differences], "seeds", "points"))


# ---- Fig. 6 -------------------------------------------------------------------------------------


def fig6_localises(covered: Fig6) -> Judgement:
    study = covered.study
    if study.probability is None:
        return not_run("nobody says where the objects are in these images")
    scores = [row.probability.detection for row in study.rows if row.probability is not None]
    pointing = study.probability.pointing
    here = (
        f"area under the ROC curve of the fall, object against ground: {fmean(scores):.2f}; most "
        f"on the object in {pointing.hits} of {pointing.count} images, chance "
        f"{percent(pointing.expected)}"
    )
    return judged(here, Effect.of(scores, "images"), 0.5)


def fig6_structure(covered: Fig6) -> Judgement:
    study = covered.study
    scores = [row.agreement.correlation for row in study.rows]
    here = (
        "rank correlation of the activity's fall with the projection's energy under the occluder: "
        f"{fmean(scores):+.2f}; lowest where that energy exceeds "
        f"that at {percent(study.percentile.mean)} of all places"
    )
    return judged(minus(here), Effect.of(scores, "images"))


def surroundings_told_apart(surroundings: Surroundings) -> Judgement:
    plain, telling = (
        fmean(row.probability.detection for row in study.rows if row.probability is not None)
        for study in (surroundings.plain, surroundings.telling)
    )
    here = (
        f"area under the ROC curve of the fall, object against ground: {plain:.2f} of the network "
        f"that cannot tell from the ground, {telling:.2f} of the one that can"
    )
    return judged(here, Effect.of(surroundings.gains, "images"))


# ---- Fig. 5 (arXiv) -----------------------------------------------------------------------------


def _curves(invariance: Invariance, motion: Transform) -> Curves:
    return next(curve for curve in invariance.curves if curve.motions.motion is motion)


SETTLED = (Transform.TRANSLATION, Transform.SCALE)


def invariance_sharp(moved: InvarianceResult) -> Judgement:
    study = moved.study
    early = np.mean([_curves(study, motion).early() for motion in SETTLED], axis=0)  # (N, L)
    below, above = early[:, 0], early[:, -1]
    here = (
        f"after a tenth of the shift or scale, {study.layers[0]} is at {percent(below.mean())} of "
        f"its largest distance, {study.layers[-1]} at {percent(above.mean())} (a line: 10 %)"
    )
    return judged(here, Effect.of((below - above).tolist(), "images", "points"))


def invariance_line(moved: InvarianceResult) -> Judgement:
    study = moved.study
    fits = np.mean([_curves(study, motion).linearity() for motion in SETTLED], axis=0)
    last = fits[:, -1]
    here = (
        f"R² of a line through the origin, shift and scale: {study.layers[-1]} {last.mean():.2f}, "
        f"{study.layers[0]} {fits[:, 0].mean():.2f}"
    )
    return judged(minus(here), Effect.of(last.tolist(), "images"), LINE)


def invariance_rotation(moved: InvarianceResult) -> Judgement:
    study = moved.study

    def lost(motion: Transform) -> NDArray[np.float64]:
        curves = _curves(study, motion)
        efforts = np.array(curves.motions.efforts)
        still = curves.probability[:, efforts == 0].mean(1)
        return np.asarray(still - curves.probability[:, efforts > 0].mean(1))

    turning, others = (
        lost(Transform.ROTATION),
        np.mean([lost(motion) for motion in SETTLED], axis=0),
    )
    here = (
        f"probability of the class lost, mean over all amounts: {points(turning.mean())} by "
        f"turning, {points(others.mean())} by shift and scale"
    )
    return judged(here, Effect.of((turning - others).tolist(), "images", "points"))
