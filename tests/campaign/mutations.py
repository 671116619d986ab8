"""What may happen to a file: bytes flipped, cut, doubled, swapped; values of JSON changed."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 0.5, float("nan"), float("inf"),
    "", "../../outside", "/etc/passwd", "\x1b[2J", "<script>alert(1)</script>", "a" * 100_000,
    "\0", "\ud800", [], {}, [[]], [None], {"": {}}, [1] * 10_000,
)  # fmt: skip
"""Values that no file of ours has where they are put."""


def mutate(path: Path, dice: random.Random) -> str:
    """Change a file in one of the ways there are; say which."""
    ways = [flip, cut, fill, double]
    if path.suffix == ".json":
        ways += [change_json] * 6 + [nest]
    elif path.suffix == ".safetensors":
        ways += [change_header] * 4
    way = dice.choice(ways)
    data = path.read_bytes()
    path.write_bytes(way(data, dice))
    return f"{path.name}: {way.__name__}"


def flip(data: bytes, dice: random.Random) -> bytes:
    """Some bits are others."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 8))):
        if changed:
            changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def cut(data: bytes, dice: random.Random) -> bytes:
    """The end is missing."""
    return data[: dice.randrange(len(data) + 1)]


def fill(data: bytes, dice: random.Random) -> bytes:
    """A stretch is zeros, as after a power failure."""
    start = dice.randrange(len(data) + 1)
    end = min(len(data), start + dice.choice((1, 16, 512, 1 << 20)))
    return data[:start] + bytes(end - start) + data[end:]


def double(data: bytes, dice: random.Random) -> bytes:
    """A stretch is there twice."""
    start = dice.randrange(len(data) + 1)
    end = dice.randrange(start, len(data) + 1)
    return data[:end] + data[start:]


def nest(data: bytes, dice: random.Random) -> bytes:
    """Brackets without end."""
    return dice.choice((b"[", b'{"a":')) * 100_000


def change_json(data: bytes, dice: random.Random) -> bytes:
    """A value is another one, is missing, or has changed places with its neighbour."""
    value = json.loads(data)
    places = list(_places(value))
    if not places:
        return json.dumps(dice.choice(HOSTILE)).encode()
    inside, key = dice.choice(places)
    how = dice.randrange(5)
    if how == 0:
        del inside[key]
    elif how == 1:
        other = dice.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
        inside[key], inside[other] = inside[other], inside[key]
    elif how == 2 and isinstance(inside[key], int | float) and not isinstance(inside[key], bool):
        inside[key] = inside[key] + dice.choice((1, -1, 0.5, 1000))
    elif how == 3 and isinstance(inside, dict):
        inside[dice.choice(("", "later", "slug", "__class__", "name"))] = dice.choice(HOSTILE)
    else:
        inside[key] = dice.choice(HOSTILE)
    return json.dumps(value).encode()


def _places(value: Any) -> Any:
    """Every (container, key) below a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs) if isinstance(value, dict | list) else ():
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def change_header(data: bytes, dice: random.Random) -> bytes:
    """A safetensors file whose header says something else of the same bytes."""
    size = int.from_bytes(data[:8], "little")
    header = change_json(data[8 : 8 + size], dice)
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def replaced_by_another(path: Path, others: list[Path], dice: random.Random) -> str:
    """A file holds what another one of the folder holds."""
    other = dice.choice(others)
    path.write_bytes(other.read_bytes())
    return f"{path.name}: holds {other.name}"


def removed(path: Path, dice: random.Random) -> str:
    """A file is not there, is a folder, or is a link that leads nowhere."""
    path.unlink()
    how: Callable[[], object] = dice.choice(
        (lambda: None, path.mkdir, lambda: path.symlink_to("nowhere"), lambda: path.touch())
    )
    how()
    return f"{path.name}: removed or replaced"


def damage(folder: Path, dice: random.Random) -> str:
    """Change one file of a folder, whichever; say what was done.

    Files of JSON and of tensors are met more often than pictures.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    weights = [
        8 if path.suffix in (".json", ".safetensors", ".jsonl", ".npz", ".yaml") else 1
        for path in files
    ]
    path = dice.choices(files, weights)[0]
    how = dice.randrange(10)
    if how == 0:
        return removed(path, dice)
    if how == 1:
        return replaced_by_another(path, files, dice)
    return mutate(path, dice)
