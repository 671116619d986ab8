"""Every form of MODEL opens, and what cannot be opened is answered with what can."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from convscope.errors import BadCheckpoint, BadData, BadModel, BadOption
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.images.torchvision_import import import_torchvision
from convscope.models.architectures import ARCHITECTURES, build
from convscope.models.weights import module_sha256, write_network
from convscope.models.zoo import open_model


@pytest.fixture(autouse=True)
def torchvision_says_once_that_its_operators_are_missing():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        import_torchvision()


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run's folder with weights of alexnet-small for two classes."""
    network = build(ARCHITECTURES["alexnet-small"].with_classes(2), seed=9)
    mean = np.full((3, 72, 72), 99, np.float32)
    preprocess = Preprocess((3, 72, 72), Scaling.PAPER, Fit.STRETCH, mean)
    (tmp_path / "run").mkdir()
    write_network(tmp_path / "run/weights.safetensors", network, preprocess, ("cat", "dog"))
    return tmp_path / "run"


@pytest.fixture
def nets(tmp_path: Path, monkeypatch) -> Path:
    """A user's own module, lying in the current folder."""
    (tmp_path / "mynets.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Small(nn.Sequential):\n"
        "    def __init__(self, width=4):\n"
        "        super().__init__(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU())\n"
        "def build():\n"
        "    return Small(6)\n"
        "ready = Small(2)\n"
        "def broken():\n"
        "    raise RuntimeError('no\\nluck')\n"
        "def quits():\n"
        "    raise SystemExit(3)\n"
        "def number():\n"
        "    return 3\n"
        "word = 'text'\n"
    )
    (tmp_path / "wrong.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "typo.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("mynets", "wrong", "typo"):
        sys.modules.pop(name, None)


FED = {"input": "3x32x32", "preprocess": "unit"}


@pytest.mark.parametrize("name", ["zfnet-small", "alexnet-small"])
def test_our_networks_open_with_seeded_random_weights_that_say_so(name: str):
    model, again, other = (open_model(name, seed=seed) for seed in (0, 0, 1))
    assert model.random_weights and model.notes == ("random weights, seed 0",)
    assert model.weights_sha256 == again.weights_sha256 != other.weights_sha256
    assert model.input_shape == (3, 72, 72)
    assert model.preprocess.scaling is Scaling.PAPER
    assert not model.module.training


def test_zfnet_has_its_224_pixels_and_the_papers_preprocessing():
    model = open_model("zfnet")
    assert model.input_shape == (3, 224, 224)
    assert (model.preprocess.scaling, model.preprocess.fit) == (Scaling.PAPER, Fit.CROP)


def test_an_untrained_network_takes_the_input_size_that_is_asked_for():
    model = open_model("zfnet-small", input="3x96x96")
    with torch.inference_mode():
        assert model.module(torch.zeros(1, 3, 96, 96)).shape == (1, 12)


@pytest.mark.parametrize(
    "form", ["run:{}", "alexnet-small@{}", "alexnet-small@{}/weights.safetensors"]
)
def test_trained_weights_bring_their_mean_classes_and_preprocessing(trained: Path, form: str):
    model = open_model(form.format(trained))
    assert not model.random_weights
    assert model.classes == ("cat", "dog")
    assert model.preprocess.fit is Fit.STRETCH
    assert model.preprocess.per_pixel_mean is not None
    assert model.preprocess.per_pixel_mean.mean() == 99
    original = build(ARCHITECTURES["alexnet-small"].with_classes(2), seed=9)
    assert module_sha256(model.module) == module_sha256(original)


def test_what_the_user_says_overrides_what_the_weights_say(trained: Path, tmp_path: Path):
    (tmp_path / "names.txt").write_text("tom\nrex\n")
    model = open_model(
        f"run:{trained}", fit="crop", preprocess="unit", classes=tmp_path / "names.txt"
    )
    assert (model.preprocess.scaling, model.preprocess.fit) == (Scaling.UNIT, Fit.CROP)
    assert model.classes == ("tom", "rex")


def test_asking_for_the_papers_preprocessing_keeps_the_stored_mean(trained: Path):
    model = open_model(f"run:{trained}", preprocess="paper", fit="crop")
    assert model.preprocess.per_pixel_mean is not None
    assert model.preprocess.fit is Fit.CROP


def test_weights_of_another_network_or_size_are_refused(trained: Path):
    with pytest.raises(BadCheckpoint, match=r"holds alexnet-small, not zfnet-small: open it as"):
        open_model(f"zfnet-small@{trained}")
    with pytest.raises(BadOption, match="was trained for 3x72x72"):
        open_model(f"run:{trained}", input="3x96x96")


def test_bare_tensors_of_one_of_our_networks_open_with_their_number_of_classes(tmp_path: Path):
    network = build(ARCHITECTURES["alexnet-small"].with_classes(5))
    save_file(dict(network.state_dict()), tmp_path / "bare.safetensors")
    model = open_model(f"alexnet-small@{tmp_path}/bare.safetensors")
    assert model.module.architecture.classes == 5
    assert "does not say how its images were prepared" in model.notes[0]
    with pytest.raises(BadCheckpoint, match="does not say which network"):
        (tmp_path / "weights.safetensors").write_bytes((tmp_path / "bare.safetensors").read_bytes())
        open_model(f"run:{tmp_path}")


def test_an_unfinished_run_names_its_last_checkpoint(trained: Path):
    (trained / "weights.safetensors").rename(trained / "epoch-0003.safetensors")
    with pytest.raises(BadModel, match=r"not finished.*epoch-0003\.safetensors"):
        open_model(f"run:{trained}")


@pytest.mark.parametrize(
    ("name", "side"), [("squeezenet1_1", 224), ("inception_v3", 299), ("googlenet", 224)]
)
def test_torchvisions_networks_open_without_a_download(name: str, side: int):
    model = open_model(f"torchvision:{name}")
    assert model.random_weights and model.classes is None
    assert model.preprocess == Preprocess((3, side, side))


def test_the_same_seed_gives_torchvisions_networks_the_same_weights():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model, again, other = (open_model("torchvision:squeezenet1_1", seed=seed) for seed in (0, 0, 1))
    assert model.weights_sha256 == again.weights_sha256 != other.weights_sha256
    assert torch.equal(torch.get_rng_state(), before)


def test_torchvisions_own_weights_fit_their_networks_auxiliary_classifiers_left_out(tmp_path: Path):
    from torchvision.models import googlenet

    full = googlenet(aux_logits=True, init_weights=False).eval()
    save_file(dict(full.state_dict()), tmp_path / "g.safetensors")
    model = open_model(f"torchvision:googlenet@{tmp_path}/g.safetensors")
    signed, left_out = model.notes
    assert "[-1, 1]" in signed and "auxiliary classifiers are left out" in left_out
    # torchvision converts ImageNet-normalised pixels inside the network, we before it
    full.transform_input = True
    picture = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    with torch.inference_mode():
        theirs = full(Preprocess((3, 224, 224)).tensors(picture))
        ours = model.module(model.preprocess.tensors(picture))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_old_names_of_densenets_layers_are_understood(tmp_path: Path):
    new = open_model("torchvision:densenet121").module
    old = {
        key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): tensor
        for key, tensor in new.state_dict().items()
    }
    assert old.keys() != new.state_dict().keys()
    save_file(old, tmp_path / "d.safetensors")
    model = open_model(f"torchvision:densenet121@{tmp_path}/d.safetensors")
    assert module_sha256(model.module) == module_sha256(new)


def test_timms_networks_are_fed_as_timm_says():
    model = open_model("timm:resnet10t")
    import timm

    config = timm.data.resolve_model_data_config(timm.create_model("resnet10t"))
    assert model.input_shape == tuple(config["input_size"])
    assert model.preprocess.numbers.mean == tuple(config["mean"])
    assert model.random_weights
    assert any("timm evaluates it with crop" in note for note in model.notes)


@pytest.mark.parametrize(
    ("factory", "width"), [("mynets:Small", 4), ("mynets:build", 6), ("mynets:ready", 2)]
)
def test_a_users_class_function_or_module_opens_from_the_current_folder(nets, factory, width):
    before = list(sys.path)
    model = open_model(factory, **FED)
    assert model.module[0].out_channels == width
    assert not model.module.training
    assert not model.random_weights
    assert model.weights_sha256 == module_sha256(model.module)
    assert sys.path == before


def test_a_users_factory_is_filled_from_a_file(nets: Path):
    wanted = open_model("mynets:build", **FED, seed=5).module
    torch.save(wanted.state_dict(), nets / "w@1.pt")
    model = open_model(f"mynets:build@{nets}/w@1.pt", **FED)
    assert module_sha256(model.module) == module_sha256(wanted)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, r"give --input \(such as 3x224x224\) and --preprocess \(imagenet"),
        ({"input": "3x32x32"}, "give --preprocess"),
        ({"preprocess": "unit"}, "give --input"),
        ({"fit": "none"}, "give --input"),
    ],
)
def test_a_users_model_must_be_told_how_it_is_fed(nets, said: dict[str, str], message: str):
    with pytest.raises(BadOption, match=message):
        open_model("mynets:build", **said)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mynets:broken", r"mynets:broken failed with RuntimeError: no luck"),
        ("mynets:quits", r"failed with SystemExit: 3"),
        ("mynets:number", r"returned int, not a torch\.nn\.Module"),
        ("mynets:word", r"is of type str: name a function, class or module"),
        ("mynets:bild", r"has no bild: did you mean build"),
        ("wrong:f", r"wrong:f failed with ModuleNotFoundError: .*nothing_of_that_name"),
        ("typo:f", r"typo:f failed with SyntaxError"),
        ("no_such_package.nets:f", r"no module no_such_package, neither installed nor in [^:]*$"),
        ("torchvison:resnet18", r"did you mean torchvision:resnet18\?$"),
        ("mynets.py:build", r"did you mean mynets:build\?$"),
        ("mynets.inner:f", r"mynets\.inner:f"),
        ("my nets:f", r"give package\.module:factory"),
        ("mynets:", r"give package\.module:factory"),
    ],
)
def test_a_factory_that_fails_is_blamed_by_name_on_one_line(nets, spec: str, message: str):
    with pytest.raises(BadModel, match=message) as caught:
        open_model(spec, **FED)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("zfnt-small", "did you mean zfnet-small"),
        ("whatever", "MODEL is zfnet, alexnet"),
        ("torchvision:resnet19", "did you mean resnet18"),
        ("timm:resnt18", "did you mean resnet18"),
        ("timm:hf_hub:timm/resnet18", "never downloads: fetch it with 'hf download timm/resnet18'"),
        ("timm:timm/resnet18", "timm has no network called"),
        ("zfnet@", "nothing after the @"),
        ("zfnet@/no/such/file", "does not exist"),
        ("run:/no/such/folder", "no such folder"),
        ("", "MODEL is"),
    ],
)
def test_unknown_models_are_answered_with_what_there_is(spec: str, message: str):
    with pytest.raises(BadModel, match=message):
        open_model(spec)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"input": "224"}, BadOption),
        ({"input": "1x28x28"}, BadOption),
        ({"input": "3x72x96"}, BadOption),
        ({"fit": "squeeze"}, BadOption),
        ({"preprocess": "imgnet"}, BadOption),
        ({"classes": "/no/such/file"}, BadData),
    ],
)
def test_options_outside_their_range_are_refused(said: dict[str, str], error: type[Exception]):
    with pytest.raises(error):
        open_model("zfnet-small", **said)
