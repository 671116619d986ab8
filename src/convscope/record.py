"""Records: frozen dataclasses that convert themselves to JSON, in the order of their fields."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import field, fields
from enum import Enum
from pathlib import PurePath
from typing import Any, ClassVar

from convscope.display import Brief
from convscope.errors import NonFinite

__all__ = ["Record", "json_as", "json_text", "key", "not_in_json", "plain"]

_KEY = "json"


def key(name: str | None) -> dict[str, str | None]:
    """Make the metadata of a dataclass field that has another key in JSON.

    It is for fields without a default that others follow: type checkers know of
    `dataclasses.field` alone that it gives none.

    Args:
        name: The key in JSON; None leaves the field out.

    Example:
        >>> hits: int = field(metadata=key("count"))
    """
    return {_KEY: name}


def json_as(name: str, **options: Any) -> Any:
    """Declare a dataclass field whose key in JSON is not the field's own name.

    Args:
        name: The key in JSON.
        **options: Options of `dataclasses.field`, such as `default`.
    """
    return field(metadata=key(name), **options)


def not_in_json(**options: Any) -> Any:
    """Declare a dataclass field that JSON leaves out, such as a picture.

    Args:
        **options: Options of `dataclasses.field`, such as `default`.
    """
    return field(metadata=key(None), **options)


class Record(Brief):
    """Base class of the dataclasses that hold results.

    Attributes:
        also: Names of properties that JSON holds too, after the fields.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Rate(Record):
        ...     also = ("share",)
        ...     hits: int
        ...     of: int = json_as("count")
        ...     @property
        ...     def share(self) -> float:
        ...         return self.hits / self.of
        >>> Rate(3, 4).to_dict()
        {'hits': 3, 'count': 4, 'share': 0.75}
    """

    also: ClassVar[tuple[str, ...]] = ()

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary: the fields, then the properties named in `also`."""
        values: dict[str, Any] = {}
        for entry in fields(self):  # type: ignore[arg-type]
            name = entry.metadata.get(_KEY, entry.name)
            if name is not None:
                values[name] = plain(getattr(self, entry.name))
        return values | {name: plain(getattr(self, name)) for name in self.also}


def plain(value: Any) -> Any:
    """Convert a value to what JSON has: objects, lists, text and numbers.

    Args:
        value: A record, mapping, sequence, array, tensor, enum member, path, or plain value.

    Example:
        >>> plain({"size": (3, 4)})
        {'size': [3, 4]}
    """
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Enum | PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(element) for key, element in value.items()}
    if isinstance(value, tuple | list | range):
        return [plain(element) for element in value]
    if hasattr(value, "tolist"):  # of NumPy and torch
        return value.tolist()
    return value


def json_text(value: Any) -> str:
    """Write a result as JSON, which knows no NaN and no infinity.

    Args:
        value: What `plain` gives.

    Raises:
        NonFinite: There is one; the entry is named.

    Example:
        >>> json_text({"share": 0.5})
        '{\\n "share": 0.5\\n}'
    """
    try:
        return json.dumps(value, indent=1, allow_nan=False)
    except ValueError:
        place = next(_not_finite(value, ""), "")
        raise NonFinite(f"the result's {place} is NaN or infinite: check the weights") from None


def _not_finite(value: Any, place: str) -> Iterator[str]:
    """Where numbers are no numbers, as `layers[2].share`."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _not_finite(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _not_finite(inner, f"{place}[{number}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield place
