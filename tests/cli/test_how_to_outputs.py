"""The how-to of outputs does what it says: its code runs, and its numbers are the module's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from convscope.network.task import Task

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "outputs.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture
def ran(place: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The names that the page's code leaves behind; `said` is what it printed."""
    names: dict[str, Any] = {"__name__": "outputs"}
    heads = BLOCKS[0].partition("network =")[0]
    (place / "mynet.py").write_text(heads + "\n\nbuild = TwoHeads\n")
    for block in BLOCKS:
        exec(compile(block, "outputs.md", "exec"), names)
    return {**names, "said": capsys.readouterr().out}


def test_the_code_of_the_page_runs_and_finds_what_autograd_finds(ran: dict[str, Any]) -> None:
    assert "{'scores': 'scores', 'embedding': 'mean'}" in ran["said"]
    assert "value " in ran["said"] and ran["other"].output == "mean"
    image = ran["image"][None].requires_grad_()

    def slope(number: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(number, image)[0]

    embedding = ran["model"].module(image).embedding[0]
    wanted = torch.cosine_similarity(embedding, ran["reference"], dim=0)
    torch.testing.assert_close(ran["found"].projection, slope(wanted))
    assert float(ran["found"].value) == pytest.approx(float(wanted.detach()))
    assert ran["maps"].base_value == pytest.approx(float(wanted.detach()))
    assert ran["maps"].quantity == "cosine similarity"

    wanted = ran["segments"](image)[0, 2, 8:20, 8:20].mean()
    torch.testing.assert_close(ran["inside"].projection, slope(wanted))

    returned = ran["detector"].trace(image.detach())
    scores = returned[ran["detector"].output_layer("scores")][0]
    assert float(ran["seen"].value) in scores.tolist()
    assert ran["seen"].projection.abs().max() > 0
    assert ran["seen"].target.name == "score_of_box"


def test_the_page_names_every_task() -> None:
    for task in Task:
        assert f"`{task}`" in TEXT or f"`--task {task}`" in TEXT
