"""A study: the options of an experiment, declared once, and what running it gives.

From the declaration come the verb of the command line with its help, the options' values, the
command that does the same again, and what is written and printed. A file with a study imports torch
only inside its functions, so that `--help` answers at once.
"""

from __future__ import annotations

import dataclasses
import html
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, get_type_hints

import typer

from convscope.display import Brief, Pictured, html_image
from convscope.experiments.options import Reading, Running
from convscope.progress import Progress
from convscope.record import plain

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch

    from convscope.distributed import Ranks
    from convscope.execution import Execution
    from convscope.experiments.session import Session
    from convscope.images.image_set import ImageSet
    from convscope.store.results import ResultStore
    from convscope.training.training_data import TrainingData

__all__ = [
    "Chart",
    "Context",
    "Drawing",
    "Outcome",
    "Preview",
    "Result",
    "Study",
    "option_words",
]

Kind = TypeVar("Kind", bound="Result")


@dataclass(frozen=True)
class Chart:
    """Numbers with names, for the figure of a result that has no figure of its own.

    Attributes:
        title: what the figure shows, a short sentence.
        axis: what the numbers are, with their unit.
        values: by name, in the order in which they are drawn.
        intervals: (low, high) by name, of those that have one.
    """

    title: str
    axis: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class Result(Pictured, ABC):
    """What a study found: a typed value that knows its JSON and its words.

    Most are a `Record` too, which has `to_dict` from its fields.
    """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""

    @abstractmethod
    def words(self) -> Sequence[str]:
        """The findings for a person, a line each; tables are lines too."""

    def warnings(self) -> Sequence[str]:
        """What a person must know before believing the result, a line each."""
        return ()

    def errors(self) -> Sequence[str]:
        """What went wrong while the rest was done, a line each; the verb's exit code is then 1."""
        return ()

    def chart(self) -> Chart | None:
        """The numbers to draw, where `report/drawing.py` has no figure for this kind of result."""
        return None

    _outcome: Outcome | None = None

    @property
    def outcome(self) -> Outcome:
        """The result with what was used to find it, as far as that is known."""
        return self._outcome or Outcome(self, {})

    def _repr_html_(self) -> str:
        lines = html.escape("\n".join([*self.words(), *self.warnings()]))
        picture = self._repr_png_()
        return f"<pre>{lines}</pre>" + (html_image(picture) if picture is not None else "")


@dataclass(frozen=True)
class Outcome(Brief):
    """What running a study gave.

    Attributes:
        result: what was found.
        about: what was used, JSON-able: written into every file.
        subtitle: of the figures: which network, which images.
        classes: names of the network's outputs, for the figures.
        random_weights: the network was never trained, which is said with every result.
        more: what the figures need besides, by name.
    """

    result: Result
    about: Mapping[str, Any]
    subtitle: str = ""
    classes: tuple[str, ...] | None = None
    random_weights: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def on(cls, session: Session, result: Result, subtitle: str = "", **about: Any) -> Outcome:
        """What was found in one network.

        Args:
            session: the network.
            result: what was found.
            subtitle: of the figures, after the network's name.
            **about: what was used besides the network, JSON-able.
        """
        return cls(
            result,
            {**session.record(), **about},
            f"{session.title()} · {subtitle}",
            session.model.classes,
            session.model.random_weights,
        )

    def of(self, kind: type[Kind]) -> Kind:
        """The result, which is of that kind.

        Raises:
            TypeError: it is of another.
        """
        if not isinstance(self.result, kind):
            raise TypeError(f"a {type(self.result).__name__} was found, no {kind.__name__}")
        return self.result


@dataclass(frozen=True)
class Preview:
    """What is shown instead of running a study, such as the recipe of its trainings.

    Attributes:
        text: for a person.
        record: for a program, JSON-able.
    """

    text: str
    record: Mapping[str, Any]


class Drawing(Protocol):
    """Draws while a study runs, for those that leave figures and pages on the way.

    The figures' floor lies above this one: `report/drawing.py` has the one that there is.
    """

    def page(self, result: Result, folder: Path) -> None:
        """Write the page of what there is so far into the study's folder."""

    def figures(self, part: str, found: Any, folder: Path) -> Sequence[tuple[str, str]]:
        """Write the figures of a part of the study into its folder.

        Args:
            part: its name.
            found: its typed result.
            folder: where they go.

        Returns:
            (file, what it shows) of each.
        """
        ...


def _quiet(*_: Any) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Context:
    """Where and how a study runs.

    Attributes:
        out: the folder that keeps its results; None keeps nothing.
        running: device, batch size, workers, seed.
        resume: go on with what is in the folder.
        progress: is told how far the work is.
        ranks: which of several processes this is.
        facts: is told what is used, before the work begins.
        warn: is told what a person must know.
        say: is told lines for a person, while the study runs.
        drawing: draws while the study runs; None draws nothing.
        opened: MODEL -> the session that has it open already.
        sets: DATA -> the set of images that is open already.
        lesson: what trainings learn, read already; None reads it.
        beside: the folder of what is kept besides results: features, trainings; None is `out`.
    """

    out: Path | None = None
    running: Running = field(default_factory=Running)
    resume: bool = False
    progress: Progress | None = None
    ranks: Ranks | None = None
    facts: Callable[[dict[str, str]], None] = _quiet
    warn: Callable[[str], None] = _quiet
    say: Callable[..., None] = _quiet
    drawing: Drawing | None = None
    opened: Mapping[str, Session] = field(default_factory=dict)
    sets: Mapping[str, ImageSet] = field(default_factory=dict)
    lesson: TrainingData | None = None
    beside: Path | None = None

    @property
    def kept(self) -> Path | None:
        """The folder of what is kept besides results; None keeps nothing."""
        return self.beside or self.out

    @property
    def device(self) -> torch.device:
        """The device that was asked for.

        Raises:
            BadOption: cuda was asked for and is not there.
        """
        from convscope.experiments.session import choose_device

        return choose_device(self.running.device)

    @property
    def execution(self) -> Execution:
        """How it runs: the device, the workers, the processes, and who is told of it.

        Raises:
            BadOption: cuda was asked for and is not there.
        """
        from convscope.execution import Execution

        return Execution(self.device, self.running.workers, self.together(), self.progress)

    def together(self) -> Ranks:
        """The processes that share the work."""
        from convscope.distributed import ALONE

        return self.ranks or ALONE

    def results(
        self,
        study: Study,
        session: Session,
        images: ImageSet | str,
        *,
        more: Mapping[str, Any] | None = None,
    ) -> AbstractContextManager[ResultStore]:
        """The store of a study of one network and one set of images, for a `with` statement.

        Its settings are the study's options, the network with its weights, how images are fed to
        it, and the images themselves: a folder in which one of them differs is refused.

        Args:
            study: whose options they are.
            session: the network.
            images: the set, or the fingerprint of what else is looked at.
            more: what else the results depend on, such as what an argument stood for, JSON-able.

        Raises:
            FolderInUse: as `ResultStore`.
        """
        from convscope.scan.items import open_results

        settings = {}
        if self.out is not None:
            settings = {
                "study": study.verb,
                **study.settings(),
                "network": session.network.identity()[:16],
                "preprocess": session.model.preprocess.to_dict(),
                "data": images if isinstance(images, str) else images.identity(),
                **(more or {}),
            }
        return open_results(self.out, settings, resume=self.resume, ranks=self.together())

    def session(self, model: str, reading: Any) -> Session:
        """The network of a MODEL, opened as `reading` says, on the device.

        Raises:
            BadModel: and its kin: an unknown model, weights that do not fit, an operation outside
                the table.
            BadOption: input, preprocess, fit or device.
        """
        from convscope.experiments.begun import as_begun
        from convscope.experiments.session import open_session

        opened = self.opened.get(model)
        if opened is None:
            opened = open_session(model, reading, self.running)
            if self.resume and self.out is not None:
                begun = as_begun(opened.model, self.out, reading.fit)
                opened = dataclasses.replace(opened, model=begun)
        return dataclasses.replace(opened, sets=self.sets, warn=self.warn)

    def images(self, spec: str, *, size: int) -> ImageSet:
        """The images of a DATA, scenes drawn at that size.

        Raises:
            BadData: no such set.
        """
        if spec in self.sets:
            return self.sets[spec]
        from convscope.images.datasets import open_images

        images = open_images(spec, size=size, seed=self.running.seed)
        for line in images.about_left_out():
            self.warn(line)
        return images


class Study(ABC):
    """Base of the declarations: a frozen dataclass whose fields are arguments and options.

    A field is an `Annotated` type that says how the command line has it (`experiments/options.py`
    has those that studies share), or a group of options, itself such a dataclass. The class's
    docstring is the verb's help; its first line says what the study does, and it ends with an
    example.

    Attributes:
        verb: its name on the command line.
        out_help: what `--out` is.
        out_metavar: what stands for it in the help.
        out_needed: whether it must be given; if not, `run` says what is missing.
        own_files: whether the experiment looks after its folder itself: it refuses one in use,
            and keeps its result in files of its own, so that no result.json is written.
        resume_help: what `--resume` does; None is a study that cannot be resumed.
    """

    verb: ClassVar[str]
    out_help: ClassVar[str] = "A folder, new or empty."
    out_metavar: ClassVar[str] = "DIR"
    out_needed: ClassVar[bool] = True
    own_files: ClassVar[bool] = False
    resume_help: ClassVar[str | None] = "Go on where an interrupted run stopped."

    def check(self) -> None:
        """Refuse options that contradict each other, before anything is opened.

        Raises:
            BadOption: with the options' names.
        """
        return

    def preview(self, context: Context) -> Preview | None:
        """What to show instead of running, where an option asks for that.

        Raises:
            BadOption: of the options that it depends on.
        """
        return None

    @abstractmethod
    def run(self, context: Context) -> Outcome:
        """Do it.

        Raises:
            ConvscopeError: as the experiment does.
        """

    def settings(self) -> dict[str, Any]:
        """The options by name, JSON-able: what a store keeps of them. Not the arguments, which say
        little of what they name, nor how a model is read, which its session knows."""
        return {
            name: plain(value)
            for kind, name, value, _ in _spread(self)
            if isinstance(kind, typer.models.OptionInfo) and name not in _READING
        }

    def command(self, *, seed: int | None = None, out: str | None = None) -> str:
        """The command that does this study, as a shell reads it; defaults are left out.

        Args:
            seed: of everything that is drawn.
            out: the folder.

        Example:
            >>> InvarianceStudy("zfnet", ["scenes:val"], count=3).command(seed=1, out="o")
            'convscope invariance zfnet scenes:val --count 3 --seed 1 --out o'
        """
        words: list[Any] = ["convscope", self.verb]
        for kind, _, value, _ in _spread(self):
            if isinstance(kind, typer.models.ArgumentInfo):
                words += value if isinstance(value, list | tuple) else [value]
        words += option_words(self)
        if seed is not None:
            words += ["--seed", seed]
        if out is not None:
            words += ["--out", out]
        return " ".join(shlex.quote(str(word)) for word in words)


def option_words(group: Any) -> list[str]:
    """Write a group of options as on the command line; defaults are left out.

    Args:
        group: a study, or a dataclass of options such as `Reading`.

    Example:
        >>> option_words(Reading(input="1x28x28"))
        ['--input', '1x28x28']
    """
    return [
        str(word)
        for kind, name, value, default in _spread(group)
        if not isinstance(kind, typer.models.ArgumentInfo) and value != default
        for word in _option_words(_option_name(kind, name), value)
    ]


_READING = {each.name for each in dataclasses.fields(Reading)}


def _spread(group: Any) -> Iterator[tuple[Any, str, Any, Any]]:
    """(typer's declaration, name, value, default) of every field."""
    hints = get_type_hints(type(group), include_extras=True)
    for each in dataclasses.fields(group):
        value, declared = getattr(group, each.name), hints[each.name]
        if dataclasses.is_dataclass(declared):
            yield from _spread(value)
            continue
        kind = declared.__metadata__[0]
        default = each.default
        if default is dataclasses.MISSING and each.default_factory is not dataclasses.MISSING:
            default = each.default_factory()
        yield kind, each.name, value, default


def _option_name(kind: Any, name: str) -> str:
    """An option's name on the command line: declared (`--try`, `--on/--off`), or the field's."""
    declared = (kind.default, *(kind.param_decls or ()))  # typer takes the first as a default
    named = (word for word in declared if isinstance(word, str) and word.startswith("--"))
    return next(named, f"--{name.replace('_', '-')}").partition("/")[0]


def _option_words(name: str, value: Any) -> list[Any]:
    if value is True:
        return [name]
    if value is None or value is False:
        return []
    if isinstance(value, list | tuple):
        return [word for each in value for word in (name, each)]
    return [name, value]
