"""`convscope diagnose`: what is wrong with a network's layers, and what the paper would do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli.outputs import write_study
from convscope.cli.screen import Screen
from convscope.cli.trying import TryOptions, check_trial, run_trial
from convscope.errors import BadOption
from convscope.experiments.options import ModelArgument, Reading, ResumeOption, Running
from convscope.experiments.session import Session, open_session
from convscope.store.lock import check_unused
from convscope.text import table

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.experiments.diagnosis.examined import Examined
    from convscope.experiments.diagnosis.study import Diagnosis
    from convscope.images.image_set import ImageSet

__all__ = ["diagnose"]

ANSWERS = "answers"  # in OUT: what the networks answered to the images, for --resume
LEGEND = (
    "strongest 5 %: their share of the filters' energy; max/median: of the filters' strengths;",
    "dead: maps that never answer; rare: maps that answer at fewer than 0.1 % of positions;",
    "copies: filters that repeat another; zeros: share of the activations; folded: share of the",
    "answer too fine for the stride; unsteady: share of the variance that does not move with the",
    "image",
)


def diagnose(
    model: ModelArgument,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="A new folder for result.json and diagnosis.png.",
            show_default=False,
        ),
    ],
    reading: Reading,
    running: Running,
    trying: TryOptions,
    against: Annotated[
        str | None, typer.Option(metavar="MODEL2", help="A second network, beside the first.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Images, for dead maps, sparsity and measured aliasing. Without: what the "
            "weights alone tell.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Images of DATA to use, spread evenly over it. Default: all."
        ),
    ] = None,
    resume: ResumeOption = False,
) -> None:
    """Say what is wrong with a network's layers, and what to change.

    Per convolutional layer: dominant, duplicate and dead filters, spatial frequencies that are
    missing, aliasing of the stride. Each finding has its evidence, its units and a remedy. With
    --try, the remedy is applied, and both networks are trained and compared.

    Examples:

        convscope diagnose torchvision:alexnet@alexnet.pth --data photos/ --out diagnosis
        convscope diagnose run:runs/a --against run:runs/b --data scenes:val --out diagnosis
        convscope diagnose alexnet-small --data scenes --try --seeds 3 --out diagnosis
    """
    screen = Screen(running.as_json)
    if images is not None and data is None:
        raise BadOption("--images needs --data: it says how many of its images to use")
    check_trial(trying, model, data, against)
    if resume and data is None:
        raise BadOption("--resume needs --data: without images there is nothing to go on with")
    check_unused(out, resume=resume if data is not None else None)
    if trying.try_ and data is not None and ":" not in model and "@" not in model:
        # it has no weights to look at yet
        run_trial(screen, model, data, out, running, trying, resume=resume)
        return
    specs = [model] if against is None else [model, against]
    networks = [open_session(spec, reading, running) for spec in specs]
    examined, records = [], []
    for number, scope in enumerate(networks):
        screen.facts({**scope.facts(), **({"images": data} if data else {})})
        kept = None if trying.try_ else out / ANSWERS / str(number)  # a trial is resumed in OUT
        each = _examine(screen, scope, data, images, running, kept, resume)
        examined.append(each)
        records.append({**scope.record(), **each.diagnosis.to_dict()})
        screen.say("", *_table(each.diagnosis), *LEGEND, "", *_findings(each.diagnosis), "")
    result: dict[str, Any] = {"data": data, "networks": records}
    figures = {"diagnosis": _figure(examined, data)}
    if trying.try_ and data is not None:
        run_trial(
            screen, model, data, out, running, trying, resume=resume,
            findings=examined[0].diagnosis.findings, result=result, figures=figures,
        )  # fmt: skip
        return
    write_study(out, figures, result, networks[0].record())
    screen.say(f"Written: {out / 'diagnosis.png'}, {out / 'result.json'}")
    screen.result({**result, "out": str(out)})


def _examine(
    screen: Screen,
    scope: Session,
    data: str | None,
    count: int | None,
    running: Running,
    kept: Path | None,
    resume: bool,
) -> Examined:
    """A network's diagnosis, and what its figure shows besides.   kept : folder of what it answered
    """  # fmt: skip
    from convscope.experiments.diagnosis.examined import BATCH, examine
    from convscope.images.chosen import evenly
    from convscope.store.results import ResultStore

    network, preprocess, title = scope.network, scope.model.preprocess, scope.title()
    if data is None:
        return examine(network, preprocess, title)
    found = scope.images(data)
    chosen = evenly(len(found), count)
    size = running.batch_size or BATCH
    settings = {}
    if kept is not None:
        settings = {
            **scope.record(),
            "data": found.identity(),
            "images": len(chosen),
            "batch_size": size,
        }
    pieces = ResultStore(kept, settings, resume=resume)
    given = _batches(screen, scope, found, chosen, size, running.workers)
    with screen.progress(kept and kept.parents[1]) as progress:
        return examine(
            network, preprocess, title, given,
            total=len(chosen), pieces=pieces, progress=progress,
        )  # fmt: skip


def _batches(
    screen: Screen,
    scope: Session,
    images: ImageSet,
    chosen: list[int],
    size: int,
    workers: int | None,
) -> Iterator[Tensor]:
    """The chosen images as the network wants them."""
    from convscope.images.batches import batches

    for batch in batches(
        images, scope.model.preprocess, batch_size=size, workers=workers, indices=chosen
    ):
        for skipped in batch.skipped:
            screen.warn(f"skipped {skipped.name}: {skipped.reason}")
        yield batch.tensors


def _figure(examined: list[Examined], data: str | None) -> Any:
    from convscope.report.diagnosis_figure import diagnosis_figure

    said = "from the weights alone" if data is None else f"on {data}"
    return diagnosis_figure(examined, subtitle=f"filters and answers of the layers, {said}")


def _table(diagnosis: Diagnosis) -> list[str]:
    """A line per layer."""
    head = (
        "layer", "filters", "stride", "strongest 5 %", "max/median", "dead", "rare", "copies",
        "zeros", "folded", "unsteady",
    )  # fmt: skip
    rows = []
    for layer in diagnosis.layers:
        seen, maps = layer.activity, layer.shape[0]
        rare = None if seen is None else seen.nearly_dead
        rows.append(
            (
                layer.name,
                f"{maps} of {_sides(layer.kernel)}",
                _sides(layer.stride),
                f"{layer.strength.top_share:.0%}",
                f"{layer.strength.ratio:.1f}",
                "-" if seen is None else str(len(seen.dead)),
                "-" if rare is None else str(len(rare)),
                str(layer.twins.redundant),
                _share(None if seen is None else seen.sparsity),
                _share(None if layer.folding is None else layer.folding.mean),
                _share(layer.unsteadiness),
            )
        )
    return table(head, rows, left=True)


def _findings(diagnosis: Diagnosis) -> list[str]:
    """The findings in words, with their remedies."""
    lines = []
    for finding in diagnosis.findings:
        lines.append(f"{finding.severity}: {finding.layer}, {finding.kind}: {finding.words}")
        lines += [f"    remedy: {remedy.said}" for remedy in finding.remedies]
    return lines or ["Nothing was found to be wrong."]


def _sides(sides: tuple[int, int]) -> str:
    return str(sides[0]) if sides[0] == sides[1] else f"{sides[0]}x{sides[1]}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
