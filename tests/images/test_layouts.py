"""Published layouts, an index beside the images, and images with several classes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from convscope.errors import BadData
from convscope.images.datasets import open_images, split_folders
from convscope.images.subsets import evenly, subset_images, without_classes


def paint(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(root / name)
    return root


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    paint(root, *(f"JPEGImages/2008_{n}.jpg" for n in range(4)))
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "cat_train.txt").write_text("2008_0  1\n2008_1 -1\n2008_2  0\n")
    (lists / "dog_train.txt").write_text("2008_0  1\n2008_1  1\n2008_2 -1\n")
    (lists / "cat_val.txt").write_text("2008_3 -1\n")
    (lists / "dog_val.txt").write_text("2008_3  1\n")
    (lists / "train.txt").write_text("2008_0\n2008_1\n2008_2\n")
    return root


def test_voc_has_several_classes_an_image_and_difficult_does_not_count(voc: Path) -> None:
    images = open_images(f"voc:{voc}:train")
    assert images.classes == ("cat", "dog") and images.multi_label
    assert [images.targets(i) for i in range(3)] == [(1, 1), (0, 1), (-1, 0)]
    assert images.label(0) is None
    assert images.name(1) == "2008_1.jpg" and images.picture(1).size == (8, 8)


def test_voc_opens_from_the_development_kit_and_has_its_splits(voc: Path) -> None:
    assert len(open_images(f"voc:{voc.parent}:val")) == 1
    with pytest.raises(BadData, match="train, val, trainval"):
        open_images(f"voc:{voc}:test")
    with pytest.raises(BadData, match="JPEGImages"):
        open_images(f"voc:{voc / 'JPEGImages'}")


def test_voc_names_a_missing_image_and_a_strange_line(voc: Path) -> None:
    path = voc / "ImageSets" / "Main" / "cat_val.txt"
    path.write_text("2009_9 1\n")
    with pytest.raises(BadData, match="2009_9 is listed, and not there"):
        open_images(f"voc:{voc}:val")
    path.write_text("2008_3 yes\n")
    with pytest.raises(BadData, match="line 1"):
        open_images(f"voc:{voc}:val")


def test_caltech_leaves_its_clutter_out(tmp_path: Path) -> None:
    paint(
        tmp_path, *(f"101/{c}/1.jpg" for c in ("BACKGROUND_Google", "ant", "257.clutter", "bass"))
    )
    images = open_images(f"caltech:{tmp_path}")
    assert images.classes == ("ant", "bass")
    assert [(images.name(i), images.label(i)) for i in range(2)] == [
        ("101/ant/1.jpg", 0),
        ("101/bass/1.jpg", 1),
    ]
    assert images.spec == f"caltech:{tmp_path}"


def test_caltech_without_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="folder of images per class"):
        open_images(f"caltech:{paint(tmp_path, 'a.jpg')}")
    with pytest.raises(BadData, match="folder or zip"):
        open_images(f"caltech:{tmp_path}/nothing")


def test_classes_can_be_dropped_and_labels_move_up(tmp_path: Path) -> None:
    paint(tmp_path, "a/1.jpg", "b/1.jpg", "c/1.jpg")
    images = without_classes(open_images(tmp_path), ["b"])
    assert images.classes == ("a", "c")
    assert [images.targets(i) for i in range(2)] == [(1, 0), (0, 1)]
    with pytest.raises(BadData, match="no class 'd'"):
        without_classes(open_images(tmp_path), ["d"])
    with pytest.raises(BadData, match="at least two"):
        without_classes(open_images(tmp_path), ["a", "b"])


def test_an_index_gives_labels_splits_and_names(tmp_path: Path) -> None:
    paint(tmp_path, "x/1.jpg", "x/2.jpg", "y/1.jpg", "z/1.jpg")
    (tmp_path / "index.csv").write_text(
        "split,file,label,order\ntrain,x/1.jpg,0,0\ntest,x/2.jpg,0,1\ntrain,y/1.jpg,1,0\n"
        "train,z/1.jpg,-1,0\n"
    )
    whole, train = open_images(f"index:{tmp_path}"), open_images(f"index:{tmp_path}:train")
    assert (len(whole), len(train)) == (3, 2)
    assert whole.classes == ("x", "y")  # what the folders of each label are called
    assert [train.label(i) for i in range(2)] == [0, 1]
    (tmp_path / "classes.json").write_text('["ex", "why"]')
    assert open_images(f"index:{tmp_path}").classes == ("ex", "why")
    with pytest.raises(BadData, match="no split 'val'; it has test, train"):
        open_images(f"index:{tmp_path}:val")


def test_an_index_in_a_zip_may_hold_several_labels(tmp_path: Path) -> None:
    paint(tmp_path, "i/1.jpg", "i/2.jpg")
    entries = [{"file": "i/1.jpg", "labels": [0, 2]}, {"file": "i/2.jpg", "labels": []}]
    index = {"classes": ["a", "b", "c"], "images": entries}
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in ("i/1.jpg", "i/2.jpg"):
            archive.write(tmp_path / name, name)
        archive.writestr("index.json", json.dumps(index))
    images = open_images(f"index:{tmp_path / 'set.zip'}")
    assert images.multi_label and images.classes == ("a", "b", "c")
    assert [images.targets(i) for i in range(2)] == [(1, 0, 1), (0, 0, 0)]


def test_labels_of_an_index_may_be_names(tmp_path: Path) -> None:
    paint(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "index.csv").write_text("file,labels\n1.jpg,dog;cat\n2.jpg,dog\n")
    images = open_images(f"index:{tmp_path}")
    assert images.classes == ("cat", "dog")
    assert [images.targets(i) for i in range(2)] == [(1, 1), (0, 1)]


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ("path,label\n1.jpg,0\n", "`file`"),
        ("file,label\n9.jpg,0\n", "9.jpg is listed"),
        ("file,label\n1.jpg,-1\n", "has a label"),
        ("", "has a label"),
    ],
)
def test_an_index_of_another_form_is_named(tmp_path: Path, index: str, words: str) -> None:
    paint(tmp_path, "1.jpg")
    (tmp_path / "index.csv").write_text(index)
    with pytest.raises(BadData, match=words):
        open_images(f"index:{tmp_path}")


def test_a_place_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"index\.csv or index\.json .*index:PLACE:val"):
        open_images(f"index:{paint(tmp_path, '1.jpg')}")


def test_scenes_with_several_objects_have_targets() -> None:
    images = open_images("scenes:multi:4", size=16)
    assert images.multi_label
    assert [images.targets(i) for i in range(4)] == [images.scene(i).labels for i in range(4)]  # type: ignore[attr-defined]
    plain = open_images("scenes:train:3", size=16)
    assert sum(plain.targets(2)) == 1 and plain.targets(2)[2] == 1


def test_images_without_a_label_have_no_targets(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no label"):
        open_images(paint(tmp_path, "1.jpg")).targets(0)


def test_chosen_images_keep_their_names_and_what_they_show(tmp_path: Path, voc: Path) -> None:
    images = open_images(paint(tmp_path / "cats", "a/1.png", "a/2.png", "b/3.png", "b/4.png"))
    some = subset_images(images, [3, 0])
    assert [some.name(i) for i in range(2)] == [images.name(3), images.name(0)]
    assert [some.label(i) for i in range(2)] == [1, 0]
    several = open_images(f"voc:{voc}:train")
    assert subset_images(several, [1]).targets(0) == several.targets(1)


def test_indices_are_spread_evenly_and_none_is_all() -> None:
    assert evenly(10, 4) == [0, 2, 5, 7]
    assert evenly(3, None) == evenly(3, 5) == [0, 1, 2]


def test_a_folder_is_split_where_it_holds_both_parts(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    assert split_folders(tmp_path) is None
    for name in ("test", "val"):
        (tmp_path / name).mkdir()
    assert split_folders(f"{tmp_path}/") == (str(tmp_path / "train"), str(tmp_path / "val"))
