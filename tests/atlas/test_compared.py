"""What a comparison found, taken into an atlas of one of its networks, and refused elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convscope.atlas.build import build_atlas
from convscope.atlas.compared import ATLASES, compared_of_study, read_compared, write_compared
from convscope.atlas.store import Atlas
from convscope.errors import BadInput
from convscope.images.datasets import open_images
from convscope.report.page import write_page


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, pictures, tiny) -> Atlas:
    folder = tmp_path_factory.mktemp("compared") / "atlas"
    return build_atlas(tiny.model(), open_images(pictures), folder, layers=["3"], plain=True)


def study(folder: Path, weights: str | None, maps: int, *, first: bool, **changes: Any) -> Path:
    """Map 0 is the other's 2 and map 1 its 0, not above the level; the other has 3 maps."""
    folder.mkdir()
    match = {"layer": "3", "other": "conv b", "level": 0.5, "maps": [maps, 3]}
    match |= {"partner": [2, 0, *[None] * (maps - 2)], "correlation": [0.9, 0.4]}
    match["correlation"] += [None] * (maps - 2)
    sides = [{"weights_sha256": weights}, {"weights_sha256": "ab" * 32}]
    if not first:
        match |= {"layer": "conv b", "other": "3", "maps": [3, maps]}
        match |= {"partner": [1, None, 0], "correlation": [0.4, None, 0.9]}
        sides.reverse()
    names = ["mine", "<b>&its"] if first else ["<b>&its", "mine"]
    found = {"model": names[0], "other": names[1], "data": "photos", "layers": [match]}
    found |= {"about": {**sides[0], "other": sides[1]}, **changes}
    (folder / "result.json").write_text(json.dumps(found))
    return folder


@pytest.mark.parametrize("first", [True, False])
def test_each_map_leads_to_that_of_the_other_network(atlas, tmp_path, first):
    maps = atlas.record("3").channels
    weights = atlas.manifest.model.weights_sha256
    folder = study(tmp_path / "both", weights, maps, first=first)
    (folder / "index.html").touch()
    places = [str(atlas.folder), "../the other"]
    (folder / ATLASES).write_text(json.dumps(places if first else places[::-1]))
    write_compared(atlas, compared_of_study(folder, atlas.folder))
    found = read_compared(atlas)
    assert found is not None and found.other == "<b>&its"
    assert (atlas.folder / found.page).resolve() == folder.resolve()
    assert (atlas.folder / found.atlas).resolve() == (tmp_path / "the other").resolve()
    layer = found.layers["3"]
    assert [layer.of_map(channel) for channel in range(3)] == [(2, 0.9), (0, 0.4), None]
    assert layer.layer == "conv b" and layer.alike == 1

    page = write_page(atlas.folder)
    words = page.read_text()
    assert f"1 of {maps} maps have one in &lt;b&gt;&amp;its that answers alike" in words
    assert 'id="compared"' in words and 'id="map-other"' in words
    assert "the%20other/index.html" in (page.parent / "page" / "data.js").read_text()
    unit = (page.parent / "data" / "units" / atlas.record("3").slug / "0.js").read_text()
    assert '"other":["conv b",2,0.9,0.5,0]' in unit


def test_without_pages_the_words_alone_are_taken_in(atlas, tmp_path):
    maps, weights = atlas.record("3").channels, atlas.manifest.model.weights_sha256
    sides = compared_of_study(study(tmp_path / "both", weights, maps, first=True), atlas.folder)
    assert (sides[0].page, sides[0].atlas) == (None, None)


def test_a_comparison_of_other_weights_or_damaged_is_refused(atlas, tmp_path):
    sides = compared_of_study(study(tmp_path / "both", "cd" * 32, 5, first=True), atlas.folder)
    with pytest.raises(BadInput, match="other weights"):
        write_compared(atlas, sides)
    weights = atlas.manifest.model.weights_sha256
    few = compared_of_study(study(tmp_path / "few", weights, 2, first=True), atlas.folder)
    write_compared(atlas, few)  # of the same weights, and yet of fewer maps
    with pytest.raises(BadInput, match="damaged"):
        read_compared(atlas)
    (atlas.folder / "comparison.json").unlink()


@pytest.mark.parametrize("layers", [3, [{"layer": "3"}], None])
def test_what_is_no_comparison_is_refused(tmp_path, layers):
    folder = study(tmp_path / "study", "ab" * 32, 4, first=True, layers=layers)
    with pytest.raises(BadInput, match="no finished comparison"):
        compared_of_study(folder, tmp_path)
    with pytest.raises(BadInput, match="no finished comparison"):
        compared_of_study(tmp_path / "nowhere", tmp_path)
