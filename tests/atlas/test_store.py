"""What a folder must look like to be opened, and what is said when it does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from convscope.atlas.build import build_atlas
from convscope.atlas.store import open_atlas
from convscope.errors import BadInput, BadOption, NoSuchLayer, NoSuchUnit
from convscope.images.datasets import open_images


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pictures, tiny):
    folder = tmp_path_factory.mktemp("store") / "atlas"
    build_atlas(tiny.model(), open_images(pictures), folder, layers=["0", "3"], top=3)
    return folder


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "atlas"))


def change(folder: Path, **values: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **values}))


def test_an_atlas_gives_tables_images_and_pictures(finished):
    atlas = open_atlas(finished)
    assert list(atlas.layers) == ["0", "3"]
    assert atlas.layers["3"].value.shape == (6, 3)
    assert atlas.layers["3"].box.shape == (6, 3, 4)
    assert len(atlas.images) == 22
    assert atlas.images[0].class_name == "cat"
    patch, projection = atlas.patch("3", 5, 2), atlas.projection("3", 5, 2)
    side = atlas.record("3").tile
    assert patch.size == projection.size == (side, side)
    assert patch.mode == "RGB"
    assert isinstance(patch, Image.Image)


def test_an_unknown_layer_offers_the_nearest_and_the_mapping_stays_a_mapping(finished):
    atlas = open_atlas(finished)
    with pytest.raises(NoSuchLayer, match=r"no layer '33'.* among them 3"):
        atlas.layers["33"]
    assert "33" not in atlas.layers
    with pytest.raises(NoSuchLayer):
        atlas.patch("conv9", 0, 0)
    with pytest.raises(NoSuchUnit, match="feature maps 0 to 5; found 6"):
        atlas.patch("3", 6, 0)
    with pytest.raises(BadOption, match="ranks 0 to 2 of each feature map; found 3"):
        atlas.projection("3", 0, 3)


def test_a_folder_without_an_atlas_says_so(tmp_path):
    with pytest.raises(BadInput, match=r"no atlas in .*manifest\.json is missing"):
        open_atlas(tmp_path)
    with pytest.raises(BadInput, match="no atlas in"):
        open_atlas(tmp_path / "nowhere")


def test_a_newer_schema_says_to_update_and_an_older_one_to_make_it_again(folder):
    change(folder, schema_version=2)
    with pytest.raises(BadInput, match="schema version 2; this convscope reads version 1: update"):
        open_atlas(folder)
    change(folder, schema_version=0)
    with pytest.raises(BadInput, match="make the atlas again"):
        open_atlas(folder)


def test_an_unfinished_atlas_is_not_opened(folder):
    change(folder, complete=False)
    with pytest.raises(BadInput, match=r"unfinished; finish it with .* --resume"):
        open_atlas(folder)


def test_unknown_keys_are_ignored_so_that_a_version_may_grow(folder):
    change(folder, later_idea={"a": 1})
    assert open_atlas(folder).manifest.top == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: change(folder, top="many"),
        lambda folder: change(folder, top=4),
        lambda folder: change(folder, schema_version=None),
        lambda folder: (folder / "images.json").unlink(),
        lambda folder: (folder / "images.json").write_text("[1]"),
        lambda folder: (folder / "tables.safetensors").unlink(),
        lambda folder: (folder / "tables.safetensors").write_bytes(b"\0" * 20),
        lambda folder: change(folder, layers=[_renamed(folder)]),
    ],
)
def test_a_damaged_atlas_is_refused_in_one_line_that_names_the_folder(folder, damage):
    damage(folder)
    with pytest.raises(BadInput, match="damaged") as refused:
        open_atlas(folder)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_sheet_is_named(folder):
    (folder / "sheets" / "3" / "patch-000.webp").unlink()
    with pytest.raises(BadInput, match=r"damaged at .*patch-000\.webp"):
        open_atlas(folder).patch("3", 0, 0)


def _renamed(folder: Path) -> dict:
    layer = json.loads((folder / "manifest.json").read_text())["layers"][0]
    return {**layer, "name": "other"}


def test_it_is_kept_where_projections_do_not_depend_on_the_image_and_an_old_atlas_says_nothing(
    folder,
):
    assert [layer.image_dependent for layer in open_atlas(folder).manifest.layers] == [False, True]
    manifest = json.loads((folder / "manifest.json").read_text())
    for layer in manifest["layers"]:
        del layer["image_dependent"]
    change(folder, layers=manifest["layers"])
    assert [layer.image_dependent for layer in open_atlas(folder).manifest.layers] == [None, None]
