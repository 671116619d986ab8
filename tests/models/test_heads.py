"""A library's network gets the head that the weights have, and the head is that of the weights."""

from __future__ import annotations

from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import BadCheckpoint
from convscope.images.torchvision_import import import_torchvision
from convscope.models.heads import build_for
from convscope.models.weights import read_weights
from convscope.models.zoo import open_model

from .forms import drawn


class Net(nn.Module):
    """A library's network: features, and a classifier with a dropout before it."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(6, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class Filters(Net):
    """One whose head is a convolution, as SqueezeNet's is."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(6, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).mean((2, 3))


class TwoHeads(Net):
    """One with a head that only serves training."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__(classes)
        self.aux = nn.Linear(6, classes)


def make(kind: type[Net]):
    """As `build_for` wants it."""
    return lambda classes: kind() if classes is None else kind(classes)


def opened(kind: type[Net], network: nn.Module, folder: Path, **more) -> tuple[nn.Module, str]:
    torch.save({"state_dict": nn.DataParallel(network).state_dict()}, folder / "w.pt")
    module, notes = build_for(make(kind), read_weights(folder / "w.pt"), "net", **more)
    return module.eval(), "; ".join(notes)


IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [Net, Filters])
@pytest.mark.parametrize("classes", [10, 1, 3, 7])
def test_it_has_as_many_outputs_as_the_weights(kind, classes: int, tmp_path: Path):
    theirs = drawn(lambda: kind(classes))
    ours, said = opened(kind, theirs, tmp_path)
    assert torch.equal(ours(IMAGES), theirs(IMAGES))
    assert (f"its head has {classes} output" in said) is (classes != 10)


REPLACED = {
    "without a bias": lambda net: net.classifier.__setitem__(1, nn.Linear(6, 3, bias=False)),
    "the whole classifier": lambda net: setattr(net, "classifier", nn.Linear(6, 3)),
    "behind a dropout": lambda net: net.classifier.__setitem__(
        1, nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 3))
    ),
    "under a name": lambda net: net.classifier.__setitem__(
        1, nn.Sequential(OrderedDict(drop=nn.Dropout(0.2), last=nn.Linear(6, 3, bias=False)))
    ),
}


@pytest.mark.parametrize("how", REPLACED)
def test_a_head_that_was_replaced_is_built_as_it_is(how: str, tmp_path: Path):
    theirs = drawn(Net)
    REPLACED[how](theirs)
    ours, said = opened(Net, theirs.eval(), tmp_path)
    torch.testing.assert_close(ours(IMAGES), theirs(IMAGES), rtol=0, atol=0)
    assert "its head is one layer, classifier" in said and "with 3 outputs" in said


def test_layers_between_which_nobody_knows_what_lies_are_refused(tmp_path: Path):
    theirs = drawn(Net)
    theirs.classifier[1] = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    with pytest.raises(
        BadCheckpoint, match=r"layers classifier\.1\.0, classifier\.1\.2 there.*fac"
    ):
        opened(Net, theirs, tmp_path)


def test_other_features_are_refused_whatever_the_head(tmp_path: Path):
    theirs = drawn(lambda: Net(3))
    theirs.features[0] = nn.Conv2d(3, 6, 5)
    with pytest.raises(BadCheckpoint, match=r"features\.0\.weight: file 6x3x5x5, model 6x3x3x3"):
        opened(Net, theirs, tmp_path)


def test_heads_that_count_differently_are_refused(tmp_path: Path):
    theirs = drawn(lambda: TwoHeads(3))
    theirs.aux = nn.Linear(6, 4)
    with pytest.raises(BadCheckpoint, match="of another shape"):
        opened(TwoHeads, theirs, tmp_path)


def test_what_only_serves_training_is_left_out(tmp_path: Path):
    theirs = drawn(lambda: TwoHeads(3))
    ours, said = opened(Net, theirs, tmp_path, spare=("aux.",))
    assert torch.equal(ours(IMAGES), theirs(IMAGES))
    assert "2 tensors of auxiliary classifiers are left out: they only serve training" in said
    with pytest.raises(BadCheckpoint, match=r"2 unexpected \(aux\.weight, aux\.bias\)"):
        opened(Net, theirs, tmp_path)


@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
@pytest.mark.filterwarnings("ignore:torchvision's compiled operators")
@pytest.mark.parametrize("name", ["torchvision:squeezenet1_1", "timm:resnet10t"])
def test_the_libraries_networks_open_with_another_number_of_classes(name: str, tmp_path: Path):
    models = import_torchvision().models
    if name.startswith("timm"):
        timm = pytest.importorskip("timm")
        theirs = timm.create_model("resnet10t", num_classes=5)
    else:
        theirs = models.squeezenet1_1(num_classes=5)
    torch.save({"model": theirs.state_dict()}, tmp_path / "w.pth")
    model = open_model(f"{name}@{tmp_path}/w.pth")
    assert "its head has 5 outputs, as the weights have" in model.notes
    assert not model.random_weights
    held = model.module.state_dict()
    assert all(torch.equal(held[key], tensor) for key, tensor in theirs.state_dict().items())


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
@pytest.mark.filterwarnings("ignore:torchvision's compiled operators")
def test_timms_folders_open_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder that timm saved, and the same in the Hub's cache."""
    import_torchvision()  # which timm imports
    import timm
    from safetensors.torch import save_file

    theirs = timm.create_model("resnet10t", num_classes=5)
    cache = tmp_path / "hub/models--me--mine"
    folder = cache / "snapshots/abc"
    folder.mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text("abc")
    (folder / "config.json").write_text(
        '{"architecture": "resnet10t", "num_classes": 5, "pretrained_cfg": '
        '{"input_size": [3, 96, 96], "mean": [0, 0, 0], "std": [1, 1, 1], "num_classes": 5}}'
    )
    save_file(theirs.state_dict(), folder / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for spec in (f"timm:local-dir:{folder}", "timm:hf-hub:me/mine"):
        model = open_model(spec)
        assert model.input_shape == (3, 96, 96) and not model.random_weights
        assert torch.equal(model.module.state_dict()["fc.bias"], theirs.fc.bias)
