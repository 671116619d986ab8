"""The figure of a trial: what it draws is what was measured, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convscope.experiments.diagnosis.remedies import Change
from convscope.experiments.diagnosis.trial import Attempt, Trial
from convscope.experiments.training_runner import Training
from convscope.models.architectures import ARCHITECTURES
from convscope.report.style import figure_bytes
from convscope.report.trial_figure import trial_figure
from convscope.training.recipe import SMALL

from .figures_seen import words


def attempts(*errors: float) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(Training(seed, 0.1, error, 0.1, None, None, 1.0, "runs/a"), 10, ())
        for seed, error in enumerate(errors)
    )


OLD = ARCHITECTURES["alexnet-small"]
CHANGE = Change(OLD, SMALL, ("first layer 11x11/4 to 7x7/2",), ())
TRIAL = Trial(CHANGE, OLD, (), attempts(0.90, 0.92, 0.91), attempts(0.89, 0.90, 0.91))


def test_means_spreads_and_the_interval_of_the_difference_are_written():
    figure = trial_figure(TRIAL)
    said = words(figure)
    assert "91.0 ± 1.0 %" in said
    assert "90.0 ± 1.0 %" in said
    assert "difference −1.0 points, 95 % interval −3.5 to +1.5 (3 seeds)" in said
    assert figure_bytes(figure)[:4] == b"\x89PNG"


@pytest.mark.parametrize("errors", [(0.9, 0.92, 0.91), (0.02, 0.03, 0.02)])
def test_the_axis_starts_at_nothing_so_that_small_differences_look_small(errors):
    figure = trial_figure(replace(TRIAL, before=attempts(*errors)))
    low, high = figure.axes[0].get_ylim()
    assert low == 0
    assert high > 100 * max(errors)


def test_of_one_seed_no_spread_is_said():
    single = replace(TRIAL, before=attempts(0.9), after=attempts(0.8))
    said = words(trial_figure(single))
    assert "difference −10.0 points, of one seed" in said
    assert "±" not in said
