"""The baseline of transfer: it learns what can be learned, and from what it is shown alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope.errors import FolderInUse
from convscope.experiments.transfer import reading
from convscope.experiments.transfer import scratch as module
from convscope.experiments.transfer.folds import Fold, Protocol, draw_folds
from convscope.experiments.transfer.learning_curve import transfer
from convscope.experiments.transfer.reading import LayerReader
from convscope.experiments.transfer.scratch import Scratch, for_few_images
from convscope.images.duplicates import Duplicate
from convscope.training.recipe import PAPER, PHOTOS, SMALL, Schedule
from experiments.painted import Painted, opened, xor_images, xor_model

FOLD = Fold(np.arange(6).reshape(2, 3), np.arange(6, 12))


def squares(count: int = 40) -> Painted:
    """Blue and red pictures, in turns and shades."""
    shades = np.random.default_rng(0).integers(150, 256, count).tolist()
    colours = [(shade, 0, 0) if at % 2 else (0, 0, shade) for at, shade in enumerate(shades)]
    return Painted(colours, [at % 2 for at in range(count)], classes=("blue", "red"))


@pytest.mark.parametrize("recipe", [SMALL, PHOTOS, PAPER])
def test_what_can_be_learned_is_learned_by_every_recipe(recipe, tmp_path: Path) -> None:
    images = squares()
    fold = draw_folds(images, Protocol((8,), folds=1))[0]
    recipe = replace(for_few_images(recipe), epochs=12)
    baseline = Scratch("zfnet-small", recipe, images, tmp_path / "scratch")
    assert baseline(fold, 8, 0) == {"accuracies": [1.0, 1.0]}
    assert not list((tmp_path / "scratch").iterdir())


class Learned(Exception):
    """Raised in place of a training."""


def test_no_test_image_reaches_the_training(tmp_path: Path, monkeypatch) -> None:
    given: dict[str, Any] = {}

    def train(_: str, data: Any, recipe: Any, *__: Any, **___: Any) -> None:
        given.update(data=data, recipe=recipe)
        raise Learned

    monkeypatch.setattr(module, "train", train)
    images = squares(12)
    with pytest.raises(Learned):
        Scratch("zfnet", PAPER, images, tmp_path)(FOLD, 3, 0)
    shown = {images.name(int(index)) for index in FOLD.order.ravel()}
    for chosen in given["data"]:
        assert {chosen.name(index) for index in range(len(chosen))} == shown
    assert given["recipe"].schedule is Schedule.COSINE
    assert given["recipe"].seed == PAPER.seed


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The architectures that are trained, instead of trained; all answers right."""
    asked: list[str] = []

    def answer(self: Scratch, fold: Fold, per_class: int, number: int) -> dict[str, Any]:
        asked.append(self.architecture)
        return {"accuracies": [1.0, 1.0]}

    monkeypatch.setattr(Scratch, "__call__", answer)
    return asked


def test_another_baseline_is_trained_anew_and_the_same_one_is_not(
    tmp_path: Path, monkeypatch
) -> None:
    asked = counted(monkeypatch)
    model, images = xor_model(), xor_images(60)
    reader = LayerReader(model, opened(model), pooling="mean")

    def studied(architecture: str, **recipe: Any) -> Any:
        baseline = Scratch(architecture, replace(SMALL, **recipe), images, tmp_path / "runs")
        return transfer(
            reader, images, Protocol((5,), folds=1), layer="3",
            scratch=baseline, out=tmp_path / "s", resume=True,
        )  # fmt: skip

    studied("zfnet-small")
    studied("zfnet-small")
    assert asked == ["zfnet-small"]
    found = studied("alexnet-small")
    assert asked == ["zfnet-small", "alexnet-small"]
    assert found.point("scratch", 5).layer == "alexnet-small"
    found = studied("alexnet-small", epochs=3)
    assert len(asked) == 3
    assert found.scratch["recipe"]["epochs"] == 3


def pair(index: int) -> Duplicate:
    return Duplicate(index, f"{index:04d}", 0, "x", 1.0, False)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"duplicates": [pair(1)], "drop_duplicates": True}, "dropped is"),
        ({"duplicates": [pair(0), pair(1)], "drop_duplicates": True}, "dropped is"),
        ({"truth": "swapped"}, "the images (DATA) are others"),
        ({"solver": "another"}, "solver is"),
        ({"network": "other"}, "network is"),
    ],
)
def test_a_study_of_other_settings_is_not_gone_on_with(
    change: dict[str, Any], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = xor_model(), xor_images(60)
    how = {"layer": "3", "out": tmp_path / "s", "duplicates": [pair(0)], "drop_duplicates": True}
    reader = LayerReader(model, opened(model), pooling="mean")
    transfer(reader, images, Protocol((5,), folds=1), **how)
    if "truth" in change:
        images._truth = [1 - each for each in images._truth]
    elif "solver" in change:
        monkeypatch.setattr(reading, "SOLVER", "another")
    elif "network" in change:
        model.module[2].stride = (2, 2)
        reader = LayerReader(model, opened(model), pooling="mean")
    else:
        how |= change
    with pytest.raises(FolderInUse, match=re.escape(f"other settings: {named}")):
        transfer(reader, images, Protocol((5,), folds=1), resume=True, **how)
