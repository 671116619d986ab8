"""Exported programs open as MODEL, and nothing in them runs but operators; other files are told."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import BadModel, BadOption
from convscope.models.zoo import open_model
from convscope.network.network import open_network

from .forms import drawn


class Net(nn.Module):
    """Two outputs, a buffer, an in-place rectifier and a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.fc = nn.Linear(4, 5)
        self.register_buffer("shift", torch.arange(4.0).view(1, 4, 1, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.body(x) + self.shift
        return {"scores": self.fc(x.mean((2, 3))), "map": x}


class Mixes(nn.Module):
    """One whose answer for an image depends on the others."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0, keepdim=True)).mean((2, 3))


def exported(network: nn.Module, count: int, dynamic: bool) -> bytes:
    batch = ({0: torch.export.Dim("batch", min=1, max=64)},) if dynamic else None
    program = torch.export.export(
        network.eval(), (torch.zeros(count, 3, 12, 12),), dynamic_shapes=batch, strict=False
    )
    content = io.BytesIO()
    torch.export.save(program, content)
    return content.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same network, exported with any number of images and with one."""
    folder, network = tmp_path_factory.mktemp("programs"), drawn(Net)
    torch.save(network.state_dict(), folder / "state.pt")
    for name, count, dynamic in (("any", 2, True), ("one", 1, False)):
        (folder / f"{name}.pt2").write_bytes(exported(network, count, dynamic))
    return {path.stem: path for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["any", "one"])
def test_it_is_read_as_the_module_is_from_which_it_comes(files: dict[str, Path], name: str):
    model = open_model(str(files[name]), preprocess="unit")
    theirs = drawn(Net)
    assert model.input_shape == (3, 12, 12) and model.title == name
    assert not model.random_weights
    assert model.module.state_dict().keys() == theirs.state_dict().keys()
    network, direct = model.network(), open_network(theirs, (3, 12, 12))
    assert [layer.name for layer in network.layers] == [layer.name for layer in direct.layers]
    assert str(network) == str(direct)
    images = torch.randn(3, 3, 12, 12)
    with torch.no_grad():
        for key, wanted in theirs(images).items():
            layer = network.outputs[key]
            assert torch.equal(network.values(images, [layer])[layer], wanted)


def test_a_batch_that_mixes_its_images_is_refused(tmp_path: Path):
    (tmp_path / "m.pt2").write_bytes(exported(Mixes(), 2, dynamic=False))
    with pytest.raises(BadModel):
        open_model(f"{tmp_path}/m.pt2", preprocess="unit").network()


def test_another_size_and_weights_beside_are_refused(files: dict[str, Path]):
    with pytest.raises(BadOption, match="was exported for 3x12x12; leave --input out"):
        open_model(str(files["any"]), input="3x24x24", preprocess="unit")
    with pytest.raises(BadModel, match=r"has its weights in it: leave @w\.pt out"):
        open_model(f"{files['any']}@w.pt", preprocess="unit")
    with pytest.raises(BadModel, match="is an exported program: open it as MODEL itself"):
        open_model(f"zfnet-small@{files['any']}")


# ---- what torch.export.load would run


def changed(content: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The same archive with other entries; their names without the folder they lie in."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(entries)
    new = io.BytesIO()
    with zipfile.ZipFile(new, "w") as archive:
        for name, data in entries.items():
            archive.writestr(f"any/{name}", data)
    return new.getvalue()


def described(change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    """A change of what the program's description says."""

    def apply(entries: dict[str, bytes]) -> None:
        said = json.loads(entries["models/model.json"])
        change(said)
        entries["models/model.json"] = json.dumps(said).encode()

    return apply


class Bomb:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, Any]:
        return (exec, ("open('ran', 'w')",))


def pickled(content: Any) -> bytes:
    data = io.BytesIO()
    torch.save(content, data)
    return data.getvalue()


def _expression(text: str) -> Callable[[dict[str, bytes]], None]:
    def change(said: Any) -> None:
        values = said["graph_module"]["graph"]["tensor_values"]
        next(iter(values.values()))  # all of them have sizes
        for value in values.values():
            for size in value["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = text

    return described(change)


def _target(text: str) -> Callable[[dict[str, bytes]], None]:
    return described(
        lambda said: said["graph_module"]["graph"]["nodes"][0].__setitem__("target", text)
    )


ATTACKS: dict[str, Callable[[dict[str, bytes]], None]] = {
    "an expression that calls": _expression("__import__('os').system('touch ran')"),
    "an expression with an attribute": _expression("s0.func"),
    "an expression with quotes": _expression("Symbol('s0; x')"),
    "an expression that takes for ever": _expression("a" * 60 + '"'),
    "a function that is no operator": _target("torch.os.system"),
    "a function of Python's": _target("_operator.call"),
    "an operator's attribute": _target("torch.ops.aten.relu.__class__"),
    "an example that is no tensor": lambda e: e.update(
        {"data/sample_inputs/model.pt": pickled(((Bomb(),), {}))}
    ),
    "an example that is a plain pickle": lambda e: e.update(
        {"data/sample_inputs/model.pt": pickle.dumps(Bomb())}
    ),
    "an object": lambda e: e.update({"data/constants/custom_obj_0": b"x"}),
    "a pickled weight": lambda e: e.update(
        {
            "data/weights/model_weights_config.json": e[
                "data/weights/model_weights_config.json"
            ].replace(b'"use_pickle": false', b'"use_pickle": true', 1)
        }
    ),
    "a structure of its own": described(
        lambda said: said["graph_module"]["module_call_graph"][0]["signature"].__setitem__(
            "out_spec", '[1, {"type": "os.system", "context": "null", "children_spec": []}]'
        )
    ),
    "no description": lambda e: e.pop("models/model.json"),
    "a description that is no JSON": lambda e: e.update({"models/model.json": b"{"}),
    "nesting": lambda e: e.update({"models/model.json": b"[" * 100_000}),
    "compiled code": lambda e: e.update({"data/aotinductor/model/x.so": b""}),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_program_that_holds_more_is_refused_before_it_is_loaded(
    attack: str, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.export, "load", lambda *given: pytest.fail("it was loaded"))
    (tmp_path / "x.pt2").write_bytes(changed(files["any"].read_bytes(), ATTACKS[attack]))
    with pytest.raises(BadModel, match=r"x\.pt2 .*export the network again") as caught:
        open_model("x.pt2", preprocess="unit")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_an_unchanged_copy_still_opens(files: dict[str, Path], tmp_path: Path):
    """The changes above are what is refused, not that the archive was written anew."""
    (tmp_path / "any.pt2").write_bytes(changed(files["any"].read_bytes(), lambda entries: None))
    assert open_model(f"{tmp_path}/any.pt2", preprocess="unit").input_shape == (3, 12, 12)


# ---- other files as MODEL


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net.onnx", "is an ONNX file, which Convscope does not read.*open the PyTorch network"),
        ("net.h5", "is a Keras file: open the PyTorch network"),
        ("net.tflite", "is a TensorFlow Lite file"),
        (
            "net.pth",
            r"holds weights: give their network too, such as torchvision:resnet18@net\.pth",
        ),
        ("runs/w.safetensors", "holds weights: give their network too"),
        ("net.pt2", "no such file; give one that torch.export.save wrote"),
    ],
)
def test_a_file_as_model_is_answered_with_what_to_give(name: str, words: str):
    with pytest.raises(BadModel, match=words) as caught:
        open_model(name, preprocess="unit")
    assert "\n" not in str(caught.value)
