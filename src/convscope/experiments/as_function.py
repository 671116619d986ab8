"""From a study to a function of Python: its arguments and options are the study's fields."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, get_origin, get_type_hints

from convscope.errors import BadOption
from convscope.experiments.options import Running
from convscope.experiments.study import Context, Result, Study
from convscope.progress import Progress
from convscope.store.lock import check_unused

if TYPE_CHECKING:
    from convscope.experiments.session import Session
    from convscope.images.image_set import ImageSet

__all__ = ["as_function", "member_of"]

Member = TypeVar("Member", bound=Enum)


def as_function(study: type[Study]) -> Callable[..., Result]:
    """A study as a function: its arguments and options are the study's fields.

    A model or a set of images may be given opened. Besides the fields it takes `out` and `resume`,
    where results are kept, `progress`, and the options that every verb takes: `device`,
    `batch_size`, `workers`, `seed`.

    Example:
        >>> convscope.sparsity("run:runs/demo/zfnet", "scenes:val", layers="conv1,conv5")
    """

    def call(
        *arguments: Any,
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: Progress | None = None,
        **options: Any,
    ) -> Result:
        how = _gathered(Running, options)
        names = [each.name for each in dataclasses.fields(study)]  # type: ignore[arg-type]
        given = {**dict(zip(names, arguments, strict=False)), **options}
        opened, sets = _opened(given, how)
        made = _gathered(study, given)
        if given or len(arguments) > len(names):
            raise TypeError(f"{study.verb}() takes no {', '.join(given) or 'more arguments'}")
        made.check()
        folder = None if out is None else check_unused(out, resume=resume)
        context = Context(folder, how, resume, progress, opened=opened, sets=sets)
        outcome = made.run(context)
        object.__setattr__(outcome.result, "_outcome", outcome)  # for its figures' words
        return outcome.result

    call.__name__, call.__doc__ = study.verb.replace("-", "_"), study.__doc__
    return call


def _gathered(kind: Any, options: dict[str, Any]) -> Any:
    """A declaration made of the options that it has, which are taken out of them.

    Raises:
        BadOption: an option that is one of several is none of them.
    """
    values, hints = {}, get_type_hints(kind)
    for each in dataclasses.fields(kind):
        wanted = hints[each.name]
        if dataclasses.is_dataclass(wanted) and each.name not in options:
            values[each.name] = _gathered(wanted, options)
        elif each.name in options:
            values[each.name] = _as_declared(wanted, options.pop(each.name), each.name)
    return kind(**values)


def _as_declared(kind: Any, value: Any, name: str) -> Any:
    """A value in the form that the command line gives it.

    Raises:
        BadOption: it is no list where one is wanted, or none of an enumeration's members.
    """
    if get_origin(kind) is list:
        if not isinstance(value, Iterable):
            raise BadOption(f"{name}={value!r}: give a text, or a list of texts")
        return [value] if isinstance(value, str) else list(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return member_of(kind, value, name)
    return value


def member_of(kind: type[Member], value: Any, name: str) -> Member:
    """A member of an enumeration by its value.

    Args:
        kind: the enumeration.
        value: of the member, or the member.
        name: of the option, for the error.

    Raises:
        BadOption: there is none, with those there are.
    """
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise BadOption(f"{name} {value!r}: give one of {known}") from None


def _opened(given: dict[str, Any], how: Running) -> tuple[dict[str, Session], dict[str, ImageSet]]:
    """What was given opened, by the words that stand for it, which take its place."""
    opened: dict[str, Session] = {}
    sets: dict[str, ImageSet] = {}
    for name, value in given.items():
        if hasattr(value, "network") and hasattr(value, "model"):  # a session
            given[name] = _unused(value.model.spec, opened)
            opened[given[name]] = dataclasses.replace(value, seed=how.seed)
        elif hasattr(value, "spec") and hasattr(value, "module"):  # a model
            from convscope.experiments.session import session_of

            given[name] = _unused(value.spec, opened)
            opened[given[name]] = session_of(value, how)
        elif hasattr(value, "spec"):  # a set of images
            given[name] = value.spec
            sets[value.spec] = value
    return opened, sets


def _unused(words: str, opened: Collection[str]) -> str:
    """Words for one more of what is opened: two networks may be called the same."""
    return words if words not in opened else _unused(f"{words} again", opened)
