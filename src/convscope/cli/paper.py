"""`convscope paper`: every figure and table of the paper in one run, and which claims hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli.screen import Screen
from convscope.experiments.learning import workers_or
from convscope.experiments.options import FolderOption, Running
from convscope.experiments.session import choose_device

if TYPE_CHECKING:
    from convscope.experiments.paper.plan import StageOutcome
    from convscope.experiments.paper.study import Reproduction

__all__ = ["paper"]

FAILED = 1


def paper(
    out: FolderOption,
    running: Running,
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="scenes, all of whose splits are used; or a folder with train/ and val/, each "
            "with a folder per class, and perhaps transfer/, with other classes. What it does not "
            "allow is left out, with the reason.",
        ),
    ] = "scenes",
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Minutes instead of an hour, and wider intervals."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was interrupted, or failed.")
    ] = False,
) -> None:
    """Make every figure and table of the paper, and see which of its claims hold.

    Trains small ZFNets and AlexNets at equal budget, looks into them as the paper does, and sets
    the results beside the paper's on one page (index.html), each claim with its effect, the
    effect's spread, and the verdict that follows. On two cores --quick takes under 10 minutes, the
    whole about an hour. Exits with 1 if a stage failed; the others are complete.

    Examples:

        convscope paper --quick --out paper
        convscope paper --data photos/ --out paper --resume
    """
    screen = Screen(running.as_json)
    device = choose_device(running.device)
    from convscope.experiments.paper.plan import FULL, QUICK
    from convscope.experiments.paper.study import reproduce
    from convscope.report.paper_figures import draw_stage
    from convscope.report.paper_page import write_paper_page

    budget = QUICK if quick else FULL
    screen.facts({"images": data, "budget": budget.name, "device": str(device)})

    def tell(
        reproduction: Reproduction, outcome: StageOutcome, number: int, total: int, there: bool
    ) -> None:
        write_paper_page(reproduction)
        screen.say(_line(outcome, number, total, there))

    with screen.progress(out) as progress:
        result = reproduce(
            out,
            data,
            budget,
            resume=resume,
            draw=draw_stage,
            tell=tell,
            seed=running.seed,
            workers=workers_or(running),
            device=device,
            progress=progress,
        )
    page = write_paper_page(result)
    screen.say("", *_scorecard(result), "", f"Open {page}")
    screen.result({**result.to_dict(), "page": str(page)})
    for outcome in result.failures:
        screen.warn(f"{outcome.key} failed: {outcome.error}; try again with --resume")
    if result.failures:
        raise typer.Exit(FAILED)


def _line(outcome: StageOutcome, number: int, total: int, there: bool) -> str:
    line = f"{number:2}/{total}  {outcome.title} ({outcome.where.partition(', §')[0]})"
    if outcome.error:
        return f"{line}: FAILED, {outcome.error}"
    if outcome.reason:
        return f"{line}: not run, {outcome.reason}"
    verdicts = ", ".join(str(judgement.verdict) for judgement in outcome.judgements.values())
    took = "already done" if there else f"{outcome.seconds:.0f} s"
    return f"{line}: {took}; {verdicts}" if verdicts else f"{line}: {took}"


def _scorecard(reproduction: Reproduction) -> list[str]:
    """A claim a line, with the effect below it."""
    lines, item = [], ""
    for claim, judgement in reproduction.scorecard:
        where = claim.where.partition(", §")[0]
        lines += [""] if item not in ("", claim.item) else []
        item = claim.item
        lines.append(f"{judgement.verdict.upper():14}{where}: {claim.words}")
        for words in (judgement.said, judgement.here, judgement.reason):
            if words:
                lines.append(f"{'':14}{words}")
    counts = ", ".join(
        f"{verdict}: {count}" for verdict, count in reproduction.tally.items() if count
    )
    return [*lines, "", counts]
