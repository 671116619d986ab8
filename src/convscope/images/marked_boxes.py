"""Where the objects of a set of images are: a box and a class for each.

Of rendered scenes they are known. Of other sets they are read from a file that the user gives, or
that lies in the folder or zip (boxes.csv, boxes.json, index.csv, val_annotations.txt); of a VOC
layout from its Annotations. The forms (docs/how-to/images.md has examples):

    NAME.csv     a line of column names: file, the box, and if you like label and difficult. The box
                 is left,top,right,bottom (edges, half-open), or xmin,ymin,xmax,ymax (first and
                 last pixel, counted from 0, as Tiny-ImageNet has it). A line per object
    NAME.json    {"a.jpg": [{"label": "dog", "box": [left, top, right, bottom]}, ...], ...}
    NAME.txt     Tiny-ImageNet's: file, [class,] xmin, ymin, xmax, ymax, between tabs
    FOLDER       PASCAL VOC's NAME.xml, a file per image; pixels counted from 1

Pixels are those of the picture as it is shown upright, from its top left. A label is a name, or a
number from 0; without one a box has the class of its image. `difficult` objects (VOC) are no
mistakes if found, and no misses if not.
"""

from __future__ import annotations

import csv
import io
import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope.display import Brief
from convscope.errors import BadData
from convscope.images.archives import read_beside
from convscope.images.datasets import SceneImages
from convscope.images.image_set import ImageSet
from convscope.images.layouts import split_of, voc_root
from convscope.text import is_number, printable

__all__ = ["BoxedImages", "MarkedBox", "boxed_images"]

BESIDE = ("boxes.csv", "boxes.json", "index.csv", "val_annotations.txt")
EDGES, PIXELS = ("left", "top", "right", "bottom"), ("xmin", "ymin", "xmax", "ymax")
FORMS = "a .csv, .json or .txt file, or a folder of VOC's .xml files (docs/how-to/images.md)"
TRUE = ("1", "true", "yes")
OBJECT = "object"  # the class of what has none

Edges = tuple[float, float, float, float]


@dataclass(frozen=True)
class MarkedBox:
    """One object of a picture.

    Attributes:
        label: The index of its class in `BoxedImages.classes`.
        edges: (top, left, bottom, right), half-open, pixels of the picture; may reach beyond it.
        difficult: Whether it need not be found.
    """

    label: int
    edges: Edges
    difficult: bool = False


@dataclass(frozen=True)
class BoxedImages(Brief):
    """The objects of a set of images.

    Attributes:
        boxes: By the image's index; images of a file without a box are left out.
        classes: The names that labels count through.
        notes: What was left out, counted, a line each.
    """

    boxes: Mapping[int, tuple[MarkedBox, ...]]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Row:
    """A line of a file: the image, the class's words (None: its image's), the box."""

    file: str
    label: str | None
    edges: Edges
    difficult: bool = False


def boxed_images(images: ImageSet, boxes: str | Path | None = None) -> BoxedImages:
    """Find out where the objects of a set of images are.

    Args:
        images: The set.
        boxes: A file or folder of boxes; None is what lies with the images. Scenes need none.

    Raises:
        BadData: There are no boxes, or they have another form, no class of the set, or no pixel;
            the image is named. Or none is of an image of the set.

    Example:
        >>> found = boxed_images(open_images("scenes:val:8", size=32))
        >>> len(found.boxes), found.classes[found.boxes[0][0].label]
        (8, 'dog')
    """
    if isinstance(images, SceneImages) and boxes is None:
        return BoxedImages(_SceneBoxes(images), images.recipe.classes)
    rows, where = _read(images, boxes)
    return _by_index(images, rows, where)


@dataclass(frozen=True)
class _SceneBoxes(Mapping[int, tuple[MarkedBox, ...]]):
    """The boxes of rendered objects, as far as they are seen, each scene when it is asked for."""

    images: SceneImages

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))

    def __getitem__(self, index: int) -> tuple[MarkedBox, ...]:
        found = []
        for each in self.images.scene(index).objects:
            top, left, bottom, right = map(float, each.box.as_tuple())
            if not each.box.empty:
                found.append(MarkedBox(each.label, (top, left, bottom, right)))
        return tuple(found)


# ---- files


def _read(images: ImageSet, boxes: str | Path | None) -> tuple[list[_Row], str]:
    """Return the rows of a file or folder, and where they were found."""
    if boxes is not None:
        return _read_given(Path(boxes).expanduser()), str(boxes)
    layout, _, place = images.spec.partition(":")
    if layout == "voc":
        folder = voc_root(split_of(place)[0], images.spec) / "Annotations"
        return _read_given(folder), str(folder)
    path = split_of(place if layout in ("index", "caltech") else images.spec)[0]
    for name in BESIDE:
        data = read_beside(path.expanduser(), name)
        if data is not None:
            return list(_parsed(name, data, f"{path}/{name}")), f"{path}/{name}"
    raise BadData(
        f"{images.spec} holds none of {', '.join(BESIDE)}: say where the objects are with --boxes, "
        f"{FORMS}"
    )


def _read_given(path: Path) -> list[_Row]:
    try:
        if path.is_dir():
            files = sorted(path.glob("*.xml"))
            if not files:
                raise BadData(f"{path}: no .xml file in this folder; boxes are {FORMS}")
            return [row for file in files for row in _voc_rows(file.read_bytes(), str(file))]
        return list(_parsed(path.name, path.read_bytes(), str(path)))
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror}") from None


def _parsed(name: str, data: bytes, where: str) -> Iterator[_Row]:
    """The rows of a file's bytes, by its ending."""
    parse = PARSERS.get(Path(name).suffix.lower())
    if parse is None:
        raise BadData(f"{where}: boxes are {FORMS}")
    try:
        return iter(list(parse(data.decode("utf-8-sig"), where)))
    except UnicodeDecodeError:
        raise BadData(f"{where}: not a UTF-8 text; boxes are {FORMS}") from None


def _csv_rows(text: str, where: str) -> Iterator[_Row]:
    lines = csv.DictReader(io.StringIO(text))
    columns = lines.fieldnames or ()
    names = next((each for each in (EDGES, PIXELS) if set(each) <= set(columns)), None)
    if "file" not in columns or names is None:
        raise BadData(
            f"{where}: its columns are {', '.join(columns) or 'none'}; it needs file, and "
            f"{','.join(EDGES)} or {','.join(PIXELS)}"
        )
    for number, line in enumerate(lines, 2):
        place = f"{where}, line {number}"
        label = (line.get("label") or "").strip()
        numbers = [line[name] for name in names]
        if not line["file"] or not any(numbers):
            if line["file"]:
                continue  # an image without a box
            raise BadData(f"{place}: it names no file")
        yield _Row(
            line["file"], label or None, _edges(numbers, place, int(names is PIXELS)),
            str(line.get("difficult") or "").strip().lower() in TRUE,
        )  # fmt: skip


def _json_rows(text: str, where: str) -> Iterator[_Row]:
    form = '{"a.jpg": [{"label": "dog", "box": [left, top, right, bottom]}, ...], ...}'
    try:
        record = json.loads(text)
        entries = [(str(name), each) for name, known in record.items() for each in known]
        known = [(name, each.get("label"), each["box"], each) for name, each in entries]
    except (ValueError, RecursionError) as error:
        raise BadData(f"{where}: not JSON ({error}); boxes are {form}") from None
    except (AttributeError, KeyError, TypeError):
        raise BadData(f"{where}: it holds no boxes; these are {form}") from None
    for name, label, box, each in known:
        edges = _edges(box, f"{where}: {printable(name)}", 0)
        word = None if label is None else str(label)
        yield _Row(name, word, edges, bool(each.get("difficult", False)))


def _tiny_rows(text: str, where: str) -> Iterator[_Row]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("\t") if "\t" in line else line.split()
        if not line.strip():
            continue
        place = f"{where}, line {number}"
        if len(words) not in (5, 6):
            raise BadData(f"{place}: {line!r} is not file, [class,] xmin, ymin, xmax, ymax")
        label = words[1] if len(words) == 6 else None
        yield _Row(words[0], label, _edges(words[-4:], place, 1))


def _voc_rows(data: bytes, where: str) -> Iterator[_Row]:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise BadData(f"{where}: an annotation with a document type; VOC's have none")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise BadData(f"{where}: not XML ({error}); it is no annotation of VOC's") from None
    file = root.findtext("filename") or f"{Path(where).stem}.jpg"
    for each in root.iter("object"):
        numbers = [each.findtext(f"bndbox/{name}") for name in PIXELS]
        top, left, bottom, right = (edge - 1 for edge in _edges(numbers, where, 1))
        edges = (top, left, bottom, right)
        yield _Row(file, each.findtext("name"), edges, each.findtext("difficult") == "1")


PARSERS: Mapping[str, Callable[[str, str], Iterator[_Row]]] = {
    ".csv": _csv_rows,
    ".json": _json_rows,
    ".txt": _tiny_rows,
}


def _edges(values: Any, where: str, last: int) -> Edges:
    """(top, left, bottom, right) of left, top, right, bottom; `last` is added to the latter two.

    Raises:
        BadData: They are no four numbers, or the box holds no pixel.
    """
    try:
        left, top, right, bottom = (float(value) for value in values)
    except (TypeError, ValueError):
        left = top = right = bottom = math.nan
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise BadData(f"{where}: {values!r} are not the four numbers of a box, pixels")
    right, bottom = right + last, bottom + last
    if right <= left or bottom <= top:
        raise BadData(
            f"{where}: a box with no pixel, from ({left:g}, {top:g}) to ({right:g}, {bottom:g})"
        )
    return top, left, bottom, right


# ---- images and classes


def _by_index(images: ImageSet, rows: Sequence[_Row], where: str) -> BoxedImages:
    """The boxes of the set's images; those of others are counted."""
    exact = {images.name(index): index for index in range(len(images))}
    ends: dict[str, list[int]] = {}
    for name, index in exact.items():
        ends.setdefault(name.rpartition("/")[2], []).append(index)
    if not rows:
        raise BadData(f"{where}: it holds no box; boxes are {FORMS}")
    classes = images.classes or _named(rows)
    found: dict[int, list[MarkedBox]] = {}
    foreign = 0
    for row in rows:
        same = ends.get(row.file.rpartition("/")[2], [])
        place = exact.get(row.file, same[0] if len(same) == 1 and "/" not in row.file else None)
        if place is None:
            foreign += 1
            continue
        label = _label(images, place, row, classes, where)
        found.setdefault(place, []).append(MarkedBox(label, row.edges, row.difficult))
    if not found:
        raise BadData(
            f"{where}: none of its {len(rows)} boxes is of an image of {images.spec}, whose first "
            f"is {printable(images.name(0))}"
        )
    bare = len(images) - len(found)
    notes = [f"{bare} of {len(images)} images have no box: left out"] if bare else []
    if foreign:
        notes.append(f"{foreign} of {len(rows)} boxes are of images that are not in {images.spec}")
    return BoxedImages({i: tuple(found[i]) for i in sorted(found)}, classes, tuple(notes))


def _named(rows: Sequence[_Row]) -> tuple[str, ...]:
    """The classes that a file tells, where the images tell none."""
    return tuple(sorted({row.label for row in rows if row.label is not None})) or (OBJECT,)


def _label(images: ImageSet, index: int, row: _Row, classes: tuple[str, ...], where: str) -> int:
    name = f"{where}: {printable(images.name(index))}"
    if row.label is None:
        label: int | None = 0 if classes == (OBJECT,) else images.label(index)
        if label is None:
            raise BadData(f"{name}: neither the box nor its image says a class")
        return label
    if row.label in classes:
        return classes.index(row.label)
    if is_number(row.label, len(classes) - 1):
        return int(row.label)
    raise BadData(
        f"{name}: class {printable(row.label)} is none of {', '.join(classes[:8])}"
        + (f" and {len(classes) - 8} more" if len(classes) > 8 else "")
    )
