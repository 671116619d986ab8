"""Boxes of objects: the truth of scenes, and every form of file read to the same boxes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.errors import BadData
from convscope.images.datasets import SceneImages, open_images
from convscope.images.image_set import ImageSet
from convscope.images.marked_boxes import boxed_images

TRUTH = {
    "cat/a.png": [("cat", (2.0, 1.0, 6.0, 8.0))],
    "dog/b.png": [("dog", (0.0, 0.0, 10.0, 12.0)), ("cat", (3.0, 4.0, 4.0, 5.0))],
}  # (top, left, bottom, right)


@pytest.fixture
def pets(tmp_path: Path) -> ImageSet:
    for name in (*TRUTH, "dog/c.png"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 10)).save(path)
    return open_images(tmp_path / "pets")


def rows() -> list[tuple[str, str, tuple[float, ...]]]:
    return [(name, label, box) for name, known in TRUTH.items() for label, box in known]


def edges_csv(folder: Path) -> Path:
    path = folder / "edges.csv"
    lines = [f"{n},{k},{b[1]:g},{b[0]:g},{b[3]:g},{b[2]:g}" for n, k, b in rows()]
    path.write_text("\n".join(["file,label,left,top,right,bottom", *lines]))
    return path


def pixels_csv(folder: Path) -> Path:
    path = folder / "pixels.csv"
    lines = [f"{k},{n},{b[1]:g},{b[0]:g},{b[3] - 1:g},{b[2] - 1:g}" for n, k, b in rows()]
    path.write_text("\n".join(["label,file,xmin,ymin,xmax,ymax", *lines, "cat,dog/c.png,,,,"]))
    return path


def as_json(folder: Path) -> Path:
    path = folder / "boxes.json"
    record = {
        name: [{"label": k, "box": [b[1], b[0], b[3], b[2]]} for k, b in known]
        for name, known in TRUTH.items()
    }
    path.write_text(json.dumps(record))
    return path


def tiny_imagenet(folder: Path) -> Path:
    path = folder / "val_annotations.txt"
    lines = [
        f"{Path(n).name}\t{k}\t{b[1]:g}\t{b[0]:g}\t{b[3] - 1:g}\t{b[2] - 1:g}" for n, k, b in rows()
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def voc(folder: Path) -> Path:
    (folder / "xml").mkdir()
    for name, known in TRUTH.items():
        objects = "".join(
            f"<object><name>{k}</name><difficult>{int(k == 'cat')}</difficult><bndbox>"
            f"<xmin>{b[1] + 1:g}</xmin><ymin>{b[0] + 1:g}</ymin>"
            f"<xmax>{b[3]:g}</xmax><ymax>{b[2]:g}</ymax></bndbox></object>"
            for k, b in known
        )
        text = f"<annotation><filename>{Path(name).name}</filename>{objects}</annotation>"
        (folder / "xml" / f"{Path(name).stem}.xml").write_text(text)
    return folder / "xml"


@pytest.mark.parametrize("write", [edges_csv, pixels_csv, as_json, tiny_imagenet, voc])
def test_every_form_says_the_same(pets: ImageSet, tmp_path: Path, write: object) -> None:
    assert callable(write)
    found = boxed_images(pets, write(tmp_path))
    named = {
        pets.name(i): [(found.classes[each.label], each.edges) for each in known]
        for i, known in found.boxes.items()
    }
    assert named == TRUTH
    assert found.notes == ("1 of 3 images have no box: left out",)
    difficult = [each.difficult for known in found.boxes.values() for each in known]
    assert difficult == [write is voc, False, write is voc]


def test_a_file_beside_the_images_is_found(pets: ImageSet, tmp_path: Path) -> None:
    edges_csv(tmp_path).rename(tmp_path / "pets" / "boxes.csv")
    assert len(boxed_images(pets).boxes) == 2


def test_the_boxes_of_an_index_are_read_with_its_labels(pets: ImageSet, tmp_path: Path) -> None:
    lines = [
        "split,file,label,xmin,ymin,xmax,ymax",
        "a,cat/a.png,1,1,2,7,5",
        "b,dog/b.png,0,0,0,1,1",
    ]
    (tmp_path / "pets" / "index.csv").write_text("\n".join(lines))
    indexed = open_images(f"index:{tmp_path / 'pets'}:a")
    found = boxed_images(indexed)
    assert found.boxes[0][0].edges == (2.0, 1.0, 6.0, 8.0)
    assert found.boxes[0][0].label == indexed.label(0) == 1
    assert found.notes == (f"1 of 2 boxes are of images that are not in {indexed.spec}",)


def test_a_box_without_a_class_has_that_of_its_image(pets: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "dog_boxes.txt"
    path.write_text("b.png\t0\t0\t11\t9\n")
    found = boxed_images(pets, path)
    ((index, (box,)),) = found.boxes.items()
    assert (pets.name(index), found.classes[box.label]) == ("dog/b.png", "dog")


def test_without_any_class_all_are_objects(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text("file,left,top,right,bottom\na.png,0,0,2,2\n")
    assert boxed_images(open_images(tmp_path)).classes == ("object",)


@pytest.mark.parametrize("spec", ["scenes:val:6", "scenes:multi:6"])
def test_the_boxes_of_scenes_are_the_smallest_that_hold_what_is_seen(spec: str) -> None:
    images = open_images(spec, size=32)
    assert isinstance(images, SceneImages)
    for index, known in boxed_images(images).boxes.items():
        for each, thing in zip(known, images.scene(index).objects, strict=True):
            where = np.argwhere(thing.mask)
            assert each.edges == (*where.min(0), *(where.max(0) + 1))
            assert each.label == thing.label


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "file,left,top,right,bottom,label\ncat/a.png,0,0,2,2,cow\n",
            "class cow is none of cat, dog",
        ),
        ("file,left,top,right,bottom\ncat/a.png,3,0,3,2\n", "line 2: a box with no pixel"),
        ("file,left,top,right,bottom\ncat/a.png,x,0,3,2\n", "not the four numbers of a box"),
        ("file,left,top,right,bottom\ncow/x.png,0,0,3,2\n", "none of its 1 boxes is of an image"),
        ("file,left,top,right,bottom\ncow/x.png,,,,\n", "holds no box; boxes are a .csv"),
        ("file,left,top\ncat/a.png,0,0\n", "its columns are file, left, top; it needs"),
        ("", "its columns are none"),
    ],
)
def test_what_is_no_box_is_refused_by_name(
    pets: ImageSet, tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(BadData, match=words):
        boxed_images(pets, path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "[1]", "it holds no boxes"),
        ("a.json", "{", "not JSON"),
        ("a.json", '{"a.png": [{"box": [1, 2]}]}', "a.png: .* not the four numbers"),
        ("a.txt", "a.png 1 2\n", "line 1: 'a.png 1 2' is not file"),
        ("a.gif", "", "boxes are a .csv, .json or .txt file"),
        ("absent.csv", None, "cannot be read"),
    ],
)
def test_other_files_are_refused_by_name(
    pets: ImageSet, tmp_path: Path, name: str, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(BadData, match=words):
        boxed_images(pets, tmp_path / name)


def test_annotations_that_are_no_xml_are_refused(pets: ImageSet, tmp_path: Path) -> None:
    (tmp_path / "xml").mkdir()
    with pytest.raises(BadData, match=r"no \.xml file"):
        boxed_images(pets, tmp_path / "xml")
    for text, words in (("<a>", "not XML"), ("<!DOCTYPE a><a/>", "document type")):
        (tmp_path / "xml" / "a.xml").write_text(text)
        with pytest.raises(BadData, match=words):
            boxed_images(pets, tmp_path / "xml")


def test_images_without_any_boxes_ask_for_a_file(pets: ImageSet) -> None:
    with pytest.raises(BadData, match=r"holds none of boxes\.csv, .* --boxes"):
        boxed_images(pets)
