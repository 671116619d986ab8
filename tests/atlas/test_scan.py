"""An atlas of a tiny network, against what can be worked out by hand."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.atlas.build import build_atlas
from convscope.atlas.store import Atlas
from convscope.errors import BadData, BadOption, NoSuchLayer
from convscope.images.datasets import open_images
from convscope.methods.project import project
from convscope.methods.rules import GRADIENT
from convscope.network.network import open_network
from convscope.network.unit import Unit

GREY = 128


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, pictures, tiny) -> Atlas:
    folder = tmp_path_factory.mktemp("scan") / "atlas"
    return build_atlas(tiny.model(), open_images(pictures), folder)


def inputs(pictures: Path, tiny) -> torch.Tensor:
    images, preprocess = open_images(pictures), tiny.model().preprocess
    return torch.stack([preprocess.tensor(images.picture(i)) for i in range(len(images))])


@pytest.mark.parametrize(("layer", "depth"), [("0", 2), ("3", 6), ("7", 8)])
def test_tables_are_the_sorted_maxima_of_the_plain_module(atlas, pictures, tiny, layer, depth):
    maps = tiny.module()[:depth](inputs(pictures, tiny)).detach()  # (22, C, H, W)
    table = atlas.layers[layer]
    for channel in range(maps.shape[1]):
        peaks = maps[:, channel].flatten(1).max(1)
        order = sorted(range(22), key=lambda i: (-float(peaks.values[i]), i))[:9]
        expected = peaks.values[order]
        torch.testing.assert_close(table.value[channel], expected, rtol=1e-5, atol=1e-6)
        if expected.diff().abs().min() > 1e-5:  # no near tie, so the order is certain
            assert table.image[channel].tolist() == order
            place = table.row[channel] * maps.shape[3] + table.column[channel]
            assert place.tolist() == peaks.indices[order].tolist()
    assert table.active.tolist() == (maps.amax((2, 3)) > 0).sum(0).tolist()


def test_boxes_are_receptive_fields_that_may_leave_the_image(atlas):
    table = atlas.layers["0"]
    corner = torch.stack([table.row - 1, table.column - 1], -1)  # 3 x 3, stride 1, padding 1
    assert torch.equal(table.box[..., :2], corner)
    assert torch.equal(table.box[..., 2:], corner + 3)


def test_patches_are_the_pixels_of_the_field_enlarged_with_grey_outside(atlas, pictures):
    images, table, tile = open_images(pictures), atlas.layers["0"], atlas.record("0").tile
    assert tile == 33
    for channel, rank in [(0, 0), (1, 3), (3, 8)]:
        picture = np.asarray(images.picture(int(table.image[channel, rank])))
        padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), constant_values=GREY)
        top, left = int(table.row[channel, rank]), int(table.column[channel, rank])
        expected = padded[top : top + 3, left : left + 3].repeat(11, 0).repeat(11, 1)
        assert (np.asarray(atlas.patch("0", channel, rank)) == expected).all()


@pytest.mark.parametrize("layer", ["0", "3"])
def test_projections_are_those_of_the_unit_in_its_image_around_grey(atlas, pictures, tiny, layer):
    network = open_network(tiny.module(), (3, 24, 24))
    trace = network.trace(inputs(pictures, tiny))
    table, record = atlas.layers[layer], atlas.record(layer)
    for channel, rank in [(0, 0), (2, 4), (3, 8)]:
        image, row, column = (
            int(getattr(table, field)[channel, rank]) for field in ("image", "row", "column")
        )
        unit = Unit(record.activation, channel, row, column)
        whole = project(trace, unit, images=[image]).projection[0]
        top, left, bottom, right = table.box[channel, rank].tolist()
        framed = torch.nn.functional.pad(whole, (24, 24, 24, 24))
        crop = framed[:, top + 24 : bottom + 24, left + 24 : right + 24]
        expected = (128 + 127 * crop / crop.abs().max()).round().permute(1, 2, 0).numpy()
        factor = record.tile // expected.shape[0]
        expected = expected.repeat(factor, 0).repeat(factor, 1)
        found = np.asarray(atlas.projection(layer, channel, rank)).astype(float)
        assert np.abs(found - expected).max() <= 1


def test_the_manifest_says_what_was_looked_at_and_how(atlas, pictures, tiny):
    manifest = atlas.manifest
    assert manifest.complete
    assert manifest.data.count == 22
    assert manifest.data.identity == open_images(pictures).identity()
    assert manifest.model.parameters == sum(p.numel() for p in tiny.module().parameters())
    assert manifest.model.random_weights
    assert manifest.input_shape == (3, 24, 24)
    assert manifest.rules == "deconvnet"
    assert [layer.name for layer in manifest.layers] == ["0", "3", "7"]
    assert [layer.activation for layer in manifest.layers] == ["1", "5", "7"]
    assert [layer.grid for layer in manifest.layers] == [(24, 24), (12, 12), (6, 6)]
    assert [layer.field.size for layer in manifest.layers] == [(3, 3), (9, 9), (19, 19)]
    assert [layer.filters for layer in manifest.layers] == [True, False, False]
    assert (atlas.folder / "sheets" / "0" / "filters.webp").exists()
    assert not (atlas.folder / "work").exists()
    assert manifest.seconds > 0
    assert len(atlas.images) == 22
    assert atlas.images[3].sha256 == open_images(pictures).digest(3)


def test_batch_size_and_workers_do_not_change_the_tables(atlas, pictures, tiny, tmp_path):
    other = build_atlas(
        tiny.model(), open_images(pictures), tmp_path / "a", batch_size=5, workers=0, layers=["3"]
    )
    torch.testing.assert_close(
        other.layers["3"].value, atlas.layers["3"].value, rtol=1e-5, atol=1e-6
    )
    assert torch.equal(other.layers["3"].image, atlas.layers["3"].image)
    assert torch.equal(other.layers["3"].box, atlas.layers["3"].box)


def test_layers_may_be_named_also_dense_ones_and_come_in_the_networks_order(
    pictures, tiny, tmp_path
):
    atlas = build_atlas(
        tiny.model(), open_images(pictures), tmp_path / "a", layers=["9", "2", "9"], top=2
    )
    assert list(atlas.layers) == ["2", "9"]
    assert atlas.layers["9"].value.shape == (3, 2)
    assert atlas.layers["9"].box[0, 0].tolist() == [0, 0, 24, 24]
    logits = tiny.module()(inputs(pictures, tiny)).detach()
    torch.testing.assert_close(atlas.layers["9"].value[:, 0], logits.amax(0))


def test_the_rules_are_the_ones_asked_for(atlas, pictures, tiny, tmp_path):
    other = build_atlas(
        tiny.model(), open_images(pictures), tmp_path / "a", layers=["3"], rules=GRADIENT
    )
    assert other.manifest.rules == "gradient"
    pairs = [(atlas.projection("3", c, 0), other.projection("3", c, 0)) for c in range(6)]
    assert any((np.asarray(a) != np.asarray(b)).any() for a, b in pairs)
    assert torch.equal(other.layers["3"].image, atlas.layers["3"].image)


def test_a_folder_a_zip_and_rendered_scenes_can_be_scanned(atlas, pictures, tiny, tmp_path):
    packed = tmp_path / "pictures.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(pictures.rglob("*.png")):
            archive.write(path, path.relative_to(pictures).as_posix())
    zipped = build_atlas(tiny.model(), open_images(packed), tmp_path / "zip")
    for name, table in zipped.layers.items():
        assert torch.equal(table.value, atlas.layers[name].value)
        assert torch.equal(table.image, atlas.layers[name].image)
    scenes = open_images("scenes:val:12", size=24)
    rendered = build_atlas(tiny.model(), scenes, tmp_path / "scenes", top=5)
    assert rendered.manifest.data.count == 12
    assert {image.class_name for image in rendered.images} <= set(scenes.classes)


def test_images_that_cannot_be_read_are_skipped_named_and_never_win(pictures, tiny, tmp_path):
    folder = Path(shutil.copytree(pictures, tmp_path / "pictures"))
    (folder / "cat" / "001.png").write_bytes(b"not a picture")
    whole = (folder / "dog" / "002.png").read_bytes()
    (folder / "dog" / "002.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.zeros((24, 24), np.uint8)).save(folder / "dog" / "000.png")
    atlas = build_atlas(tiny.model(), open_images(folder), tmp_path / "a", layers=["0"], top=30)
    assert [skip.name for skip in atlas.manifest.skipped] == ["cat/001.png", "dog/002.png"]
    assert all(skip.reason for skip in atlas.manifest.skipped)
    assert atlas.manifest.converted == {"grey to RGB": 1}
    names = {atlas.images[i].name for i in atlas.layers["0"].image.unique().tolist() if i >= 0}
    assert len(names) == 20
    assert not names & {"cat/001.png", "dog/002.png"}
    assert (atlas.layers["0"].image[:, 20:] == -1).all()
    assert (np.asarray(atlas.patch("0", 0, 25)) == GREY).all()
    assert (np.asarray(atlas.projection("0", 0, 25)) == GREY).all()


def test_nothing_readable_is_an_error_and_leaves_nothing(tiny, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(b"no")
    with pytest.raises(BadData, match=r"not one of the 2 images .* the first: a\.jpg"):
        build_atlas(tiny.model(), open_images(folder), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_nan_is_counted_by_layer_and_never_ranks(pictures, tiny, tmp_path):
    module = tiny.module()
    with torch.no_grad():
        module[3].weight[2] = float("nan")
    atlas = build_atlas(tiny.model(module), open_images(pictures), tmp_path / "a", top=4)
    counts = {layer.name: layer.non_finite for layer in atlas.manifest.layers}
    assert counts == {"0": 0, "3": 22 * 12 * 12, "7": 22 * 5 * 6 * 6}
    assert (atlas.layers["3"].image[2] == -1).all()
    assert (atlas.layers["3"].image[[0, 1, 3, 4, 5]] >= 0).all()
    assert atlas.layers["3"].non_finite.tolist() == [0, 0, 22 * 144, 0, 0, 0]
    assert (np.asarray(atlas.projection("7", 0, 0)) == GREY).all()


def test_an_infinite_place_leaves_the_others_of_its_map_their_statistics(pictures, tiny, tmp_path):
    """Map 2 is infinite where it is bright: its other places count as those of any map."""
    module = tiny.module()
    with torch.no_grad():
        module[0].weight[2] = 3e38
        module[0].bias[2] = -2e38
    atlas = build_atlas(tiny.model(module), open_images(pictures), tmp_path / "a", top=3)
    numbers = atlas.statistics("0")
    assert atlas.layers["0"].non_finite[2] > 0
    assert bool((numbers["active_share"] <= 1).all())
    assert int(numbers["images"][2]) >= int(atlas.layers["0"].active[2]) > 0


def test_dead_maps_are_counted(pictures, tiny, tmp_path):
    module = tiny.module()
    with torch.no_grad():
        module[0].bias[1] = -100.0
    atlas = build_atlas(tiny.model(module), open_images(pictures), tmp_path / "a", layers=["0"])
    assert atlas.record("0").dead == 1
    assert atlas.layers["0"].active[1] == 0
    assert (np.asarray(atlas.projection("0", 1, 0)) == GREY).all()


def test_a_network_on_bgr_pixels_is_shown_in_rgb(pictures, tiny, tmp_path):
    module = tiny.module()
    with torch.no_grad():
        module[0].weight[:] = 0.0
        module[0].weight[:, 0] = 1.0  # looks at blue, its first plane
        module[0].bias[:] = 500.0
    model = tiny.model(module, "caffe")
    atlas = build_atlas(model, open_images(pictures), tmp_path / "a", layers=["0"], top=1)
    tile = np.asarray(atlas.projection("0", 0, 0))
    assert (tile[..., :2] == GREY).all()
    assert tile[16, 16, 2] == 255
    with Image.open(atlas.folder / "sheets" / "0" / "filters.webp") as image:
        assert np.asarray(image.convert("RGB"))[30, 30].tolist() == [GREY, GREY, 255]


def test_the_model_comes_back_as_it_was_also_after_an_exception(pictures, tiny, tmp_path):
    module = tiny.module().train()
    module[3].requires_grad_(False)
    before = {key: value.clone() for key, value in module.state_dict().items()}

    def explode(phase: str, done: int, total: int) -> None:
        if phase == "projections":
            raise RuntimeError("stop")

    for progress, out in [(None, "a"), (explode, "b")]:
        try:
            build_atlas(
                tiny.model(module), open_images(pictures), tmp_path / out, progress=progress
            )
        except RuntimeError as error:
            assert str(error) == "stop"
        assert module.training
        assert [p.requires_grad for p in module.parameters()].count(False) == 1
        assert all(p.grad is None for p in module.parameters())
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
        for key, value in module.state_dict().items():
            assert torch.equal(value, before[key])


def test_progress_counts_up_to_the_total_in_both_passes(pictures, tiny, tmp_path):
    told: list[tuple[str, int, int]] = []
    build_atlas(
        tiny.model(),
        open_images(pictures),
        tmp_path / "a",
        layers=["0"],
        batch_size=8,
        progress=lambda *report: told.append(report),
    )
    assert [report for report in told if report[0] == "images"] == [
        ("images", done, 22) for done in (0, 8, 16, 22)
    ]
    assert told[-1] == ("projections", 36, 36)
    assert [report[1] for report in told[4:]] == sorted(report[1] for report in told[4:])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"top": 0}, BadOption, "top is 0; a feature map can keep 1 to 100 images"),
        ({"top": 101}, BadOption, "top is 101"),
        ({"batch_size": 0}, BadOption, "batch size is 0"),
        ({"device": "warp"}, BadOption, "device 'warp' cannot be used"),
        ({"layers": []}, BadOption, "no layers to look at"),
        ({"layers": ["conv"]}, NoSuchLayer, "no layer 'conv'"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(
    pictures, tiny, tmp_path, options, error, words
):
    with pytest.raises(error, match=words):
        build_atlas(tiny.model(), open_images(pictures), tmp_path / "a", **options)
    assert not (tmp_path / "a").exists()
