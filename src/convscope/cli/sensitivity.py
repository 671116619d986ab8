"""`convscope sensitivity`: what a network's answers rest on, over several images.

Named after the paper's section, "Occlusion sensitivity"; `occlude` is for one image.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli.outputs import leave_study
from convscope.cli.screen import Screen
from convscope.errors import BadData, BadOption
from convscope.experiments.options import (
    DataArgument,
    FolderOption,
    ModelArgument,
    Reading,
    ResumeOption,
    Running,
    SizeOption,
    StrideOption,
    WatchOption,
)
from convscope.experiments.session import UNTRAINED, Session, open_session
from convscope.progress import Progress, named
from convscope.store.lock import check_unused

if TYPE_CHECKING:
    from convscope.experiments.sensitivity.pointing import Scores
    from convscope.experiments.sensitivity.recognised import Chosen
    from convscope.experiments.sensitivity.study import Comparison, OcclusionStudy
    from convscope.images.image_set import ImageSet
    from convscope.images.parts import Marked

__all__ = ["sensitivity"]

AGAINST = "against"  # the second network's pieces, and its figure


def sensitivity(
    model: ModelArgument,
    data: DataArgument,
    out: FolderOption,
    reading: Reading,
    running: Running,
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A second network, on the same images."),
    ] = None,
    count: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Images, drawn from those that are classified correctly."
        ),
    ] = 12,
    size: SizeOption = None,
    stride: StrideOption = None,
    layer: WatchOption = None,
    parts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the objects are, as for correspond: their boxes are the truth. Default: "
            "the file beside the images; scenes know their objects' pixels.",
        ),
    ] = None,
    resume: ResumeOption = False,
) -> None:
    """Slide a box over several images: the rows of the paper's Fig. 6, scored where truth is known.

    One row per image: activity of the strongest feature map, its projections, probability and label
    by the box's position. Where the object's place is known: how often it falls most on the object,
    and how well its fall tells the object from the background, each against chance.

    Examples:

        convscope sensitivity run:runs/demo/zfnet scenes:val --out rows
        convscope sensitivity run:plain scenes:val:context=1 --against run:spurious --out both
    """
    check_unused(out, resume=resume)
    if against is None and (out / AGAINST).exists():
        raise BadOption(f"--out {out} compares two networks: give --against again, or a new folder")
    screen = Screen(running.as_json)
    scopes = [open_session(model, reading, running)]
    if against is not None:
        scopes.append(open_session(against, reading, running))
        if _classes(scopes[0]) != _classes(scopes[1]):
            raise BadOption(f"--against {against}: its classes are not those of {model}")
    from convscope.experiments.sensitivity.recognised import recognised, truth_of

    images = scopes[0].images(data)
    marked = _marked(images, parts)
    chosen, passed = recognised(
        [(scope.network, scope.model.preprocess) for scope in scopes],
        images,
        count,
        classes=scopes[0].model.classes,
        indices=[mark.index for mark in marked] or None,
        seed=running.seed,
    )
    if len(chosen) < count:
        screen.warn(
            f"{len(chosen)} of the {count} images asked for were found: {passed} were tried "
            "that are not classified correctly"
        )
    truth = truth_of(images, marked)
    for scope in scopes:
        screen.facts(scope.facts())
    screen.facts({"images": _facts(images, chosen, passed)})
    how = {"truth": truth, "layer": layer, "box": (size, stride), "workers": running.workers}
    studies = {}
    with screen.progress(out) as progress:
        folders = (out, out / AGAINST)
        for name, scope, folder in zip(_names(scopes), scopes, folders, strict=False):
            kept = {"out": folder, "resume": resume}
            studies[name] = _study(scope, images, chosen, progress, name, {**how, **kept})
    _tell(screen, out, scopes, images, studies)


def _classes(scope: Session) -> tuple[Any, int]:
    from convscope.methods.classes import Head

    return scope.model.classes, Head.of(scope.network).classes


def _study(
    scope: Session,
    images: ImageSet,
    chosen: tuple[Chosen, ...],
    progress: Progress,
    name: str,
    how: dict[str, Any],
) -> OcclusionStudy:
    from convscope.experiments.sensitivity.study import sensitivity
    from convscope.methods.occluder import Occluder

    more = {key: value for key, value in how.items() if key != "box"}
    return sensitivity(
        scope.network,
        images,
        scope.model.preprocess,
        chosen,
        occluder=Occluder.fitting(*scope.model.preprocess.size, *how["box"]),
        seed=scope.seed,
        progress=named(progress, name),
        **more,
    )


def _tell(
    screen: Screen,
    out: Path,
    scopes: list[Session],
    images: ImageSet,
    studies: dict[str, OcclusionStudy],
) -> None:
    """The figures, the record, and the words."""
    from convscope.experiments.sensitivity.study import compare
    from convscope.report.sensitivity_figure import scores_figure, sensitivity_figure

    figures = {}
    files = ("sensitivity", AGAINST)
    for file, scope, study in zip(files, scopes, studies.values(), strict=False):
        figures[file] = sensitivity_figure(
            study,
            scope.model.preprocess,
            classes=scope.model.classes,
            subtitle=f"{scope.title()} · {images.spec} · occluder {study.occluder}",
        )
    first = next(iter(studies.values()))
    if first.probability is not None:
        words = f"{len(first.rows)} images of {images.spec} · occluder {first.occluder}"
        figures["scores"] = scores_figure(studies, subtitle=words)
    compared = compare(*studies.values()) if len(studies) == 2 else None
    result = {
        "images": images.spec,
        "networks": [
            {"name": name, **scope.record(), **study.to_dict()}
            for (name, study), scope in zip(studies.items(), scopes, strict=True)
        ],
        "compared": None if compared is None else compared.to_dict(),
    }
    record = {**scopes[0].record(), "images": images.spec, "fill": "grey"}
    for (name, study), scope in zip(studies.items(), scopes, strict=True):
        screen.say("", *_words(name, study, scope))
    screen.say(*_compared(compared, list(studies)))
    leave_study(screen, out, figures, result, record)


def _marked(images: ImageSet, parts: Path | None) -> tuple[Marked, ...]:
    """What lies with the images, if anything does; a file that was asked for must be right."""
    from convscope.images.datasets import SceneImages
    from convscope.images.parts import marked_images

    if parts is None and isinstance(images, SceneImages):
        return ()
    try:
        return marked_images(images, parts)
    except BadData:
        if parts is not None:
            raise
        return ()


def _names(scopes: list[Session]) -> list[str]:
    """A short name for each network, different from the other's: of its run, weights or kind."""
    specs = [scope.model.spec for scope in scopes]
    short = []
    for spec in specs:
        named, at, weights = spec.partition("@")
        path = Path(weights if at else named.rpartition(":")[2])
        folder = path.parent.name if path.stem == "weights" else ""
        short.append(folder or path.stem)
    if len(set(short)) == len(short):
        return short
    return specs if len(set(specs)) == len(specs) else [f"{s} ({i})" for i, s in enumerate(specs)]


def _facts(images: ImageSet, chosen: tuple[Chosen, ...], passed: int) -> str:
    true = sum(one.known for one in chosen)
    whose = f"{true} by their true class" if true else "by the class the network names"
    words = f"{images.spec}: {len(chosen)}, {whose}"
    return f"{words}; {passed} passed over, not classified correctly" if passed else words


def _words(name: str, study: OcclusionStudy, scope: Session) -> list[str]:
    from convscope.experiments.sensitivity.pointing import HARDLY
    from convscope.experiments.wording import plus_minus

    rank = plus_minus(study.correlation.mean, study.correlation.deviation, digits=2, unit=1)
    lines = [f"{name}, {len(study.rows)} images, occluder {study.occluder}"]
    lines += _scored("probability", study.probability)
    lines += _scored("activity", study.activity)
    if study.hardly:
        lines.append(
            f"  the probability hardly falls in {study.hardly} of {len(study.rows)}: by at most "
            f"{HARDLY:.0%} of itself"
        )
    covered = study.covered()
    if covered:
        lines.append(
            f"  probability {covered['nothing'].mean:.2f}; with the whole object covered "
            f"{covered['object'].mean:.2f}, with all but the object {covered['ground'].mean:.2f}"
        )
    if study.probability is None:
        lines.append("  object positions are unknown: nothing is scored")
    lines.append(
        f"  activity falls with the projection's energy: rank correlation {rank}; lowest where the "
        f"energy is at percentile {100 * study.percentile.mean:.0f}"
    )
    if scope.model.random_weights:
        lines.append(f"  {UNTRAINED}")
    return lines


def _scored(what: str, found: Scores | None) -> list[str]:
    if found is None:
        return []
    from convscope.experiments.wording import interval_words, minus

    rate, area = found.pointing, found.detection
    unit = 0.01 if what == "probability" else 1.0
    on, beside = found.inside.mean / unit, found.outside.mean / unit
    measured = " points" if what == "probability" else ""
    return [
        f"  {what} falls most on the object in {rate.hits} of {rate.count} "
        f"({rate.low:.0%} to {rate.high:.0%}), chance {rate.expected:.0%}, p {rate.p:.2g}; "
        f"ROC area {area.mean:.3f} ({interval_words(area, 3)})",
        minus(f"    by {on:.3g}{measured} on it, {beside:.3g} beside it, on average"),
    ]


def _compared(compared: Comparison | None, names: list[str]) -> list[str]:
    if compared is None:
        return []
    from convscope.experiments.wording import interval_words, minus

    gap = compared.difference
    return [
        "",
        f"{names[0]} finds the object better in {compared.better} of {gap.count} images: ROC area "
        f"higher by {minus(f'{gap.mean:.3f}')} ({interval_words(gap, 3)}), sign test p "
        f"{compared.p:.2g}",
    ]
