"""Which files of a folder, a zip or a list are images, in which order, and of which class.

Order: by the parts of the path, code point by code point ("a/10.jpg" before "a/2.jpg"), the same
on every machine and in torchvision's ImageFolder. Left out: files without an image's extension
(files.EXTENSIONS), hidden files and folders, and what systems leave behind (__MACOSX, @eaDir).

Classes: a folder per class, as ImageFolder reads it. Folders that hold everything count for
nothing ("images/…" of a zip), nor do `train`, `val` and `test` with the class folders below them.
Images that lie beside folders make a set without labels.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from convscope.errors import BadData
from convscope.images.files import EXTENSIONS, printable

LEFT_BEHIND = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"}
SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}


@dataclass(frozen=True)
class Labels:
    """The labels of the images of a set.

    Attributes:
        labels: Of each image, in their order; None where it has none.
        classes: The names that labels count through, or None.
    """

    labels: tuple[int | None, ...]
    classes: tuple[str, ...] | None


def is_image_name(name: str) -> bool:
    """Whether a relative POSIX path has an image's extension and no hidden part."""
    parts = name.split("/")
    hidden = any(part.startswith(".") or part in LEFT_BEHIND for part in parts)
    return not hidden and PurePosixPath(parts[-1]).suffix.lower() in EXTENSIONS


def in_order(names: Iterable[str]) -> list[str]:
    """Sort names by the parts of the path, code point by code point.

    Example:
        >>> in_order(["a/2.jpg", "a/10.jpg"])
        ['a/10.jpg', 'a/2.jpg']
    """
    return sorted(names, key=lambda name: name.split("/"))


def list_folder(root: Path) -> list[str]:
    """List the images below a folder as relative POSIX paths, in order. Follows symbolic links.

    Raises:
        BadData: A folder cannot be read.
    """
    prefix = len(str(root)) + (0 if str(root).endswith("/") else 1)
    return in_order(path[prefix:].replace(os.sep, "/") for path in _files(str(root), frozenset()))


def _files(folder: str, above: frozenset[str]) -> Iterator[str]:
    above = above | {os.path.realpath(folder)}
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise BadData(f"{printable(folder)}: cannot be listed: {error.strerror}") from None
    for entry in entries:
        if entry.is_dir():
            hidden = entry.name.startswith(".") or entry.name in LEFT_BEHIND
            looped = entry.is_symlink() and os.path.realpath(entry.path) in above
            if not hidden and not looped:
                yield from _files(entry.path, above)
        elif is_image_name(entry.name):
            yield entry.path


def labels_by_folder(names: Sequence[str]) -> Labels:
    """Label each image by the folder that it lies in, by the rules of this module's docstring."""
    paths = [name.split("/")[:-1] for name in names]
    while paths and all(paths) and len({path[0] for path in paths}) == 1:
        paths = [path[1:] for path in paths]
    if all(path and path[0].lower() in SPLITS for path in paths):
        paths = [path[1:] for path in paths]
    if not paths or not all(paths):
        return Labels((None,) * len(names), None)
    classes = tuple(sorted({path[0] for path in paths}))
    number = {name: label for label, name in enumerate(classes)}
    return Labels(tuple(number[path[0]] for path in paths), classes)


# A list: a path a line, and after a tab or a comma its label


def read_list(path: Path) -> tuple[list[str], Labels]:
    """Read the paths in a text file, as written, and their labels.

    A tab ends the path; so does the last comma, if what stands before it ends like an image's
    name and the whole line does not. Empty lines and lines that start with # count for nothing.
    Labels that are all whole numbers are taken as they are (below 0: none); others are names of
    classes, numbered in their order.

    Raises:
        BadData: It is not a text file, or there is no path in it.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(4096)
            data = start if b"\0" in start else start + stream.read()
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror}") from None
    if b"\0" in start:
        what = "is one image" if is_image_name(path.name) else "is not a text file of paths"
        raise BadData(f"{path}: {what}; give a folder, a zip, or a text file with a path a line")
    text = data.decode("utf-8-sig", "surrogateescape")
    lines = [line.strip() for line in text.splitlines()]
    rows = [_split(line) for line in lines if line and not line.startswith("#")]
    if not rows:
        raise BadData(f"{path}: no path in it; a list has the path of an image a line")
    return [name for name, _ in rows], _labels_as_written([label for _, label in rows])


def _split(line: str) -> tuple[str, str]:
    if "\t" in line:
        name, _, label = line.partition("\t")
        return name.strip(), label.strip()
    name, comma, label = line.rpartition(",")
    if comma and _looks_like_image(name) and not _looks_like_image(line):
        return name.strip(), label.strip()
    return line, ""


def _looks_like_image(name: str) -> bool:
    return PurePosixPath(name.strip()).suffix.lower() in EXTENSIONS


def _labels_as_written(words: Sequence[str]) -> Labels:
    given = [word for word in words if word]
    if not given:
        return Labels((None,) * len(words), None)
    if all(re.fullmatch(r"[+-]?\d+", word) for word in given):
        numbers = [int(word) if word else -1 for word in words]
        return Labels(tuple(n if n >= 0 else None for n in numbers), None)
    classes = tuple(sorted(set(given)))
    number = {name: label for label, name in enumerate(classes)}
    return Labels(tuple(number.get(word) for word in words), classes)
