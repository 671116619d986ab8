"""A library's network takes as many channels as the weights do, and says so."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from convscope.errors import BadCheckpoint, BadOption
from convscope.images.torchvision_import import import_torchvision
from convscope.models.stems import with_stem_of
from convscope.models.weights import read_weights
from convscope.models.zoo import open_model

from .forms import drawn


def saved(network: nn.Module, folder: Path) -> Path:
    torch.save({"state_dict": nn.DataParallel(network).state_dict()}, folder / "w.pt")
    return folder / "w.pt"


def net(channels: int = 3, second: int = 3) -> nn.Module:
    return nn.ModuleDict({"a": nn.Conv2d(channels, 4, 3), "b": nn.Conv2d(second, 4, 3)})


def test_the_layers_that_differ_in_the_file_are_widened(tmp_path: Path):
    weights = read_weights(saved(net(channels=1), tmp_path))
    make, channels = with_stem_of(lambda classes: net(), weights, net())
    made = make(None)
    assert channels == 1 and made["a"].weight.shape == (4, 1, 3, 3)
    assert made["a"].in_channels == 1 and made["b"].in_channels == 3


def test_the_usual_network_stays_as_it_is(tmp_path: Path):
    weights = read_weights(saved(net(), tmp_path))
    make = lambda classes: net()  # noqa: E731
    assert with_stem_of(make, weights, net()) == (make, 3)


def test_first_layers_that_differ_among_each_other_are_refused(tmp_path: Path):
    weights = read_weights(saved(net(1, 2), tmp_path))
    with pytest.raises(BadCheckpoint, match=r"different numbers of channels \(a 1, b 2\)"):
        with_stem_of(lambda classes: net(), weights, net())


@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
@pytest.mark.filterwarnings("ignore:torchvision's compiled operators")
@pytest.mark.parametrize("channels", [1, 12])
@pytest.mark.parametrize("name", ["torchvision:squeezenet1_1", "timm:resnet10t"])
def test_the_libraries_networks_open_with_other_channels(name: str, channels: int, tmp_path: Path):
    models = import_torchvision().models
    if name.startswith("timm"):
        timm = pytest.importorskip("timm")
        theirs = drawn(lambda: timm.create_model("resnet10t", num_classes=5, in_chans=channels))
    else:
        theirs = drawn(lambda: models.squeezenet1_1(num_classes=5))
        theirs.features[0] = nn.Conv2d(channels, 64, 3, 2)
    spec = f"{name}@{saved(theirs, tmp_path)}"
    model = open_model(spec, preprocess="unit", input=f"{channels}x64x64")
    images = torch.rand(2, channels, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.module(images), theirs.eval()(images), rtol=0, atol=0)
    assert model.notes[0].startswith(f"its first layer takes {channels} channel")
    assert any("its head has 5 outputs" in note for note in model.notes)
    with pytest.raises(BadOption, match=r"does not say how it wants its images.*--preprocess"):
        open_model(spec)


@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
@pytest.mark.filterwarnings("ignore:torchvision's compiled operators")
def test_a_folder_of_shards_opens_as_a_models_weights(tmp_path: Path):
    theirs = drawn(import_torchvision().models.squeezenet1_1)
    save_file(theirs.state_dict(), tmp_path / "one.safetensors")
    where = dict.fromkeys(theirs.state_dict(), "one.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    model = open_model(f"torchvision:squeezenet1_1@{tmp_path}")
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model.module(images), theirs(images))
