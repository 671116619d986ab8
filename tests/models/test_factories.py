"""A user's own code: wrapped networks, torchvision that does not load, torch.hub's folders."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from convscope.errors import BadCheckpoint, BadModel, UnsupportedOp
from convscope.models import factories
from convscope.models.weights import module_sha256
from convscope.models.zoo import open_model

CODE = """
import torch
from torch import nn


class Small(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def build():
    return Small()


def parallel():
    return nn.DataParallel(Small())


def compiled():
    return torch.compile(nn.DataParallel(Small()), backend="eager")


def averaged():
    return torch.optim.swa_utils.AveragedModel(Small())


class Lightning(nn.Module):
    def __init__(self):
        super().__init__()
        self.model, self.loss = Small(), nn.CrossEntropyLoss(torch.ones(4))

    def forward(self, x):
        return self.model(x)


def meta():
    torch.set_default_device("meta")
    return Small()


class Watching(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        raise ValueError("a mode was asked")


class Dispatching(torch.utils._python_dispatch.TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        raise ValueError("a mode was asked")


def watched():
    network = Small()
    torch.set_default_device("meta")
    Watching().__enter__()
    return network


def dispatched():
    network = Small()
    Dispatching().__enter__()
    return network


def on_meta():
    network = Small()
    torch.device("meta").__enter__()
    return network


def watched_by_chance():
    Watching().__enter__()
    return Small()


def doubled():
    torch.set_default_dtype(torch.float64)
    return Small().float()


def sparse():
    network = Small()
    network[0].weight = nn.Parameter(network[0].weight.data.to_sparse())
    return network


def quantised():
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 4)).eval()
    return torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)


def nested():
    network = Small()
    network.register_buffer("extra", torch.nested.nested_tensor([torch.ones(3), torch.ones(2)]))
    return network


def integers():
    network = Small()
    network[0].weight = nn.Parameter(network[0].weight.data.to(torch.int8), requires_grad=False)
    return network


def complexes():
    return nn.Sequential(nn.Conv2d(3, 4, 3, dtype=torch.complex64))


def fake():
    with torch._subclasses.fake_tensor.FakeTensorMode():
        return Small()


def holds_itself():
    network = Small()
    network.again = network
    return network


class NoState(Small):
    def state_dict(self, *given, **more):
        raise ValueError("no state")


class NoEvaluation(Small):
    def eval(self):
        raise ValueError("no\\nevaluation")


class Rude(BaseException):
    pass


def rude():
    raise Rude("go away")


class Vast(nn.Module):
    def forward(self, x):
        return torch.zeros(10**12)


def without_gradients():
    torch.set_grad_enabled(False)
    return Small()


class WithState(Small):
    def get_extra_state(self):
        return {"version": 3}

    def set_extra_state(self, state):
        pass


def lazy():
    return nn.Sequential(nn.LazyConv2d(4, 3))


calls = []


def sees():
    calls.append(1)
    if len(calls) == 1:
        raise RuntimeError("operator torchvision::nms does not exist")
    return Small()
"""
FED = {"input": "3x16x16", "preprocess": "unit"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a user's module."""
    (tmp_path / "theirs.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    yield tmp_path
    sys.modules.pop("theirs", None)


@pytest.mark.parametrize("factory", ["parallel", "compiled", "averaged", "Lightning"])
def test_a_wrapped_network_loads_its_own_state_dict(place: Path, factory: str):
    wanted = open_model(f"theirs:{factory}", **FED, seed=3).module
    import theirs

    with torch.random.fork_rng():
        torch.manual_seed(3)
        whole = getattr(theirs, factory)()
    torch.save(whole.state_dict(), place / "w.pt")
    model = open_model(f"theirs:{factory}@w.pt", **FED)
    held = model.module.state_dict()
    assert held.keys() == wanted.state_dict().keys()
    assert all(torch.equal(held[key], t) for key, t in wanted.state_dict().items())


def test_it_is_taken_out_of_its_wrappers_and_that_is_said(place: Path):
    model = open_model("theirs:compiled", **FED)
    assert type(model.module).__name__ == "Small"
    assert "taken out of OptimizedModule and DataParallel" in model.notes


@pytest.mark.parametrize(
    ("factory", "title"), [("build", "Small"), ("parallel", "Small"), ("Lightning", "Lightning")]
)
def test_its_title_is_its_class(place: Path, factory: str, title: str):
    assert open_model(f"theirs:{factory}", **FED).title == title


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("meta", "0.weight is on the meta device, without values: build it on cpu"),
        ("lazy", "0.weight has no shape yet: run its lazy layer once in the factory"),
        ("sparse", "0.weight is sparse: give the network with plain dense weights"),
        ("quantised", "layer 1 is quantised: give the network before that"),
        ("nested", "extra is a nested tensor"),
        ("integers", "0.weight holds int8 numbers, where Convscope computes with floating-point"),
        ("complexes", "0.weight holds complex64 numbers"),
        ("fake", "0.weight is a FakeTensor, no plain tensor"),
        ("holds_itself", "theirs:holds_itself failed with RecursionError"),
        ("NoState", "theirs:NoState failed with ValueError: no state"),
        ("NoEvaluation", "theirs:NoEvaluation failed with ValueError: no evaluation"),
        ("rude", "theirs:rude failed with Rude: go away"),
        ("watched_by_chance", "theirs:watched_by_chance failed with ValueError: a mode was asked"),
    ],
)
@pytest.mark.filterwarnings(
    "ignore:Lazy modules", "ignore::DeprecationWarning", "ignore::UserWarning"
)
def test_networks_that_cannot_be_used_are_refused_in_a_line(place: Path, factory: str, words: str):
    with pytest.raises(BadModel, match=words):
        open_model(f"theirs:{factory}", **FED)
    assert torch.get_default_device() == torch.device("cpu")
    assert torch.ones(1).device.type == "cpu"


def test_defaults_that_a_factory_leaves_behind_are_put_back(place: Path):
    open_model("theirs:doubled", **FED)
    assert torch.get_default_dtype() is torch.float32


@pytest.mark.parametrize("factory", ["watched", "dispatched", "on_meta"])
def test_modes_that_a_factory_leaves_behind_are_left(place: Path, factory: str):
    images = torch.ones(1, 3, 16, 16)
    values = open_model(f"theirs:{factory}", **FED, seed=3).module(images)
    assert torch.equal(values, open_model("theirs:build", **FED, seed=3).module(images))
    assert torch.get_default_device() == torch.device("cpu")
    assert not torch.overrides._get_current_function_mode_stack()
    assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()


def test_a_callers_own_modes_stay(place: Path):
    class Counting(torch.overrides.TorchFunctionMode):
        calls = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            Counting.calls += 1
            return function(*args, **(kwargs or {}))

    with torch.device("cpu"), Counting() as mode:
        open_model("theirs:watched", **FED)
        assert torch.overrides._get_current_function_mode_stack()[-1] is mode
        before = Counting.calls
        torch.ones(1)
        assert Counting.calls == before + 1
    assert not torch.overrides._get_current_function_mode_stack()


def test_a_constant_larger_than_any_network_makes_is_refused_before_memory_is_taken(place: Path):
    model = open_model("theirs:Vast", **FED)
    with pytest.raises(UnsupportedOp, match="makes a constant of 1000000000000 numbers"):
        model.network()


def test_gradients_that_a_factory_switches_off_are_switched_on_again(place: Path):
    open_model("theirs:without_gradients", **FED)
    assert torch.is_grad_enabled()


def test_what_a_layer_keeps_besides_tensors_is_no_weight(place: Path):
    model = open_model("theirs:WithState", **FED)
    assert model.weights_sha256 == module_sha256(model.module)


def test_a_factory_that_meets_torchvision_without_its_operators_is_helped(place, monkeypatch):
    helped = []
    monkeypatch.setattr(factories, "import_torchvision", lambda: helped.append(1))
    open_model("theirs:sees", **FED)
    assert helped == [1]
    (place / "late.py").write_text(
        "import theirs\n"
        "theirs.calls.append(1)\n"
        "if len(theirs.calls) == 3:\n"
        "    raise RuntimeError('operator torchvision::nms does not exist')\n"
        "build = theirs.build\n"
    )
    open_model("late:build", **FED)
    assert helped == [1, 1]
    sys.modules.pop("late")


# ---- torch.hub's folders

HUBCONF = """
dependencies = ["torch"]
from parts import Small


def small(pretrained=True, width=4):
    if pretrained:
        raise OSError("no network")
    return Small(width)


def _private():
    return Small(4)
"""
PARTS = """
from torch import nn


class Small(nn.Sequential):
    def __init__(self, width):
        super().__init__(nn.Conv2d(3, width, 3), nn.ReLU())
"""


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A repository that is written for torch.hub."""
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository/hubconf.py").write_text(HUBCONF)
    (tmp_path / "repository/parts.py").write_text(PARTS)
    yield tmp_path / "repository"
    sys.modules.pop("parts", None)


def test_an_entry_of_a_hub_folder_opens_without_a_download(hub: Path):
    before = list(sys.path)
    model = open_model(f"hub:{hub}:small", **FED, seed=2)
    assert model.title == "Small" and "hubconf" not in sys.modules and sys.path == before
    torch.save({"net": model.module.state_dict()}, hub / "w.pt")
    again = open_model(f"hub:{hub}:small@{hub}/w.pt", **FED)
    assert torch.equal(again.module[0].weight, model.module[0].weight)
    with pytest.raises(BadCheckpoint, match="0 of 2 tensors"):
        torch.save({"x": torch.ones(1)}, hub / "w.pt")
        open_model(f"hub:{hub}:small@{hub}/w.pt", **FED)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("hub:{}:smal", "has no smal: did you mean small"),
        ("hub:{}:_private", "has no _private"),
        ("hub:{}", "no hubconf.py in"),
        ("hub:/nowhere:small", "no hubconf.py in '/nowhere': give hub:DIR:ENTRY"),
        ("{}", "is a folder for torch.hub: give an entry too, as hub:"),
    ],
)
def test_what_a_hub_folder_does_not_have_is_answered(hub: Path, spec: str, words: str):
    with pytest.raises(BadModel, match=words) as caught:
        open_model(spec.format(hub), **FED)
    assert "\n" not in str(caught.value)
