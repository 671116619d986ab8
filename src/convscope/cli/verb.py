"""From a function or a study to a verb of the command line.

A parameter that is a group of options (`experiments/options.py`) is spread out for typer and
gathered again. A study needs no function: `command_of` makes it from the declaration.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from convscope.cli.outputs import write_file
from convscope.cli.screen import Screen
from convscope.experiments.options import Running
from convscope.experiments.study import Context, Outcome, Preview, Study
from convscope.record import json_text
from convscope.store.lock import check_unused, claimed

__all__ = ["command_of", "register"]

FAILED = 1


def register(app: typer.Typer, verb: Callable[..., None]) -> None:
    """Make a function a command of its name; parameters that are option groups are spread out."""
    hints = get_type_hints(verb, include_extras=True)
    parameters = [
        inspect.Parameter(
            given.name, given.kind, default=given.default, annotation=hints[given.name]
        )
        for given in inspect.signature(verb).parameters.values()
    ]
    _add(app, verb.__name__, verb.__doc__, parameters, verb)


def command_of(app: typer.Typer, study: type[Study]) -> None:
    """Make a study a command: its own options, where results go, and how it runs."""
    parameters = list(_parameters(study))
    option = typer.Option(metavar=study.out_metavar, help=study.out_help, show_default=False)
    folder: Any = Annotated[Path, option]
    default: Any = inspect.Parameter.empty
    if not study.out_needed:
        folder, default = Annotated[Path | None, option], None
    parameters += [
        inspect.Parameter(
            "out", inspect.Parameter.KEYWORD_ONLY, default=default, annotation=folder
        ),
        inspect.Parameter("running", inspect.Parameter.KEYWORD_ONLY, annotation=Running),
    ]
    if study.resume_help is not None:
        resume = Annotated[bool, typer.Option("--resume", help=study.resume_help)]
        parameters.append(
            inspect.Parameter(
                "resume", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=resume
            )
        )

    def run(
        *, out: Path | None, running: Running, resume: bool | None = None, **options: Any
    ) -> None:
        _run(study(**options), out, running, resume)

    _add(app, study.verb, study.__doc__, parameters, run)


def _run(study: Study, out: Path | None, running: Running, resume: bool | None) -> None:
    """One study, from its options to its files; as one of several processes, if there are."""
    preview = study.preview(Context(out, running, bool(resume)))
    if preview is not None:
        _show(preview, running)
        return
    if out is not None and not study.own_files:
        check_unused(out, resume=resume)
    study.check()
    from convscope.distributed import processes
    from convscope.experiments.session import choose_device
    from convscope.report.on_the_way import DrawnOnTheWay

    with processes(choose_device(running.device)) as ranks:
        screen = Screen(running.as_json, silent=not ranks.first)
        drawing = DrawnOnTheWay() if ranks.first else None
        assert out is not None  # a study that needs none has said so
        with claimed(out) if ranks.first else nullcontext():
            with screen.progress(out) as progress:
                outcome = study.run(
                    Context(
                        out, running, bool(resume), progress, ranks, facts=screen.facts,
                        warn=screen.warn, say=screen.say, drawing=drawing,
                    )
                )  # fmt: skip
            if ranks.first:
                _leave(screen, study, out, outcome)


def _show(preview: Preview, running: Running) -> None:
    """Print what is shown instead of running: its text, or its record for a program."""
    screen = Screen(running.as_json)
    screen.say(preview.text)
    screen.result(dict(preview.record))


def _leave(screen: Screen, study: Study, out: Path, outcome: Outcome) -> None:
    """Words for a person, files, and the result for a program.

    Raises:
        typer.Exit: some of it failed.
    """
    from convscope.experiments.session import UNTRAINED
    from convscope.report.drawing import draw

    words = "\n".join(outcome.result.words()).strip("\n").split("\n")
    screen.say("", *words, *([UNTRAINED] if outcome.random_weights else []))
    for line in outcome.result.warnings():
        screen.warn(line)
    record, result = dict(outcome.about), outcome.result.to_dict()
    drawn = draw(outcome, out)
    for line in drawn.warnings:
        screen.warn(line)
    if not study.own_files:
        content = {"about": record, **result}
        write_file(out / "result.json", json_text(content).encode())
    screen.say("", *(f"Open {page}" for page in drawn.pages), f"Written: {out}")
    pages = {"page": str(drawn.pages[0])} if drawn.pages else {}
    screen.result({**record, **result, "out": str(out), **pages})
    errors = outcome.result.errors()
    for line in errors:
        screen.warn(line)
    if errors:
        raise typer.Exit(FAILED)


def _add(
    app: typer.Typer,
    name: str,
    words: str | None,
    parameters: list[inspect.Parameter],
    run: Callable[..., None],
) -> None:
    """A command that gathers its option groups again and runs."""
    groups: dict[str, Any] = {
        p.name: p.annotation for p in parameters if dataclasses.is_dataclass(p.annotation)
    }

    def command(**values: Any) -> None:
        for group, kind in groups.items():
            names = [field.name for field in dataclasses.fields(kind)]
            values[group] = kind(**{name: values.pop(name) for name in names})
        run(**values)

    spread = [each for given in parameters for each in _spread(given)]
    command.__name__, command.__doc__ = name, words
    command.__annotations__ = {each.name: each.annotation for each in spread}
    command.__signature__ = inspect.Signature(spread)  # type: ignore[attr-defined]
    app.command(name, context_settings=app.info.context_settings)(command)


def _spread(given: inspect.Parameter) -> list[inspect.Parameter]:
    """A group's fields, or the parameter itself."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    if not dataclasses.is_dataclass(given.annotation):
        return [given.replace(kind=keyword)]
    group: Any = given.annotation
    return list(_parameters(group))


@cache  # a group is that of many verbs
def _parameters(group: Any) -> tuple[inspect.Parameter, ...]:
    """A dataclass' fields as parameters of a command."""
    hints = get_type_hints(group, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return tuple(
        inspect.Parameter(each.name, keyword, default=_default(each), annotation=hints[each.name])
        for each in dataclasses.fields(group)
    )


def _default(given: Any) -> Any:
    """A field's default, as a signature has it."""
    if given.default is not dataclasses.MISSING:
        return given.default
    if given.default_factory is not dataclasses.MISSING:
        return given.default_factory()
    return inspect.Parameter.empty
