"""The files of an atlas's folder: their names, and how they are read and written whole.

store.py says what each of them holds. Every file is written beside its place and moved there
whole, so a reader, or the next run after a kill, sees either the old bytes or the new ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from convscope.atlas.checksums import Checksums, read_checksums, write_checksums
from convscope.atlas.manifest import SCHEMA_VERSION, ImageRecord, Manifest
from convscope.atlas.statistics import STATISTICS
from convscope.atlas.trust import TRUST
from convscope.errors import BadInput
from convscope.store.atomic import replace_file

__all__ = [
    "damaged",
    "read_content",
    "read_manifest",
    "read_tensors",
    "sheet_path",
    "unfinished",
    "write_images",
    "write_manifest",
]

MANIFEST, IMAGES, TABLES, SHEETS = "manifest.json", "images.json", "tables.safetensors", "sheets"
EXAMPLE = "example"  # the kind of the sheets of images at quantiles
RELEVANCE = "relevance.safetensors"
CONTRAST = "contrast"  # of those of contrastive pictures, as many to a map as are checked
OPTIMISED = "optimised"
WORK, PLAN = "work", "plan.json"  # of an unfinished atlas, see checkpoint.py
OF_PAGE = ("page", "page/images", "data", "data/units", "data/compared")
PLACES = (SHEETS, "images", *OF_PAGE, WORK, "work-gallery")
"""Folders that an atlas may have, in which it and its page are written."""

IMAGE_LIST = TypeAdapter(list[ImageRecord])

T = TypeVar("T")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an atlas, finished or not.

    Raises:
        BadInput: none is there, or it is damaged, or a newer Convscope wrote it.
    """
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        if (folder / WORK / PLAN).exists():
            raise unfinished(folder) from None
        raise BadInput(
            f"no atlas in {folder}: {MANIFEST} is missing; make one with `convscope atlas`"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(folder, error) from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise damaged(folder, f"{MANIFEST} names no schema_version")
    if version != SCHEMA_VERSION:
        remedy = "update convscope" if version > SCHEMA_VERSION else "make the atlas again"
        raise BadInput(
            f"the atlas in {folder} has schema version {version}; this convscope reads "
            f"version {SCHEMA_VERSION}: {remedy}"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise damaged(folder, error) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the checksums of all files, and manifest.json, which makes an atlas whole.

    Sheets keep the checksums that they have since they were written.
    """
    content = manifest.model_dump_json(indent=1).encode()
    kept = [folder / name for name in (IMAGES, TABLES, STATISTICS, TRUST, RELEVANCE)]
    earlier = read_checksums(folder)
    known = set() if earlier is None else {folder / name for name in earlier.files}
    slugs = (record.slug for record in manifest.layers)
    sheets = (path for slug in slugs for path in (folder / SHEETS / slug).glob("*.webp"))
    kept += sorted(path for path in sheets if path not in known)
    there = [path for path in kept if path.is_file()]
    write_checksums(folder, there, {folder / MANIFEST: content})
    replace_file(folder / MANIFEST, content)


def write_images(folder: Path, images: Sequence[ImageRecord]) -> None:
    """Write images.json, the list of all images."""
    replace_file(folder / IMAGES, IMAGE_LIST.dump_json(list(images), indent=0))


def read_content(folder: Path, path: Path, sums: Checksums | None) -> bytes:
    """A file's bytes, compared with its checksum.

    Raises:
        BadInput: it is missing, or has other bytes.
    """
    try:
        content = path.read_bytes()
        if sums is not None:
            sums.check(folder, path, content)
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None
    return content


def read_tensors(path: Path, content: bytes, make: Callable[[dict[str, Tensor]], T]) -> T:
    """What is made of a safetensors file's tensors.

    Raises:
        BadInput: it is damaged.
    """
    try:
        return make(load(content))
    except (SafetensorError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise damaged(path, error) from None


def sheet_path(folder: Path, slug: str, kind: str, number: int | None = None) -> Path:
    """Where a layer's sheet lies, e.g. sheets/conv1/patch-000.webp or sheets/conv1/filters.webp.

    Args:
        folder: of the atlas.
        slug: name of the layer's folder.
        kind: of the sheet, such as "patch" or "wall-projection".
        number: of the sheet; None where there is but one of its kind.
    """
    name = kind if number is None else f"{kind}-{number:03d}"
    return folder / SHEETS / slug / f"{name}.webp"


def relevant_kind(number: int) -> str:
    """The kind of the sheets of where maps are worth most to a class."""
    return f"relevant-{number}"


def unfinished(folder: Path) -> BadInput:
    """The error for an atlas that was begun, and is not finished."""
    return BadInput(
        f"the atlas in {folder} is unfinished; finish it with the command that began it "
        f"and --resume"
    )


def damaged(place: Path, reason: object) -> BadInput:
    """The error for a file of an atlas that is missing, or not what was written."""
    line = " ".join(str(reason).split())[:300]
    return BadInput(f"the atlas is damaged at {place}: {line}; make it again")
