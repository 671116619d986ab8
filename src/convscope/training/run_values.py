"""The values in a run's JSON, checked before anything is made of them: it may be a stranger's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["check_images_record", "check_list", "check_values"]

MOST = 2**53  # beyond it a JSON number is not exact
CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "int": lambda value: type(value) is int and 0 <= value <= MOST,
    "float": lambda value: type(value) in (int, float) and abs(value) != float("inf"),
    "bool": lambda value: type(value) is bool,
    "str": lambda value: type(value) is str,
}
"""Whether a value is of a field's type; a loss that diverged may be NaN."""


def check_values(kind: type, values: Any) -> None:
    """Compare a JSON object with the fields of a dataclass.

    Args:
        kind: The dataclass. Fields of other types than numbers, text, yes or no, and lists of them
            are whoever makes it to check.
        values: The object.

    Raises:
        TypeError: A value is of another type; it is named.
    """
    if not isinstance(values, dict):
        raise TypeError(f"{kind.__name__} is no object")
    for each in dataclasses.fields(kind):
        if each.name not in values:
            continue  # found when it is made
        written, value = str(each.type), values[each.name]
        inner = written.removesuffix(" | None").removeprefix("tuple[").removesuffix(", ...]")
        if inner not in CHECKS or (value is None and written.endswith(" | None")):
            continue
        several = written.startswith("tuple[")
        if several and not isinstance(value, list):
            raise TypeError(f"{each.name} is no list")
        if not all(map(CHECKS[inner], value if several else [value])):
            raise TypeError(f"{each.name} is not {written}")


def check_list(name: str, values: Any, kind: type) -> None:
    """Compare a list of JSON objects with the fields of a dataclass, or of text with `str`.

    Raises:
        TypeError: It is no list, or a value is of another type.
    """
    if not isinstance(values, list):
        raise TypeError(f"{name} is no list")
    for value in values:
        if dataclasses.is_dataclass(kind):
            check_values(kind, value)
        elif not isinstance(value, kind):
            raise TypeError(f"{name} holds what is no {kind.__name__}")


def check_images_record(name: str, values: Any) -> None:
    """Check what a run says of a set of images.

    Raises:
        TypeError: It is no object, or its spec, identity or count is of another type.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{name} is no object")
    for key, kind in {"spec": "str", "identity": "str", "count": "int"}.items():
        if key in values and not CHECKS[kind](values[key]):
            raise TypeError(f"{name}'s {key} is not {kind}")
