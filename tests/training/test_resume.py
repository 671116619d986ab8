"""A training survives: killed at any moment, it goes on to the same bytes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

import trainee
import warm
from convscope.errors import FolderInUse, NonFinite
from convscope.models.weights import read_weights
from convscope.training import loop
from convscope.training.checkpoint import RunStatus, claim_run, read_run
from convscope.training.loop import CheckpointPolicy, train_on
from convscope.training.recipe_file import read_recipe
from convscope.training.trainer import Trainer
from trainee import PRETRAINED, RECIPE, STEPS, TINY, lesson

RESUME = CheckpointPolicy(resume=True, every=0.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The run that was never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train_on(TINY, lesson(), RECIPE, out)
    return out


def said(*arguments: object) -> tuple[dict, str]:
    """What a trainee in its own process printed: its result, and stderr."""
    done = warm.run(trainee.__file__, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def check_same(out: Path, whole: Path) -> None:
    """Every file of weights has the same bytes, every epoch the same numbers but the seconds."""
    assert sorted(path.name for path in out.iterdir()) == sorted(p.name for p in whole.iterdir())
    for path in whole.glob("*.safetensors"):
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name
    runs = [read_run(folder) for folder in (out, whole)]
    for run in runs:
        lines = (out if run is runs[0] else whole).joinpath("metrics.jsonl").read_text()
        assert [json.loads(line) for line in lines.splitlines()] == [*map(asdict, run.history)]
    timeless = [replace(run, history=tuple(replace(e, seconds=0) for e in run.history))
                for run in runs]  # fmt: skip
    assert timeless[0] == timeless[1]


def test_killed_at_random_moments_it_ends_with_the_same_bytes(whole, tmp_path: Path):
    counted, errors = said("kills", tmp_path / "run")
    assert counted["code"] == 0, errors
    assert counted["kills"] >= 5 and counted["while writing"] >= 1
    check_same(tmp_path / "run", whole)


class Stop(Exception):
    """In place of a kill, at a chosen step."""


@pytest.mark.parametrize("step", [1, 3, STEPS - 1, STEPS, 2 * STEPS + 5, 4 * STEPS - 1])
def test_stopped_before_any_step_it_ends_with_the_same_bytes(
    whole, tmp_path: Path, monkeypatch, step: int
):
    taken = Trainer.step

    def stopping(self, batch, epoch, rate):
        if (epoch - 1) * STEPS + batch.place == step:
            raise Stop
        return taken(self, batch, epoch, rate)

    monkeypatch.setattr(Trainer, "step", stopping)
    with pytest.raises(Stop):
        train_on(TINY, lesson(), RECIPE, tmp_path / "run", keeping=RESUME)
    monkeypatch.undo()
    torch.manual_seed(step)  # whatever the generators are then
    train_on(TINY, lesson(), RECIPE, tmp_path / "run", keeping=RESUME)
    check_same(tmp_path / "run", whole)


def test_stopped_between_an_epochs_files_it_ends_with_the_same_bytes(
    whole, tmp_path: Path, monkeypatch
):
    for call in (1, 2, 4):
        out, counted = tmp_path / str(call), [0]
        committed = loop.save_state

        def stopping(*arguments, call=call, counted=counted, committed=committed):
            counted[0] += 1
            if counted[0] == call:
                raise Stop
            committed(*arguments)

        monkeypatch.setattr(loop, "save_state", stopping)
        with pytest.raises(Stop):  # the epoch's line and weights are written, its state is not
            train_on(TINY, lesson(), RECIPE, out)
        monkeypatch.undo()
        assert len(read_run(out).history) == call
        train_on(TINY, lesson(), RECIPE, out, keeping=RESUME)
        check_same(out, whole)


def test_killed_in_its_very_last_moment_a_run_is_tidied(whole, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(Stop))
    with pytest.raises(Stop):  # it is finished, and what it went on with is still there
        train_on(TINY, lesson(), RECIPE, tmp_path / "run", keeping=RESUME)
    monkeypatch.undo()
    assert train_on(TINY, lesson(), RECIPE, tmp_path / "run", keeping=RESUME).already
    check_same(tmp_path / "run", whole)


def test_resuming_a_finished_run_does_nothing(whole, tmp_path: Path):
    before = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    again = train_on(TINY, lesson(), RECIPE, whole, keeping=RESUME)
    assert again.already and len(again.history) == RECIPE.epochs and len(again.tested) == 2
    assert {path: path.stat().st_mtime_ns for path in whole.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": replace(RECIPE, learning_rate=0.5)}, r"learning_rate is 0\.02 there, 0\.5 now"),
        ({"recipe": replace(RECIPE, seed=1)}, "seed is 0 there, 1 now"),
        ({"architecture": TINY.with_units(8)}, "architecture is .* there"),
        ({"lesson": lesson(seed=1)}, "the data's identity is '000.* there"),
        ({"lesson": lesson(count=57)}, "the data's count is 60 there, 57 now"),
    ],
)
def test_a_run_of_other_settings_is_refused_and_the_first_difference_named(
    whole, change: dict, words: str
):
    wanted = {"architecture": TINY, "lesson": lesson(), "recipe": RECIPE, **change}
    with pytest.raises(FolderInUse, match=words):
        train_on(**wanted, out=whole, keeping=RESUME)


def test_a_run_is_not_taken_up_without_being_asked(whole):
    with pytest.raises(FolderInUse, match="--resume"):
        train_on(TINY, lesson(), RECIPE, whole)


def test_two_trainings_never_share_a_folder(tmp_path: Path):
    with claim_run(tmp_path / "run"), pytest.raises(FolderInUse, match="another process"):
        train_on(TINY, lesson(), RECIPE, tmp_path / "run", keeping=RESUME)


def test_a_strangers_folder_is_not_resumed(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FolderInUse, match=r"thesis\.txt"):
        train_on(TINY, lesson(), RECIPE, tmp_path, keeping=RESUME)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_recipe_in_the_folder_is_the_recipe(whole):
    assert read_recipe(whole / "recipe.yaml") == RECIPE
    assert "epochs: 4 " in (whole / "recipe.yaml").read_text()


@pytest.mark.parametrize(
    ("spoil", "words"), [("conv3.weight", "conv3, its weights"), (None, "fc6, its activations")]
)
def test_a_loss_that_is_no_number_names_the_layer_and_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch, spoil: str | None, words: str
):
    taken = Trainer.step

    def spoiling(self, batch, epoch, rate):
        if (epoch, batch.place) == (2, 3):
            weights = dict(self.network.named_parameters())
            with torch.no_grad():
                if spoil:
                    weights[spoil][0, 0, 0, 0] = torch.nan
                else:
                    weights["fc6.weight"].fill_(1e38)
        return taken(self, batch, epoch, rate)

    monkeypatch.setattr(Trainer, "step", spoiling)
    out = tmp_path / "run"
    with pytest.raises(NonFinite) as failed:
        train_on(TINY, lesson(), RECIPE, out, keeping=RESUME)
    message = str(failed.value)
    assert f"at step {STEPS + 3} (epoch 2" in message and words in message
    assert f"the last good checkpoint is {out / 'state.safetensors'}" in message
    assert "\n" not in message
    good = read_weights(out / "state.safetensors")
    assert all(tensor.isfinite().all() for tensor in good.tensors.values())
    assert read_run(out).status is RunStatus.DIVERGED
    with pytest.raises(FolderInUse, match="diverged"):
        train_on(TINY, lesson(), RECIPE, out, keeping=RESUME)


def test_a_state_opens_as_weights(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(loop.RunFolder, "finish", lambda *_: (_ for _ in ()).throw(Stop))
    with pytest.raises(Stop):
        train_on(TINY, lesson(), RECIPE, tmp_path / "run")
    state = read_weights(tmp_path / "run/state.safetensors")
    last = read_weights(tmp_path / "run/epoch-0004.safetensors")
    assert state.tensors.keys() == last.tensors.keys()
    assert all(torch.equal(tensor, last.tensors[name]) for name, tensor in state.tensors.items())
    assert state.preprocess == last.preprocess and state.classes == last.classes


@pytest.mark.long
def test_two_processes_learn_what_one_does_and_survive_as_it_does(tmp_path: Path):
    codes, errors = said("ranks", tmp_path)
    train_on(TINY, lesson(), replace(RECIPE, dropout=0.0), tmp_path / "one")
    assert codes["plain"] == codes["whole"] == codes["resumed"] == [0, 0]
    one, two = (read_weights(tmp_path / name / "weights.safetensors") for name in ("one", "plain"))
    for name, tensor in one.tensors.items():
        torch.testing.assert_close(two.tensors[name], tensor, rtol=1e-4, atol=1e-5)
    histories = [read_run(tmp_path / name).history for name in ("one", "plain")]
    for alone, shared in zip(*histories, strict=True):
        assert shared.val_accuracy == pytest.approx(alone.val_accuracy, abs=1e-3)
        assert shared.loss == pytest.approx(alone.loss, rel=1e-4)
        assert shared.steps == alone.steps
    train_on(TINY, lesson(), PRETRAINED, tmp_path / "pretrained alone")
    assert codes["pretrained"] == [0, 0]
    layers = [read_run(tmp_path / n).pretraining for n in ("pretrained alone", "pretrained")]
    for alone, shared in zip(*layers, strict=True):
        assert shared.losses == pytest.approx(alone.losses, rel=1e-3)
    assert codes["killed"] == [-9, -9]
    check_same(tmp_path / "killed", tmp_path / "whole")
    assert codes["failed"] == [1, 1]
    assert errors.splitlines() == ["trainee: process 1: the disk is full"]
