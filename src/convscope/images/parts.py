"""Named points in pictures: where the left eye is, where the mouth.

For rendered scenes they are known. For other sets of images they are marked in a JSON file, given
by the user or lying in the folder or zip as parts.json or index.json, of one of two forms:

    {"a.jpg": {"left eye": [x, y], "nose": [x, y], "box": [left, top, right, bottom]}, ...}
    [{"file": "a.jpg", "points": {"left eye": [x, y], ...}, "box": [...]}, ...]

Pixels of the picture as it is shown upright, from its top left; `box`, the whole object, may be
left out and is then the smallest that holds the points inside the picture.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope.errors import BadData, BadOption
from convscope.images.archives import read_beside
from convscope.images.datasets import SceneImages
from convscope.images.image_set import ImageSet
from convscope.text import printable

__all__ = ["Marked", "marked_images"]

FILES = ("parts.json", "index.json")
FORMS = 'such as {"a.jpg": {"left eye": [x, y], "nose": [x, y]}}'

Landmark = tuple[float, float]
Edges = tuple[float, float, float, float]


@dataclass(frozen=True)
class Marked:
    """The named points of one image.

    Attributes:
        index: Of the image in its set.
        points: By name (row, column), pixels; those that are hidden or outside are left out.
        names: Every name that was marked, visible or not.
        box: (top, left, bottom, right) of the whole object, pixels.
    """

    index: int
    points: Mapping[str, Landmark]
    names: tuple[str, ...]
    box: Edges


def marked_images(
    images: ImageSet, parts: str | Path | None = None, *, subject: str | None = None
) -> tuple[Marked, ...]:
    """Return the images of a set that have marked points, in order.

    Args:
        images: The set.
        parts: A JSON file of points; None is the one that lies with the images. Scenes need none.
        subject: A class: its images only. None is every class; of scenes the first, dogs.

    Raises:
        BadData: There are no marks, marks of another form, or of images that are not in the set.
        BadOption: There is no such class.
    """
    wanted = _class(images, subject)
    if isinstance(images, SceneImages) and parts is None:
        return _of_scenes(images, 0 if wanted is None else wanted)
    record, where = _read(images, parts)
    marked = _by_index(images, _entries(record, where), where)
    return tuple(
        marked[index] for index in sorted(marked) if wanted is None or images.label(index) == wanted
    )


def _class(images: ImageSet, name: str | None) -> int | None:
    if name is None:
        return None
    if images.classes is None or name not in images.classes:
        there = "no classes" if images.classes is None else ", ".join(images.classes)
        raise BadOption(f"class {name!r}: {images.spec} has {there}")
    return images.classes.index(name)


def _of_scenes(images: SceneImages, label: int) -> tuple[Marked, ...]:
    marked = []
    for index in range(len(images)):
        if images.label(index) != label:
            continue
        scene = images.scene(index)
        box = scene.box
        marked.append(
            Marked(
                index,
                {n: (part.row, part.column) for n, part in scene.parts.items() if part.visible},
                tuple(scene.parts),
                (float(box.top), float(box.left), float(box.bottom), float(box.right)),
            )
        )
    return tuple(marked)


def _read(images: ImageSet, parts: str | Path | None) -> tuple[Any, str]:
    """Return the JSON value of the marks, and where it was found."""
    if parts is not None:
        try:
            return json.loads(Path(parts).read_text(encoding="utf-8-sig")), str(parts)
        except OSError as error:
            raise BadData(f"{parts}: cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise BadData(f"{parts}: not JSON ({error}); marked points are {FORMS}") from None
    for name in FILES:
        data = _beside(images, name)
        if data is not None:
            try:
                return json.loads(data), f"{images.spec}/{name}"
            except (ValueError, RecursionError) as error:
                raise BadData(f"{images.spec}/{name}: not JSON ({error})") from None
    raise BadData(
        f"{images.spec} holds no {' or '.join(FILES)}: say where the parts are with --parts FILE, "
        f"{FORMS}"
    )


def _beside(images: ImageSet, name: str) -> bytes | None:
    """Read a file that lies in the folder or zip of a set; None if it is not there."""
    return read_beside(Path(images.spec).expanduser(), name)


def _entries(record: Any, where: str) -> list[tuple[str, Any, Any]]:
    """Return (image, points, box or None) of each entry."""
    try:
        if isinstance(record, Mapping):
            return [
                (name, {n: p for n, p in points.items() if n != "box"}, points.get("box"))
                for name, points in record.items()
            ]
        return [(entry["file"], entry["points"], entry.get("box")) for entry in record]
    except (AttributeError, KeyError, TypeError):
        raise BadData(f"{where}: it holds no marked points; these are {FORMS}") from None


def _by_index(
    images: ImageSet, entries: list[tuple[str, Any, Any]], where: str
) -> dict[int, Marked]:
    exact = {images.name(index): index for index in range(len(images))}
    ends: dict[str, list[int]] = {}
    for name, index in exact.items():
        ends.setdefault(name.rpartition("/")[2], []).append(index)
    marked: dict[int, Marked] = {}
    for name, points, box in entries:
        same = ends.get(str(name).rpartition("/")[2], [])
        place = exact.get(name, same[0] if len(same) == 1 else None)
        if place is None:
            raise BadData(f"{where}: {printable(str(name))} is not among {images.spec}")
        size = images.picture(place).size
        marked[place] = _marked(place, points, box, size, f"{where}: {printable(str(name))}")
    return marked


def _marked(index: int, points: Any, box: Any, size: tuple[int, int], where: str) -> Marked:
    if not isinstance(points, Mapping) or not points:
        raise BadData(f"{where}: it has no points; they are {FORMS}")
    places = {str(name): _numbers(place, 2, where) for name, place in points.items()}
    width, height = size
    visible = {n: (y, x) for n, (x, y) in places.items() if 0 <= x < width and 0 <= y < height}
    if box is not None:
        left, top, right, bottom = _numbers(box, 4, where)
    elif visible:
        ys, xs = zip(*visible.values(), strict=True)
        left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    else:
        raise BadData(f"{where}: all its points lie outside the picture, {width}×{height} pixels")
    return Marked(
        index,
        visible,
        tuple(places),
        (top, left, bottom, right),
    )


def _numbers(values: Any, count: int, where: str) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        what = "[x, y]" if count == 2 else "[left, top, right, bottom]"
        raise BadData(f"{where}: {values!r} is not {what}, pixels")
    return numbers
