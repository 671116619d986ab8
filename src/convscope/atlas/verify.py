"""Whether a finished atlas is whole: all of its files against their checksums, all of its sheets.

`open_atlas` checks what it reads, and a sheet when it is looked at; `verify` reads everything.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from convscope.atlas.checksums import Checksums, read_checksums
from convscope.atlas.folder import (
    CONTRAST,
    EXAMPLE,
    IMAGES,
    MANIFEST,
    RELEVANCE,
    SHEETS,
    TABLES,
    read_manifest,
    relevant_kind,
    sheet_path,
)
from convscope.atlas.manifest import LayerRecord, Manifest
from convscope.atlas.sheets import MAPS_PER_SHEET, WALL, WALL_SIDE, WALL_TILE
from convscope.atlas.statistics import STATISTICS
from convscope.atlas.store import open_atlas
from convscope.atlas.trust import TRUST
from convscope.errors import BadInput
from convscope.record import Record
from convscope.store.names import check_inside
from convscope.text import counted, error_words

__all__ = ["DamagedFile", "Verified", "verify"]

Sides = tuple[int, int]


@dataclass(frozen=True)
class DamagedFile(Record):
    """A file of an atlas that is missing, or not what was written.

    Attributes:
        name: Its path below the atlas's folder.
        reason: What is wrong with it.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Verified(Record):
    """What `verify` found.

    Attributes:
        folder: Of the atlas.
        files: How many of its files were looked at.
        sheets: How many of these are sheets, which were decoded and measured.
        checksums: Whether the atlas has checksums; one that an older version made has none.
        damaged: The files that are missing or not what was written, by name.
    """

    folder: Path
    files: int
    sheets: int
    checksums: bool
    damaged: tuple[DamagedFile, ...]

    def words(self) -> list[str]:
        """What was checked, a line each."""
        seen = f"{counted(self.files, 'file')}, {counted(self.sheets, 'sheet')} among them"
        how = "checksums, contents and sizes" if self.checksums else "contents and sizes"
        state = "damaged" if self.damaged else "whole"
        lines = [f"{self.folder} is {state}: {how} of {seen}"]
        if not self.checksums:
            lines.append("It was made by an older version and has no checksums to compare with.")
        return lines


def verify(folder: str | Path) -> Verified:
    """Read every file of a finished atlas, and say which are damaged.

    Each is compared with its checksum; tables must hold what an atlas may hold; every sheet is
    decoded and must have the size that its layer asks for.

    Args:
        folder: Of the atlas.

    Raises:
        BadInput: There is no finished atlas, its manifest cannot be read, or a part of it is a link
            that leads elsewhere.

    Example:
        >>> convscope.verify("atlas").damaged
        ()
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if not manifest.complete:
        open_atlas(folder)  # which says so
    check_inside(folder, (SHEETS, *(f"{SHEETS}/{layer.slug}" for layer in manifest.layers)))
    sizes = dict(_sheet_sizes(manifest))
    sums = read_checksums(folder)
    needed = {name for name in sizes if not _may_lack(folder, name)}
    needed |= {_name(layer, "filters") for layer in manifest.layers if layer.filters}
    names = {*_tables(manifest), *needed, *(() if sums is None else sums.files)}
    found = {name: _wrong(folder, name, sums, sizes.get(name)) for name in sorted(names)}
    damaged = {name: reason for name, reason in found.items() if reason is not None}
    if not damaged:
        damaged = _contents(folder, manifest)
    return Verified(
        folder=folder,
        files=len(found),
        sheets=sum(name.endswith(".webp") for name in found),
        checksums=sums is not None,
        damaged=tuple(DamagedFile(*item) for item in damaged.items()),
    )


def _may_lack(folder: Path, name: str) -> bool:
    """Whether it is a sheet of contrastive pictures that no map needs; such a one is not kept."""
    return Path(name).name.startswith(f"{CONTRAST}-") and not (folder / name).exists()


def _wrong(folder: Path, name: str, sums: Checksums | None, sides: Sides | None) -> str | None:
    """What is wrong with a file; None where nothing is."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return "it is no file of the atlas"
    try:
        content = path.read_bytes()
        if sums is not None:
            sums.check(folder, path, content)
        if path.suffix == ".webp":
            _check_sheet(content, sides)
    except FileNotFoundError:
        return "it is missing"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return error_words(error)
    return None


def _check_sheet(content: bytes, sides: Sides | None) -> None:
    """Decode a sheet, and compare its (width, height).

    Raises:
        OSError, ValueError: It cannot be decoded, or has another size.
    """
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        if sides is not None and image.size != sides:
            there, wanted = ("x".join(map(str, each)) for each in (image.size, sides))
            raise ValueError(f"it has {there} pixels, not {wanted}")


def _contents(folder: Path, manifest: Manifest) -> dict[str, str]:
    """By the name of a file, why its bytes, which were written so, are no part of an atlas."""
    try:
        atlas = open_atlas(folder)
        if manifest.extras is not None:
            layer = manifest.layers[0].name
            atlas.statistics(layer)
            atlas.trust(layer, 0)
            for number in manifest.extras.relevant:
                atlas.relevance(layer, number)
    except BadInput as error:
        named = (name for name in _tables(manifest) if str(folder / name) in str(error))
        return {next(named, MANIFEST): str(error)}
    return {}


def _tables(manifest: Manifest) -> list[str]:
    """The files that every such atlas has, but for its sheets."""
    names = [MANIFEST, IMAGES, TABLES]
    if manifest.extras is not None:
        names += [STATISTICS, TRUST] + ([RELEVANCE] if manifest.extras.relevant else [])
    return names


def _sheet_sizes(manifest: Manifest) -> Iterator[tuple[str, Sides]]:
    """The sheets that every layer has, and the (width, height) of each."""
    columns = _columns(manifest)
    for layer in manifest.layers:
        for kind, count in columns.items():
            for number, maps in _runs(layer, MAPS_PER_SHEET):
                yield _name(layer, kind, number), (count * layer.tile, maps * layer.tile)
        side = WALL_SIDE * WALL_TILE
        for kind in manifest.extras.kinds if manifest.extras else ("patch", "projection"):
            for number, maps in _runs(layer, WALL**2):
                yield _name(layer, f"wall-{kind}", number), (WALL * side, -(-maps // WALL) * side)


def _columns(manifest: Manifest) -> dict[str, int]:
    """By the kind of a layer's sheets, how many pictures there are of each map."""
    extras = manifest.extras
    if extras is None:
        return dict.fromkeys(("patch", "projection"), manifest.top)
    columns = {
        **dict.fromkeys(extras.kinds, manifest.top),
        CONTRAST: min(extras.check, manifest.top),
        EXAMPLE: len(extras.quantiles),
        **{relevant_kind(number): manifest.top for number in extras.relevant},
    }
    return {kind: count for kind, count in columns.items() if count}


def _runs(layer: LayerRecord, maps: int) -> Iterator[tuple[int, int]]:
    """(number, maps) of a layer's sheets of so many maps at most."""
    for number, start in enumerate(range(0, layer.channels, maps)):
        yield number, min(maps, layer.channels - start)


def _name(layer: LayerRecord, kind: str, number: int | None = None) -> str:
    return sheet_path(Path(), layer.slug, kind, number).as_posix()
