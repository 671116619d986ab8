"""The command line: its verbs, and how errors reach the person and the shell.

The exit codes are

    0  done      1  failed (NaN met, disk full, ...)      2  bad input
    130  interrupted (Ctrl-C)      143  told to end (SIGTERM)
"""

from __future__ import annotations

import errno
import inspect
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from convscope.cli.check import check
from convscope.cli.curvature import curvature
from convscope.cli.demo import demo
from convscope.cli.explore import explore
from convscope.cli.features import features
from convscope.cli.invert import invert
from convscope.cli.layers import layers
from convscope.cli.occlude import occlude
from convscope.cli.project import project
from convscope.cli.saliency import saliency
from convscope.cli.verb import command_of, register
from convscope.cli.verify import verify
from convscope.cli.visualize import visualize
from convscope.ending import signal_words, told_by
from convscope.errors import BadInput, ConvscopeError, PeerFailed
from convscope.experiments.registry import STUDIES
from convscope.experiments.study import Study
from convscope.text import printable
from convscope.version import __version__

__all__ = ["VERBS", "main", "whole_app"]

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

# Newer typer carries click inside itself, so click's own classes would not match: ask typer's.
_WrongUsage: Any = typer.BadParameter.mro()[2]

NOTHING_TO_DO = ("The pynvml package is deprecated",)
"""What torch says whenever it is loaded, of what else is installed; work is not touched by it."""

COMPLETING = "_CONVSCOPE_COMPLETE"
"""Set by a shell that asks how a line may go on."""


def _convscope(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """A microscope for convolutional networks.

    Point it at a PyTorch CNN and a folder of images; it shows what in those images excites each
    feature map, and which pixels a decision rests on.

    Start with

        convscope demo
    """
    if version:
        typer.echo(f"convscope {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


LOOKING = (
    demo, layers, explore, project, saliency, check, visualize, curvature, invert, occlude,
    features, verify,
)  # fmt: skip

VERBS: dict[str, Callable[..., None] | type[Study]] = {
    **{verb.__name__: verb for verb in LOOKING},
    **{study.verb: study for study in STUDIES},
}
"""By name, in the order of the reference."""

PANELS = {
    "Begin": ("demo", "layers", "explore"),
    "Ask one image": ("project", "saliency", "occlude", "invert", "check", "pictures"),
    "Ask a unit, without an image": ("visualize", "curvature"),
    "Ask many images": (
        "atlas", "verify", "errors", "remove-units", "compare", "sensitivity", "localize",
        "sanity", "invariance", "correspond",
    ),
    "Train, and look for faults": ("train", "diagnose", "evolve", "ablate", "ensemble"),
    "Use the features": ("features", "probe", "transfer", "adaptive"),
    "All of the paper": ("paper",),
}  # fmt: skip
"""What verbs are for, in the order of --help; those that are named nowhere come last."""


def whole_app(*, names_only: bool = False) -> typer.Typer:
    """The program with all of its verbs.

    Args:
        names_only: without the verbs' options, which take time to make and which nobody asks for
            where no verb is run.
    """
    app = _app(add_completion=True)
    app.callback(invoke_without_command=True)(_convscope)
    if not names_only:
        for name in VERBS:
            _add_verb(app, name)
        return app
    named = {name for names in PANELS.values() for name in names}
    others = tuple(name for name in VERBS if name not in named)
    for panel, names in {**PANELS, "More": others}.items():
        for name in names:
            help_words = inspect.getdoc(VERBS[name])
            app.command(name, help=help_words, rich_help_panel=panel)(lambda: None)
    return app


def _app(**options: Any) -> typer.Typer:
    return typer.Typer(
        name="convscope",
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
        **options,
    )


def _add_verb(app: typer.Typer, name: str) -> None:
    verb = VERBS[name]
    if isinstance(verb, type):
        command_of(app, verb)
    else:
        register(app, verb)


def _command(words: Sequence[str]) -> tuple[Any, str, Sequence[str]]:
    """What runs the words, what it is called, and its own words.

    Words that begin with a verb are that verb's alone: to make all the others for it would take
    longer than its help.
    """
    if not words or words[0] not in VERBS:
        app = whole_app(names_only=COMPLETING not in os.environ)
        return typer.main.get_command(app), "convscope", words
    app = _app(add_completion=False)
    _add_verb(app, words[0])
    return typer.main.get_command(app), f"convscope {words[0]}", words[1:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; default: those that this process was started with.

    Returns:
        The exit code.

    Example:
        >>> main(["layers", "zfnet"])
        0
    """
    _let_idle_threads_sleep()
    for name in ("stdout", "stderr"):  # None where a shell has closed it, as by >&-
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without × still shows the rest
            stream.reconfigure(errors="replace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            for words in NOTHING_TO_DO:
                warnings.filterwarnings("ignore", message=words)
            return _run(arguments)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return _complain(signal_words(told_by()), INTERRUPTED)


def _run(arguments: Sequence[str] | None) -> int:
    """Run the command line, and turn errors into a line and an exit code."""
    command, name, words = _command(sys.argv[1:] if arguments is None else arguments)
    try:
        code = command.main(args=list(words), prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except BadInput as error:
        return _complain(str(error), BAD_INPUT)
    except PeerFailed as error:
        return FAILED if error.said else _complain(str(error), FAILED)
    except ConvscopeError as error:
        return _complain(str(error), FAILED)
    except _WrongUsage as error:
        return _complain(_usage(error), BAD_INPUT)
    except typer.Abort:
        return _complain(signal_words(told_by()), INTERRUPTED)
    except BrokenPipeError:
        raise
    except OSError as error:  # disk full, permission denied, ...
        return _complain(_of_system(error), FAILED)
    if code == INTERRUPTED:  # typer has turned the KeyboardInterrupt into its exit code
        return _complain(signal_words(told_by()), INTERRUPTED)
    return int(code or DONE)


def _show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    """A library's warning as one line, without its place in the code."""
    _complain(str(message), DONE)


def _let_idle_threads_sleep() -> None:
    """Let threads that wait for each other sleep soon; it must be said before torch is loaded.

    By default GNU OpenMP's threads spin for milliseconds. Beside other work on the same cores that
    made a training epoch of zfnet-small 3 to 7 times as long (2 cores, load 5).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def _complain(message: str, code: int) -> int:
    """Print one line on stderr, in one write, as other processes may print at the same moment."""
    line = printable(" ".join(message.split()))
    line = line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …"  # of strangers' names
    sys.stderr.write(f"convscope: {line}\n")
    return code


LONGEST_LINE = 4000
"""Letters of an error's line."""
REMEDIES = {
    errno.ENOSPC: "free some space, then give the same command again, with --resume if it has that",
    errno.EDQUOT: "free some space, then give the same command again, with --resume if it has that",
    errno.EROFS: "give a place that can be written to",
    errno.EACCES: "give another place, or change its permissions",
    errno.EPERM: "give another place, or change its permissions",
    errno.EIO: "check the disk, then give the same command again, with --resume if it has that",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOENT: "check the name",
    errno.EISDIR: "a file belongs there: remove the folder",
    errno.ENOTDIR: "a folder belongs there: remove the file",
}
"""What to do about an error of the system, by its number."""
_SUGGESTED = re.compile(
    r"(?:[.?]? \(?(?:Did you mean(?: one of:)?|Possible options:) ([^)?]+)\??\)?)+$"
)
"""How click and typer end a message that has names to offer."""


def _of_system(error: OSError) -> str:
    """The file, the system's words, and the remedy."""
    remedy = REMEDIES.get(error.errno or 0)
    if error.filename is None or error.strerror is None or remedy is None:
        return f"{error}; {remedy}" if remedy else str(error)
    return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}: {remedy}"


def _usage(error: Any) -> str:
    """What is wrong with the arguments, in typer's words, and where help is."""
    message = " ".join(error.format_message().split()).replace("Value error, ", "").rstrip(".?")
    message = _SUGGESTED.sub(_suggestion, message)
    message = re.sub(r"^No such option:? '?([\w-]+)'?", r"No such option \1", message)
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "convscope"
    return f"{message[:1].lower()}{message[1:]} (see {where} --help)"


def _suggestion(found: re.Match[str]) -> str:
    """The names offered, in the words of every other message."""
    names = found[1].replace("'", "").split(", ")
    return f": did you mean {' or '.join(names)}?"
