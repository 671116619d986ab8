"""Data sets whose labels are not folders: published layouts, and an index beside the images.

    index:PLACE[:split]     PLACE is a folder or a zip with index.csv or index.json at its top
    caltech:PLACE           Caltech-101 or -256: a folder per class; BACKGROUND_Google and
                            257.clutter, which are no classes, are left out
    voc:PLACE[:split]       PASCAL VOC, such as VOCdevkit/VOC2012; split train, val or trainval
                            (the default): ImageSets/Main/CLASS_SPLIT.txt, where 0 ("difficult")
                            does not count

index.csv has a line of column names: `file`, and `label` (one class) or `labels` (several, between
semicolons), and if the set has splits `split`; others are not read. index.json is a list of objects
with these keys, or an object with the list under `images` and `classes`, the classes' names.
Labels are names, or numbers from 0; numbers go through `classes` or a classes.json beside the
index, else through the folders that the images lie in. Images without a label (empty, or below 0)
are left out.

Functions here are (spec, place, open the files at a path) -> ImageSet.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from convscope.errors import BadData
from convscope.images.archives import read_beside
from convscope.images.classes import parse_classes
from convscope.images.image_set import ImageSet
from convscope.images.subsets import SubsetImages, Targets, without_classes
from convscope.text import is_number

__all__ = ["LAYOUTS", "open_caltech", "open_index", "open_voc", "split_of", "voc_root"]

Open = Callable[[Path, str], ImageSet | None]
"""The images of a folder or zip under a spec, or None where there is neither."""

MOST_CLASSES = 1_000_000  # labels that are larger numbers are names
INDEXES = ("index.csv", "index.json")
NO_CLASSES = ("BACKGROUND_Google", "257.clutter")
VOC_SPLITS = ("train", "val", "trainval")
VOC_TRUTH = {"1": 1, "-1": 0, "0": -1}  # the last: "difficult", which does not count


def open_caltech(spec: str, place: str, files: Open) -> ImageSet:
    """Open Caltech-101 or -256 without its clutter class.

    Args:
        spec: The words that name the set.
        place: The folder or zip.
        files: Opens the images at a path.

    Raises:
        BadData: There is no such place, or no folder per class in it.
    """
    images = files(Path(place).expanduser(), spec)
    if images is None or images.classes is None:
        raise BadData(f"{spec}: {place} is no folder or zip with a folder of images per class")
    clutter = [name for name in NO_CLASSES if name in images.classes]
    return without_classes(images, clutter, spec=spec)


# PASCAL VOC


def open_voc(spec: str, place: str, files: Open) -> ImageSet:
    """Open a split of PASCAL VOC, with several classes an image.

    Args:
        spec: The words that name the set.
        place: The folder, and a split after a colon.
        files: Opens the images at a path.

    Raises:
        BadData: The folder has another layout, the split is not there, or a line has another form.
    """
    path, split = split_of(place)
    root = voc_root(path, spec)
    split = split or "trainval"
    lists = sorted((root / "ImageSets" / "Main").glob(f"*_{split}.txt"))
    if split not in VOC_SPLITS or not lists:
        raise BadData(
            f"{spec}: no ImageSets/Main/CLASS_{split}.txt in {root}; "
            f"the splits are {', '.join(VOC_SPLITS)}"
        )
    classes = tuple(path.name.removesuffix(f"_{split}.txt") for path in lists)
    truth: dict[str, list[int]] = {}
    for number, path in enumerate(lists):
        for name, word in _voc_lines(path):
            truth.setdefault(name, [0] * len(classes))[number] = VOC_TRUTH[word]
    base = files(root / "JPEGImages", spec)
    assert base is not None
    place_of = {base.name(i).rpartition(".")[0]: i for i in range(len(base))}
    names = sorted(truth)
    chosen = [_at(place_of, name, spec) for name in names]
    return SubsetImages(spec, base, chosen, classes, [tuple(truth[name]) for name in names])


def voc_root(path: Path, spec: str) -> Path:
    """Return the folder with JPEGImages: the path itself, or the only one below it that has it."""
    roots = [
        folder for folder in (path, *sorted(path.glob("VOC*"))) if (folder / "JPEGImages").is_dir()
    ]
    if len(roots) != 1:
        found = f"several ({', '.join(root.name for root in roots)})" if roots else "none"
        raise BadData(
            f"{spec}: a folder with JPEGImages and ImageSets is looked for, and {found} found; "
            "give such as voc:VOCdevkit/VOC2012:train"
        )
    return roots[0]


def _voc_lines(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in VOC_TRUTH:
            raise BadData(f"{path}, line {number}: {line!r} is no image and 1, -1 or 0")
        yield words[0], words[1]


# An index beside the images


def open_index(spec: str, place: str, files: Open) -> ImageSet:
    """Open a folder or zip whose index.csv or index.json has the labels.

    Args:
        spec: The words that name the set.
        place: The folder or zip, and a split after a colon.
        files: Opens the images at a path.

    Raises:
        BadData: There is no index, a column or an image is missing, or the split has no image.
    """
    path, split = split_of(place)
    base = files(path, spec)
    if base is None:
        raise BadData(f"{spec}: {path} is no folder or zip of images")
    name, rows, classes = _read_index(path, spec)
    splits = sorted({str(row["split"]) for row in rows if row.get("split")})
    if split and split not in splits:
        raise BadData(
            f"{spec}: {name} has no split {split!r}; it has {', '.join(splits) or 'none'}"
        )
    rows = [row for row in rows if not split or str(row.get("split")) == split]
    several = any("labels" in row for row in rows)
    kept = [(row, labels) for row in rows if (labels := _labels(row)) or several]
    if not kept:
        raise BadData(f"{spec}: no image of {name} has a label")
    place_of = {base.name(i): i for i in range(len(base))}
    chosen = [_at(place_of, str(row["file"]), spec) for row, _ in kept]
    labelled = [labels for _, labels in kept]
    names = classes or _names(labelled, [str(row["file"]) for row, _ in kept])
    numbers = [[_number(label, names, name) for label in labels] for labels in labelled]
    if not several:
        return SubsetImages(spec, base, chosen, names, [labels[0] for labels in numbers])
    return SubsetImages(spec, base, chosen, names, [_hot(labels, len(names)) for labels in numbers])


def _read_index(path: Path, spec: str) -> tuple[str, list[dict[str, Any]], tuple[str, ...] | None]:
    """Return the index's name, its rows, and the names of the classes if they are written down."""
    for name in INDEXES:
        data = read_beside(path, name)
        if data is None:
            continue
        rows, classes = _parsed(data, name, spec)
        for number, row in enumerate(rows, 1):
            if not row.get("file") or not ("label" in row or "labels" in row):
                raise BadData(f"{spec}: {name}, entry {number}: it needs `file`, and `label(s)`")
        beside = read_beside(path, "classes.json")
        if classes is None and beside is not None:
            classes = parse_classes(beside, f"{path}: classes.json")
        return name, rows, classes
    raise BadData(
        f"{spec}: {path} has no {' or '.join(INDEXES)} at its top; "
        "a split stands behind a colon: index:PLACE:val"
    )


def _parsed(
    data: bytes, name: str, spec: str
) -> tuple[list[dict[str, Any]], tuple[str, ...] | None]:
    try:
        text = data.decode("utf-8-sig")
        if name.endswith(".csv"):
            return list(csv.DictReader(io.StringIO(text))), None
        value = json.loads(text)
        if isinstance(value, list):
            return [dict(row) for row in value], None
        classes = value.get("classes")
        names = None if classes is None else parse_classes(json.dumps(classes).encode(), name)
        return [dict(row) for row in value["images"]], names
    except (
        UnicodeDecodeError,
        csv.Error,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        if isinstance(error, BadData):
            raise
        raise BadData(f"{spec}: {name} cannot be read: {type(error).__name__} {error}") from None


def _labels(row: Mapping[str, Any]) -> list[str]:
    """Return the labels of a row, as written; empty ones and those below 0 are left out."""
    given = row["labels"] if "labels" in row else row["label"]
    if isinstance(given, str) and "labels" in row:
        given = given.split(";")
    words = given if isinstance(given, list) else [given]
    labels = [str(word).strip() for word in words if word is not None]
    return [label for label in labels if label and not label.startswith("-")]


def _names(labels: Sequence[Sequence[str]], files: Sequence[str]) -> tuple[str, ...]:
    """Name the classes where no file does: by the labels, or by the images' folders."""
    words = {label for image_labels in labels for label in image_labels}
    if not all(is_number(word, MOST_CLASSES) for word in words):
        return tuple(sorted(words))
    folders: dict[int, set[str]] = {}
    for image_labels, file in zip(labels, files, strict=True):
        for label in image_labels:
            folders.setdefault(int(label), set()).add(Path(file).parent.name)
    names = [folders.get(number, set()) for number in range(max(folders) + 1)]
    single = [next(iter(image_labels)) for image_labels in names if len(image_labels) == 1]
    if len(single) == len(names) == len(set(single)):
        return tuple(single)
    return tuple(str(number) for number in range(len(names)))


def _number(label: str, names: tuple[str, ...], index: str) -> int:
    if label in names:
        return names.index(label)
    if is_number(label, len(names) - 1):
        return int(label)
    raise BadData(f"{index}: label {label!r} is none of the {len(names)} classes")


def _hot(labels: Sequence[int], classes: int) -> Targets:
    return tuple(int(number in labels) for number in range(classes))


def _at(place_of: Mapping[str, int], name: str, spec: str) -> int:
    if name not in place_of:
        raise BadData(f"{spec}: the image {name} is listed, and not there")
    return place_of[name]


def split_of(place: str) -> tuple[Path, str]:
    """Split PLACE[:split]; a colon in a path that exists counts as part of the path."""
    path = Path(place).expanduser()
    if path.exists() or ":" not in place:
        return path, ""
    head, _, split = place.rpartition(":")
    return Path(head).expanduser(), split


LAYOUTS: dict[str, Callable[[str, str, Open], ImageSet]] = {
    "caltech": open_caltech,
    "index": open_index,
    "voc": open_voc,
}
"""By the word before the colon of a spec."""
