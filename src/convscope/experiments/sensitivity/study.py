"""`convscope sensitivity`: what a network's answers rest on, over several images.

Named after the paper's section, "Occlusion sensitivity"; `occlude` is for one image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.errors import BadOption
from convscope.experiments.options import (
    DataArgument,
    ModelArgument,
    Reading,
    SizeOption,
    StrideOption,
    WatchOption,
)
from convscope.experiments.study import Context, Outcome, Study
from convscope.progress import named

if TYPE_CHECKING:
    from convscope.experiments.correctly_classified import Selection
    from convscope.experiments.sensitivity.result import OcclusionStudy
    from convscope.experiments.session import Session
    from convscope.images.image_set import ImageSet
    from convscope.images.parts import Marked

__all__ = ["AGAINST", "SensitivityStudy"]

AGAINST = "against"  # the second network's results, and its figure


@dataclass(frozen=True)
class SensitivityStudy(Study):
    """Slide a box over several images: the rows of the paper's Fig. 6, scored where truth is known.

    One row per image: activity of the strongest feature map, its projections, probability and label
    by the box's position. Where the object's place is known: how often it falls most on the object,
    and how well its fall tells the object from the background, each against chance.

    Examples:

        convscope sensitivity run:runs/demo/zfnet scenes:val --out rows
        convscope sensitivity run:plain scenes:val:context=1 --against run:spurious --out both
    """

    verb = "sensitivity"

    model: ModelArgument
    data: DataArgument
    reading: Reading = field(default_factory=Reading)
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A second network, on the same images."),
    ] = None
    count: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Images, drawn from those that are classified correctly."
        ),
    ] = 12
    size: SizeOption = None
    stride: StrideOption = None
    layer: WatchOption = None
    parts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the objects are, as for correspond: their boxes are the truth. Default: "
            "the file beside the images; scenes know their objects' pixels.",
        ),
    ] = None

    def run(self, context: Context) -> Outcome:
        from convscope.experiments.correctly_classified import marked_or_none
        from convscope.experiments.sensitivity.result import (
            NetworkStudy,
            Sensitivity,
            compare_networks,
        )

        self._check_folder(context)
        sessions = self._sessions(context)
        images = sessions[0].images(self.data)
        marked = marked_or_none(images, self.parts)
        selection = self._selection(context, sessions, images, marked)
        for session in sessions:
            context.facts(session.facts())
        context.facts({"images": _facts(images, selection)})
        studies = [
            NetworkStudy(
                name,
                session.record(),
                self._study(context, session, images, selection, marked, (name, number)),
                session.model.random_weights,
            )
            for number, (name, session) in enumerate(zip(_names(sessions), sessions, strict=True))
        ]
        found = [study.study for study in studies]
        skipped = {*selection.unreadable, *(name for each in found for name in each.skipped)}
        return Outcome(
            Sensitivity(
                images.spec,
                tuple(studies),
                compare_networks(*found) if len(found) == 2 else None,
                tuple(sorted(skipped)),
            ),
            about={**sessions[0].record(), "images": images.spec, "fill": "grey"},
            more={
                "models": [(session.title(), session.model) for session in sessions],
                "passed": selection.passed,
            },
        )

    def _check_folder(self, context: Context) -> None:
        """Refuse, with BadOption, a folder that compares two networks where one is asked for."""
        out = context.out
        if self.against is None and out is not None and (out / AGAINST).exists():
            raise BadOption(
                f"--out {out} compares two networks: give --against again, or a new folder"
            )

    def _sessions(self, context: Context) -> list[Session]:
        """The sessions of one or two networks; BadOption where their classes differ."""
        sessions = [context.session(self.model, self.reading)]
        if self.against is not None:
            sessions.append(context.session(self.against, self.reading))
            if _classes(sessions[0]) != _classes(sessions[1]):
                raise BadOption(
                    f"--against {self.against}: its classes are not those of {self.model}"
                )
        return sessions

    def _selection(
        self,
        context: Context,
        sessions: list[Session],
        images: ImageSet,
        marked: tuple[Marked, ...],
    ) -> Selection:
        """The same images for all networks and processes; fewer than asked for are said."""
        from convscope.experiments.correctly_classified import correctly_classified

        found = context.together().from_first(
            lambda: correctly_classified(
                [(session.network, session.model.preprocess) for session in sessions],
                images,
                self.count,
                classes=sessions[0].model.classes,
                indices=[mark.index for mark in marked] or None,
                seed=sessions[0].seed,
            )
        )
        if len(found.chosen) < self.count:
            context.warn(
                f"{len(found.chosen)} of the {self.count} images asked for were found: "
                f"{found.passed} were tried that are not classified correctly"
            )
        return found

    def _study(
        self,
        context: Context,
        session: Session,
        images: ImageSet,
        selection: Selection,
        marked: tuple[Marked, ...],
        which: tuple[str, int],
    ) -> OcclusionStudy:
        """One network's, named and numbered by `which`."""
        from convscope.experiments.correctly_classified import truth_of
        from convscope.experiments.sensitivity.sweeps import sensitivity
        from convscope.methods.occluder import Occluder

        name, number = which
        preprocess = session.model.preprocess
        out = context.out if number == 0 or context.out is None else context.out / AGAINST
        return sensitivity(
            session.network,
            images,
            preprocess,
            selection.chosen,
            truth=truth_of(images, marked),
            occluder=Occluder.fitting(*preprocess.size, self.size, self.stride),
            layer=self.layer,
            out=out,
            resume=context.resume,
            workers=context.running.workers,
            seed=session.seed,
            ranks=context.together(),
            progress=named(context.progress, name),
        )


def _classes(session: Session) -> tuple[Any, int]:
    from convscope.methods.classes import Head

    return session.model.classes, Head.of(session.network).classes


def _names(sessions: list[Session]) -> list[str]:
    """A short name for each network, different from the other's: of its run, weights or kind."""
    specs = [session.model.spec for session in sessions]
    short = []
    for spec in specs:
        kind, at, weights = spec.partition("@")
        path = Path(weights if at else kind.rpartition(":")[2])
        folder = path.parent.name if path.stem == "weights" else ""
        short.append(folder or path.stem)
    if len(set(short)) == len(short):
        return short
    return specs if len(set(specs)) == len(specs) else [f"{s} ({i})" for i, s in enumerate(specs)]


def _facts(images: ImageSet, selection: Selection) -> str:
    chosen, passed = selection.chosen, selection.passed
    true = sum(one.known for one in chosen)
    whose = f"{true} by their true class" if true else "by the class the network names"
    words = f"{images.spec}: {len(chosen)}, {whose}"
    return f"{words}; {passed} passed over, not classified correctly" if passed else words
