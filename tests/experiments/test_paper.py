"""The whole paper in one run: what is kept, what fails, what is not run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from convscope.errors import BadOption, FolderInUse, NonFinite
from convscope.experiments.claims import Verdict
from convscope.experiments.diagnosis.examined import Examined
from convscope.experiments.diagnosis.remedies import Change
from convscope.experiments.diagnosis.study import Examination
from convscope.experiments.diagnosis.trial import Attempt
from convscope.experiments.ensemble.combined import combine
from convscope.experiments.ensemble.result import Ensemble
from convscope.experiments.ensemble.study import EnsembleStudy
from convscope.experiments.learning import choose_recipe
from convscope.experiments.paper import reproduction as paper
from convscope.experiments.paper import stages_of_figures, stages_of_tables, stages_of_trials
from convscope.experiments.paper.plan import FULL, QUICK, Budget, PaperTable, StageOutcome
from convscope.experiments.paper.results import Averages, MultiResult, Trained, Trainings
from convscope.experiments.paper.run_context import RunContext, data_of
from convscope.experiments.paper.stage import Stage, StageResult
from convscope.experiments.paper.tables import averages_table, several_table
from convscope.experiments.study import Outcome as StudyOutcome
from convscope.experiments.training_runner import Training
from convscope.experiments.transfer.multilabel import ClassScore, LayerScore, MultiTransfer
from convscope.models.architectures import architecture_named

TINY = replace(
    QUICK, name="tiny", images=480, validation=120, epochs=3, kept=(0, 1, 3), seeds=2, wide=1,
    folder_epochs=1,
    looked_at=24, evolved=24, measured=4, diagnosed=32, occluded=4, turned=1, steps=2, faces=2,
    places=2, ablated_epochs=1, ablated_seeds=1, ablated_rows=(), transferred=48, per_class=(1, 2),
    folds=2, tested=1, scratch_epochs=1, several=48, probed=2,
)  # fmt: skip


# ---- the machinery, on stages made up -----------------------------------------------------------


@dataclass(frozen=True)
class Plain:
    """A result."""

    number: int

    def to_dict(self) -> dict[str, Any]:
        return {"number": self.number}


def counted(*counts: str, done: list[str], broken: set[str] | None = None) -> tuple[Stage, ...]:
    """Stages that write down that they were done; those that are broken raise."""

    def work(key: str) -> Any:
        def do(context: RunContext, folder: Path) -> StageResult:
            if broken and key in broken:
                raise NonFinite(f"{key} met NaN")
            done.append(key)
            return StageResult(Plain(len(done)), f"convscope {key}", PaperTable(("a",), (("1",),)))

        return do

    return tuple(Stage(key, key.title(), "Fig. 0", work(key)) for key in counts)


def errors(zfnet: float, alexnet: float) -> Trainings:
    runs = [
        Trained(
            name, Training(seed, 0.1, error + seed / 100, 0.0, None, None, 1.0, "x"), 0, (error,)
        )
        for name, error in (("zfnet", zfnet), ("alexnet", alexnet))
        for seed in range(3)
    ]
    return Trainings(tuple(runs), 100, 50, 1, 12)


def test_a_finished_stage_is_not_done_again(tmp_path: Path, monkeypatch: Any) -> None:
    done: list[str] = []
    monkeypatch.setattr(paper, "STAGES", counted("one", "two", done=done))
    first = paper.reproduce(tmp_path / "out", budget=TINY)
    told: list[bool] = []
    again = paper.reproduce(
        tmp_path / "out", budget=TINY, resume=True, tell=lambda *each: told.append(each[4])
    )
    assert done == ["one", "two"]
    assert told == [True, True]
    assert again == first
    found = json.loads((tmp_path / "out" / "two" / "result.json").read_text())
    assert (found["number"], found["command"]) == (2, "convscope two")


def test_an_interrupted_run_goes_on_at_the_stage_where_it_was(
    tmp_path: Path, monkeypatch: Any
) -> None:
    done: list[str] = []
    monkeypatch.setattr(paper, "STAGES", counted("one", "two", "three", done=done))

    def interrupt(*told: Any) -> None:
        if told[2] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paper.reproduce(tmp_path, budget=TINY, tell=interrupt)
    assert done == ["one", "two"]
    found = paper.reproduce(tmp_path, budget=TINY, resume=True)
    assert done == ["one", "two", "three"]
    assert found.complete


def test_a_stage_that_fails_is_told_and_the_rest_goes_on_and_it_is_tried_again(
    tmp_path: Path, monkeypatch: Any
) -> None:
    done: list[str] = []
    broken = {"training"}
    stages = counted("training", "two", done=done, broken=broken)
    monkeypatch.setattr(paper, "STAGES", stages)
    found = paper.reproduce(tmp_path, budget=TINY)
    assert [outcome.key for outcome in found.failures] == ["training"]
    assert found.failures[0].error == "NonFinite: training met NaN"
    assert {each.verdict for _, each in found.scorecard} == {Verdict.ERROR}
    assert done == ["two"]
    healed = (
        replace(stages[0], work=lambda lab, folder: StageResult(errors(0.1, 0.2), "")),
        stages[1],
    )
    monkeypatch.setattr(paper, "STAGES", healed)
    again = paper.reproduce(tmp_path, budget=TINY, resume=True)
    assert not again.failures
    assert again.tally[Verdict.HOLDS] == 1
    assert done == ["two"]


def test_an_error_that_nobody_expected_leaves_where_it_came_from(
    tmp_path: Path, monkeypatch: Any
) -> None:
    def work(context: RunContext, folder: Path) -> StageResult:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(paper, "STAGES", (Stage("one", "One", "Fig. 0", work),))
    found = paper.reproduce(tmp_path, budget=TINY)
    assert found.failures[0].error == "ZeroDivisionError: by nothing"
    assert "in work" in (tmp_path / "one" / "error.txt").read_text()


def test_what_the_data_do_not_allow_is_not_run_with_the_reason(
    tmp_path: Path, monkeypatch: Any
) -> None:
    done: list[str] = []
    (stage,) = counted("training", done=done)
    lacking = replace(stage, lacks=lambda context: "nobody marked the parts")
    monkeypatch.setattr(paper, "STAGES", (lacking,))
    found = paper.reproduce(tmp_path, budget=TINY)
    assert not done
    assert not found.failures
    assert [(each.verdict, each.reason) for _, each in found.scorecard] == [
        (Verdict.NOT_RUN, "nobody marked the parts")
    ]


def test_another_budget_or_seed_does_not_go_on_in_the_same_folder(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(paper, "STAGES", counted("one", done=[]))
    paper.reproduce(tmp_path, budget=TINY)
    with pytest.raises(FolderInUse, match="not empty"):
        paper.reproduce(tmp_path, budget=TINY)
    with pytest.raises(FolderInUse, match="seed is 0 there, 1 now"):
        paper.reproduce(tmp_path, budget=TINY, seed=1, resume=True)


def test_an_outcome_survives_json() -> None:
    outcome = StageOutcome(
        "one", "One", "Fig. 0", 1.5, "convscope one", {},
        PaperTable(("a", "b"), (("1", "2"),), "note"),
        (("a.png", "a picture"),), (("a page", "one/index.html"),), ("words",),
    )  # fmt: skip
    assert StageOutcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome


def test_a_table_whose_rows_do_not_fit_its_head_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1 cells \('1',\) under 2 headings"):
        PaperTable(("a", "b"), (("1", "2"), ("1",)))


def test_every_number_of_table_5_stands_under_its_heading() -> None:
    def found(**means: float) -> MultiTransfer:
        layers = tuple(
            LayerScore(
                name, 64, mean, 0.01, mean, mean,
                (ClassScore("dog", 20, mean - 0.1, 0.2), ClassScore("cat", 20, mean + 0.1, 0.3)),
            )
            for name, mean in means.items()
        )  # fmt: skip
        return MultiTransfer(layers, "flatten", 100, 100, 5, 2, 5, 0.25, (), 0)

    both = MultiResult(found(relu6=0.5, relu7=0.7), found(relu6=0.1, relu7=0.4))
    table = several_table(both)
    assert table.head[:4] == ("class", "average precision", "before training", "guessing")
    assert [row[:4] for row in table.rows] == [
        ("mean, relu7", "70.0", "40.0", "25.0"),
        ("cat", "80.0", "50.0", "30.0"),
        ("dog", "60.0", "30.0", "20.0"),
    ]


def test_table_1_has_each_kind_alone_and_averaged_and_a_and_b_together() -> None:
    def chances(*right: int) -> NDArray[np.float32]:
        """Ten images of class 0; these are told."""
        found = np.tile(np.array([0.4, 0.6], np.float32), (10, 1))
        found[list(right)] = (0.9, 0.1)
        return found

    by_name = {"a0": chances(*range(8)), "a1": chances(*range(6)), "b0": chances(9)}
    kinds = {"(a) zfnet": ("a0", "a1"), "(b) wide": ("b0",)}
    groups = {"(a) zfnet": ("a0", "a1"), "all": ("a0", "a1", "b0")}
    scoring = combine(by_name, np.zeros(10, np.int64), groups)
    zfnets = Ensemble("x", 10, ("dog", "cat"), (scoring,), kinds, (), ())
    table = averages_table(Averages(zfnets, None))
    assert [row[:3] for row in table.rows] == [
        ("1 net (a), ZFNet", "30.0 ± 14.1", "38.4"),
        ("2 nets (a)", "20.0", "36.7"),
        ("1 net (b), wider layers 3, 4, 5", "90.0", "37.5"),
        ("3 nets (a) and (b) together", "10.0", "36.0"),
    ]


@pytest.mark.parametrize(
    ("base", "trained"),
    [
        ("zfnet-small", ["alexnet 0", "alexnet 1", "zfnet 0", "zfnet 1"]),  # it is there already
        ("alexnet-small", ["alexnet 0", "alexnet 1", "remedied, seed 0", "remedied, seed 1"]),
    ],
)
def test_the_remedy_trains_what_was_not_trained_before(
    base: str, trained: list[str], tmp_path: Path, monkeypatch: Any
) -> None:
    lab = RunContext(tmp_path, "scenes", TINY)
    done: list[str] = []

    def attempted(run: str, *_: Any) -> tuple[Attempt, tuple[Any, ...]]:
        done.append(run)
        return Attempt(Training(0, 0.1, 0.2, 0.0, None, None, 1.0, run), 100, ()), ()

    made = replace(architecture_named(base).with_units(256), name="another")
    change = Change(made, lab.recipe("alexnet", 0), ("a change",), ())
    monkeypatch.setattr(stages_of_trials, "attempted", attempted)
    monkeypatch.setattr(stages_of_trials, "remedied", lambda *_, notes: change)
    monkeypatch.setattr(lab, "learned", lambda name, seed: f"{name} {seed}")
    monkeypatch.setattr(lab, "learn", lambda *given: given[3])
    lab.__dict__["lesson"] = None
    found = stages_of_trials.run_remedy(lab, tmp_path)
    assert done == trained
    assert len(found.result.after) == len(found.result.before) == 2
    assert found.table is not None


def test_fig5_diagnoses_every_seed_of_its_own_networks_only(
    tmp_path: Path, monkeypatch: Any
) -> None:
    lab = RunContext(tmp_path, "scenes", TINY)
    drawn: list[str] = []
    looked: list[tuple[str, int]] = []

    def seen(name: str) -> Any:
        return Examined(name, cast("Any", SimpleNamespace(faults=())), cast("Any", None))

    def done(study: Any, *, networks: Any) -> Any:
        drawn.extend(networks)
        assert [study.model, study.against] == [f"run:{lab.run(name)}" for name in networks]
        found = Examination(study.data, tuple(seen(name) for name in networks), ())
        return StudyOutcome(found, {})

    def examined(_: Any, name: str) -> Any:
        drawn.append(name)
        return seen(name)

    def diagnosed(_: Any, name: str, seed: int) -> Any:
        looked.append((name, seed))
        return None

    monkeypatch.setattr(lab, "do", done)
    monkeypatch.setattr(stages_of_figures, "_examined", examined)
    monkeypatch.setattr(stages_of_figures, "_diagnosed", diagnosed)
    monkeypatch.setattr(lab, "renormalised", lambda seed: 1)
    found = stages_of_figures.run_fig5(lab, tmp_path)
    assert drawn == ["alexnet", "zfnet", "free"]
    assert list(found.result.shown) == ["zfnet", "alexnet", "free"]
    assert looked == [("zfnet", 1), ("alexnet", 1), ("free", 1)]


def test_networks_from_a_folder_of_photographs_are_averaged_over_ten_crops(
    tmp_path: Path, monkeypatch: Any
) -> None:
    asked: list[int] = []

    def averaged(study: Any, *_: Any, **__: Any) -> Any:
        assert isinstance(study, EnsembleStudy)
        asked.append(study.crops or 0)
        return StudyOutcome(Ensemble("x", 10, ("dog", "cat"), (), {}, (), ()), {})

    monkeypatch.setattr(stages_of_tables.tables, "averages_table", lambda found: None)
    for data in ("scenes", str(tmp_path)):
        lab = RunContext(tmp_path, data, TINY)
        monkeypatch.setattr(lab, "renormalised", lambda seed: 0)
        monkeypatch.setattr(lab, "do", averaged)
        lab.__dict__["val"] = SimpleNamespace(spec="x")
        stages_of_tables.run_table1(lab, tmp_path)
    assert asked == [1, 1, 10, 10]


def test_only_scenes_or_a_folder_with_both_sets_can_be_learned_from(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="whose splits are all used"):
        data_of("scenes:val", QUICK)
    with pytest.raises(BadOption, match="train/ and val/"):
        data_of(str(tmp_path), QUICK)
    for name in ("train", "test", "transfer"):
        (tmp_path / name).mkdir()
    found = data_of(str(tmp_path), QUICK)
    assert found.val == str(tmp_path / "test")
    assert found.transfer == str(tmp_path / "transfer")


def test_without_renormalisation_is_trained_only_where_it_did_something(
    tmp_path: Path, monkeypatch: Any
) -> None:
    context = RunContext(tmp_path, "scenes", QUICK, seed=3)
    monkeypatch.setattr(context, "renormalised", lambda seed: int(seed == 4))
    assert [(name, seed) for name, seed in context.plan if name == "free"] == [("free", 4)]


@pytest.mark.parametrize("budget", [QUICK, FULL], ids=lambda budget: budget.name)
def test_a_budget_fits_together(budget: Budget) -> None:
    """What the transfer folds need is there, and the ends of the evolution are kept."""
    assert budget.seeds > 1  # to average, and to have a spread
    assert budget.wide <= budget.seeds
    per_class = budget.transferred // 8
    assert max(*budget.per_class, budget.probed) + budget.tested <= per_class
    assert budget.kept[0] == 0
    assert budget.kept[-1] == budget.epochs
    assert budget.looked_at <= budget.validation
    assert budget.diagnosed <= budget.validation


@pytest.mark.parametrize("data", ["scenes", "photos"])
@pytest.mark.parametrize("name", ["zfnet", "alexnet", "free"])
def test_a_training_is_declared_so_that_its_options_make_the_plans_recipe(
    name: str, data: str, tmp_path: Path
) -> None:
    lab = RunContext(tmp_path, data, TINY, seed=2)
    lab.__dict__["train"] = SimpleNamespace(
        spec="scenes:train:8" if data == "scenes" else "p/train"
    )
    lab.__dict__["val"] = SimpleNamespace(spec="there")
    study = lab.training(name)
    running = replace(lab.running, seed=3)
    recipe = choose_recipe(study.learning, study.arch, study.data, running)
    assert recipe == lab.recipe(name, 3)
    assert study.command(seed=3, out="run").startswith(
        f"convscope train --arch {study.arch} --data {study.data} --val there --epochs "
    )
