"""A recipe holds the paper's numbers and turns them into learning rates."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from convscope.errors import BadOption
from convscope.models.architectures import Initialisation
from convscope.training.recipe import (
    PAPER,
    REASONS,
    RECIPES,
    SMALL,
    SOURCES,
    Recipe,
    Schedule,
    recipe_named,
)
from convscope.training.recipe_file import changed, read_recipe, recipe_text


def test_the_papers_recipe_has_the_papers_numbers():
    assert (PAPER.epochs, PAPER.batch_size) == (70, 128)
    assert (PAPER.learning_rate, PAPER.momentum, PAPER.radius) == (0.01, 0.9, 0.1)
    assert PAPER.initialisation is Initialisation.PAPER
    assert PAPER.crops and PAPER.flips
    assert PAPER.keep_epochs == (1, 2, 5, 10, 20, 30, 40, 64)


def test_the_rate_is_divided_by_ten_after_three_epochs_without_a_better_accuracy():
    rates = [PAPER.rate(0, 1, acc) for acc in ([], [0.5], [0.5, 0.4, 0.5], [0.5, 0.4, 0.5, 0.3])]
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.001])
    assert PAPER.rate(0, 1, [0.5, 0.4, 0.5, 0.3, 0.6]) == pytest.approx(0.001)
    assert PAPER.rate(0, 1, [0.5] + 6 * [0.4]) == pytest.approx(0.0001)


def test_the_cosine_falls_from_the_full_rate_to_nothing():
    rates = [SMALL.rate(step, 100, []) for step in range(101)]
    assert rates[0] == SMALL.learning_rate
    assert rates[50] == pytest.approx(SMALL.learning_rate / 2)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert all(later < sooner for sooner, later in itertools.pairwise(rates))


def test_the_fixed_steps_divide_the_rate_after_the_epochs_that_they_name():
    recipe = replace(PAPER, schedule=Schedule.STEPS, epochs=6, drops=(2, 4))
    rates = [recipe.rate(step, 60, []) for step in (0, 19, 20, 39, 40, 59)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_yaml_and_says_where_each_number_is_from(name: str, tmp_path: Path):
    text = recipe_text(recipe_named(name))
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    assert read_recipe(tmp_path / "recipe.yaml") == recipe_named(name)
    said = len(recipe_named(name).to_dict())
    sources = [line.partition("  # ")[2] for line in text.splitlines()]
    assert all(sources) and "given" not in sources and len(sources) == said


def test_what_was_changed_is_marked_as_given():
    lines = recipe_text(changed(SMALL, ["radius=none", "keep_epochs=1,2"])).splitlines()
    given = [line.split(":")[0] for line in lines if line.endswith("# given")]
    assert given == ["radius", "keep_epochs"]


def test_every_departure_from_the_paper_has_its_reason():
    for name, recipe in RECIPES.items():
        differing = {field for field in SOURCES if getattr(recipe, field) != getattr(PAPER, field)}
        assert differing == set(REASONS[name])


def test_a_difference_is_named():
    assert PAPER.difference(PAPER) is None
    other = replace(PAPER, momentum=0.5, seed=3)
    assert PAPER.difference(other) == "momentum is 0.9 there, 0.5 now"


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json(name: str):
    recipe = recipe_named(name)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_the_last_epoch_is_always_kept():
    recipe = replace(PAPER, epochs=12, keep_epochs=(0, 5))
    assert [epoch for epoch in range(13) if recipe.keeps(epoch)] == [0, 5, 12]


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch_size": -1},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"momentum": 1.0},
        {"weight_decay": -1e-4},
        {"radius": 0.0},
        {"anneal": 1.0},
        {"patience": 0},
    ],
)
def test_numbers_outside_their_range_are_refused_by_name(change: dict[str, float]):
    with pytest.raises(BadOption, match=next(iter(change))):
        replace(SMALL, **change)


def test_an_unknown_recipe_is_answered_with_those_there_are():
    with pytest.raises(BadOption, match="give small"):
        recipe_named("smal")
    assert Schedule("cosine") is SMALL.schedule
