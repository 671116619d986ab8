"""The whole paper in one run: every figure and table, and whether its claims hold here.

OUT/study.json           data, budget, seed
OUT/pieces/STAGE.json    what came of a finished stage (plan.Outcome): it is not done again
OUT/STAGE/               its result.json, its pictures, and pages of its own

A stage that fails is told with its error, and the rest goes on; the next run tries it again.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from convscope.errors import ConvscopeError, FolderInUse
from convscope.experiments.claims import Claim, Judgement, Verdict, failed, not_run
from convscope.experiments.paper.claims import CLAIMS, claims_of
from convscope.experiments.paper.plan import FULL, Budget, StageOutcome
from convscope.experiments.paper.run_context import RunContext, data_of
from convscope.experiments.paper.stage import Stage, StageResult
from convscope.experiments.paper.stages import STAGES
from convscope.experiments.study import Result
from convscope.progress import Progress
from convscope.store.atomic import replace_file
from convscope.store.results import ResultStore

__all__ = ["Draw", "Reproduction", "Tell", "reproduce"]

ERROR, RESULT = "error.txt", "result.json"

Draw = Callable[[str, Any, Path], Sequence[tuple[str, str]]]
"""(stage, its typed result, its folder) -> (file, what it shows) of each picture written there."""


@dataclass(frozen=True)
class Reproduction(Result):
    """All stages of a run, in their order."""

    out: str
    data: str
    budget: Budget
    seed: int
    outcomes: tuple[StageOutcome, ...]

    def __repr__(self) -> str:
        tally = ", ".join(f"{count} {verdict}" for verdict, count in self.tally.items())
        done = f"{len(self.outcomes)} of {len(STAGES)} stages"
        return f"<Reproduction in {self.out}: {done}; {tally}>"

    @property
    def complete(self) -> bool:
        """Whether no stage is still to come."""
        return len(self.outcomes) == len(STAGES)

    @property
    def failures(self) -> tuple[StageOutcome, ...]:
        """The stages that failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.error)

    @property
    def scorecard(self) -> tuple[tuple[Claim, Judgement], ...]:
        """Every claim with what came of it, in the paper's order."""
        told = {
            key: judgement
            for outcome in self.outcomes
            for key, judgement in outcome.judgements.items()
        }
        return tuple((claim, told[claim.key]) for claim in CLAIMS if claim.key in told)

    @property
    def tally(self) -> Mapping[Verdict, int]:
        """How many claims got each verdict."""
        verdicts = [judgement.verdict for _, judgement in self.scorecard]
        return {verdict: verdicts.count(verdict) for verdict in Verdict}

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "out": self.out,
            "data": self.data,
            "budget": self.budget.to_dict(),
            "seed": self.seed,
            "scorecard": [
                {
                    "claim": claim.key,
                    "where": claim.where,
                    "words": claim.words,
                    "paper": claim.paper,
                    "rule": claim.rule,
                    **judgement.to_dict(),
                }
                for claim, judgement in self.scorecard
            ],
            "stages": [outcome.to_dict() for outcome in self.outcomes],
        }

    def words(self) -> list[str]:
        """A claim a line, with the effect below it; then how many got each verdict."""
        lines, item = [], ""
        for claim, judgement in self.scorecard:
            where = claim.where.partition(", §")[0]
            lines += [""] if item not in ("", claim.item) else []
            item = claim.item
            lines.append(f"{judgement.verdict.upper():14}{where}: {claim.words}")
            for words in (judgement.said, judgement.here, judgement.reason):
                if words:
                    lines.append(f"{'':14}{words}")
        counts = (f"{verdict}: {count}" for verdict, count in self.tally.items() if count)
        return [*lines, "", ", ".join(counts)]

    def errors(self) -> list[str]:
        return [
            f"{outcome.key} failed: {outcome.error}; try again with --resume"
            for outcome in self.failures
        ]


Tell = Callable[[Reproduction, StageOutcome, int, int, bool], None]
"""Called after each stage: the run so far, what came of the stage, how many are done, of how many,
and whether it was there already."""


def reproduce(
    out: str | os.PathLike[str],
    data: str = "scenes",
    budget: Budget = FULL,
    *,
    resume: bool = False,
    draw: Draw | None = None,
    tell: Tell | None = None,
    seed: int = 0,
    workers: int = 1,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> Reproduction:
    """Make every figure and table of the paper, beside its own numbers, and judge its claims.

    Args:
        out: The folder of the run.
        data: `scenes`, or a folder with train/ and val/ in folders of classes, and perhaps
            transfer/, images of other classes. What it does not allow is not run, with the reason.
        budget: How much of everything is done.
        resume: Go on with a run of the same settings; finished stages are not done again.
        draw: Writes a stage's pictures and pages while its result is at hand.
        tell: Is told of each stage.
        seed: Of everything random.
        workers: Processes that read images.
        device: Where to run.
        progress: Is told what goes on inside a stage.

    Raises:
        FolderInUse: `out` holds something, or a run of other settings.
        BadOption: The data is of another kind.

    Example:
        >>> convscope.reproduce("paper").tally
    """
    folder = Path(out)
    data_of(data, budget)
    settings = {"study": "paper", "data": data, "budget": budget.to_dict(), "seed": seed}
    lab = RunContext(folder, data, budget, seed, torch.device(device), workers, progress)
    outcomes: list[StageOutcome] = []
    with ResultStore(folder, settings, resume=resume) as results:
        for number, stage in enumerate(STAGES, 1):
            there = results.has(stage.key)
            outcome = _outcome(stage, lab, results, draw)
            outcomes.append(outcome)
            reproduction = Reproduction(str(folder), data, budget, seed, tuple(outcomes))
            if tell:
                tell(reproduction, outcome, number, len(STAGES), there)
    return reproduction


def _outcome(
    stage: Stage, lab: RunContext, results: ResultStore, draw: Draw | None
) -> StageOutcome:
    """Of a stage that is there, or is done now; also of one that fails."""
    folder = lab.out / stage.key
    began = time.monotonic()
    try:
        return StageOutcome.from_dict(
            results.record(stage.key, lambda: _done(stage, lab, folder, draw).to_dict())
        )
    except FolderInUse:
        raise
    except Exception as error:
        if not isinstance(error, ConvscopeError | OSError):
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(folder / ERROR, traceback.format_exc().encode())
        words = " ".join(f"{type(error).__name__}: {error}".split())
        judgements = {claim.key: failed(words) for claim in _claims(stage)}
        seconds = round(time.monotonic() - began, 1)
        return StageOutcome(
            stage.key, stage.title, stage.where, seconds, "", judgements, error=words
        )


def _done(stage: Stage, lab: RunContext, folder: Path, draw: Draw | None) -> StageOutcome:
    if reason := stage.lacks(lab):
        judgements = {claim.key: not_run(reason) for claim in _claims(stage)}
        return StageOutcome(stage.key, stage.title, stage.where, 0.0, "", judgements, reason=reason)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ERROR).unlink(missing_ok=True)
    began = time.monotonic()
    found: StageResult = stage.work(lab, folder)
    judgements = {claim.key: claim.judge(found.result) for claim in _claims(stage)}
    pictures = tuple(draw(stage.key, found.result, folder)) if draw else ()
    seconds = round(time.monotonic() - began, 1)
    content = {
        "command": found.command,
        "seconds": seconds,
        "claims": {key: each.to_dict() for key, each in judgements.items()},
        **found.result.to_dict(),
    }
    replace_file(folder / RESULT, json.dumps(content, indent=1).encode())
    return StageOutcome(
        key=stage.key,
        title=stage.title,
        where=stage.where,
        seconds=seconds,
        command=found.command,
        judgements=judgements,
        table=found.table,
        pictures=pictures,
        pages=tuple((words, f"{stage.key}/{path}") for words, path in found.pages),
        words=found.words,
    )


def _claims(stage: Stage) -> tuple[Claim, ...]:
    return claims_of(stage.key)
