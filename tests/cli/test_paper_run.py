"""A small run of the whole paper: it survives an interruption, and its commands do what it did.

All stages are run once, with whatever their experiments are asked for written down; then each
command that the page prints is given to the command line, which is stopped where it asks the same
experiment.
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from convscope.cli.app import main
from convscope.experiments.diagnosis.trial import TrialPlan
from convscope.experiments.paper import reproduction as paper
from convscope.experiments.paper.run_context import RunContext
from convscope.experiments.paper.stage import Stage, StageResult
from convscope.experiments.paper.stages import STAGES
from convscope.experiments.session import Session
from convscope.experiments.transfer.reading import LayerReader
from convscope.experiments.transfer.scratch import Scratch
from convscope.images.image_set import ImageSet
from convscope.models.zoo import Model
from convscope.report.paper_page import write_paper_page
from convscope.scan.engine import Scan
from convscope.training.training_data import TrainingData
from golden.tiny import PAPER, tiny

pytestmark = pytest.mark.long

BUDGET = replace(
    PAPER, name="odd", images=100, validation=50, looked_at=14, evolved=14, measured=3,
    diagnosed=14, places=3, ablated_rows=("without layer 7",), transferred=50, probed=1,
)  # fmt: skip
SEED = 1

# by stage and the number of its command: where the command line finds the experiment, and where
# the stage does
ASKED = {
    ("training", 0): ("training.loop", "train_on", None),
    ("fig2", 0): ("atlas.build", "write_atlas", None),
    ("fig4", 0): ("experiments.evolution.growth", "evolve", None),
    ("fig5", 0): ("experiments.diagnosis.examined", "examine", None),
    ("fig6", 0): ("experiments.sensitivity.sweeps", "sensitivity", None),
    ("surroundings", 0): ("training.loop", "train_on", None),
    ("surroundings", 1): (
        "experiments.sensitivity.sweeps", "sensitivity", None,
    ),
    ("invariance", 0): ("experiments.invariance.curves", "invariance", None),
    ("correspondence", 0): (
        "experiments.correspondence.sign_distance", "correspond", None,
    ),
    ("table1", 0): ("experiments.ensemble.averaging", "ensemble", None),
    ("table2", 0): ("experiments.ablation.equal_budget", "ablate", None),
    ("transfer", 0): ("experiments.transfer.learning_curve", "transfer", None),
    ("multi", 0): (
        "experiments.transfer.multilabel", "transfer_several", None,
    ),
    ("depth", 0): ("experiments.transfer.layers", "probe", None),
    ("pretraining", 0): ("training.loop", "train_on", None),
    ("pretraining", 1): ("experiments.transfer.layers", "probe", None),
    ("sanity", 0): ("experiments.sanity.measuring", "sanity", None),
    ("pictures", 0): ("experiments.pictures.making", "pictures", None),
}  # fmt: skip
ELSEWHERE = {  # where it is done, and how it is told, is no setting
    "out", "folder", "pieces", "resume", "device", "workers", "progress", "network", "keeping",
    "title", "ranks", "commits", "results", "how",
}  # fmt: skip


class Stopped(BaseException):
    """Raised where the command line asks an experiment, with what it asks."""


def asked(function: Callable[..., Any], *args: Any, **named: Any) -> dict[str, Any]:
    """Every argument, defaults too, so that what means the same is equal."""
    given = inspect.signature(function).bind(*args, **named)
    given.apply_defaults()
    return {k: plain(v) for k, v in given.arguments.items() if k not in ELSEWHERE}


def plain(value: Any) -> Any:
    if isinstance(value, ImageSet):
        return value.identity()
    if isinstance(value, Session):
        return plain(value.model), value.seed
    if isinstance(value, Model):
        return value.spec.removeprefix("run:")
    if isinstance(value, str):
        return value.removeprefix("run:")
    if isinstance(value, Scan):  # the batches that a network sees
        return value.images.identity(), list(value.order), value.batch_size, value.preprocess
    if isinstance(value, TrainingData):
        return value.pictures.identity, value.validation.identity
    if isinstance(value, LayerReader):
        return value.model.spec, value.pooling, value.flips, value.half
    if isinstance(value, Scratch):
        return value.architecture, value.recipe, value.images.identity(), value.test
    if isinstance(value, torch.Tensor):
        return value.double().sum().item()
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return [plain(each) for each in value]
    if isinstance(value, range):
        return list(value)
    if hasattr(value, "chosen"):  # images to look at, with their truth
        return value.images.identity(), value.chosen, value.preprocess, value.truth is None
    if hasattr(value, "images") and hasattr(value, "names"):  # pictures with parts
        return value.names, plain(value.images)
    if hasattr(value, "workers") and hasattr(value, "top"):  # what an atlas looks for
        return replace(value, workers=None)
    if hasattr(value, "picture") and hasattr(value, "label"):  # one to look at
        return value.name, value.label
    if hasattr(value, "classifiers"):
        return replace(value, classifiers=frozenset(value.classifiers))
    if callable(value):
        return True
    return value


@dataclass
class Run:
    """A run of the paper, and what was seen of it.

    there : by stage, whether the second start found it done;   commands : those that it prints
    calls : by stage and experiment, all that the stage asked of the experiment
    """

    out: Path
    found: paper.Reproduction
    there: list[bool]
    calls: dict[str, dict[str, list[dict[str, Any]]]]

    def commands(self, key: str) -> list[str]:
        (outcome,) = (each for each in self.found.outcomes if each.key == key)
        return outcome.command.splitlines()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Interrupted after its third stage, and gone on with, by tiny networks."""

    def interrupt(*told: Any) -> None:
        if told[2] == 3:
            raise KeyboardInterrupt

    out = tmp_path_factory.mktemp("paper") / "paper"
    calls: dict[str, dict[str, list[dict[str, Any]]]] = {}
    there: list[bool] = []
    given: dict[str, Any] = {"budget": BUDGET, "seed": SEED, "draw": sketch}
    with tiny():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(paper, "STAGES", tuple(_recorded(stage, calls) for stage in STAGES))
            with pytest.raises(KeyboardInterrupt):
                paper.reproduce(out, **given, tell=interrupt)
            given |= {"resume": True, "tell": lambda *told: there.append(told[4])}
            found = paper.reproduce(out, **given)
        yield Run(out, found, there, calls)


def sketch(key: str, result: Any, folder: Path) -> Sequence[tuple[str, str]]:
    """Stands for a stage's pictures and pages, which tests/test_golden.py makes."""
    Image.new("RGB", (8, 8)).save(folder / "sketch.png")
    return [("sketch.png", f"what {key} found")]


def _recorded(stage: Stage, calls: dict[str, dict[str, list[dict[str, Any]]]]) -> Stage:
    """The stage; what it asks of experiments is written down."""

    def work(lab: RunContext, folder: Path) -> StageResult:
        asks = calls[stage.key] = {}
        with pytest.MonkeyPatch.context() as patch:
            for (key, _), (source, name, place) in ASKED.items():
                if key == stage.key:
                    where = f"convscope.{source if place is None else f'experiments.{place}'}"
                    patch.setattr(import_module(where), name, _written(where, name, asks))
            return stage.work(lab, folder)

    return replace(stage, work=work)


def _written(where: str, name: str, calls: dict[str, list[dict[str, Any]]]) -> Callable[..., Any]:
    """The function, writing down what it is asked."""
    function = getattr(import_module(where), name)

    def do(*args: Any, **named: Any) -> Any:
        calls.setdefault(name, []).append(asked(function, *args, **named))
        return function(*args, **named)

    return do


def stopped(source: str, name: str, words: list[str], folder: Path) -> dict[str, Any]:
    """What the command line asks of an experiment."""
    module = import_module(f"convscope.{source}")
    function = getattr(module, name)

    def stop(*args: Any, **named: Any) -> Any:
        raise Stopped(asked(function, *args, **named))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, stop)
        patch.chdir(folder)
        with pytest.raises(Stopped) as caught:
            main(words)
    values: dict[str, Any] = caught.value.args[0]
    return values


def test_it_goes_from_trainings_to_the_page_and_survives_an_interruption(run: Run) -> None:
    out, found = run.out, run.found
    assert run.there == [True] * 3 + [False] * (len(STAGES) - 3)
    assert [outcome.error for outcome in found.outcomes] == [""] * len(STAGES)
    assert len(found.scorecard) == len(paper.CLAIMS)
    for outcome in found.outcomes:
        for row in outcome.table.rows if outcome.table else ():
            assert len(row) == len(outcome.table.head), outcome.key
        assert outcome.pictures == (("sketch.png", f"what {outcome.key} found"),)
        assert (out / outcome.key / "result.json").is_file()
    page = write_paper_page(found).read_text()
    assert page.count('<section id="') == len(STAGES) + 1


@pytest.mark.parametrize("which", ASKED, ids=lambda which: f"{which[0]}-{which[1]}")
def test_the_command_asks_what_the_stage_asked(
    which: tuple[str, int], run: Run, tmp_path: Path
) -> None:
    key, number = which
    source, name, _ = ASKED[which]
    program, *words = shlex.split(run.commands(key)[number])
    assert program == "convscope"
    told = stopped(source, name, words, tmp_path)
    unlike = [{name for name in told if told[name] != call[name]} for call in run.calls[key][name]]
    assert set() in unlike, unlike


def test_the_command_of_the_remedy_trains_what_the_stage_trained(run: Run, tmp_path: Path) -> None:
    lab = RunContext(run.out, "scenes", BUDGET, SEED)
    words = shlex.split(run.commands("remedy")[0])[1:]
    told = stopped("experiments.diagnosis.trial", "try_remedies", words, tmp_path)
    recipe = replace(lab.recipe("alexnet", SEED), keep_epochs=())
    assert told == {
        "plan": TrialPlan(lab.architecture("alexnet"), recipe, None, True, lab.seeds),
        "data": [lab.train.identity(), lab.val.identity()],
    }


def test_every_stage_prints_a_command_that_is_tried() -> None:
    assert {key for key, _ in ASKED} | {"remedy"} == {stage.key for stage in STAGES}
