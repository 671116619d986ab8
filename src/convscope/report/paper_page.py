"""The whole paper on one page: a Reproduction -> OUT/index.html, readable while the run goes on.

The scorecard first, then a section for each figure and table. No script: it prints as it looks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convscope.experiments.claims import Claim, Judgement, Verdict
from convscope.experiments.paper.claims import claims_of
from convscope.experiments.paper.plan import StageOutcome
from convscope.experiments.paper.reproduction import Reproduction
from convscope.report.embedded_data import resource, template
from convscope.report.figure_reference import shown
from convscope.store.atomic import replace_file
from convscope.version import __version__

__all__ = ["write_paper_page"]

OWN_FILES = ("tour.css", "training.css", "paper.css")  # copied as they are
LATER = "sanity"  # the stage whose claims are of works that tested the paper's pictures
SHOWN_WORDS = 12  # findings of a stage that are not folded away
KINDS = {
    Verdict.HOLDS: "holds",
    Verdict.FAILS: "fails",
    Verdict.UNCLEAR: "unclear",
    Verdict.NOT_RUN: "out",
    Verdict.ERROR: "error",
}


def write_paper_page(reproduction: Reproduction) -> Path:
    """Write the page into the run's folder, at any moment of it; gives the path of index.html.

    Each file is replaced as a whole. The same run always gives the same bytes.
    """
    folder = Path(reproduction.out)
    (folder / "page").mkdir(parents=True, exist_ok=True)
    for name in OWN_FILES:
        replace_file(folder / "page" / name, resource(name))
    index = folder / "index.html"
    replace_file(index, template("paper.html.j2").render(paper_page_words(reproduction)).encode())
    return index


def paper_page_words(reproduction: Reproduction) -> dict[str, Any]:
    """Everything that the template says."""
    return {
        "standfirst": _standfirst(reproduction),
        "tally": [
            (KINDS[verdict], str(verdict), count)
            for verdict, count in reproduction.tally.items()
            if count
        ],
        "complete": reproduction.complete,
        "failures": [outcome.title for outcome in reproduction.failures],
        "facts": _facts(reproduction),
        "card": [_row(claim, judgement) for claim, judgement in reproduction.scorecard],
        "stages": [_stage(outcome, Path(reproduction.out)) for outcome in reproduction.outcomes],
        "convscope": __version__,
        "quick": reproduction.budget.name == "quick",
        "scenes": reproduction.data == "scenes",
    }


def _standfirst(reproduction: Reproduction) -> str:
    tally = reproduction.tally
    known = sum(tally[each] for each in (Verdict.HOLDS, Verdict.FAILS, Verdict.UNCLEAR))
    later = any(claim.item == LATER for claim, _ in reproduction.scorecard)
    whose = "the paper and of later works" if later else "the paper"
    words = f"{tally[Verdict.HOLDS]} of {known} claims of {whose} hold here"
    if tally[Verdict.FAILS]:
        words += (
            f", {tally[Verdict.FAILS]} do not" if tally[Verdict.FAILS] > 1 else ", one does not"
        )
    if tally[Verdict.UNCLEAR]:
        words += f", and of {tally[Verdict.UNCLEAR]} this run cannot tell"
    left = tally[Verdict.NOT_RUN] + tally[Verdict.ERROR]
    if left:
        words += f"; {left} more could not be tried"
    return f"{words}."


def _facts(reproduction: Reproduction) -> dict[str, str]:
    budget = reproduction.budget
    first = reproduction.seed
    return {
        "Images": "rendered scenes, with known truth"
        if reproduction.data == "scenes"
        else reproduction.data,
        "Learned from": f"{budget.images:,} scenes, {budget.epochs} epochs"
        if reproduction.data == "scenes"
        else f"{budget.folder_epochs} epochs",
        "Networks": f"ZFNet and AlexNet made small, {budget.seeds} seeds from {first} on",
        "Budget": budget.name,
    }


def _row(claim: Claim, judgement: Judgement) -> dict[str, str]:
    return {
        "item": claim.item,
        "where": claim.where,
        "words": claim.words,
        "paper": claim.paper,
        "rule": claim.rule,
        "here": judgement.here,
        "effect": judgement.said,
        "reason": judgement.reason,
        "verdict": str(judgement.verdict),
        "kind": KINDS[judgement.verdict],
    }


def _stage(outcome: StageOutcome, folder: Path) -> dict[str, Any]:
    claims = claims_of(outcome.key)
    return {
        "key": outcome.key,
        "title": outcome.title,
        "where": outcome.where,
        "claims": [
            _row(c, outcome.judgements[c.key]) for c in claims if c.key in outcome.judgements
        ],
        "table": outcome.table,
        "pictures": [
            shown(folder, f"{outcome.key}/{file}", words) for file, words in outcome.pictures
        ],
        "pages": outcome.pages,
        "words": outcome.words[:SHOWN_WORDS],
        "more": outcome.words[SHOWN_WORDS:],
        "command": outcome.command,
        "reason": outcome.reason,
        "error": outcome.error,
        "numbers": "" if outcome.reason or outcome.error else f"{outcome.key}/result.json",
    }
