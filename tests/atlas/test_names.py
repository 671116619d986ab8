"""Names and stars of units: taken in, kept, and refused where there is no such unit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convscope.atlas.build import build_atlas
from convscope.atlas.names import Names, names_of, read_unit_names, write_names
from convscope.atlas.store import Atlas
from convscope.errors import BadInput
from convscope.images.datasets import open_images
from convscope.report.page import write_page


@pytest.fixture
def atlas(tmp_path, pictures, tiny) -> Atlas:
    images = open_images(pictures)
    return build_atlas(tiny.model(), images, tmp_path / "atlas", layers=["3"], plain=True)


def written(path: Path, **units: object) -> Path:
    path.write_text(json.dumps({"units": {"5/1": {"name": "edges"}, **units}}))
    return path


def test_names_are_taken_in_beside_those_that_are_there(atlas, tmp_path):
    assert atlas.record("3").activation == "5"
    assert names_of(atlas) == Names(units={})
    write_names(atlas, read_unit_names(written(tmp_path / "a.json", **{"5/2": {"star": True}})))
    write_names(atlas, read_unit_names(written(tmp_path / "b.json", **{"5/1": {"name": "<dogs>"}})))
    kept = names_of(atlas).model_dump()["units"]
    assert kept == {
        "5/1": {"name": "<dogs>", "star": False},
        "5/2": {"name": "", "star": True},
    }
    page = write_page(atlas.folder)
    told = (page.parent / "page" / "data.js").read_text()
    assert '"5/1":{"name":"\\u003cdogs\\u003e","star":false}' in told


@pytest.mark.parametrize("unit", ["5/6", "5/-1", "5/x", "5", "3/1", "", "/1"])
def test_a_unit_that_the_atlas_lacks_is_refused(atlas, tmp_path, unit):
    names = read_unit_names(written(tmp_path / "names.json", **{unit: {"name": "x"}}))
    with pytest.raises(BadInput, match="no unit"):
        write_names(atlas, names)
    assert names_of(atlas) == Names(units={})


def test_all_units_that_the_atlas_lacks_are_named_together(atlas, tmp_path):
    names = read_unit_names(written(tmp_path / "names.json", **{"5/6": {}, "9/0": {"star": True}}))
    with pytest.raises(BadInput, match="no unit '5/6', '9/0'; it has 5/0"):
        write_names(atlas, names)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"units": {"a/1": "dog"}}', '{"units": 3}'])
def test_a_file_that_holds_no_names_is_refused(tmp_path, text):
    (tmp_path / "names.json").write_text(text)
    with pytest.raises(BadInput, match="holds no names"):
        read_unit_names(tmp_path / "names.json")
