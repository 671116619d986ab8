"""`convscope paper`: every figure and table of the paper in one run, and which claims hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.experiments.learning import workers_or
from convscope.experiments.study import Context, Outcome, Study

if TYPE_CHECKING:
    from convscope.experiments.paper.plan import StageOutcome
    from convscope.experiments.paper.reproduction import Reproduction

__all__ = ["PaperStudy"]


@dataclass(frozen=True)
class PaperStudy(Study):
    """Make every figure and table of the paper, and see which of its claims hold.

    Trains small ZFNets and AlexNets at equal budget, looks into them as the paper does, and sets
    the results beside the paper's on one page (index.html), each claim with its effect, the
    effect's spread, and the verdict that follows. On two cores --quick takes under 10 minutes, the
    whole about an hour. Exits with 1 if a stage failed; the others are complete.

    Examples:

        convscope paper --quick --out paper
        convscope paper --data photos/ --out paper --resume
    """

    verb = "paper"
    own_files = True
    resume_help = "Go on with a run that was interrupted, or failed."

    data: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="scenes, all of whose splits are used; or a folder with train/ and val/, each "
            "with a folder per class, and perhaps transfer/, with other classes. What it does not "
            "allow is left out, with the reason.",
        ),
    ] = "scenes"
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Minutes instead of an hour, and wider intervals."),
    ] = False

    def run(self, context: Context) -> Outcome:
        from convscope.experiments.paper.plan import FULL, QUICK
        from convscope.experiments.paper.reproduction import reproduce

        assert context.out is not None
        out, drawing = context.out, context.drawing
        budget = QUICK if self.quick else FULL
        context.facts({"images": self.data, "budget": budget.name, "device": str(context.device)})

        def tell(
            reproduction: Reproduction, outcome: StageOutcome, number: int, total: int, there: bool
        ) -> None:
            if drawing is not None:
                drawing.page(reproduction, out)
            context.say(_line(outcome, number, total, there))

        return Outcome(
            reproduce(
                out, self.data, budget,
                resume=context.resume, draw=None if drawing is None else drawing.figures, tell=tell,
                seed=context.running.seed, workers=workers_or(context.running),
                device=context.device, progress=context.progress,
            ),
            {},
        )  # fmt: skip


def _line(outcome: StageOutcome, number: int, total: int, there: bool) -> str:
    line = f"{number:2}/{total}  {outcome.title} ({outcome.where.partition(', §')[0]})"
    if outcome.error:
        return f"{line}: FAILED, {outcome.error}"
    if outcome.reason:
        return f"{line}: not run, {outcome.reason}"
    verdicts = ", ".join(str(judgement.verdict) for judgement in outcome.judgements.values())
    took = "already done" if there else f"{outcome.seconds:.0f} s"
    return f"{line}: {took}; {verdicts}" if verdicts else f"{line}: {took}"
