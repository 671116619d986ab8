"""The first difference between two records of settings, in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["all_differences", "first_difference"]

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
        return next(_in_fields(there, now, sentences, name), None)
    if isinstance(there, list | tuple) and isinstance(now, list | tuple):
        if len(there) != len(now):
            return f"{name} has {len(there)} entries there, {len(now)} now"
        at = next(i for i, pair in enumerate(zip(there, now, strict=True)) if pair[0] != pair[1])
        return first_difference(there[at], now[at], sentences=sentences, name=f"{name}[{at}]")
    if sentences and name in sentences and isinstance(there, str) and isinstance(now, str):
        return sentences[name]
    return f"{name} is {_brief(there)} there, {_brief(now)} now"


def all_differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name every setting that differs between two records, as `first_difference` names one.

    Args:
        there: What a folder was made with.
        now: What is asked for.

    Returns:
        A line for each setting that differs, in the order of the records.

    Example:
        >>> all_differences({"top": 9, "rules": "deconvnet"}, {"top": 5, "rules": "guided"})
        ['top is 9 there, 5 now', "rules is 'deconvnet' there, 'guided' now"]
    """
    return list(_in_fields(there, now, None, ""))


def _in_fields(
    there: Mapping[str, Any],
    now: Mapping[str, Any],
    sentences: Mapping[str, str] | None,
    name: str,
) -> Iterator[str]:
    for key in dict.fromkeys((*there, *now)):
        path = f"{name}.{key}" if name else key
        line = first_difference(there.get(key), now.get(key), sentences=sentences, name=path)
        if line is not None:
            yield line


def _brief(value: Any) -> str:
    words = repr(str(value)) if isinstance(value, str) else repr(value)  # not of an enum
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}…"
