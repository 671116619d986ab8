"""The names of a network's classes, read from a file: names by index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convscope.errors import BadData
from convscope.text import is_number

FORMS = (
    "a name a line; or JSON: a list of names, a list of objects with `index` and `names`,"
    " or an object from index to name"
)
NAMES = ("names", "name", "class", "label_name")  # the keys that hold an object's name
INDICES = ("index", "label", "id")  # the keys that hold its index


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Read the class names in a file, by index from 0.

    The file is text, a name a line, or JSON: ["cat", …], [{"index": 0, "names": "cat"}, …],
    {"0": "cat", …} or {"0": ["n02123045", "cat"], …}, where the last of a list is the name.

    Raises:
        BadData: The file cannot be read, has another form, or an index is missing or there twice.

    Example:
        read_classes("imagenet_classes.txt")[0]
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror}") from None
    return parse_classes(data, path)


def parse_classes(data: bytes, path: str | Path) -> tuple[str, ...]:
    """Parse the class names in a file's bytes, which have the forms that `read_classes` reads.

    Args:
        data: The file's bytes.
        path: What errors call the file.

    Raises:
        BadData: The bytes have another form, or an index is missing or there twice.

    Example:
        >>> parse_classes(b'["cat", "dog"]', "names.json")
        ('cat', 'dog')
    """
    try:
        text = data.decode("utf-8-sig")
        if text.lstrip()[:1] in ("[", "{"):
            return _from_json(json.loads(text))
        return _from_lines(text.splitlines())
    except UnicodeDecodeError:
        raise BadData(f"{path}: not a UTF-8 text; class names are {FORMS}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadData(f"{path}: not JSON ({error}); class names are {FORMS}") from None
    except BadData as error:
        raise BadData(f"{path}: {error}") from None


def _from_lines(lines: list[str]) -> tuple[str, ...]:
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise BadData(f"no class name in it; class names are {FORMS}")
    if "" in names:
        raise BadData(f"line {names.index('') + 1} is empty: the names after it would be one off")
    return tuple(names)


def _from_json(value: Any) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        return _by_index([(index, _name(name)) for index, name in value.items()])
    if value and all(isinstance(entry, Mapping) for entry in value):
        return _by_index([_indexed(entry) for entry in value])
    if value and all(isinstance(entry, str) for entry in value):
        return tuple(value)
    raise BadData(f"neither names nor objects in its list; class names are {FORMS}")


def _indexed(entry: Mapping[str, Any]) -> tuple[Any, str]:
    index = next((entry[key] for key in INDICES if key in entry), None)
    name = next((entry[key] for key in NAMES if key in entry), None)
    if index is None or name is None:
        raise BadData(f"entry with {', '.join(map(str, entry))}: it needs `index` and `names`")
    return index, _name(name)


def _name(value: Any) -> str:
    if isinstance(value, list) and value:
        value = value[-1]
    if not isinstance(value, str):
        raise BadData(f"{value!r} is not a class's name; class names are {FORMS}")
    return value


def _by_index(entries: list[tuple[Any, str]]) -> tuple[str, ...]:
    """Order names by their index, which must count from 0 without a gap."""
    names: dict[int, str] = {}
    for index, name in entries:
        if isinstance(index, bool) or not is_number(str(index).strip()):
            raise BadData(f"{index!r} is not a class's index; class names are {FORMS}")
        if int(index) in names:
            raise BadData(f"index {int(index)} is there twice")
        names[int(index)] = name
    missing = next((index for index in range(len(names)) if index not in names), None)
    if missing is not None or not names:
        raise BadData(f"index {missing or 0} is missing: {len(names)} names count from 0")
    return tuple(names[index] for index in range(len(names)))
