"""What a folder must look like to be opened, and what is said when it does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from convscope.atlas.store import open_atlas
from convscope.errors import BadInput, BadOption, NoSuchLayer, NoSuchUnit
from convscope.report.page import write_page


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "atlas"))


def change(folder: Path, **values: object) -> None:
    """Change a manifest, as of an atlas that was made before there were checksums."""
    (folder / "checksums.json").unlink(missing_ok=True)
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


def tables_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "tables.safetensors")


def changed_layer(folder: Path, **values: object) -> None:
    layers = json.loads((folder / "manifest.json").read_text())["layers"]
    change(folder, layers=[{**layers[0], **values}, *layers[1:]])


TABLES = {
    "transposed": (
        lambda t: {"3/value": t["3/value"].T.contiguous()}, r"value is float32 \(3, 6\)"
    ),
    "of another type": (lambda t: {"3/value": t["3/value"].double()}, "value is float64"),
    "whole numbers as others": (lambda t: {"3/image": t["3/image"].int()}, "image is int32"),
    "an image beyond the set": (lambda t: {"3/image": t["3/image"] + 22}, "image holds numbers"),
    "a row beyond the map": (lambda t: {"3/row": t["3/row"] + 24}, "row holds numbers beyond"),
    "a place without an image": (
        lambda t: {"3/column": torch.full_like(t["3/column"], -1)}, "column holds numbers beyond"
    ),
    "not in order": (lambda t: {"3/value": t["3/value"].flip(1).contiguous()}, "not in order"),
    "NaN": (lambda t: {"3/value": t["3/value"] * torch.nan}, "value holds NaN"),
    "fields of another size": (lambda t: {"3/box": t["3/box"] * 2}, "box holds fields of another"),
    "more active images than there are": (lambda t: {"3/active": t["3/active"] + 23}, "active"),
    "a scalar": (lambda t: {"3/value": torch.tensor(1.0)}, r"value is float32 \(\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_no_atlas_holds_is_refused_where_there_is_no_checksum(folder, name):
    make, words = TABLES[name]
    tables = tables_of(folder)
    save_file({**tables, **make(tables)}, folder / "tables.safetensors")
    (folder / "checksums.json").unlink()
    with pytest.raises(BadInput, match=rf"damaged at .*tables\.safetensors: 3: .*{words}"):
        open_atlas(folder)


FILES = ["manifest.json", "images.json", "tables.safetensors", "statistics.safetensors",
         "trust.safetensors", "sheets/3/patch-000.webp"]  # fmt: skip


def read_all(folder: Path) -> None:
    atlas = open_atlas(folder)
    atlas.statistics("3")
    atlas.trust("3", 0)
    atlas.patch("3", 0, 0)


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_found_by_the_checksum(folder, name):
    read_all(folder)
    content = bytearray((folder / name).read_bytes())
    at = content.index(b"22", 300) if name == "manifest.json" else len(content) - 7
    content[at] ^= 1  # of the JSON, a digit: it stays JSON
    (folder / name).write_bytes(content)
    with pytest.raises(
        BadInput, match=r"its bytes are not those that were written|damaged"
    ) as found:
        read_all(folder)
    assert name in str(found.value)


def test_an_image_list_that_is_short_is_refused(folder):
    images = json.loads((folder / "images.json").read_text())
    (folder / "images.json").write_text(json.dumps(images[:-1]))
    with pytest.raises(BadInput, match="not those that were written"):
        open_atlas(folder)
    (folder / "checksums.json").unlink()
    with pytest.raises(BadInput, match="it lists 21 images, the manifest counts 22"):
        open_atlas(folder)


def test_an_atlas_without_checksums_opens(folder):
    assert open_atlas(folder).checksums is not None
    (folder / "checksums.json").unlink()
    assert open_atlas(folder).checksums is None
    read_all(folder)


@pytest.mark.parametrize(
    "slug", ["../../X", "/tmp/X", "a/b", "a\\b", "..", ".x", "", "a\0b", "0\n"]
)
def test_a_layers_folder_is_a_name_and_no_path(folder, slug, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    changed_layer(folder, slug=slug)
    with pytest.raises(BadInput, match="damaged"):
        write_page(folder)
    gone = {folder / "checksums.json"}
    assert set(before) - gone == set(tmp_path.rglob("*"))


@pytest.mark.parametrize(
    "values",
    [
        {"channels": 10**12}, {"tile": 10**9}, {"tile": 0}, {"grid": [0, 4]}, {"dead": 99},
        {"slug": "3"}, {"name": "3"}, {"channels": -1}, {"window": [1]}, {"non_finite": -1},
    ],
)  # fmt: skip
def test_numbers_of_a_layer_that_cannot_be_are_refused(folder, values):
    changed_layer(folder, **values)
    with pytest.raises(BadInput, match="damaged"):
        open_atlas(folder)


@pytest.mark.parametrize("place", ["page", "data", "sheets/3"])
def test_nothing_is_written_through_a_link_that_leads_out(folder, place, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(folder / place, ignore_errors=True)
    (folder / place).symlink_to(outside, target_is_directory=True)
    with pytest.raises(BadInput, match="is a link that leads out of"):
        write_page(folder)
    assert not list(outside.iterdir())


def test_kinds_of_pictures_are_those_that_there_are(folder):
    extras = json.loads((folder / "manifest.json").read_text())["extras"]
    change(folder, extras={**extras, "kinds": ["patch", "../../X"]})
    with pytest.raises(BadInput, match="damaged"):
        open_atlas(folder)


def test_a_manifest_nested_100_000_deep_is_refused(folder):
    (folder / "manifest.json").write_text('{"a":' * 100_000)
    with pytest.raises(BadInput, match="damaged"):
        open_atlas(folder)


def test_a_sheet_of_another_size_is_refused(folder):
    Image.new("RGB", (3, 3)).save(folder / "sheets" / "3" / "patch-000.webp")
    (folder / "checksums.json").unlink()
    with pytest.raises(BadInput, match="it has 3x3 pixels alone"):
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
