"""`convscope ensemble`: several networks' outputs averaged, the paper's Table 1."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope import __version__
from convscope.cli.learning import workers_or
from convscope.cli.outputs import leave_study
from convscope.cli.screen import Screen
from convscope.errors import BadOption
from convscope.experiments.options import CacheOption, ResumeOption, Running
from convscope.experiments.session import choose_device
from convscope.store.lock import check_unused
from convscope.text import table

if TYPE_CHECKING:
    from convscope.experiments.ensemble.combined import Group, Scoring
    from convscope.experiments.ensemble.study import Ensemble
    from convscope.network.zoo import Model

__all__ = ["ensemble"]

PUBLISHED = ("ZFNet, 1 net", "5 ZFNets (a)", "6 nets, (a) and (b)")  # rows of Table 1


def ensemble(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN ...",
            help="Folders of `convscope train` (or of an ablation's runs/), or any MODEL of the "
            "same classes.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str,
        typer.Option(metavar="DATA", help="Labelled images to test on.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="A new folder: result.json and ensemble.png.", show_default=False
        ),
    ],
    running: Running,
    crops: Annotated[
        int | None,
        typer.Option(
            metavar="1|10",
            help="10: also average over the corners, the centre and their mirror images. Default: "
            "10 where every network was trained on crops.",
            show_default=False,
        ),
    ] = None,
    cache: CacheOption = None,
    resume: ResumeOption = False,
) -> None:
    """Average the softmax outputs of several networks, and see what that gains.

    The error of each network, of the average of those of one architecture, and of all; how it
    falls with the number of networks; on how many images any two differ; and whether the average
    beats the best of them by more than chance (McNemar's test).

    Examples:

        convscope ensemble runs/a runs/b runs/c --data scenes:val --out ensemble
        convscope ensemble ablation/runs/zfnet-small_seed=* --data photos/val --crops 10 --out ten
    """
    check_unused(out, resume=resume)
    screen = Screen(running.as_json)
    if crops not in (None, 1, 10):
        raise BadOption(f"--crops {crops}: give 1 or 10")
    device = choose_device(running.device)
    from convscope.experiments.ensemble.study import ensemble as study
    from convscope.images.datasets import open_images
    from convscope.images.preprocess import Fit

    models = [_opened(spec, running.seed) for spec in networks]
    images = open_images(data, size=models[0].input_shape[1], seed=running.seed)
    if crops is None:
        crops = 10 if all(model.preprocess.fit is Fit.CROP for model in models) else 1
    screen.facts(
        {
            "networks": f"{len(models)}: {', '.join(networks)}",
            "images": f"{images.spec}: {len(images)}",
            "crops": "the centre" if crops == 1 else "the centre, and 10 crops averaged",
            "device": str(device),
        }
    )
    with screen.progress(out) as progress:
        found = study(
            models, images, crops=crops, device=device, workers=workers_or(running),
            cache=cache, out=out, resume=resume, seed=running.seed, progress=progress,
        )  # fmt: skip
    record = {
        "convscope": __version__,
        "networks": {model.spec: model.weights_sha256 for model in models},
        "device": str(device),
        "seed": running.seed,
    }
    _write(screen, found, out, record)


def _opened(spec: str, seed: int) -> Model:
    """A run's folder, or any MODEL."""
    from convscope.network.zoo import open_model

    return open_model(f"run:{spec}" if Path(spec).is_dir() else spec, seed=seed)


def _write(screen: Screen, found: Ensemble, out: Path, record: dict[str, Any]) -> None:
    from convscope.report.ensemble_figure import ensemble_figure

    screen.say("", *_table(found), "", *_findings(found))
    for name in found.random:
        screen.warn(f"{name} has random weights: it was never trained")
    for name in found.skipped:
        screen.warn(f"skipped {name}: it could not be read")
    leave_study(screen, out, {"ensemble": ensemble_figure(found)}, found.to_dict(), record)


# ---- words ------------------------------------------------------------------------------------


def _table(found: Ensemble) -> list[str]:
    """A line per network and per average; errors ± binomial standard error, %."""
    from convscope.experiments.wording import plus_minus

    head = ["network"]
    rows = [[name] for name in found.scorings[0].singles]
    rows += [[_called(group)] for group in found.scorings[0].groups]
    for scoring in found.scorings:
        crops = "" if scoring.crops == 1 else ", 10 crops"
        head += [f"top-1{crops}", f"top-5{crops}"]
        scores = [*scoring.singles.values(), *(group.score for group in scoring.groups)]
        for row, score in zip(rows, scores, strict=True):
            row += [
                plus_minus(score.error, score.error_se),
                plus_minus(score.top5_error, score.top5_se),
            ]
    said = f"errors on {found.images:,} images ± standard error, %"
    return [said, *table(head, rows)]


def _called(group: Group) -> str:
    return f"average of {len(group.members)}: {group.name}"


def _findings(found: Ensemble) -> list[str]:
    from convscope.experiments.published import TABLE1

    lines = []
    for scoring in found.scorings:
        crops = f"{scoring.crops} crop{'s' if scoring.crops > 1 else ''}"
        lines += [f"{crops}: {_finding(group)}" for group in scoring.groups]
        lines.append(f"{crops}: {_apart(scoring)}")
    one, five, six = (TABLE1[name].top1 for name in PUBLISHED)
    lines.append(
        f"in the paper: 1 ZFNet {one}, 5 of them {five}, 6 of two kinds {six} (top-1, ImageNet)"
    )
    return lines


def _finding(group: Group) -> str:
    from convscope.experiments.wording import interval_words, signed_number

    alone, best, gain = 100 * group.sizes[0].error, group.best, group.gain
    return (
        f"{_called(group)}: {signed_number(-100 * gain.mean)} points from a single one's "
        f"{alone:.1f} (gain, 95 % over images: {interval_words(gain, 1, 0.01)}); against the best, "
        f"{best.against}: {best.rescued} images gained, {best.lost} lost, p = {best.p:.2g}"
    )


def _apart(scoring: Scoring) -> str:
    count = len(scoring.disagreement)
    mean = scoring.disagreement.sum() / (count * (count - 1))
    return f"two of the networks name {mean:.1%} of the images differently, on average"
