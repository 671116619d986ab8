"""Every form that DATA can take, its labels and its identity, and the forms that are refused."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.errors import BadData, BadImage, BadOption
from convscope.images.datasets import (
    FolderImages,
    ImageSet,
    ListImages,
    SceneImages,
    ZipImages,
    open_images,
)

NAMES = ["ant/1.png", "ant/2.png", "cat/1.png", "cat/10.png", "cat/9.png"]


def picture(number: int) -> Image.Image:
    return Image.new("RGB", (6, 4), (number, 2 * number, 3 * number))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images of two classes, beside a text and a hidden copy."""
    root = tmp_path / "photos"
    for number, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(root / name)
    (root / "index.json").write_text("[]")
    (root / "ant" / ".hidden.png").write_bytes(b"")
    return root


@pytest.fixture
def archive(folder: Path) -> Path:
    """The same, zipped twice over: flat in the root, and below train/."""
    path = folder.parent / "photos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("index.csv", "file,label\n")
        archive.mkdir("cat")
        for name in reversed(NAMES):
            archive.write(folder / name, name)
        archive.writestr("__MACOSX/cat/._1.png", b"x")
    return path


def names(images: ImageSet) -> list[str]:
    return [images.name(i) for i in range(len(images))]


def labels(images: ImageSet) -> list[int | None]:
    return [images.label(i) for i in range(len(images))]


# folders and zips


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_folder_and_its_zip_give_names_labels_and_pictures(
    kind: str, request: pytest.FixtureRequest
) -> None:
    images = open_images(request.getfixturevalue(kind))
    assert isinstance(images, FolderImages if kind == "folder" else ZipImages)
    assert names(images) == NAMES
    assert labels(images) == [0, 0, 1, 1, 1]
    assert images.classes == ("ant", "cat")
    for number in range(5):
        assert images.picture(number).tobytes() == picture(number).tobytes()


def test_digests_are_of_the_files_bytes(folder: Path, archive: Path) -> None:
    expected = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in NAMES]
    for spec in (folder, archive):
        images = open_images(spec)
        assert [images.digest(i) for i in range(5)] == expected


def test_the_identity_is_the_hash_of_names_and_digests(folder: Path) -> None:
    lines = "".join(
        f"{name}\0{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n" for name in NAMES
    )
    assert open_images(folder).identity() == hashlib.sha256(lines.encode()).hexdigest()


def test_a_copy_and_a_zip_have_the_identity_of_the_original(folder: Path, archive: Path) -> None:
    copy = shutil.copytree(folder, folder.parent / "copy")
    os.utime(copy / NAMES[0], (1, 1))
    found = {open_images(spec).identity() for spec in (folder, copy, archive)}
    assert len(found) == 1


def test_another_name_or_another_byte_is_another_identity(folder: Path) -> None:
    before = open_images(folder).identity()
    picture(99).save(folder / NAMES[0])
    changed = open_images(folder).identity()
    (folder / NAMES[1]).rename(folder / "ant" / "3.png")
    assert len({before, changed, open_images(folder).identity()}) == 3


def test_images_that_were_read_are_not_read_again_for_the_identity(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = open_images(folder)
    expected = images.identity()
    again = open_images(folder)
    for index in range(len(again)):
        again.load(index)
    shutil.rmtree(folder)
    assert again.identity() == expected


def test_a_corrupt_image_has_a_digest_and_the_set_an_identity(folder: Path) -> None:
    (folder / NAMES[2]).write_bytes(b"no image")
    images = open_images(folder)
    with pytest.raises(BadImage, match=r"^cat/1\.png: is not an image"):
        images.picture(2)
    assert images.digest(2) == hashlib.sha256(b"no image").hexdigest()
    assert len(images.identity()) == 64


def test_an_image_that_vanished_is_named_and_the_set_keeps_an_identity(folder: Path) -> None:
    images = open_images(folder)
    (folder / NAMES[2]).unlink()
    with pytest.raises(BadImage, match=r"^cat/1\.png: does not exist"):
        images.digest(2)
    assert len(images.identity()) == 64


def test_a_name_that_is_not_utf8_can_be_written_and_read(tmp_path: Path) -> None:
    picture(1).save(tmp_path / os.fsdecode(b"caf\xe9.png"))
    images = open_images(tmp_path)
    assert images.name(0).encode("utf-8") == b"caf\\xe9.png"
    assert images.picture(0).size == (6, 4)
    assert len(images.identity()) == 64


def test_a_path_may_lead_into_a_zip(folder: Path) -> None:
    path = folder.parent / "split.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in NAMES:
            archive.write(folder / name, f"train/{name}")
        archive.write(folder / NAMES[0], "val/ant/7.png")
    assert len(open_images(path)) == 6
    assert open_images(path).classes == ("ant", "cat")
    assert names(open_images(path / "train")) == NAMES
    assert open_images(path / "train").identity() == open_images(folder).identity()
    with pytest.raises(BadData, match=r"no images in the folder 'test' of this zip \(6 files"):
        open_images(path / "test")


def test_a_zip_that_is_cut_short_names_its_damaged_images(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        start = opened.getinfo("cat/1.png").header_offset
    data[start + 45] ^= 0xFF
    archive.write_bytes(bytes(data))
    images = open_images(archive)
    with pytest.raises(BadImage, match=r"^cat/1\.png: cannot be read from the zip"):
        images.picture(2)
    assert images.picture(3).size == (6, 4)


def test_a_broken_zip_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(BadData, match=r"x\.zip: not a readable zip"):
        open_images(tmp_path / "x.zip")


def test_an_entry_that_claims_to_be_huge_is_refused_before_it_is_unpacked(archive: Path) -> None:
    images = ZipImages(str(archive), archive)
    images._places[0].file_size = 1 << 40
    with pytest.raises(BadImage, match=r"ant/1\.png: is too large: 1,099,511,627,776 bytes"):
        images.picture(0)


def test_threads_read_a_zip_together(archive: Path) -> None:
    images = open_images(archive)
    failures: list[str] = []

    def work() -> None:
        for turn in range(40):
            number = turn % 5
            if images.picture(number).tobytes() != picture(number).tobytes():
                failures.append(images.name(number))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_forked_process_reads_the_zip_at_its_own_position(archive: Path) -> None:
    images = ZipImages(str(archive), archive)
    here = images._archive()
    images._opened = (-1, here)  # as a child sees what its parent opened
    assert images.picture(1).tobytes() == picture(1).tobytes()
    assert images._archive() is not here
    here.close()


# lists


def test_a_list_names_images_relative_to_itself(folder: Path) -> None:
    path = folder / "ant" / "chosen.txt"
    path.write_text("../cat/9.png\tcat\n1.png\tant\n")
    images = open_images(path)
    assert isinstance(images, ListImages)
    assert names(images) == ["../cat/9.png", "1.png"]
    assert labels(images) == [1, 0]
    assert images.classes == ("ant", "cat")
    assert images.picture(0).tobytes() == picture(4).tobytes()


def test_a_list_may_hold_absolute_paths(folder: Path) -> None:
    path = folder / "chosen.txt"
    path.write_text(f"{folder / NAMES[3]}\n")
    assert open_images(path).picture(0).tobytes() == picture(3).tobytes()


def test_a_missing_image_of_a_list_is_named_when_it_is_read(folder: Path) -> None:
    path = folder / "chosen.txt"
    path.write_text("cat/1.png\ncat/no.png\n")
    images = open_images(path)
    with pytest.raises(BadImage, match=r"^cat/no\.png: does not exist"):
        images.picture(1)


def test_a_list_of_paths_that_lead_nowhere_is_refused_with_where_it_looked(folder: Path) -> None:
    path = folder / "chosen.txt"
    path.write_text("other/1.png\nother/2.png\n")
    with pytest.raises(BadData, match=r"not one of the first 2 paths exists.*relative to .*photos"):
        open_images(path)


# rendered scenes


def test_scenes_open_with_their_labels_and_truth() -> None:
    images = open_images("scenes:val", size=32, seed=7)
    assert isinstance(images, SceneImages)
    assert len(images) > 100
    assert images.picture(3).size == (32, 32)
    assert images.picture(3).tobytes() == images.scene(3).pixels.tobytes()
    assert images.label(3) == images.scene(3).label
    assert images.name(3) == f"val/{images.classes[images.label(3)]}/000003"
    assert images.name(0) != images.name(12)


def test_scenes_are_the_training_split_unless_another_is_named() -> None:
    assert open_images("scenes").name(0).startswith("train/")


def test_as_many_scenes_as_one_asks_for() -> None:
    assert len(open_images("scenes:transfer:7")) == 7


def test_scenes_with_several_objects_have_no_single_label() -> None:
    images = open_images("scenes:multi:3", size=32)
    assert labels(images) == [None] * 3
    assert names(images) == ["multi/000000", "multi/000001", "multi/000002"]


def test_the_identity_of_scenes_is_their_recipe() -> None:
    spec = "scenes:val:5"
    base = open_images(spec, size=32, seed=1)
    assert base.identity() == open_images(spec, size=32, seed=1).identity()
    others = [
        open_images(spec, size=33, seed=1),
        open_images(spec, size=32, seed=2),
        open_images(spec, size=32, seed=1, context=0.5),
        open_images("scenes:train:5", size=32, seed=1),
        open_images("scenes:val:6", size=32, seed=1),
    ]
    assert len({images.identity() for images in [base, *others]}) == 6


def test_wrong_words_about_scenes_are_refused() -> None:
    with pytest.raises(BadOption, match="train, val, transfer, multi"):
        open_images("scenes:test")
    with pytest.raises(BadData, match="'many' is no number of scenes; such as scenes:val:500"):
        open_images("scenes:val:many")
    with pytest.raises(BadOption, match="pixels"):
        open_images("scenes", size=4)


# what is no set of images


@pytest.mark.parametrize("spec", ["no/such/place", "photos.rar", "", "nul\0byte"])
def test_an_unknown_set_is_refused_with_the_forms_that_are_known(spec: str) -> None:
    with pytest.raises(BadData, match=r"DATA is scenes\[:split\], a folder, a zip, a text file"):
        open_images(spec)


def test_an_empty_folder_is_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.md").touch()
    with pytest.raises(BadData, match=r"no images in this folder \(looked for \.jpg, \.png"):
        open_images(tmp_path)


def test_a_zip_without_images_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "")
    with pytest.raises(BadData, match=r"no images in this zip \(1 files of other kinds\)"):
        open_images(tmp_path / "x.zip")


def test_the_pictures_of_a_set_are_upright_rgb_whatever_the_files_hold(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 3), 0x40FF, np.uint16)).save(tmp_path / "deep.png")
    loaded = open_images(tmp_path).load(0)
    assert loaded.image.getpixel((0, 0)) == (0x40, 0x40, 0x40)
    assert loaded.notes == ("16 bits a sample: high byte kept", "grey to RGB")
    assert loaded.digest == hashlib.sha256((tmp_path / "deep.png").read_bytes()).hexdigest()
