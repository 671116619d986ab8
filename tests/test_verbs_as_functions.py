"""Every verb as a function of `convscope`: the same as the command line, and as the parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import convscope
import warm
from convscope.cli.app import VERBS, main
from convscope.errors import BadInput, BadOption
from convscope.methods.occluder import Occluder
from convscope.methods.occlusion import occlude as sweep_occluder
from convscope.training.checkpoint import RunStatus, read_run


def test_every_verb_is_a_public_function() -> None:
    for verb in VERBS:
        name = verb.replace("-", "_")
        assert name in convscope.__all__ and callable(getattr(convscope, name)), verb


@pytest.mark.parametrize("before", ["", "import convscope.atlas.store", "import convscope.cli.app"])
def test_the_atlas_can_be_called_and_imported_from_whatever_came_before(before: str) -> None:
    code = f"""{before or "pass"}
import convscope
assert callable(convscope.atlas), convscope.atlas
from convscope import atlas
from convscope.atlas.store import open_atlas
import convscope.atlas.build as build
assert atlas is convscope.atlas and callable(atlas) and atlas.build is build
"""
    done = warm.run("-c", code)
    assert done.returncode == 0, done.stderr


def test_layers_takes_words_a_model_or_a_network(capsys) -> None:
    assert main(["layers", "zfnet-small", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    model = convscope.open_model("zfnet-small")
    for given in ("zfnet-small", model, model.network()):
        assert json.loads(json.dumps(convscope.layers(given))) == told


def test_occlude_is_that_of_the_tensor_whichever_way_the_image_is_given() -> None:
    model = convscope.open_model("zfnet-small")
    picture = convscope.open_images("scenes:val:3", size=model.input_shape[-1]).picture(1)
    tensor = model.preprocess.tensor(picture)
    side = model.input_shape[-1]
    fill = model.preprocess.fill("grey")
    expected = sweep_occluder(
        model.network(), tensor, Occluder.fitting(side, side, 60, 60), fill=fill, target=3
    )
    options = {"size": 60, "stride": 60, "target": 3, "device": "cpu"}
    for network, image in (
        (model, tensor), (model, picture), ("zfnet-small", "scenes:val:3#1"),
    ):  # fmt: skip
        found = convscope.occlude(network, image, **options)
        assert found.unit == expected.unit
        for name, values in expected.arrays().items():
            assert np.array_equal(found.arrays()[name], values), name
    with pytest.raises(BadOption, match="give one of incremental, full"):
        convscope.occlude(model, tensor, method="quick")
    with pytest.raises(BadOption, match="give one of auto, cpu, cuda"):
        convscope.occlude(model, tensor, device="tpu")


def test_an_atlas_and_its_page_are_made_of_words(tmp_path: Path) -> None:
    found = convscope.atlas(
        "zfnet-small", "scenes:val:6", tmp_path / "a", layers=["conv1"], top=2, device="cpu"
    )
    assert (tmp_path / "a" / "index.html").is_file()
    assert [layer.name for layer in found.manifest.layers] == ["conv1"]
    assert found.layers["conv1"].image.shape[1] == 2


def test_a_training_is_that_of_the_verb(tmp_path: Path) -> None:
    found = convscope.train(
        "alexnet-small", "scenes:train:24", tmp_path / "f", val="scenes:val:12", epochs=1,
        workers=1, device="cpu",
    )  # fmt: skip
    line = "train --arch alexnet-small --data scenes:train:24 --val scenes:val:12 --epochs 1"
    assert (
        main([*line.split(), "--workers", "1", "--device", "cpu", "--out", str(tmp_path / "v")])
        == 0
    )
    assert read_run(tmp_path / "f").status is RunStatus.FINISHED
    assert (tmp_path / "f" / "index.html").is_file()
    assert found.weights.read_bytes() == (tmp_path / "v" / found.weights.name).read_bytes()


def test_paper_and_demo_refuse_a_folder_in_use_before_they_work(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for verb in (convscope.paper, convscope.demo):
        with pytest.raises(BadInput, match="not empty"):
            verb(tmp_path, quick=True, device="cpu")
    assert [each.name for each in tmp_path.iterdir()] == ["mine.txt"]
