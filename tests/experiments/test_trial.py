"""Remedies applied, and the loop of diagnosis, change and training, on tiny scenes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convscope.errors import BadOption, FolderInUse
from convscope.experiments.diagnosis.findings import Finding, FindingKind, Remedy, Severity
from convscope.experiments.diagnosis.remedies import remedied
from convscope.experiments.diagnosis.trial import Trial, TrialPlan, try_remedies
from convscope.experiments.training_runner import mean_and_spread
from convscope.images.datasets import open_images
from convscope.models.architectures import ARCHITECTURES, Architecture, Convolution, Dense
from convscope.training.recipe import SMALL

from .striped import SIDE, Stripes

ALEXNET, ZFNET = ARCHITECTURES["alexnet-dense"], ARCHITECTURES["zfnet"]
TINY = Architecture(
    "tiny",
    input_size=32,
    convolutions=(
        Convolution(1, 12, 11, stride=4, padding=4, pooled=True),
        Convolution(2, 12, 3, padding=1),
    ),
    dense=(Dense(6, 16),),
)
BRIEF = replace(SMALL, epochs=1, batch_size=32, keep_epochs=())


def asking(*remedies: Remedy, **more: object) -> Finding:
    known = {
        "layer": "conv1", "kind": FindingKind.ALIASING, "severity": Severity.FAULT, "units": (1,),
        "words": "as planted", "evidence": {}, "remedies": remedies,
    }  # fmt: skip
    return Finding(**{**known, **more})  # type: ignore[arg-type]


def test_both_of_the_papers_remedies_make_zfnet_of_alexnet():
    change = remedied(ALEXNET, SMALL, [asking(Remedy.SMALLER_FILTER, Remedy.SMALLER_STRIDE)])
    assert change.architecture.convolutions == ZFNET.convolutions
    assert change.architecture.name == "alexnet-dense conv1=7/2"
    assert change.applied[0] == "first layer 11x11/4 to 7x7/2"


def test_the_small_network_keeps_its_upper_layers_grids():
    old = ARCHITECTURES["alexnet-small"]
    new = remedied(old, SMALL, [asking(Remedy.SMALLER_FILTER, Remedy.SMALLER_STRIDE)]).architecture
    assert new.convolutions[0] == ARCHITECTURES["zfnet-small"].convolutions[0]
    assert new.maps()[3:] == old.maps()[3:]
    assert new.convolutions[1].stride == 2


def test_a_smaller_filter_alone_leaves_the_grid_as_it_was():
    new = remedied(ZFNET, SMALL, [asking(Remedy.SMALLER_FILTER)]).architecture
    assert new.convolutions[0].size == 5
    assert new.maps() == ZFNET.maps()
    assert new.convolutions[1:] == ZFNET.convolutions[1:]


def test_renormalisation_is_switched_on_where_it_was_off():
    loose = replace(SMALL, radius=None)
    change = remedied(ZFNET, loose, [asking(Remedy.RENORMALISE)])
    assert change.recipe.radius == 0.1
    assert change.architecture == ZFNET
    kept = remedied(ZFNET, SMALL, [asking(Remedy.RENORMALISE)])
    assert kept.applied == ()
    assert kept.left == (f"conv1 (aliasing): {Remedy.RENORMALISE.said}",)


def test_duplicates_go_and_groups_are_kept_whole():
    twins = asking(
        Remedy.FEWER_MAPS, layer="conv2", kind=FindingKind.TWINS, evidence={"redundant": 5}
    )
    assert remedied(ZFNET, SMALL, [twins]).architecture.convolutions[1].maps == 251
    grouped = remedied(ARCHITECTURES["alexnet"], SMALL, [twins]).architecture
    assert grouped.convolutions[1].maps == 250


def test_what_would_change_the_budget_is_left_to_the_user():
    change = remedied(ZFNET, SMALL, [asking(Remedy.LOWER_RATE, Remedy.TRAIN_LONGER)])
    assert (change.architecture, change.recipe, change.applied) == (ZFNET, SMALL, ())
    assert len(change.left) == 2


@pytest.mark.parametrize("notes", [False, True])
def test_a_remedy_for_another_layer_does_not_touch_the_first(notes: bool):
    above = asking(Remedy.SMALLER_STRIDE, layer="conv2")
    change = remedied(ZFNET, SMALL, [above], notes=notes)
    assert (change.architecture, change.recipe, change.applied) == (ZFNET, SMALL, ())
    assert change.left == (f"conv2 (aliasing): {Remedy.SMALLER_STRIDE.said}",)


def test_only_the_layer_with_the_fault_is_changed_where_two_ask():
    here = asking(Remedy.SMALLER_STRIDE)
    above = asking(Remedy.SMALLER_FILTER, Remedy.SMALLER_STRIDE, layer="conv2")
    change = remedied(ALEXNET, SMALL, [here, above])
    assert change.applied[0] == "first layer 11x11/4 to 11x11/2"
    assert [words.partition(":")[0] for words in change.left] == ["conv2 (aliasing)"] * 2


def test_notes_are_acted_on_only_where_that_is_asked_for():
    small = ARCHITECTURES["zfnet-small"]
    dead = asking(Remedy.SMALLER_FILTER, kind=FindingKind.DEAD, severity=Severity.NOTE)
    twins = asking(
        Remedy.FEWER_MAPS, layer="conv2", kind=FindingKind.TWINS, severity=Severity.NOTE,
        evidence={"redundant": 1},
    )  # fmt: skip
    change = remedied(small, SMALL, [dead, twins])
    assert (change.architecture, change.applied) == (small, ())
    assert change.left[0] == f"conv1 (dead maps, a note): {Remedy.SMALLER_FILTER.said}"
    asked = remedied(small, SMALL, [dead, twins], notes=True)
    assert asked.applied == ("first layer 7x7/2 to 5x5/2", "layer 2 with 63 maps")
    assert asked.left == ()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trial, Path]:
    folder = tmp_path_factory.mktemp("trial") / "study"
    return tried(folder), folder


def tried(folder: Path | None, *, resume: bool = False, **more: Any) -> Trial:
    train, val = open_images("scenes:train:96", size=32), open_images("scenes:val:48", size=32)
    finding = asking(Remedy.SMALLER_FILTER, Remedy.SMALLER_STRIDE)
    plan = TrialPlan(TINY, BRIEF, **{"findings": [finding], "seeds": (0, 1), **more})
    return try_remedies(plan, (train, val), out=folder, resume=resume)


def test_both_networks_are_trained_with_the_same_seeds(done: tuple[Trial, Path]):
    trial, _ = done
    assert [[each.training.seed for each in part] for part in (trial.before, trial.after)] == [
        [0, 1]
    ] * 2
    assert trial.change.architecture.convolutions[0].size == 7
    pairs = zip(trial.before, trial.after, strict=True)
    errors = [after.training.error - before.training.error for before, after in pairs]
    assert trial.differences == tuple(errors)
    read = json.loads(json.dumps(trial.to_dict(), allow_nan=False))
    assert read["before"]["error"]["values"] == [each.training.error for each in trial.before]
    assert read["difference"]["mean"] == pytest.approx(sum(errors) / 2)
    reach = 12.706205 * abs(errors[0] - errors[1]) / 2  # Student's t of one degree of freedom
    low, high = read["difference"]["interval"]
    assert (low, high) == pytest.approx((sum(errors) / 2 - reach, sum(errors) / 2 + reach))


def test_an_interrupted_trial_goes_on_and_ends_the_same(done: tuple[Trial, Path], tmp_path: Path):
    trial, folder = done
    half = tmp_path / "half"
    shutil.copytree(folder, half)
    piece = next((half / "pieces").glob("*conv1*seed=1*"))
    piece.unlink()  # its run is still there, as after a kill
    others = {path: path.stat().st_mtime_ns for path in (half / "pieces").iterdir()}
    again = tried(half, resume=True)
    assert again.after == trial.after
    assert {path: path.stat().st_mtime_ns for path in others} == others
    with pytest.raises(FolderInUse, match="--resume"):
        tried(half)


def test_more_seeds_can_be_added_later(done: tuple[Trial, Path], tmp_path: Path):
    _, folder = done
    more = tmp_path / "more"
    shutil.copytree(folder, more)
    assert len(tried(more, resume=True, seeds=(0, 1, 2)).after) == 3


@pytest.mark.slow
def test_a_first_layer_that_aliases_errs_and_its_remedy_cures_it():
    """At every fourth pixel both classes are the same wave, so half of the answers are wrong."""
    sampling = Convolution(1, 8, 1, stride=4)
    second = Convolution(2, 16, 5, padding=2)
    network = Architecture("sampling", SIDE, (sampling, second), (Dense(6, 16),), dropout=0.0)
    recipe = replace(BRIEF, epochs=8, weight_decay=5e-4)
    plan = TrialPlan(network, recipe, seeds=(0, 1))
    trial = try_remedies(plan, (Stripes(256, seed=0), Stripes(128, seed=1)))
    assert trial.examined is not None
    assert trial.findings == trial.examined.diagnosis.findings
    (fault,) = (f for f in trial.findings if f.severity is Severity.FAULT)
    assert (fault.layer, fault.kind) == ("conv1", FindingKind.ALIASING)
    assert trial.change.applied[0] == "first layer 1x1/4 to 1x1/2"
    assert [each.training.seed for each in trial.after] == [0, 1]
    assert all(abs(each.training.error - 0.5) < 0.15 for each in trial.before)
    assert all(each.training.error < 0.05 for each in trial.after)
    assert all("conv1: aliasing" in each.faults for each in trial.before)
    assert all("conv1: aliasing" not in each.faults for each in trial.after)


def test_a_network_without_a_fault_is_not_trained(tmp_path: Path):
    noted = asking(Remedy.SMALLER_FILTER, severity=Severity.NOTE)
    trial = tried(tmp_path / "study", findings=[noted])
    assert (trial.before, trial.after, trial.change.applied) == ((), (), ())
    assert not (tmp_path / "study").exists()
    assert json.loads(json.dumps(trial.to_dict()))["difference"] is None


def test_the_spread_is_the_sample_standard_deviation():
    assert mean_and_spread([1.0, 3.0]) == {
        "mean": 2.0,
        "std": pytest.approx(2**0.5),
        "values": [1.0, 3.0],
    }
    assert mean_and_spread([1.0]) == {"mean": 1.0, "std": None, "values": [1.0]}
    assert mean_and_spread([]) is None
    with pytest.raises(BadOption, match="at least one"):
        tried(None, seeds=())
