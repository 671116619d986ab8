"""How the claims of the paper's figures are judged: a stage's typed result -> Judgement.

Each puts its claim as an effect that must lie above a threshold (scorecard.py); claims.py has the
claims in words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from convscope.experiments.diagnosis.filters import BANDS
from convscope.experiments.diagnosis.study import LayerDiagnosis
from convscope.experiments.evolution.convergence import Trend
from convscope.experiments.evolution.result import Evolution
from convscope.experiments.invariance.motions import Motion
from convscope.experiments.invariance.study import Curves, Invariance
from convscope.experiments.paper.results import Fig2, Fig5, Fig6, InvarianceStudy
from convscope.experiments.scorecard import Effect, Judgement, Verdict, judged, not_run
from convscope.experiments.wording import minus, percent, points

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
]  # fmt: skip

LINE = 0.8  # R² from which a curve counts as nearly a line


# ---- Fig. 2 -------------------------------------------------------------------------------------


def fig2_rises(features: Fig2) -> Judgement:
    found = features.grouping
    first, last = found.layers[0], found.layers[-1]
    if not first.maps or not last.maps:
        return not_run("too few images excite the maps")
    effect = Effect.between(last.maps, first.maps, "maps", "points")
    means = ", ".join(f"{each.layer} {percent(fmean(each.maps))}" for each in found.layers
                      if each.maps)  # fmt: skip
    here = f"pairs of one class among the top {found.top}: {means}; chance {percent(found.chance)}"
    return judged(here, effect)


def fig2_learned(features: Fig2) -> Judgement:
    found = features.grouping
    last = found.layers[-1]
    if not last.maps or not last.untrained:
        return not_run("too few images excite the maps")
    effect = Effect.between(last.maps, last.untrained, "maps", "points")
    return judged(
        f"{last.layer}: {percent(fmean(last.maps))} of pairs are of one class, before training "
        f"{percent(fmean(last.untrained))}, by chance {percent(found.chance)}",
        effect,
    )


# ---- Fig. 4 -------------------------------------------------------------------------------------


def fig4_lower_first(measure: str) -> Callable[[Evolution], Judgement]:
    def judge(found: Evolution) -> Judgement:
        trend: Trend = found.trends[measure]
        medians = ", ".join(
            f"{layer.name} {layer.convergence[measure].median}"
            for layer in found.layers
            if measure in layer.convergence
        )
        here = f"median epoch from which on a map is as at the end: {medians}"
        if trend.rho is None:
            return Judgement(Verdict.UNCLEAR, here, reason="all maps settle at one epoch")
        effect = Effect(trend.rho, trend.low, trend.high, "", trend.maps, "maps")
        return judged(here, effect)

    return judge


# ---- Fig. 5 -------------------------------------------------------------------------------------


def fig5_dominance(found: Fig5) -> Judgement:
    free, kept = (each.diagnosis.layers[0].strength for each in (found.free, found.zfnet))
    here = (
        f"the strongest twentieth holds {percent(free.top_share)} of the energy without, "
        f"{percent(kept.top_share)} with; largest to median RMS {free.ratio:.1f} and "
        f"{kept.ratio:.1f}"
    )
    gains = [without - renormalised for without, renormalised in found.inequality]
    if not any(gains):
        here += "; no filter ever exceeded the radius, so that both are the same training"
        return judged(here, Effect(0.0, 0.0, 0.0, "", len(gains), "seeds"))
    return judged(here, Effect.of(gains, "seeds"))


def fig5_middle(found: Fig5) -> Judgement:
    zfnet, alexnet = (each.diagnosis.layers[0] for each in (found.zfnet, found.alexnet))
    if zfnet.spectrum is None or alexnet.spectrum is None:
        return not_run("no layer looks at the pixels")
    _, low, high = BANDS[1]
    more, less = (
        [float(low <= peak < high) for peak in spectrum.peak]
        for spectrum in (zfnet.spectrum, alexnet.spectrum)
    )
    effect = Effect.between(more, less, "filters", "points")
    here = "; ".join(
        f"{name}: {tuned[0]} low, {tuned[1]} mid, {tuned[2]} high"
        for name, tuned in (("ZFNet", zfnet.spectrum.tuned), ("AlexNet", alexnet.spectrum.tuned))
    )
    return judged(f"filters by the octave they are tuned to: {here}", effect)


def fig5_aliasing(found: Fig5) -> Judgement:
    zfnet, alexnet = (each.diagnosis.layers[0].folding for each in (found.zfnet, found.alexnet))
    if zfnet is None or alexnet is None:
        return not_run("a first layer without a stride cannot alias")
    effect = Effect.between(alexnet.by_map, zfnet.by_map, "maps", "points")
    here = (
        f"share of the first layer's answer too fine for its stride: AlexNet "
        f"{percent(alexnet.mean)}, ZFNet {percent(zfnet.mean)}"
    )
    return judged(here, effect)


def fig5_dead(found: Fig5) -> Judgement:
    zfnet, alexnet = (each.diagnosis.layers[:2] for each in (found.zfnet, found.alexnet))
    effect = Effect.between(_marks(alexnet), _marks(zfnet), "maps", "points")
    counts = [f"{int(sum(_marks(layers)))} of {len(_marks(layers))}" for layers in (alexnet, zfnet)]
    return judged(
        f"dead or nearly dead maps in layers 1 and 2: AlexNet {counts[0]}, ZFNet {counts[1]}",
        effect,
    )


def _marks(layers: Sequence[LayerDiagnosis]) -> list[float]:
    """1 for each map that is dead or nearly dead, else 0."""
    marks = []
    for layer in layers:
        seen = layer.activity
        gone = set() if seen is None else {*seen.dead, *(seen.nearly_dead or ())}
        marks += [float(k in gone) for k in range(layer.shape[0])]
    return marks


# ---- Fig. 6 -------------------------------------------------------------------------------------


def fig6_localises(covered: Fig6) -> Judgement:
    found = covered.study
    if found.probability is None:
        return not_run("nobody says where the objects are in these images")
    scores = [row.probability.detection for row in found.rows if row.probability is not None]
    pointing = found.probability.pointing
    here = (
        f"area under the ROC curve of the fall, object against ground: {fmean(scores):.2f}; lowest "
        f"on the object in {pointing.hits} of {pointing.count} images, chance "
        f"{percent(pointing.expected)}"
    )
    return judged(here, Effect.of(scores, "images"), 0.5)


def fig6_structure(covered: Fig6) -> Judgement:
    found = covered.study
    scores = [row.agreement.correlation for row in found.rows]
    here = (
        "rank correlation of the activity's fall with the projection's energy under the occluder: "
        f"{fmean(scores):+.2f}; lowest where that energy exceeds "
        f"that at {percent(found.percentile.mean)} of all places"
    )
    return judged(minus(here), Effect.of(scores, "images"))


# ---- Fig. 5 (arXiv) -----------------------------------------------------------------------------


def _curves(found: Invariance, motion: Motion) -> Curves:
    return next(each for each in found.curves if each.motions.motion is motion)


SETTLED = (Motion.TRANSLATION, Motion.SCALE)


def invariance_sharp(moved: InvarianceStudy) -> Judgement:
    found = moved.study
    early = np.mean([_curves(found, motion).early() for motion in SETTLED], axis=0)  # (N, L)
    below, above = early[:, 0], early[:, -1]
    here = (
        f"after a tenth of the shift or scale, {found.layers[0]} is at {percent(below.mean())} of "
        f"its largest distance, {found.layers[-1]} at {percent(above.mean())} (a line: 10 %)"
    )
    return judged(here, Effect.of((below - above).tolist(), "images", "points"))


def invariance_line(moved: InvarianceStudy) -> Judgement:
    found = moved.study
    fits = np.mean([_curves(found, motion).linearity() for motion in SETTLED], axis=0)
    last = fits[:, -1]
    here = (
        f"R² of a line through the origin, shift and scale: {found.layers[-1]} {last.mean():.2f}, "
        f"{found.layers[0]} {fits[:, 0].mean():.2f}"
    )
    return judged(minus(here), Effect.of(last.tolist(), "images"), LINE)


def invariance_rotation(moved: InvarianceStudy) -> Judgement:
    found = moved.study

    def lost(motion: Motion) -> NDArray[np.float64]:
        curves = _curves(found, motion)
        efforts = np.array(curves.motions.efforts)
        still = curves.probability[:, efforts == 0].mean(1)
        return np.asarray(still - curves.probability[:, efforts > 0].mean(1))

    turning, others = lost(Motion.ROTATION), np.mean([lost(each) for each in SETTLED], axis=0)
    here = (
        f"probability of the class lost, mean over all amounts: {points(turning.mean())} by "
        f"turning, {points(others.mean())} by shift and scale"
    )
    return judged(here, Effect.of((turning - others).tolist(), "images", "points"))
