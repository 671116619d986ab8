"""The how-to of live questions does what it says, and prints what it says that it prints."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from convscope.live import coarse_to_fine

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "live.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|text)\n(.*?)```", TEXT, flags=re.DOTALL)
NUMBER = r"\d+(?:\.\d+)?"


def test_its_code_runs_and_prints_what_stands_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coarse_to_fine, "SECONDS", 1e9)  # a level at once, on a slow machine, too
    names: dict[str, Any] = {"__name__": "live"}
    printed, compared = "", 0
    for kind, block in BLOCKS:
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(block, "live.md", "exec"), names)
            printed = out.getvalue()
            continue
        assert re.sub(NUMBER, "#", printed).split() == re.sub(NUMBER, "#", block).split()
        pairs = zip(re.findall(NUMBER, printed), re.findall(NUMBER, block), strict=True)
        for now, then in pairs:
            last = 10.0 ** -len(then.partition(".")[2])  # of its digits; other processors round
            assert float(now) == pytest.approx(float(then), abs=1.01 * last if "." in then else 0)
        compared += 1
    assert compared == 4
    live, net, box = names["live"], names["net"].eval(), names["box"]
    tensor = live._engine.kept[names["key"]].tensor.clone()
    grey = live._engine.fill("grey")
    tensor[:, box.top : box.bottom, box.left : box.right] = grey[
        :, box.top : box.bottom, box.left : box.right
    ]
    with torch.no_grad():
        shares = net(tensor[None])[0].softmax(0)
    for bar in live.occlude(names["key"], box).answer.bars:
        assert bar.value == pytest.approx(float(shares[bar.index]), abs=1e-5)
    assert names["maps"].probability.shape == (8, 8)
