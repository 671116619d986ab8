"""Records: frozen dataclasses that know their JSON, field by field, in the order of the fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from enum import Enum
from pathlib import PurePath
from typing import Any, ClassVar

__all__ = ["Record", "json_as", "key", "not_in_json", "plain"]

_KEY = "json"


def key(name: str | None) -> dict[str, str | None]:
    """Metadata of a dataclass field that is called `name` in JSON; None leaves it out.

    For fields without a default that others follow: type checkers know `dataclasses.field` alone
    to give none.

    Example:
        >>> hits: int = field(metadata=key("count"))
    """
    return {_KEY: name}


def json_as(name: str, **options: Any) -> Any:
    """A dataclass field that is called `name` in JSON.

    Args:
        name: the key.
        **options: of `dataclasses.field`, such as `default`.
    """
    return field(metadata=key(name), **options)


def not_in_json(**options: Any) -> Any:
    """A dataclass field that JSON leaves out, such as a picture.

    Args:
        **options: of `dataclasses.field`, such as `default`.
    """
    return field(metadata=key(None), **options)


class Record:
    """Base of the dataclasses that hold results.

    Attributes:
        also: names of properties that JSON holds too, after the fields.

    Example:
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
        """JSON-able: the fields under their names, and the properties named in `also`."""
        found: dict[str, Any] = {}
        for each in fields(self):  # type: ignore[arg-type]
            name = each.metadata.get(_KEY, each.name)
            if name is not None:
                found[name] = plain(getattr(self, each.name))
        return found | {name: plain(getattr(self, name)) for name in self.also}


def plain(value: Any) -> Any:
    """A value as JSON has it: records and mappings as objects, sequences and arrays as lists."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Enum | PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list | range):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # of NumPy and torch
        return value.tolist()
    return value
