"""Features learned without labels: the study, its pictures, and what the features are worth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope
from convscope.errors import BadData, BadInput, BadOption, FolderInUse
from convscope.experiments.adaptive import pictures as drawing
from convscope.experiments.adaptive.probing import Probing, unlabelled_features
from convscope.experiments.adaptive.reading import read_images
from convscope.experiments.adaptive.result import (
    LEARNED,
    RANDOM,
    Adaptive,
    LearnedFilters,
    ProbedFeatures,
)
from convscope.experiments.study import Context
from convscope.images.datasets import open_images
from convscope.scan.features import Features
from convscope.stats import Estimate
from convscope.training.deconvolution.layerwise import (
    DeconvolutionArchitecture,
    Encoded,
    infer_codes,
)
from convscope.training.deconvolution.sparse_codes import Sparsity

TINY = {"maps": "2,2", "side": 3, "size": 16, "count": 4, "epochs": 2, "steps": 4}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adaptive") / "learned"


@pytest.fixture(scope="module")
def found(folder: Path) -> Adaptive:
    return convscope.adaptive("scenes:train:6", out=folder, device="cpu", **TINY)


def test_every_layer_is_learned_and_the_energy_falls(found: Adaptive, folder: Path):
    assert [layer.name for layer in found.layers] == ["layer 1", "layer 2"]
    assert [layer.window for layer in found.layers] == [(3, 3), (8, 8)]
    for layer in found.layers:
        assert layer.energy[-1] < layer.energy[0]
        assert 0 < layer.explained < 1
        assert 0 < layer.active < 1
    with np.load(folder / "pieces" / "layer 2.npz") as kept:
        assert kept["filters"].shape == (2, 1, 3, 3)
        assert np.linalg.norm(kept["filters"].reshape(2, -1), axis=1).max() <= 1 + 1e-6


def test_an_interrupted_study_goes_on_to_the_same_and_others_are_refused(
    found: Adaptive, folder: Path
):
    before = {path.name: path.read_bytes() for path in (folder / "pieces").iterdir()}
    for name in ("layer 2.npz", "pictures of layer 1.npz", "pictures of layer 2.npz"):
        (folder / "pieces" / name).unlink()
    again = convscope.adaptive("scenes:train:6", out=folder, device="cpu", resume=True, **TINY)
    assert again.to_dict() == found.to_dict()
    assert {path.name: path.read_bytes() for path in (folder / "pieces").iterdir()} == before
    with pytest.raises(FolderInUse, match=r"weight is 4\.0 there, 2\.0 now"):
        convscope.adaptive("scenes:train:6", out=folder, resume=True, weight=2.0, **TINY)


def test_a_study_that_was_begun_with_one_weight_for_all_layers_goes_on_with_it(tmp_path: Path):
    options = {"device": "cpu", "sparser": 1.0, **TINY}
    before = convscope.adaptive("scenes:train:6", out=tmp_path, **options)
    assert "sparser" not in json.loads((tmp_path / "study.json").read_text())
    again = convscope.adaptive("scenes:train:6", out=tmp_path, resume=True, **options)
    assert again.to_dict() == before.to_dict()
    with pytest.raises(FolderInUse, match="sparser"):
        convscope.adaptive("scenes:train:6", out=tmp_path, resume=True, device="cpu", **TINY)


def test_a_code_of_the_first_layer_alone_is_its_filter_at_its_place():
    images = read_images(open_images("scenes:train:2", size=16), range(2), 16)
    layer = DeconvolutionArchitecture((2,), 3).random_layer(0, 1, seed=0)
    codes = torch.zeros(2, 2, 16, 16)
    codes[0, 1, 5, 7], codes[1, 1, 0, 4] = -2.0, 1.0
    _, switches = layer.pool(codes)
    drawn = drawing.pictures_of(
        [layer], [Encoded(codes, switches, torch.zeros_like(images.pixels))], images, 2
    )
    assert drawn["values"][1].tolist() == [2.0, 1.0]
    plain = layer.filters[1, 0] / layer.filters[1, 0].abs().max()
    first, second = drawn["projections"][1][..., 0]
    np.testing.assert_array_equal(first, (128 - 127 * plain).round().numpy())
    cut = layer.filters[1, 0][1:]  # its first row lies beyond the image
    np.testing.assert_array_equal(second[1:], (128 + 127 * cut / cut.abs().max()).round().numpy())
    np.testing.assert_array_equal(drawn["patches"][1, 0], images.shown[0][4:7, 6:9])
    assert (drawn["patches"][1, 1][0] == 255).all()
    np.testing.assert_array_equal(drawn["patches"][1, 1][1:], images.shown[1][0:2, 3:6])
    np.testing.assert_array_equal(drawn["rebuilt"], drawing.grey_pixels(images.pixels))


def test_features_are_means_of_pooled_magnitudes_over_a_grid():
    images = open_images("scenes:train:3", size=32)
    layers = DeconvolutionArchitecture((2, 4), 3).random_layers(1, seed=0)
    found = unlabelled_features(layers, images, 32, Sparsity(), Context())
    codes = infer_codes(layers, read_images(images, range(3), 32).pixels, Sparsity())
    for features, layer, each in zip(found, layers, codes, strict=True):
        pooled = layer.pool(each.codes)[0].abs().numpy()
        side = pooled.shape[-1] // 4
        expected = pooled.reshape(3, -1, 4, side, 4, side).mean((3, 5)).reshape(3, -1)
        np.testing.assert_allclose(features.values, expected, rtol=1e-5, atol=1e-7)


def test_features_that_hold_the_class_tell_it_and_features_that_do_not_guess():
    images = open_images("scenes:transfer:48", size=16)
    probing = Probing(images, per_class=3, folds=2, seed=0)
    labels = np.array([images.label(index) for index in range(48)])
    classes = len(images.classes or ())
    knowing = Features("a", "flatten", np.eye(classes, dtype=np.float32)[labels])
    noise = np.random.default_rng(0).normal(size=(48, 20)).astype(np.float32)
    assert probing.probed(LEARNED, knowing, CPU).accuracies == (1.0, 1.0)
    assert probing.probed(RANDOM, Features("b", "flatten", noise), CPU).mean < 0.5


def judged(lead: Estimate, supervised: float) -> Adaptive:
    def row(kind: str, mean: float) -> ProbedFeatures:
        return ProbedFeatures(kind, "layer 1", 4, (mean, mean), mean, 0.0)

    rows = (row(LEARNED, 0.5), row(RANDOM, 0.4), row("zfnet", supervised))
    layer = LearnedFilters("layer 1", 2, (3, 3), (2.0, 1.0), 0.5, 0.1)
    return Adaptive(3, 16, (layer,), (), rows, 5, 0.1, lead)


@pytest.mark.parametrize(
    ("lead", "supervised", "words"),
    [
        (Estimate(0.1, 0.1, 0.05, 0.15, 2), 0.9, ["better than random", "more than either"]),
        (Estimate(0.1, 0.1, -0.05, 0.2, 2), 0.45, ["no better than random", "no more than"]),
        (Estimate(-0.1, 0.1, -0.2, -0.05, 2), 0.9, ["worse than random"]),
    ],
)
def test_the_verdict_says_no_more_than_the_interval(
    lead: Estimate, supervised: float, words: list[str]
):
    verdict = judged(lead, supervised).verdict()
    assert all(part in verdict for part in words), verdict


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"maps": "3,4"}, "multiple of 2"),
        ({"maps": "x"}, "--maps"),
        ({"side": 4}, "odd side"),
        ({"size": 18}, "layer 2 are 9×9"),
        ({"weight": 0.0}, "--weight"),
        ({"sparser": 0.5}, "--sparser"),
        ({"against": "zfnet-small"}, "--probe"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_read(options, words):
    with pytest.raises(BadOption, match=words):
        convscope.adaptive("no such folder", **{**TINY, **options})


def test_images_that_cannot_be_read_are_named_or_refused(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(2):
            shade = Image.effect_noise((16, 16), 50 + number)
            shade.save(tmp_path / name / f"{number}.png")
    (tmp_path / "b" / "1.png").write_bytes(b"no picture")
    found = convscope.adaptive(tmp_path, device="cpu", **{**TINY, "maps": "2", "epochs": 1})
    assert found.images == 3
    assert [name for name, _ in found.unread] == ["b/1.png"]
    assert "skipped b/1.png" in found.warnings()[0]
    images = open_images(str(tmp_path), size=16)
    layers = DeconvolutionArchitecture((2,), 3).random_layers(1, seed=0)
    with pytest.raises(BadData, match=r"b/1\.png"):
        unlabelled_features(layers, images, 16, Sparsity(), Context())
    with pytest.raises(BadInput, match="16"):
        Probing(open_images("scenes:transfer:16", size=16), per_class=16, folds=2, seed=0)
