"""`convscope paper`: what it prints, and its exit codes; the run itself is made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convscope.cli.app import main
from convscope.experiments.paper import reproduction as paper
from convscope.experiments.paper.plan import PaperTable
from convscope.experiments.paper.results import Trained, Trainings
from convscope.experiments.paper.stage import Stage, StageResult
from convscope.experiments.training_runner import Training
from convscope.report import paper_figures


def trainings(*gains: float) -> Trainings:
    runs = [
        Trained(name, Training(seed, 0.1, 0.2 + gain, 0.0, None, None, 1.0, "x"), 0, (0.2,))
        for seed, each in enumerate(gains)
        for name, gain in (("zfnet", 0.0), ("alexnet", each))
    ]
    return Trainings(tuple(runs), 100, 50, 1, 12)


@pytest.fixture
def stage(monkeypatch: Any) -> Any:
    """Puts one stage in place of all: a result, or an error to be raised."""

    def put(result: Any) -> None:
        def work(context: Any, folder: Path) -> StageResult:
            if isinstance(result, Exception):
                raise result
            return StageResult(result, "convscope train", PaperTable(("a",), (("1",),)))

        monkeypatch.setattr(paper, "STAGES", (Stage("training", "The networks", "Fig. 3", work),))
        monkeypatch.setattr(paper_figures, "draw_stage", lambda *told: [])

    return put


def test_it_prints_the_scorecard_and_leaves_a_page(
    stage: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage(trainings(0.1, 0.11, 0.12))
    assert main(["paper", "--quick", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "HOLDS         Table 1: The architecture chosen by looking" in said
    assert "+11.0 points (95 %: +8.5 to +13.5, over 3 seeds)" in said
    assert "holds: 1" in said
    assert (tmp_path / "out" / "index.html").is_file()
    assert main(["paper", "--quick", "--out", str(tmp_path / "out")]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["paper", "--quick", "--out", str(tmp_path / "out"), "--resume"]) == 0
    assert "already done" in capsys.readouterr().out


def test_a_failed_stage_is_exit_code_1_after_everything_was_written(
    stage: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage(RuntimeError("no luck"))
    assert main(["paper", "--quick", "--out", str(tmp_path / "out"), "--json"]) == 1
    told = capsys.readouterr()
    assert "training failed: RuntimeError: no luck; try again with --resume" in told.err
    found = json.loads(told.out)
    assert found["scorecard"][0]["verdict"] == "failed"
    assert Path(found["page"]).is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "scenes:val"], "whose splits are all used"),
        (["--data", "nowhere"], "holds train/ and val/"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["paper", "--out", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
