"""Features: what is in them, and that a cache gives back the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nets
from convscope.errors import BadData, BadOption, FolderInUse, NonFinite, NoSuchLayer
from convscope.experiments.transfer.reading import LayerReader
from convscope.models.zoo import open_model
from convscope.network.feature_layers import hidden_layers, last_hidden_layer
from convscope.network.network import open_network
from convscope.scan import engine
from convscope.scan.feature_cache import identity_of
from convscope.scan.pooling import GRID_LIMIT, LIMIT, Pooling
from experiments.painted import Painted, opened, xor_images, xor_model


def extract(model, network, images, layers, **how):
    """The layers' features, by one reader."""
    return LayerReader(model, network, **how).read(images, layers)


def test_features_of_a_colour_are_the_colour_and_the_difference_of_its_red_and_green() -> None:
    model, images = xor_model(), Painted([(255, 0, 51), (0, 102, 0)], [0, 1])
    found = extract(model, opened(model), images, ["1", "3"], pooling="mean")
    np.testing.assert_allclose(found["1"].values, [[1, 0, 0.2], [0, 0.4, 0]], atol=1e-6)
    np.testing.assert_allclose(found["3"].values, [[1, 0], [0, 0.4]], atol=1e-6)


def test_one_pass_serves_every_layer_and_the_cache_serves_the_next_study(tmp_path: Path) -> None:
    model, images = xor_model(), xor_images(10)
    network = opened(model)
    first = extract(model, network, images, ["1", "3"], cache=tmp_path, batch_size=4)
    assert images.read == 10
    again = extract(model, network, images, ["3", "1"], cache=tmp_path)
    assert images.read == 10
    for layer in ("1", "3"):
        np.testing.assert_array_equal(first[layer].values, again[layer].values)
        assert isinstance(again[layer].values, np.memmap)
    extract(model, network, images, ["1"], cache=tmp_path, pooling="max")
    assert images.read == 20


def test_an_interrupted_pass_goes_on_to_the_same_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CHECKPOINT_SECONDS", 0.0)
    model, images = xor_model(), xor_images(12, broken=[1, 9])
    network = opened(model)
    whole = extract(model, network, images, ["3"], batch_size=4)["3"]

    def stop(what: str, done: int, total: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(model, network, images, ["3"], cache=tmp_path, batch_size=4, progress=stop)
    before = images.read
    resumed = extract(model, network, images, ["3"], cache=tmp_path, batch_size=4)["3"]
    assert images.read - before == 3  # of the last four images one is broken
    np.testing.assert_array_equal(resumed.values, whole.values)
    assert [skip.index for skip in resumed.skipped] == [1, 9]


def test_other_weights_have_other_features(tmp_path: Path) -> None:
    images = xor_images(6)
    for seed in (0, 1):
        model = open_model("zfnet-small", input="3x32x32", seed=seed)
        extract(model, opened(model), images, ["relu1"], cache=tmp_path, pooling="mean")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    model, images = xor_model(), xor_images(6)
    first = np.array(extract(model, opened(model), images, ["3"], cache=tmp_path)["3"].values)
    folder = next(tmp_path.iterdir())
    (folder / "features.npy").write_bytes(b"x")
    again = extract(model, opened(model), images, ["3"], cache=tmp_path)["3"]
    np.testing.assert_array_equal(first, again.values)
    assert json.loads((folder / "state.json").read_text())["next"] == 6


def test_two_studies_that_read_the_same_features_at_once_are_told_apart(tmp_path: Path) -> None:
    model, images = xor_model(), xor_images(12)
    network = opened(model)

    def second(what: str, done: int, total: int) -> None:
        extract(model, network, xor_images(12), ["3"], cache=tmp_path)

    with pytest.raises(FolderInUse, match="another study is reading features of 3"):
        extract(model, network, images, ["1", "3"], cache=tmp_path, progress=second)
    whole = extract(model, network, xor_images(12), ["3"])["3"].values
    found = extract(model, network, images, ["3"], cache=tmp_path)["3"].values
    np.testing.assert_array_equal(found, whole)


def test_a_cache_that_was_written_before_serves_as_it_is(tmp_path: Path) -> None:
    """Written out by hand, as the files have been since the first version."""
    model, images = xor_model(), xor_images(4, broken=[1])
    about = {
        "format": "convscope-features/1", **identity_of(model, opened(model), "3"), "layer": "3",
        "pooling": "mean", "flips": False, "dtype": "float32", "images": images.identity(),
    }  # fmt: skip
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
    folder = tmp_path / key
    folder.mkdir()
    np.save(folder / "features.npy", np.float32([[1, 2], [0, 0], [5, 6], [7, 8]]))
    skipped = {"1": ["is broken", None]}
    (folder / "state.json").write_text(json.dumps({"next": 4, "skipped": skipped}))
    (folder / "about.json").write_text(json.dumps(about))
    found = extract(model, opened(model), images, ["3"], cache=tmp_path, pooling="mean")["3"]
    assert found.values.tolist() == [[1, 2], [0, 0], [5, 6], [7, 8]]
    assert [(skip.index, skip.reason) for skip in found.skipped] == [(1, "is broken")]
    assert [path.name for path in tmp_path.iterdir()] == [key]


def test_mirror_images_are_averaged_in() -> None:
    model = xor_model()
    network = opened(model)
    both = extract(model, network, xor_images(5), ["3"], flips=True)["3"]
    np.testing.assert_allclose(
        both.values, extract(model, network, xor_images(5), ["3"])["3"].values, atol=1e-6
    )


def test_half_precision_is_rounded_and_refuses_what_does_not_fit() -> None:
    model, images = xor_model(), xor_images(5)
    whole = extract(model, opened(model), images, ["3"])["3"].values
    half = extract(model, opened(model), images, ["3"], half=True)["3"].values
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, whole, rtol=1e-3)
    with torch.no_grad():
        model.module[2].weight.mul_(1e6)
    with pytest.raises(NonFinite, match=r"layer 3 .*float32"):
        extract(model, opened(model), images, ["3"], half=True)


def test_no_readable_image_and_no_such_layer_are_bad_input() -> None:
    model = xor_model()
    with pytest.raises(BadData, match="none of its 4 images"):
        extract(model, opened(model), xor_images(4, broken=range(4)), ["3"])
    with pytest.raises(NoSuchLayer):
        extract(model, opened(model), xor_images(4), ["layer9"])


def test_poolings_are_what_their_names_say() -> None:
    maps = torch.arange(32.0).reshape(1, 2, 4, 4)
    assert Pooling("mean")(maps).tolist() == [[7.5, 23.5]]
    assert Pooling("mean+max")(maps).tolist() == [[7.5, 23.5, 15, 31]]
    assert Pooling("grid2")(maps)[0, :4].tolist() == [2.5, 4.5, 10.5, 12.5]
    assert Pooling("auto")(maps).shape == (1, 32)
    for name in ("mean", "max", "mean+max", "grid3", "flatten", "auto"):
        assert Pooling(name)(maps).shape[1] == Pooling(name).length((2, 4, 4))


def test_a_large_layer_is_pooled_to_the_finest_grid_below_the_limit() -> None:
    assert Pooling().settle((256, 6, 6)) == Pooling("flatten")
    assert Pooling().settle((512, 13, 13)) == Pooling("grid3")
    assert Pooling().settle((4096,)) == Pooling("flatten")
    assert 512 * 9 <= GRID_LIMIT < 512 * 16 and LIMIT >= 9216
    assert Pooling().settle((9000, 7, 7)) == Pooling("grid1")


@pytest.mark.parametrize("name", ["", "median", "grid", "grid0", "mean+mean", "max+grid2"])
def test_a_pooling_of_another_name_is_refused(name: str) -> None:
    with pytest.raises(BadOption, match="grid2"):
        Pooling(name)


def test_the_layers_of_a_depth_curve_are_those_that_everything_passes_through() -> None:

    branches = nets.Branches(nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU()), nn.Conv2d(4, 3, 1))
    block = nets.Residual(nn.Sequential(nn.Conv2d(5, 5, 3, padding=1), nn.ReLU()))
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), branches, block, nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Dropout(), nn.Linear(5, 2),
    )  # fmt: skip

    network = open_network(module.eval(), (3, 12, 12))
    assert hidden_layers(network) == ("1", "2", "4")
    assert last_hidden_layer(network) == "5"


def test_the_papers_network_has_its_seven_layers() -> None:
    model = open_model("zfnet-small")
    network = opened(model)
    assert hidden_layers(network) == tuple(f"relu{n}" for n in range(1, 8))
    assert last_hidden_layer(network) == "relu7"
