"""`convscope train`: recipes, resuming, the cache, TensorBoard, as a person types them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

import torchrun
import warm

BRIEF = (
    "train", "--arch", "zfnet-small", "--data", "scenes:train:24", "--val", "scenes:val:12",
    "--epochs", "2", "--batch-size", "12", "--workers", "1",
)  # fmt: skip


def test_the_papers_recipe_is_shown_with_its_sources(convscope):
    answer = convscope("train", "--recipe", "paper", "--show-recipe")
    assert answer.code == 0
    assert yaml.safe_load(answer.out)["batch_size"] == 128
    lines = {line.split(":")[0]: line.partition("#")[2].strip() for line in answer.out.splitlines()}
    assert lines["learning_rate"] == "paper §3"
    assert lines["weight_decay"] == "not in the paper; Krizhevsky et al. 2012, §5"
    assert all(lines.values())


@pytest.mark.parametrize(
    ("data", "name"), [("scenes", "small"), ("photos/", "photos"), ("tiny.zip", "photos")]
)
def test_the_small_networks_recipe_is_the_datas(convscope, data: str, name: str):
    from convscope.training.recipe import RECIPES

    answer = convscope("train", "--arch", "zfnet-small", "--data", data, "--show-recipe", "--json")
    assert json.loads(answer.out) == json.loads(json.dumps(RECIPES[name].to_dict()))


def test_a_recipe_is_changed_by_a_file_and_then_by_words(place, convscope):
    (place / "mine.yaml").write_text("epochs: 7\nschedule: steps\ndrops: [3, 5]\nradius: none\n")
    answer = convscope(
        "train", "--recipe", "mine.yaml", "--set", "drops=2,4", "--set", "learning_rate=1e-3",
        "--epochs", "8", "--show-recipe", "--json",
    )  # fmt: skip
    shown = json.loads(answer.out)
    assert (shown["epochs"], shown["schedule"], shown["drops"]) == (8, "steps", [2, 4])
    assert shown["radius"] is None and shown["learning_rate"] == 1e-3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--recipe", "papr"), "paper"),
        (("--set", "radius"), "NAME=VALUE"),
        (("--set", "momentun=0.5"), "momentum"),
        (("--set", "momentum=much"), "a number"),
        (("--set", "epochs=1.5"), "a whole number"),
        (("--set", "schedule=falling"), "plateau, cosine, steps"),
        (("--set", "flips=perhaps"), "true or false"),
        (("--recipe", "missing.yaml"), "missing.yaml"),
        ((), "--arch and --data and --out"),
    ],
)
def test_a_recipe_that_is_none_is_refused_in_a_line(place, convscope, words, said: str):
    answer = convscope("train", *words)
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1


def test_a_finished_run_is_resumed_by_saying_so(place, convscope):
    first = convscope(*BRIEF, "--out", "run", "--json")
    assert first.code == 0, first.err
    before = (place / "run/weights.safetensors").read_bytes()
    again = convscope(*BRIEF, "--out", "run", "--resume")
    assert again.code == 0 and "Already finished, nothing was done" in again.out
    assert (place / "run/weights.safetensors").read_bytes() == before
    other = convscope(*BRIEF, "--out", "run", "--resume", "--set", "momentum=0.5")
    assert other.code == 2 and "momentum is 0.9 there, 0.5 now" in other.err
    plain = convscope(*BRIEF, "--out", "run")
    assert plain.code == 2 and "--resume" in plain.err


def test_crops_are_tested_with_ten_and_the_cache_and_the_curves_are_written(place, convscope):
    answer = convscope(
        *BRIEF, "--recipe", "photos", "--cache", "cache", "--tensorboard", "--out", "run", "--json"
    )
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert [scores["crops"] for scores in result["tested"]] == [1, 10]
    assert "caching scenes:train:24" in answer.err
    assert len(list((place / "cache").glob("*.pixels"))) == 2
    assert list((place / "run/tensorboard").iterdir())
    stored = json.loads((place / "run/run.json").read_text())
    assert stored["tested"] == result["tested"]


def test_the_curves_hold_every_epoch_once(place, convscope):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    convscope(*BRIEF, "--tensorboard", "--out", "run")
    events = EventAccumulator(str(place / "run/tensorboard"))
    events.Reload()
    metrics = [json.loads(line) for line in (place / "run/metrics.jsonl").read_text().splitlines()]
    points = [(each.step, each.value) for each in events.Scalars("loss/training")]
    assert points == [(m["epoch"], pytest.approx(m["loss"], rel=1e-6)) for m in metrics]


def test_a_missing_tensorboard_is_said_with_the_remedy(place, convscope, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    answer = convscope(*BRIEF, "--tensorboard", "--out", "run")
    assert answer.code == 2 and "pip install 'convscope[tensorboard]'" in answer.err
    assert "drawing" not in answer.err and not (place / "run").exists()


@pytest.mark.parametrize("setting", ["precision=bf16", "channels_last=false"])
def test_a_way_of_computing_says_what_it_changes(place, convscope, setting: str):
    answer = convscope(*BRIEF, "--set", setting, "--out", "run")
    assert answer.code == 0, answer.err
    assert setting.replace("=", " ") in answer.out
    assert setting.split("=")[0] in json.loads((place / "run/run.json").read_text())["notes"][0]


@pytest.mark.slow
def test_torchrun_trains_with_two_processes_and_one_of_them_speaks(place):
    command = [
        torchrun.__file__, "--standalone", "--nproc-per-node", "2",
        "-m", "convscope", *BRIEF, "--device", "cpu", "--out", "run",
    ]  # fmt: skip
    here = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = warm.run(*command, cwd=place, env=here)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Written: run") == 1 and "cpu, 2 processes" in done.stdout
    run = json.loads(Path(place / "run/run.json").read_text())
    assert run["processes"] == 2 and len(run["history"]) == 2
    refused = warm.run(*command, cwd=place, env=here)
    lines = [line for line in refused.stderr.splitlines() if line.startswith("convscope: ")]
    assert refused.returncode
    assert len(lines) == 1 and "--resume" in lines[0]
