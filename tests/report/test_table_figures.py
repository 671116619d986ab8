"""The figures of ablations and ensembles: every word lies inside, and the marks are there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from convscope.experiments.ablation.table import Ablation, VariantRow
from convscope.experiments.ablation.variants import TABLE2, paper_row, parameters_of
from convscope.experiments.ensemble.averaging import ALL
from convscope.experiments.ensemble.combined import combine
from convscope.experiments.ensemble.result import Ensemble
from convscope.experiments.training_runner import Training
from convscope.models.architectures import ARCHITECTURES
from convscope.report.ablation_figure import ablation_figure
from convscope.report.ensemble_figure import ensemble_figure
from convscope.training.recipe import SMALL
from report.figures_seen import drawn, inside, words

NET = ARCHITECTURES["zfnet-small"]


def row(number: int, seeds: int) -> VariantRow:
    variant = TABLE2[number].variant
    made = variant.applied(NET)
    trainings = tuple(
        Training(
            s, 0.1 * number + 0.01 * s, 0.1 * number + 0.02 * s + 0.02, 0.05, None, None, 9, ""
        )
        for s in range(seeds)
    )
    diverged = () if seeds else ((0, "the loss is nan"),)
    return VariantRow(
        variant, made, parameters_of(made), trainings, diverged, None, paper_row(NET, made)
    )


def ablation(*rows: VariantRow) -> Ablation:
    return Ablation(NET, SMALL, (0, 1, 2), "scenes", "scenes:val", (60, 20), 0.9, rows, ())


@pytest.mark.parametrize("seeds", [1, 3])
def test_an_ablation_has_a_line_a_variant_beside_the_papers(seeds: int):
    figure = ablation_figure(ablation(*(row(i, seeds) for i in range(9))))
    assert drawn(figure).std() > 5
    assert inside(figure)
    for variant in TABLE2:
        assert variant.variant.name in words(figure)
    assert "ZFNet" in words(figure) and "AlexNet" in words(figure)
    assert len(figure.axes[1].lines) >= 2 * 9


def test_rows_that_diverged_and_rows_of_ones_own_are_drawn_too():
    own = replace(row(1, 2), paper=None)
    figure = ablation_figure(ablation(replace(row(0, 0), paper=None), own))
    assert "none of these rows" in words(figure) and inside(figure)
    assert any(text.get_text() == "diverged" for text in figure.axes[0].texts)


@pytest.mark.parametrize(("classes", "kinds", "crops"), [(8, 2, (1, 10)), (3, 1, (1,))])
def test_an_ensemble_has_a_curve_a_group_and_a_square_of_pairs(classes, kinds, crops):
    dice = np.random.default_rng(0)
    names = [f"run with a rather long name, seed={i}" for i in range(5)]
    chances = {name: dice.dirichlet(np.ones(classes), 30).astype(np.float32) for name in names}
    labels = dice.integers(0, classes, 30)
    grouped = {"(a) x": tuple(names[:3]), "(b) y": tuple(names[3:]), ALL: tuple(names)}
    groups = grouped if kinds == 2 else {"x": tuple(names)}
    found = Ensemble(
        "scenes:val", 30, tuple(map(str, range(classes))),
        tuple(combine(chances, labels, groups, crops=each) for each in crops),
        groups, (), (),
    )  # fmt: skip
    figure = ensemble_figure(found)
    assert drawn(figure).std() > 5
    assert inside(figure)
    assert ("Top-5 error, %" in words(figure)) == (classes > 5)
    assert ("dashed 1 crop" in words(figure)) == (len(crops) > 1)
    for name in groups:
        assert name in words(figure)
    assert "seed=4" in words(figure)
