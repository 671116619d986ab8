"""Every claim of the paper, judged on results made up so that the verdict is plain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from convscope.experiments.ablation.claims import judge as judge_table2
from convscope.experiments.claims import (
    Claim,
    Effect,
    Judgement,
    Verdict,
    decide,
    judged,
    untold,
)
from convscope.experiments.correspondence.result import Alike, Baseline
from convscope.experiments.diagnosis.remedies import Change
from convscope.experiments.diagnosis.trial import Attempt, Trial
from convscope.experiments.ensemble.combined import Group, McNemarTest, Score, Scoring, Size
from convscope.experiments.evolution.convergence import lower_first
from convscope.experiments.invariance.curves import Curves, Invariance
from convscope.experiments.invariance.transforms import Transform, TransformRange
from convscope.experiments.paper.claims import CLAIMS
from convscope.experiments.paper.purity import Grouping, Purity, purities
from convscope.experiments.paper.results import (
    Averages,
    CorrespondenceResult,
    Fig2,
    Fig5,
    InvarianceResult,
    MultiResult,
    Pretraining,
    Surroundings,
    Trained,
    Trainings,
)
from convscope.experiments.paper.stages import STAGES
from convscope.experiments.sanity.result import LayerPictures, Redrawn, Sanity
from convscope.experiments.training_runner import Training
from convscope.experiments.transfer.folds import Protocol
from convscope.experiments.transfer.layers import LayerProbe
from convscope.experiments.transfer.learning_curve import Point, Transfer
from convscope.experiments.transfer.multilabel import ClassScore, LayerScore, MultiTransfer
from convscope.models.architectures import ARCHITECTURES
from convscope.stats import interval, mean_of
from convscope.training.recipe import SMALL
from evolved import evolution

HOLDS, FAILS, UNCLEAR, OUT = Verdict.HOLDS, Verdict.FAILS, Verdict.UNCLEAR, Verdict.NOT_RUN
ALEXNET = ARCHITECTURES["alexnet-small"]
BY_KEY = {claim.key: claim for claim in CLAIMS}


def verdict(key: str, result: Any) -> Verdict:
    return BY_KEY[key].judge(result).verdict


# ---- made-up results ----------------------------------------------------------------------------


def features(first: float, last: float, before: float = 0.1) -> Fig2:
    def maps(mean: float) -> tuple[float, ...]:
        return tuple(mean + change for change in (-0.02, -0.01, 0.0, 0.01, 0.02))

    layers = (Purity("conv1", maps(first), maps(0.1)), Purity("conv5", maps(last), maps(before)))
    return Fig2(Grouping(layers, 0.1, 100, 9), "atlas")


def grown(low: Sequence[int], high: Sequence[int]) -> Any:
    return evolution(trends=dict.fromkeys(("projection", "filter"), lower_first([low, high])))


MAPS = 20


def looked(middle: int = 10, folding: float = 0.1, dead: int = 0, gini: float = 0.3) -> Any:
    """A network's first layer: how many of its filters are tuned to the middle, how many dead."""
    return SimpleNamespace(layers=[SimpleNamespace(
        shape=(MAPS, 8, 8),
        strength=SimpleNamespace(top_share=0.1, ratio=1.0, gini=gini),
        spectrum=SimpleNamespace(peak=(0.2,) * middle + (0.05,) * (MAPS - middle)),
        folding=SimpleNamespace(by_map=(folding - 0.05, folding + 0.05)),
        activity=SimpleNamespace(dead=tuple(range(dead)), nearly_dead=None),
    )])  # fmt: skip


def seeds(name: str, *values: float) -> tuple[Any, ...]:
    """A trained network for each value."""
    return tuple(looked(**{name: value}) for value in values)


def filters(
    zfnet: tuple[Any, ...] | None = None,
    alexnet: tuple[Any, ...] | None = None,
    free: tuple[Any, ...] = (None,) * 3,
) -> Fig5:
    alike = (looked(),) * 3
    return Fig5(zfnet or alike, alexnet or alike, free, {})


def covered(detections: Sequence[float], correlations: Sequence[float], known: bool = True) -> Any:
    rows = [
        SimpleNamespace(
            probability=SimpleNamespace(detection=detection) if known else None,
            agreement=SimpleNamespace(correlation=correlation),
        )
        for detection, correlation in zip(detections, correlations, strict=True)
    ]
    pointing = SimpleNamespace(hits=1, count=len(rows), expected=0.2)
    study = SimpleNamespace(
        rows=rows,
        probability=SimpleNamespace(pointing=pointing) if known else None,
        percentile=SimpleNamespace(mean=0.9),
    )
    return SimpleNamespace(study=study)


def moved(first: Sequence[float], last: Sequence[float], turned: float, shifted: float) -> Any:
    """Distances of two layers at six amounts, the same for all motions but for the probability."""
    curves = []
    for motion in Transform:
        start = 1.0 if motion is Transform.SCALE else 0.0
        step = 0.1 if motion is Transform.SCALE else 1.0
        motions = TransformRange(motion, tuple(start + step * i for i in range(11)))
        lost = turned if motion is Transform.ROTATION else shifted
        pictures = 4
        wobble = 1 + 0.01 * np.arange(pictures)[:, None, None]
        distance = np.array([[first, last]] * pictures, float) * wobble
        probability = np.full((pictures, 11), 0.9 - lost)
        probability[:, 0] = 0.9
        probability += 0.001 * np.arange(pictures)[:, None] * (np.arange(11) > 0)
        empty = np.zeros((pictures, 1, 2, 2, 3), np.uint8)
        curves.append(Curves(motions, distance, probability, (0,), empty))
    names = tuple("abcd")
    known = (True,) * 4
    study = Invariance(("relu1", "relu7"), names, (0,) * 4, known, tuple(curves), None, 0)
    return InvarianceResult(study, None)


JUMP = (0.0, *(1.0,) * 10)
SLOPE = tuple(i / 10 for i in range(11))


def faces(
    lower: Sequence[float],
    upper: Sequence[float],
    p: Sequence[float],
    before: float = 0.2,
    spread: float = 0.001,
) -> CorrespondenceResult:
    """Δ of two parts in two layers, and before training; random places have 0.2."""
    trained = regarded(lower, upper, p, spread)
    return CorrespondenceResult(trained, regarded((before,) * 2, (before,) * 2, (0.5, 0.5), 0.0))


def regarded(
    lower: Sequence[float], upper: Sequence[float], p: Sequence[float], spread: float
) -> Any:
    def alike(delta: float, chance: float) -> Alike:
        without = tuple(delta + spread * change for change in (-1, 0, 1))
        low, high = interval(delta, without)
        return Alike(delta, 0.01, low, high, 0.5, delta, chance, chance, chance, without)

    random = Baseline(0.2, 0.01, 0.18, 0.22, 999, 0.5, 0.2, (0.2,) * 3)
    table = {
        layer: {part: alike(d, q) for part, d, q in zip(("eye", "nose"), deltas, p, strict=True)}
        for layer, deltas in (("pool5", lower), ("relu7", upper))
    }
    return SimpleNamespace(
        layers=("pool5", "relu7"),
        parts=("eye", "nose"),
        table=table,
        random={"pool5": random, "relu7": random},
        same={"pool5": random, "relu7": random},
        faces=SimpleNamespace(names=("a", "b", "c")),
    )


def trainings(zfnet: Sequence[float], alexnet: Sequence[float]) -> Trainings:
    runs = [
        Trained(name, Training(seed, 0.1, error, 0.0, None, None, 1.0, "x"), 0, (error,))
        for name, errors in (("zfnet", zfnet), ("alexnet", alexnet))
        for seed, error in enumerate(errors)
    ]
    return Trainings(tuple(runs), 100, 50, 1, 12)


def tried(before: Sequence[float], after: Sequence[float]) -> Trial:
    """Errors by seed."""

    def attempts(errors: Sequence[float]) -> tuple[Attempt, ...]:
        return tuple(
            Attempt(Training(seed, 0.1, error, 0.0, None, None, 1.0, "x"), 100, ())
            for seed, error in enumerate(errors)
        )

    change = Change(ALEXNET, SMALL, ("another first layer",) if after else (), ())
    return Trial(change, ALEXNET, (), attempts(before), attempts(after))


def told_apart(plain: Sequence[float], telling: Sequence[float]) -> Surroundings:
    """ROC areas by image."""
    nothing = (0,) * len(plain)
    studies = (covered(areas, nothing).study for areas in (plain, telling))
    return Surroundings(*studies, (0.2, 0.8), 0.9, (None, None), None)  # type: ignore[arg-type]


def averaged(gained: int, lost: int) -> Any:
    """Of 400 images; the best member always ties with the average."""
    size = Size(1, 2, 0.3, 0.1, 0.3, 0.3, 0.1, 0.1)
    against = McNemarTest("a", 7, 7, 1.0)
    gain = mean_of([1.0] * gained + [-1.0] * lost + [0.0] * (400 - gained - lost))
    group = Group("zfnet", ("a", "b"), Score(0.2, 0.1, 0.0, 0.0), (size,), gain, against)
    scoring = Scoring(1, {}, (group,), np.zeros((2, 2)))
    return Averages(SimpleNamespace(scorings=(scoring,), images=400), None)  # type: ignore[arg-type]


def ablated(changes: Mapping[str, float] = MappingProxyType({})) -> Any:
    """Table 2 as in the paper, three seeds a hundredth of a point apart; changes by row."""
    errors = {
        "none": 0.405,
        "without layers 3,4": 0.454,
        "without layers 6,7": 0.448,
        "without layers 3,4,6,7": 0.713,
        "layers 3,4,5 wider": 0.375,
    } | dict(changes)
    rows = {
        name: ([error - 0.05] * 3, [error - 0.0001, error, error + 0.0001])
        for name, error in errors.items()
    }
    return SimpleNamespace(claims=judge_table2(rows), seeds=(0, 1, 2))


def point(layer: str, classifier: str, per_class: int, *accuracies: float) -> Point:
    mean, std = float(np.mean(accuracies)), float(np.std(accuracies, ddof=1))
    return Point(layer, classifier, per_class, accuracies, mean, std)


def served(features: float, few: float, scratch: float) -> Transfer:
    def folds(mean: float) -> tuple[float, ...]:
        return (mean - 0.01, mean, mean + 0.01)

    points = (
        point("relu7", "softmax", 5, *folds(few)),
        point("relu7", "softmax", 60, *folds(features)),
        point("zfnet", "scratch", 5, *folds(scratch / 2)),
        point("zfnet", "scratch", 60, *folds(scratch)),
    )
    protocol = Protocol((5, 60), 3)
    return Transfer("relu7", "flatten", 256, ("a", "b"), 100, 20, 0.5, protocol, points)


def several(trained: float, untrained: float) -> MultiResult:
    def one(mean: float) -> MultiTransfer:
        classes = (ClassScore("dog", 20, mean, 0.2),)
        layer = LayerScore("relu7", 256, mean, 0.01, mean - 0.03, mean + 0.03, classes)
        return MultiTransfer((layer,), "flatten", 100, 100, 5, 2, 5, 0.2, (), 0)

    return MultiResult(one(trained), one(untrained))


def probed(first: float, last: float) -> LayerProbe:
    points = {
        name: (
            point("relu1", name, 30, first, first + 0.01, first - 0.01),
            point("relu7", name, 30, last + 0.01, last, last - 0.01),
        )
        for name in ("svm", "softmax")
    }
    rises = {"svm": 1.0, "softmax": -1.0}
    return LayerProbe((), ("a", "b"), 10, 5, 0.5, Protocol((30,), 3), points, rises)


def taught(labels: float, autoencoders: float, nothing: float) -> Pretraining:
    probes = (probed(0.3, best) for best in (labels, autoencoders, nothing))
    return Pretraining({"conv1": (0.5, 0.4)}, *probes, errors=(0.2, 0.1))


def worth(
    units: tuple[float, float, float] = (0.9, 0.8, 0.2),
    weights: tuple[float, float, float] = (0.9, 0.8, 0.1),
    above: float = 0.5,
    disc: float = 0.2,
    spread: float = 0.01,
) -> Sanity:
    """Numbers by method (deconvnet, guided, gradient), on three images."""
    shakes, methods = (-spread, 0.0, spread), ("deconvnet", "guided", "gradient")

    def images(mean: float, turn: int = 1) -> tuple[float | None, ...]:
        return (*(mean + turn * shake for shake in shakes), None)

    layer = LayerPictures(
        "conv5",
        ("relu5/0@1,1",) * 4,
        {name: images(mean, 2 * turn) for turn, (name, mean) in enumerate(zip(methods, units))},  # noqa: B905
        dict.fromkeys(methods, images(above)),
        dict.fromkeys(methods, images(disc, -1)),
    )
    redrawn = Redrawn(
        (("fc8",), ("conv1",)),
        {
            name: tuple((mean + turn * shake, mean) for shake in shakes)
            for turn, (name, mean) in enumerate(zip(methods, weights))  # noqa: B905
        },
    )
    return Sanity(4, (), (layer,), redrawn, ())


# ---- verdicts -----------------------------------------------------------------------------------

DOMINANT, LEVEL = seeds("gini", 0.8, 0.7, 0.75), seeds("gini", 0.1, 0.15, 0.2)  # else 0.3
PLAIN = [
    ("fig2-hierarchy", features(0.1, 0.6), features(0.6, 0.1)),
    ("fig2-learned", features(0.1, 0.6, 0.1), features(0.1, 0.2, 0.7)),
    ("fig4-projection", grown((0, 1) * 10, (5, 1, 5, 5) * 5), grown((5, 5, 1, 5) * 5, (0, 1) * 10)),
    ("fig4-filter", grown((0, 1) * 10, (5, 1, 5, 5) * 5), grown((5, 5, 1, 5) * 5, (0, 1) * 10)),
    ("fig5-dominance", filters(free=DOMINANT), filters(free=LEVEL)),
    ("fig5-dominance", filters(free=DOMINANT), filters()),
    (
        "fig5-middle",
        filters(alexnet=seeds("middle", 1, 2, 0)),
        filters(zfnet=seeds("middle", 1, 2, 0)),
    ),
    (
        "fig5-aliasing",
        filters(alexnet=seeds("folding", 0.5, 0.6, 0.55)),
        filters(zfnet=seeds("folding", 0.5, 0.6, 0.55)),
    ),
    (
        "fig5-dead",
        filters(alexnet=seeds("dead", 9, 10, 12)),
        filters(zfnet=seeds("dead", 9, 10, 12)),
    ),
    ("fig5-dead", filters(alexnet=seeds("dead", 9, 10, 12)), filters()),
    ("remedy-error", tried((0.3, 0.32), (0.2, 0.21)), tried((0.2, 0.21), (0.3, 0.32))),
    (
        "surroundings-told",
        told_apart((0.9, 0.8, 0.85), (0.5, 0.6, 0.5)),
        told_apart((0.5, 0.6, 0.5), (0.9, 0.8, 0.85)),
    ),
    ("fig6-object", covered((0.9, 0.8, 0.85), (0,) * 3), covered((0.1, 0.2, 0.15), (0,) * 3)),
    ("fig6-structure", covered((0,) * 3, (0.5, 0.6, 0.4)), covered((0,) * 3, (-0.5, -0.6, -0.4))),
    ("invariance-small", moved(JUMP, SLOPE, 0, 0), moved(SLOPE, JUMP, 0, 0)),
    ("invariance-line", moved(JUMP, SLOPE, 0, 0), moved(SLOPE, JUMP, 0, 0)),
    ("invariance-rotation", moved(JUMP, SLOPE, 0.5, 0.1), moved(JUMP, SLOPE, 0.1, 0.5)),
    (
        "correspondence-parts",
        faces((0.1, 0.1), (0.1, 0.1), (0.01, 0.02)),
        faces((0.2, 0.2), (0.2, 0.2), (0.5, 0.6)),
    ),
    (
        "correspondence-parts",  # random weights that treat parts as much alike
        faces((0.1, 0.1), (0.1, 0.1), (0.01, 0.02), before=0.15),
        faces((0.1, 0.1), (0.1, 0.1), (0.01, 0.02), before=0.1, spread=0.0),
    ),
    (
        "correspondence-fades",
        faces((0.1, 0.1), (0.19, 0.2), (0.01, 0.01)),
        faces((0.19, 0.2), (0.1, 0.1), (0.01, 0.01)),
    ),
    ("table1-zfnet", trainings((0.10, 0.11), (0.20, 0.21)), trainings((0.2, 0.21), (0.1, 0.11))),
    ("table1-ensemble", averaged(60, 5), averaged(5, 60)),
    ("table2-depth", ablated(), ablated({"without layers 3,4,6,7": 0.46})),
    ("table2-dense", ablated(), ablated({"without layers 6,7": 0.7})),
    ("table2-wider", ablated(), ablated({"layers 3,4,5 wider": 0.45})),
    ("transfer-scratch", served(0.9, 0.8, 0.4), served(0.3, 0.1, 0.8)),
    ("transfer-few", served(0.9, 0.8, 0.4), served(0.9, 0.3, 0.6)),
    ("multi-precision", several(0.8, 0.4), several(0.4, 0.8)),
    ("depth-svm", probed(0.3, 0.8), probed(0.8, 0.3)),
    ("depth-softmax", probed(0.3, 0.8), probed(0.8, 0.3)),
    ("pretraining-supervised", taught(0.9, 0.5, 0.4), taught(0.5, 0.9, 0.4)),
    ("pretraining-learned", taught(0.9, 0.8, 0.4), taught(0.9, 0.4, 0.8)),
    ("sanity-units", worth(), worth(units=(0.9, 0.1, 0.2))),  # one of the two will not do
    ("sanity-units", worth(), worth(units=(0.1, 0.9, 0.2))),
    ("sanity-weights", worth(), worth(weights=(0.9, 0.2, 0.5))),
    ("sanity-where", worth(), worth(above=-0.5)),
    ("sanity-disc", worth(), worth(disc=0.9)),
]


@pytest.mark.parametrize(
    ("key", "true", "false"), PLAIN, ids=[f"{key}-{at}" for at, (key, _, _) in enumerate(PLAIN)]
)
def test_a_claim_holds_where_it_plainly_does_and_fails_where_it_plainly_does_not(
    key: str, true: Any, false: Any
) -> None:
    assert verdict(key, true) is HOLDS
    assert verdict(key, false) is FAILS


def test_every_claim_is_tried_on_both_sides_and_belongs_to_a_stage() -> None:
    assert {key for key, _, _ in PLAIN} == {claim.key for claim in CLAIMS}
    assert len({claim.key for claim in CLAIMS}) == len(CLAIMS)
    assert {claim.item for claim in CLAIMS} == {stage.key for stage in STAGES} - {"pictures"}


@pytest.mark.parametrize(
    ("key", "result"),
    [
        ("table1-zfnet", trainings((0.1,), (0.2,))),  # one seed
        ("table1-zfnet", trainings((0.1, 0.3), (0.25, 0.2))),
        ("fig2-hierarchy", features(0.3, 0.302)),
        ("fig5-dead", filters(alexnet=seeds("dead", 0, 0, 15))),  # many maps, all in one training
        ("fig5-aliasing", filters(seeds("folding", 0.1), seeds("folding", 0.5), (None,))),
        ("surroundings-told", told_apart((0.9, 0.5, 0.7), (0.5, 0.9, 0.6))),
        ("fig6-object", covered((0.1, 0.9, 0.6), (0,) * 3)),
        ("correspondence-parts", faces((0.1, 0.19), (0.1, 0.1), (0.01, 0.5))),
        ("correspondence-parts", faces((0.1, 0.1), (0.1, 0.1), (0.01, 0.01), 0.11, 0.05)),
        ("table1-ensemble", averaged(12, 10)),
        ("fig4-filter", grown((5,) * 8, (5,) * 8)),
        ("multi-precision", several(0.5, 0.49)),
        ("sanity-units", worth(units=(0.9, 0.21, 0.2), spread=0.1)),
        ("sanity-weights", worth(weights=(0.9, 0.8, 0.79), spread=0.1)),
        ("sanity-where", worth(above=0.02, spread=0.1)),
        ("sanity-disc", worth(disc=0.49, spread=0.1)),
    ],
)
def test_a_spread_that_is_too_large_is_unclear_and_says_why(key: str, result: Any) -> None:
    found = BY_KEY[key].judge(result)
    assert found.verdict is UNCLEAR
    assert found.reason


@pytest.mark.parametrize(
    ("key", "result"),
    [
        ("fig6-object", covered((0.9,) * 3, (0.1,) * 3, known=False)),
        ("table2-depth", SimpleNamespace(claims=(), seeds=(0,), rows=())),
        ("remedy-error", tried((0.2,), ())),  # the diagnosis asks for nothing
        ("fig5-middle", filters(zfnet=(SimpleNamespace(layers=[SimpleNamespace(
            spectrum=None)]),) * 3)),
    ],
)  # fmt: skip
def test_what_was_not_measured_is_not_judged(key: str, result: Any) -> None:
    assert verdict(key, result) is OUT


def test_the_method_that_leads_the_gradient_least_decides() -> None:
    found = BY_KEY["sanity-units"].judge(worth(units=(0.9, 0.5, 0.2), spread=0.0))
    assert found.effect is not None
    assert found.effect.value == pytest.approx(0.3) and found.effect.count == 3
    found = BY_KEY["sanity-weights"].judge(worth(weights=(0.4, 0.9, 0.2), spread=0.0))
    assert found.effect is not None and found.effect.value == pytest.approx(0.2)
    silent = LayerPictures(
        "conv5", ("relu5/0",), {}, {"deconvnet": (None,)}, {"deconvnet": (None,)}
    )
    nothing = Sanity(1, (), (silent,), Redrawn((), {}), ())
    assert verdict("sanity-where", nothing) is verdict("sanity-disc", nothing) is OUT


def test_where_no_filter_was_scaled_back_renormalisation_is_said_to_have_done_nothing() -> None:
    found = BY_KEY["fig5-dominance"].judge(filters())
    assert "no filter ever exceeded the radius" in found.here


def test_where_a_seed_was_never_scaled_back_its_network_stands_for_both() -> None:
    found = filters(free=(looked(gini=0.8), None, looked(gini=0.7)))
    assert found.inequality == ((0.8, 0.3), (0.3, 0.3), (0.7, 0.3))


def test_an_interval_around_the_threshold_is_said_to_include_it() -> None:
    assert BY_KEY["table1-zfnet"].judge(trainings((0.1, 0.3), (0.25, 0.2))).reason == (
        "the 95 % interval includes 0"
    )
    assert judged("", Effect(0.6, 0.4, 0.8, "", 9, "images"), 0.5).reason == (
        "the 95 % interval includes 0.5"
    )
    assert untold(Effect(0.6, 0.55, 0.8, "", 9, "images"), 0.5) == ""


# ---- the rule -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "threshold", "expected"),
    [
        (0.1, 0.3, 0.0, HOLDS),
        (-0.3, -0.1, 0.0, FAILS),
        (-0.1, 0.1, 0.0, UNCLEAR),
        (0.0, 0.0, 0.0, FAILS),
        (0.0, 0.2, 0.0, UNCLEAR),
        (0.4, 0.6, 0.5, UNCLEAR),
        (0.4, 0.6, 0.3, HOLDS),
        (None, None, 0.0, UNCLEAR),
    ],
)
def test_the_whole_interval_decides(low: Any, high: Any, threshold: float, expected: Any) -> None:
    assert decide(Effect(0.2, low, high, "", 3, "seeds"), threshold) is expected


def test_the_interval_of_a_mean_is_students() -> None:
    found = Effect.of((1.0, 2.0, 3.0), "seeds")
    half = 4.302653 * 1.0 / 3**0.5  # t(2), the standard deviation is 1
    assert (found.value, found.low, found.high) == pytest.approx((2, 2 - half, 2 + half))


def test_effects_are_said_with_their_spread_and_a_threshold_where_there_is_one() -> None:
    gain = Effect(0.031, -0.01, 0.072, "points", 5, "folds")
    assert gain.words() == "+3.1 points (95 %: −1.0 to +7.2, over 5 folds)"
    assert Effect(0.031, None, None, "points", 1, "seeds").words() == (
        "+3.1 points (no spread over seeds)"
    )
    area = judged("", Effect(0.7, 0.6, 0.8, "", 9, "images"), 0.5)
    assert area.said == "0.70 (95 %: 0.60 to 0.80, over 9 images), threshold 0.5"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.key)
def test_judgements_survive_json(claim: Claim) -> None:
    result = next(true for key, true, _ in PLAIN if key == claim.key)
    found = claim.judge(result)
    assert Judgement.from_dict(found.to_dict()) == found


def test_the_purity_of_a_map_is_the_share_of_pairs_of_one_class_that_excite_it():
    images = torch.tensor([[0, 1, 2, 3], [3, 2, 1, -1], [0, 1, 2, 3]])
    values = torch.tensor([[4.0, 3, 2, 1], [3, 2, 1, 0], [2, 1, 0, -1]])
    assert purities(images, values, [0, 0, 0, 1]) == (3 / 6, 1 / 3)  # two excite the third


# ---- over folds ---------------------------------------------------------------------------------


def curves(few: float, most: tuple[float, ...]) -> Transfer:
    """Features' accuracy above scratch's: at 5 images per class, and by fold at 60."""
    zero = (0.5,) * len(most)
    points = (
        point("relu7", "softmax", 5, *(0.5 + few for _ in most)),
        point("relu7", "softmax", 60, *(0.5 + each for each in most)),
        point("zfnet", "scratch", 5, *zero),
        point("zfnet", "scratch", 60, *zero),
    )
    protocol = Protocol((5, 60), len(most))
    return Transfer("relu7", "flatten", 256, ("a", "b"), 400, 240, 0.5, protocol, points)


def test_features_are_held_against_scratch_at_the_most_images_per_class() -> None:
    assert verdict("transfer-scratch", curves(-0.4, (0.1, 0.11, 0.1))) is HOLDS
    assert verdict("transfer-scratch", curves(0.4, (-0.1, -0.11, -0.1))) is FAILS
    said = BY_KEY["transfer-scratch"].judge(curves(-0.4, (0.1, 0.11, 0.1))).here
    assert "at 5" in said and "at 60" in said


def test_folds_that_share_images_are_not_counted_as_independent() -> None:
    gains = (0.01, 0.03, 0.05)  # 240 images are tested, 120 learned from
    effect = BY_KEY["transfer-scratch"].judge(curves(0.0, gains)).effect
    assert effect is not None and effect.low is not None
    assert effect.low == pytest.approx(0.03 - 4.302653 * 0.02 * (1 / 3 + 240 / 120) ** 0.5)
    steady = (0.026, 0.03, 0.034)  # above 0 were they independent
    assert decide(Effect.of(steady, "folds")) is HOLDS
    assert verdict("transfer-scratch", curves(0.0, steady)) is HOLDS
    shared = (0.018, 0.03, 0.042)
    assert decide(Effect.of(shared, "folds")) is HOLDS
    assert verdict("transfer-scratch", curves(0.0, shared)) is UNCLEAR


def layered(*means: float) -> LayerProbe:
    points = {
        "svm": tuple(point(f"relu{at}", "svm", 30, mean, mean) for at, mean in enumerate(means))
    }
    protocol = Protocol((30,), 2)
    return LayerProbe((), ("a", "b"), 10, 5, 0.5, protocol, points, {"svm": 0.0})


def test_depth_is_judged_by_all_layers_and_not_by_the_two_ends() -> None:
    assert verdict("depth-svm", layered(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.29)) is HOLDS
    assert verdict("depth-svm", layered(0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.51)) is FAILS
    found = BY_KEY["depth-svm"].judge(layered(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.29)).effect
    assert found is not None and found.value == pytest.approx(1 - 6 * (6 + 36) / (7 * 48))
