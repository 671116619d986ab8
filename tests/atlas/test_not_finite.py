"""Maps that are NaN or infinite everywhere are not dead: they are told as not finite."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from convscope.atlas.build import build_atlas
from convscope.atlas.store import Atlas, open_atlas
from convscope.experiments.atlas import WrittenAtlas
from convscope.images.datasets import open_images
from convscope.report.page import write_page
from convscope.report.page_words import atlas_page_words

IMAGES, POSITIONS = 22, 36  # 6 x 6 positions of the third convolution


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, pictures, tiny) -> Atlas:
    """Of five maps one is NaN, one infinite, one dead, all of them everywhere."""
    module = tiny.module()
    with torch.no_grad():
        module[7].bias[1], module[7].bias[3], module[7].bias[4] = torch.nan, torch.inf, -1e6
    folder = tmp_path_factory.mktemp("broken") / "atlas"
    build_atlas(tiny.model(module), open_images(pictures), folder, layers=["7"], top=2, plain=True)
    return open_atlas(folder)


def test_they_are_counted_apart_from_dead_maps(atlas: Atlas):
    (record,) = atlas.manifest.layers
    assert (record.not_finite, record.dead) == (2, 1)
    table = atlas.layers["7"]
    assert table.not_finite.tolist() == [False, True, False, True, False]
    assert table.non_finite.tolist() == [0, IMAGES * POSITIONS, 0, IMAGES * POSITIONS, 0]
    assert record.non_finite == 2 * IMAGES * POSITIONS


def test_the_verb_says_so_in_words_and_in_json(atlas: Atlas):
    written = WrittenAtlas(atlas.folder, atlas.manifest)
    (line,) = written.warnings()
    assert line == "7: 1584 activations were NaN or infinite, all of 2 maps"
    assert written.to_dict()["layers"][0]["not_finite"] == 2
    assert "1 map never active" in written.words()[0]


def test_the_page_says_so(atlas: Atlas):
    words = atlas_page_words(atlas.manifest)
    assert words["non_finite_text"].endswith(
        "2 maps held nothing else, and count as not finite: 7 (2)."
    )
    write_page(atlas.folder)
    slug = atlas.record("7").slug
    script = (atlas.folder / "data" / f"{slug}.js").read_text()
    active = json.loads(re.search(r'"active":(\[[^]]*\])', script)[1])
    assert [value is None for value in active] == [False, True, False, True, False]
    assert active[4] == 0
    unit = (atlas.folder / "data" / "units" / slug / "1.js").read_text()
    assert '"active":null' in unit


def test_an_atlas_that_does_not_count_them_opens(atlas: Atlas, tmp_path: Path):
    manifest = json.loads((atlas.folder / "manifest.json").read_text())
    del manifest["layers"][0]["not_finite"]
    read = type(atlas.manifest).model_validate(manifest)
    assert read.layers[0].not_finite == 0
    assert "not_finite" not in read.model_dump(mode="json")["layers"][0]
