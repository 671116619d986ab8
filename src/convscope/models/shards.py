"""Weights in several safetensors files beside an index, as large networks are published.

`model.safetensors.index.json` says which file holds which tensor. Anybody may have written it: a
shard is a file beside it, and nothing else is opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from convscope.errors import BadCheckpoint
from convscope.text import error_words

__all__ = ["INDEX", "is_index", "read_index", "weights_in_folder"]

INDEX = ".safetensors.index.json"
"""What the name of an index ends with."""
WHOLE = "model.safetensors"
MOST_BYTES, MOST_SHARDS = 64 * 2**20, 10_000


def is_index(path: Path) -> bool:
    """Whether a file's name says that it is an index of shards."""
    return path.name.endswith(".index.json")


def weights_in_folder(folder: Path) -> Path | None:
    """The weights of a folder that a network was published as: an index, or one file.

    Args:
        folder: where they lie.

    Raises:
        BadCheckpoint: it holds several indices.
    """
    found = sorted(folder.glob(f"*{INDEX}"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:4])
        raise BadCheckpoint(f"{folder} holds {len(found)} indices ({names}): give one of them")
    whole = folder / WHOLE
    return found[0] if found else whole if whole.is_file() else None


def read_index(path: Path) -> dict[Path, list[str]]:
    """Which tensors each shard holds, as the index says.

    Args:
        path: of the index.

    Returns:
        The shards, by path, all of them there, and the names of their tensors.

    Raises:
        BadCheckpoint: it is no index, names a file elsewhere, or a shard is missing.
    """
    if not path.name.endswith(INDEX):
        raise BadCheckpoint(
            f"{path} is an index of shards that are no safetensors: save the network as safetensors"
        )
    shards: dict[Path, list[str]] = {}
    for name, file in _weight_map(path).items():
        if not isinstance(file, str) or not file.endswith(".safetensors") or _leads_away(file):
            raise BadCheckpoint(
                f"{path}: its tensor {name!r} is in {file!r}, which is no .safetensors file beside "
                "the index: fetch the network again"
            )
        shards.setdefault(path.parent / file, []).append(name)
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise BadCheckpoint(
            f"{path}: {len(missing)} of {len(shards)} shards are missing ({missing[0]} ...): put "
            "them beside the index"
        )
    if len(shards) > MOST_SHARDS:
        raise BadCheckpoint(f"{path} names {len(shards)} shards: more than {MOST_SHARDS}")
    return shards


def _weight_map(path: Path) -> Mapping[str, object]:
    """The index itself: tensor -> file."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES >> 20} MiB")
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content["weight_map"]
        if not isinstance(found, dict) or not found:
            raise TypeError("its weight_map is no table of names")
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        words = error_words(error)
        raise BadCheckpoint(f"{path} is no index of shards ({words}): fetch it again") from error
    return found


def _leads_away(file: str) -> bool:
    """Whether a name is a path, or hidden."""
    return file.startswith(".") or any(part in file for part in ("/", "\\", "\0", ":"))
