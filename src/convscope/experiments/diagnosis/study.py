"""`convscope diagnose`: what is wrong with a network's layers, and what the paper would do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.errors import BadOption
from convscope.experiments.diagnosis.remedy_options import TryOptions, check_trial, run_trial
from convscope.experiments.options import ModelArgument, Reading
from convscope.experiments.study import Context, Outcome, Result, Study
from convscope.version import __version__

if TYPE_CHECKING:
    from convscope.experiments.diagnosis.examined import Examined
    from convscope.experiments.diagnosis.findings import Finding
    from convscope.experiments.diagnosis.trial import Trial
    from convscope.experiments.session import Session

__all__ = ["DiagnoseStudy", "Examination"]

ANSWERS = "answers"  # in OUT: what the networks answered to the images, for --resume


@dataclass(frozen=True, eq=False)
class Examination(Result):
    """What was found in one network or two, and what came of the remedy, if it was tried.

    Attributes:
        data: the images, as they are called; None where the weights alone were looked at.
        networks: each with its diagnosis.
        records: what is used of each network, JSON-able.
        trial: of the remedy.
    """

    data: str | None
    networks: tuple[Examined, ...]
    records: tuple[dict[str, Any], ...]
    trial: Trial | None = None

    def to_dict(self) -> dict[str, Any]:
        networks = [
            {**record, **each.diagnosis.to_dict()}
            for record, each in zip(self.records, self.networks, strict=True)
        ]
        trial = {} if self.trial is None else {"trial": self.trial.to_dict()}
        return {"data": self.data, "networks": networks, **trial}

    def words(self) -> list[str]:
        from convscope.experiments.diagnosis.words import diagnosis_words, trial_words

        lines: list[str] = []
        own = self.trial is not None and self.trial.examined is not None
        for each in () if own else self.networks:
            title = [each.title] if len(self.networks) > 1 else []
            lines += [*title, *diagnosis_words(each.diagnosis), ""]
        return [*lines, *([] if self.trial is None else trial_words(self.trial))]


@dataclass(frozen=True)
class DiagnoseStudy(Study):
    """Say what is wrong with a network's layers, and what to change.

    Per convolutional layer: dominant, duplicate and dead filters, spatial frequencies that are
    missing, aliasing of the stride. Each finding has its evidence, its units and a remedy. With
    --try, the remedy is applied, and both networks are trained and compared.

    Examples:

        convscope diagnose torchvision:alexnet@alexnet.pth --data photos/ --out diagnosis
        convscope diagnose run:runs/a --against run:runs/b --data scenes:val --out diagnosis
        convscope diagnose alexnet-small --data scenes --try --seeds 3 --out diagnosis
    """

    verb = "diagnose"
    out_help = "A new folder for result.json and diagnosis.png."

    model: ModelArgument
    reading: Reading = field(default_factory=Reading)
    against: Annotated[
        str | None, typer.Option(metavar="MODEL2", help="A second network, beside the first.")
    ] = None
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Images, for dead maps, sparsity and measured aliasing. Without: what the "
            "weights alone tell.",
            show_default=False,
        ),
    ] = None
    images: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Images of DATA to use, spread evenly over it. Default: all."
        ),
    ] = None
    trying: TryOptions = field(default_factory=TryOptions)

    def check(self) -> None:
        if self.images is not None and self.data is None:
            raise BadOption("--images needs --data: it says how many of its images to use")
        check_trial(self.trying, self.model, self.data, self.against)

    def run(self, context: Context) -> Outcome:
        if context.resume and self.data is None:
            raise BadOption("--resume needs --data: without images there is nothing to go on with")
        if self.trying.try_ and self.data and ":" not in self.model and "@" not in self.model:
            return self._tried(context, None, self.data)  # it has no weights to look at yet
        specs = [self.model] if self.against is None else [self.model, self.against]
        sessions = [context.session(spec, self.reading) for spec in specs]
        networks = tuple(
            self._examined(context, number, session) for number, session in enumerate(sessions)
        )
        records = tuple(session.record() for session in sessions)
        examination = Examination(self.data, networks, records)
        if self.trying.try_ and self.data:
            return self._tried(context, examination, self.data)
        return Outcome(examination, about=records[0], subtitle=self._subtitle())

    def _subtitle(self) -> str:
        said = "from the weights alone" if self.data is None else f"on {self.data}"
        return f"filters and answers of the layers, {said}"

    def _examined(self, context: Context, number: int, session: Session) -> Examined:
        """A network's diagnosis, and what its figure shows besides."""
        from convscope.experiments.diagnosis.examined import BATCH, examine
        from convscope.images.subsets import evenly
        from convscope.scan.checkpoint import checkpoint_in
        from convscope.scan.engine import Scan
        from convscope.scan.items import open_results

        network, preprocess, title = session.network, session.model.preprocess, session.title()
        context.facts({**session.facts(), **({"images": self.data} if self.data else {})})
        if self.data is None:
            return examine(network, preprocess, title)
        images, ranks = session.images(self.data), context.together()
        chosen = evenly(len(images), self.images)
        scan = Scan(
            network, images, preprocess, chosen,
            batch_size=context.running.batch_size or BATCH, workers=context.running.workers,
            ranks=ranks, progress=context.progress,
        )  # fmt: skip
        kept, settings = None, {}
        if context.out is not None and not self.trying.try_:  # a trial is resumed in OUT
            kept = context.out / ANSWERS / str(number)
            settings = {
                **session.record(),
                "data": images.identity(),
                "images": len(chosen),
                "batch_size": scan.batch_size,
            }
        with open_results(kept, settings, resume=context.resume, ranks=ranks) as results:
            examined = examine(network, preprocess, title, scan, commits=checkpoint_in(results))
        for _, name, reason in examined.diagnosis.skipped:
            context.warn(f"skipped {name}: {reason}")
        return examined

    def _tried(self, context: Context, found: Examination | None, data: str) -> Outcome:
        """The remedy applied, with the diagnosis that asks for it if there is one."""
        findings: tuple[Finding, ...] | None = None
        if found is not None:
            findings = found.networks[0].diagnosis.findings
        trial, tests = run_trial(self.model, data, self.trying, context, findings)
        subtitle = self._subtitle()
        if found is None:
            found = Examination(data, (), ())
        if trial.examined is not None:
            record = {"model": trial.examined.title}
            found = replace(found, networks=(trial.examined,), records=(record,))
            subtitle = f"on {tests}"
        about = {
            "convscope": __version__,
            "model": self.model,
            "device": str(context.device),
            "seed": context.running.seed,
        }
        return Outcome(replace(found, trial=trial), about, subtitle)
