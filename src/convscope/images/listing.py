"""Which files of a folder, an archive or a list are images, in which order, and of which class.

Order: by the parts of the path, code point by code point ("a/10.jpg" before "a/2.jpg"), the same
on every machine and in torchvision's ImageFolder. Left out: files without an image's extension
(files.EXTENSIONS), hidden files and folders, and what systems leave behind (__MACOSX, @eaDir).
Arrays (.npy) count where no picture does, as they often lie beside pictures with something else.
Videos, folders that cannot be listed, and links that lead in a circle are left out and named.

Classes: a folder per class, as ImageFolder reads it. Folders that hold everything count for
nothing ("images/…" of a zip), nor do `train`, `val` and `test` with the class folders below them.
Images that lie beside folders make a set without labels.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from convscope.errors import BadData
from convscope.images.arrays import ARRAYS
from convscope.images.files import EXTENSIONS, VIDEO, VIDEOS
from convscope.images.image_set import LeftOut
from convscope.text import printable

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


@dataclass(frozen=True)
class Chosen:
    """Which of many files are the images of a set.

    Attributes:
        names: Relative POSIX paths, in order.
        left_out: What lies among them and could not be taken.
    """

    names: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()


def is_image_name(name: str) -> bool:
    """Whether a relative POSIX path has an image's extension and no hidden part."""
    return not _hidden(name) and _ends_in(name, EXTENSIONS)


def choose_images(names: Iterable[str], left_out: Iterable[LeftOut] = ()) -> Chosen:
    """Choose the images among files, by the rules of this module's docstring.

    Args:
        names: Relative POSIX paths.
        left_out: What was left out already.

    Example:
        >>> choose_images(["b.png", "notes.txt", "labels.npy", "a.jpg"]).names
        ('a.jpg', 'b.png')
    """
    seen = [name for name in names if not _hidden(name)]
    chosen = [name for name in seen if _ends_in(name, EXTENSIONS)]
    chosen = chosen or [name for name in seen if _ends_in(name, ARRAYS)]
    videos = in_order(name for name in seen if _ends_in(name, VIDEOS))
    told = [LeftOut(name, VIDEO.format(name=PurePosixPath(name).name)) for name in videos]
    return Chosen(tuple(in_order(chosen)), (*left_out, *told))


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part in LEFT_BEHIND for part in name.split("/"))


def _ends_in(name: str, extensions: Collection[str]) -> bool:
    return PurePosixPath(name).suffix.lower() in extensions


def in_order(names: Iterable[str]) -> list[str]:
    """Sort names by the parts of the path, code point by code point.

    Example:
        >>> in_order(["a/2.jpg", "a/10.jpg"])
        ['a/10.jpg', 'a/2.jpg']
    """
    return sorted(names, key=lambda name: name.split("/"))


def folder_images(root: Path) -> Chosen:
    """Choose the images below a folder, as relative POSIX paths. Follows symbolic links.

    Raises:
        BadData: The folder itself cannot be read.
    """
    prefix = len(str(root)) + (0 if str(root).endswith("/") else 1)
    left_out: list[LeftOut] = []

    def skip(path: str, reason: str) -> None:
        left_out.append(LeftOut(path[prefix:].replace(os.sep, "/"), reason))

    try:
        entries = list(os.scandir(root))
    except OSError as error:
        raise BadData(f"{printable(str(root))}: cannot be listed: {error.strerror}") from None
    paths = _files(entries, frozenset([os.path.realpath(root)]), skip)
    names = [path[prefix:].replace(os.sep, "/") for path in paths]
    return choose_images(names, sorted(left_out, key=lambda each: each.name.split("/")))


def _files(
    entries: Iterable[os.DirEntry[str]],
    above: frozenset[str],
    skip: Callable[[str, str], None],
) -> Iterator[str]:
    """The files below a folder, whose entries these are; `skip` is told what cannot be entered."""
    for entry in entries:
        try:
            is_folder = entry.is_dir()
        except OSError as error:  # a link that leads to itself
            if is_image_name(entry.name):
                yield entry.path  # named when it is read
            else:
                skip(entry.path, f"cannot be followed: {error.strerror}")
            continue
        if not is_folder:
            yield entry.path
        elif not _hidden(entry.name):
            inside, real = _listed(entry, skip), os.path.realpath(entry.path)
            if real in above:
                skip(entry.path, "leads back to a folder that it lies in")
            elif inside is not None:
                yield from _files(inside, above | {real}, skip)


def _listed(
    folder: os.DirEntry[str], skip: Callable[[str, str], None]
) -> list[os.DirEntry[str]] | None:
    """The entries of a folder; None where it cannot be listed, which is told."""
    try:
        return list(os.scandir(folder.path))
    except OSError as error:
        skip(f"{folder.path}{os.sep}", f"cannot be listed: {error.strerror}")
        return None


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
        if _ends_in(path.name, VIDEOS):
            raise BadData(f"{path}: {VIDEO.format(name=path.name)}")
        what = "is one image" if is_image_name(path.name) else "is not a text file of paths"
        raise BadData(f"{path}: {what}; give a folder, a zip, or a text file with a path a line")
    text = data.decode("utf-8-sig", "surrogateescape")
    lines = [line.strip() for line in text.splitlines()]
    rows = [_split(line) for line in lines if line and not line.startswith("#")]
    if not rows:
        raise BadData(f"{path}: no path in it; a list has the path of an image a line")
    return [name for name, _ in rows], labels_as_written([label for _, label in rows])


def _split(line: str) -> tuple[str, str]:
    if "\t" in line:
        name, _, label = line.partition("\t")
        return name.strip(), label.strip()
    name, comma, label = line.rpartition(",")
    if comma and _looks_like_image(name) and not _looks_like_image(line):
        return name.strip(), label.strip()
    return line, ""


def _looks_like_image(name: str) -> bool:
    return _ends_in(name.strip(), EXTENSIONS | ARRAYS)


def labels_as_written(words: Sequence[str]) -> Labels:
    """Read labels that are written one for each image: numbers as they are, or names of classes.

    Args:
        words: For each image; "" where it has none.

    Example:
        >>> labels_as_written(["dog", "", "cat"])
        Labels(labels=(1, None, 0), classes=('cat', 'dog'))
    """
    given = [word for word in words if word]
    if not given:
        return Labels((None,) * len(words), None)
    if all(re.fullmatch(r"[+-]?\d+", word) for word in given):
        numbers = [int(word) if word else -1 for word in words]
        return Labels(tuple(n if n >= 0 else None for n in numbers), None)
    classes = tuple(sorted(set(given)))
    number = {name: label for label, name in enumerate(classes)}
    return Labels(tuple(number.get(word) for word in words), classes)
