"""Which files count, in which order, with which labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from convscope.errors import BadData
from convscope.images.listing import (
    folder_images,
    in_order,
    is_image_name,
    labels_by_folder,
    read_list,
)


def touched(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_images_are_known_by_their_extension_in_any_case() -> None:
    assert all(map(is_image_name, ["a.jpg", "a.JPEG", "b/c.Png", "x.webp", "a.b.tiff"]))
    assert not any(map(is_image_name, ["a.txt", "index.json", "jpg", "a.jpg.txt", "a.npy"]))


def test_hidden_files_and_what_systems_leave_behind_do_not_count() -> None:
    left = [".a.jpg", "x/._a.jpg", ".thumbnails/a.jpg", "__MACOSX/a.jpg", "x/@eaDir/a.jpg"]
    assert not any(map(is_image_name, left))
    assert not is_image_name("Thumbs.db")


def test_the_order_is_by_path_parts_and_code_points() -> None:
    names = ["b.jpg", "a/2.jpg", "a/10.jpg", "a-b/1.jpg", "B.jpg", "ä.jpg"]
    assert in_order(names) == ["B.jpg", "a/10.jpg", "a/2.jpg", "a-b/1.jpg", "b.jpg", "ä.jpg"]


def test_a_folder_is_listed_to_its_depth_without_the_rest(tmp_path: Path) -> None:
    root = touched(tmp_path, "b/2.jpg", "b/deep/1.png", "a.gif", "notes.txt", ".git/x.jpg")
    assert list(folder_images(root).names) == ["a.gif", "b/2.jpg", "b/deep/1.png"]


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    assert list(folder_images(touched(tmp_path, "x.jpg/y.jpg")).names) == ["x.jpg/y.jpg"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    touched(tmp_path, "real/1.jpg", "set/2.jpg")
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "real" / "back").symlink_to(tmp_path / "set")
    assert list(folder_images(tmp_path / "set").names) == ["2.jpg", "linked/1.jpg"]


def test_a_broken_link_is_listed_so_that_it_is_named_when_skipped(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert list(folder_images(tmp_path).names) == ["gone.jpg"]


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="none: cannot be listed: No such file"):
        folder_images(tmp_path / "none")


def test_a_folder_per_class_gives_labels_in_the_order_of_names() -> None:
    found = labels_by_folder(["cat/1.jpg", "cat/deep/2.jpg", "ant/1.jpg"])
    assert found.classes == ("ant", "cat")
    assert found.labels == (1, 1, 0)


def test_flat_images_have_no_labels() -> None:
    found = labels_by_folder(["1.jpg", "2.jpg"])
    assert (found.labels, found.classes) == ((None, None), None)


def test_images_beside_folders_make_a_set_without_labels() -> None:
    assert labels_by_folder(["1.jpg", "cat/2.jpg"]).classes is None


def test_folders_around_everything_do_not_count() -> None:
    assert labels_by_folder(["images/1.jpg", "images/2.jpg"]).classes is None
    assert labels_by_folder(["set/images/a/1.jpg", "set/images/b/2.jpg"]).classes == ("a", "b")


def test_splits_are_no_classes() -> None:
    found = labels_by_folder(["train/cat/1.jpg", "train/dog/2.jpg", "val/dog/3.jpg"])
    assert (found.labels, found.classes) == ((0, 1, 1), ("cat", "dog"))
    assert labels_by_folder(["train/1.jpg", "test/2.jpg"]).classes is None


def read(folder: Path, text: str | bytes) -> tuple[list[str], tuple[int | None, ...], object]:
    path = folder / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    names, labels = read_list(path)
    return names, labels.labels, labels.classes


def test_a_list_has_a_path_a_line_and_skips_comments(tmp_path: Path) -> None:
    text = "\ufeffa/1.jpg\n# comment\n\n  b 2.png  \r\n"
    assert read(tmp_path, text) == (["a/1.jpg", "b 2.png"], (None, None), None)


def test_a_tab_or_comma_gives_a_number_as_label(tmp_path: Path) -> None:
    names, labels, classes = read(tmp_path, "a.jpg\t3\nb.jpg, 0\nc.jpg\t-1\nd.jpg\n")
    assert names == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert labels == (3, 0, None, None)
    assert classes is None


def test_labels_in_words_are_classes(tmp_path: Path) -> None:
    _, labels, classes = read(tmp_path, "a.jpg,dog\nb.jpg,cat\nc.jpg\n")
    assert (labels, classes) == ((1, 0, None), ("cat", "dog"))


def test_a_comma_in_a_name_is_not_a_label(tmp_path: Path) -> None:
    names, labels, _ = read(tmp_path, "me, you.jpg\nme, you.jpg,7\n")
    assert names == ["me, you.jpg", "me, you.jpg"]
    assert labels == (None, 7)


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no path in it"):
        read(tmp_path, "# nothing\n")


def test_a_binary_file_is_not_a_list(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="is not a text file of paths; give a folder"):
        read(tmp_path, b"\x80\x02}\0\0\0")


def test_one_image_is_not_a_list(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0")
    with pytest.raises(BadData, match=r"x\.jpg: is one image; give a folder"):
        read_list(tmp_path / "x.jpg")
