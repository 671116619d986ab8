"""The first difference between two records of settings, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["first_difference"]

LONGEST = 40  # characters of a value in a message: identities are long


def first_difference(
    there: Any, now: Any, *, sentences: Mapping[str, str] | None = None, name: str = ""
) -> str | None:
    """Name the first value in which two records of settings differ.

    Args:
        there: What a folder was made with: nested mappings and sequences of plain values.
        now: What is asked for.
        sentences: By the name of a setting, the message for it, in place of the two values: for
            settings whose values tell a reader nothing, such as fingerprints.
        name: The path to these records within the whole ones, for the message.

    Returns:
        A line such as "recipe.learning_rate is 0.01 there, 0.02 now"; None where all is equal.

    Example:
        >>> first_difference({"epochs": 10}, {"epochs": 20})
        'epochs is 10 there, 20 now'
    """
    if there == now:
        return None
    if isinstance(there, Mapping) and isinstance(now, Mapping):
        keys = sorted(there.keys() | now.keys())
        key = next(key for key in keys if there.get(key) != now.get(key))
        way = f"{name}.{key}" if name else key
        return first_difference(there.get(key), now.get(key), sentences=sentences, name=way)
    if isinstance(there, list | tuple) and isinstance(now, list | tuple):
        if len(there) != len(now):
            return f"{name} has {len(there)} entries there, {len(now)} now"
        at = next(i for i, pair in enumerate(zip(there, now, strict=True)) if pair[0] != pair[1])
        return first_difference(there[at], now[at], sentences=sentences, name=f"{name}[{at}]")
    if sentences and name in sentences and isinstance(there, str) and isinstance(now, str):
        return sentences[name]
    return f"{name} is {_brief(there)} there, {_brief(now)} now"


def _brief(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}…"
