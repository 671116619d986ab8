"""Names of classes, from text and from the usual kinds of JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convscope.errors import BadData
from convscope.images.classes import read_classes


def written(folder: Path, text: str) -> Path:
    path = folder / "classes"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_text_file_has_a_name_a_line(tmp_path: Path) -> None:
    assert read_classes(written(tmp_path, "cat\n  sea lion \nüber\n\n")) == (
        "cat",
        "sea lion",
        "über",
    )


@pytest.mark.parametrize(
    "value",
    [
        ["cat", "dog"],
        [{"index": 1, "names": "dog"}, {"index": 0, "synset": "n1", "names": "cat"}],
        [{"label": 0, "name": "cat"}, {"label": 1, "name": "dog"}],
        {"1": "dog", "0": "cat"},
        {"0": ["n02", "cat"], "1": ["n01", "dog"]},
    ],
)
def test_every_usual_json_gives_the_names_by_index(tmp_path: Path, value: object) -> None:
    assert read_classes(written(tmp_path, json.dumps(value))) == ("cat", "dog")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no class name in it"),
        ("cat\n\ndog", "line 2 is empty"),
        ("[]", "neither names nor objects"),
        ("[1, 2]", "neither names nor objects"),
        ("{}", "index 0 is missing"),
        ('{"0": "cat", "2": "dog"}', "index 1 is missing: 2 names count from 0"),
        ('{"0": "cat", "dog": "1"}', "'dog' is not a class's index"),
        ('{"0": 5}', "5 is not a class's name"),
        ('[{"index": 0, "names": "a"}, {"index": 0, "names": "b"}]', "index 0 is there twice"),
        ('[{"synset": "n1"}]', "it needs `index` and `names`"),
        ('["cat",', "not JSON"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadData, match=f"classes: .*{words}"):
        read_classes(written(tmp_path, text))


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="none: cannot be read: No such file"):
        read_classes(tmp_path / "none")
    (tmp_path / "classes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadData, match="not a UTF-8 text"):
        read_classes(tmp_path / "classes")
