"""The page of the whole paper: what it says of a run made up by hand, and what a browser shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from convscope.experiments.claims import (
    Effect,
    Judgement,
    Verdict,
    failed,
    judged,
    not_run,
)
from convscope.experiments.paper.claims import CLAIMS
from convscope.experiments.paper.plan import QUICK, PaperTable, StageOutcome
from convscope.experiments.paper.reproduction import Reproduction
from convscope.experiments.paper.stages import STAGES
from convscope.report.paper_page import write_paper_page
from report_browser import CHROMIUM, probed

HOSTILE = "</p><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"

GAIN = Effect(0.031, 0.01, 0.052, "points", 5, "folds")


def outcome(key: str, judgement: Judgement, **changes: Any) -> StageOutcome:
    stage = next(stage for stage in STAGES if stage.key == key)
    told = {claim.key: judgement for claim in CLAIMS if claim.item == key}
    made = StageOutcome(key, stage.title, stage.where, 75.0, f"convscope {key} --out x", told)
    return replace(made, **changes)


def made_up(folder: Path) -> Reproduction:
    """One stage that holds, one that fails, one that is not run, one that met an error."""
    (folder / "fig2").mkdir(parents=True)
    for name, width in (("maps", 400), ("broad", 2600)):
        Image.new("RGB", (width, 200), "red").save(folder / "fig2" / f"{name}.png")
    outcomes = (
        outcome(
            "fig2", judged("33 of 100 -", GAIN),
            pictures=(("maps.png", "Feature maps"), ("broad.png", "A row")),
            pages=(("the atlas", "fig2/atlas/index.html"),), words=("A finding.",) * 14,
            table=PaperTable(("layer", "here", "paper"), (("conv1", "1.0", "2.0"),), "A note."),
        ),
        outcome("fig4", Judgement(Verdict.FAILS, "nothing", replace(GAIN, low=-1.0, high=-0.5))),
        outcome("correspondence", not_run("nobody marked"), reason="nobody marked"),
        outcome("table2", failed("NonFinite: NaN"), error="NonFinite: NaN", command=""),
    )  # fmt: skip
    return Reproduction(str(folder), "scenes", QUICK, 0, outcomes)


@pytest.fixture
def page(tmp_path: Path) -> str:
    return write_paper_page(made_up(tmp_path / "paper")).read_text()


def test_the_scorecard_has_a_row_for_every_claim_with_its_numbers_and_verdict(page: str) -> None:
    shown = [
        claim for claim in CLAIMS if claim.item in ("fig2", "fig4", "correspondence", "table2")
    ]
    assert page.count('<div class="row" role="row">') == len(shown)
    for claim in shown:
        assert page.count(claim.words.replace("'", "&#39;")) == 2  # and in its section
        assert claim.paper.replace("'", "&#39;") in page
    assert "+3.1 points (95 %: +1.0 to +5.2, over 5 folds)" in page
    assert "2 of 4 claims of the paper hold here, 2 do not; 5 more could not be tried." in page


def test_each_section_has_its_pictures_table_command_and_links(page: str) -> None:
    section = page.partition('<section id="fig2">')[2].partition("</section>")[0]
    assert '<img src="fig2/maps.png" width="232" height="116"' in section  # 116 pixels an inch
    assert "<td>conv1</td><td>1.0</td><td>2.0</td>" in section
    assert 'href="fig2/atlas/index.html"' in section
    assert "convscope fig2 --out x" in section
    assert "2 more</summary>" in section


def test_what_was_not_run_or_failed_says_why_and_leads_to_no_numbers(page: str) -> None:
    for key, words in (("correspondence", "nobody marked"), ("table2", "NonFinite: NaN")):
        section = page.partition(f'<section id="{key}">')[2].partition("</section>")[0]
        assert words in section
        assert "result.json" not in section
    assert "Not complete." in page
    assert "<strong>Failed:</strong> Varying the model" in page


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    found = made_up(tmp_path / "paper")
    assert write_paper_page(found).read_bytes() == write_paper_page(found).read_bytes()


def test_names_are_data(tmp_path: Path) -> None:
    found = made_up(tmp_path / "paper")
    bad = outcome("fig5", judged(HOSTILE, GAIN), words=(HOSTILE,), command=HOSTILE,
                  table=PaperTable((HOSTILE,), ((HOSTILE,),), HOSTILE))  # fmt: skip
    page = write_paper_page(replace(found, data=HOSTILE, outcomes=(bad,))).read_text()
    assert "<script" not in page
    assert "onerror=alert" in page
    assert "<img src=x" not in page


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [390, 1440])
def test_a_browser_opens_it_from_a_file_and_nothing_sticks_out(tmp_path: Path, width: int) -> None:
    index = write_paper_page(made_up(tmp_path / "paper"))
    assert not re.search(r"https?://(?!www\.w3\.org)", index.read_text())
    script = (
        "document.documentElement.dataset.probe ="
        " [document.documentElement.scrollWidth <= innerWidth,"
        " getComputedStyle(document.querySelector('.verdict.holds')).backgroundColor,"
        " document.images[0].naturalWidth].join(' ');"
    )
    found = probed(index.parent, script, "", tmp_path, width)
    assert " ".join(found) == "true rgb(220, 236, 220) 400"
