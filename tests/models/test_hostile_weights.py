"""No weights file runs code, takes memory that it does not hold, or ends in a traceback."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from convscope.errors import BadCheckpoint, BadInput
from convscope.models.architectures import ARCHITECTURES, build
from convscope.models.metadata import MOST
from convscope.models.weights import FORMAT, load_weights, read_weights, write_weights
from convscope.models.zoo import open_model

from .forms import Small, drawn


def refused(path: Path) -> str:
    """The one line with which a file is refused, be it read or to fill a network."""
    with pytest.raises(BadCheckpoint) as caught:
        load_weights(Small(), read_weights(path), name="small")
    line = str(caught.value)
    assert "\n" not in line and path.name in line
    return line


class Calls:
    """Calls a function where it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.called = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], Any]:
        return self.called


ATTACKS: dict[str, Callable[[Path], Calls]] = {
    "os.system": lambda witness: Calls(os.system, f"touch {witness}"),
    "eval": lambda witness: Calls(eval, f"open({str(witness)!r}, 'w')"),
    "exec": lambda witness: Calls(exec, f"open({str(witness)!r}, 'w')"),
    "open": lambda witness: Calls(open, str(witness), "w"),
    "import": lambda witness: Calls(__import__, "antigravity"),
    "a method by its name": lambda witness: Calls(Path.touch, witness),
    "torch.load": lambda witness: Calls(torch.load, str(witness)),
    "nested in what torch nests": lambda witness: Calls(
        torch.storage._load_from_bytes, pickle.dumps(Calls(os.system, f"touch {witness}"))
    ),
}


@pytest.mark.parametrize("how", ["zip", "old", *(f"pickle {n}" for n in range(6))])
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("where", ["alone", "beside the weights", "as a tensor"])
def test_what_would_run_code_does_not_run(attack: str, how: str, where: str, tmp_path: Path):
    bomb, state = ATTACKS[attack](tmp_path / "ran"), drawn().state_dict()
    content = {
        "alone": bomb,
        "beside the weights": {"state_dict": state, "config": bomb},
        "as a tensor": {**state, "fc.weight": bomb},
    }[where]
    path = tmp_path / "w.pt"
    if how.startswith("pickle"):
        path.write_bytes(pickle.dumps(content, int(how[-1])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    try:
        load_weights(Small(), read_weights(path), name="small")
    except BadCheckpoint as error:
        assert "\n" not in str(error)
    else:  # the weights beside it are as good as they were
        assert where == "beside the weights"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "change",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb.",  # its attributes
        b"ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.",
        b"ccollections\nOrderedDict\n(N}X\x05\x00\x00\x00clearK\x01stb.",
        b"cmine\nThing\n}X\x01\x00\x00\x00aK\x01sb.",
        b"ctorch\nfloat32\n}X\x01\x00\x00\x00aK\x01sb.",
    ],
)
def test_nothing_of_ours_or_of_torch_is_changed(change: bytes, tmp_path: Path):
    (tmp_path / "w.pt").write_bytes(b"\x80\x02" + change)
    refused(tmp_path / "w.pt")
    assert not hasattr(torch.float32, "a")
    assert read_of(drawn().state_dict(), tmp_path).keys() == drawn().state_dict().keys()


def read_of(state: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    torch.save(state, folder / "again.pt")
    return read_weights(folder / "again.pt").tensors


# ---- files of other kinds, and damaged ones


def _zip(entries: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", kind) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return content.getvalue()


def _script() -> bytes:
    content = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), content)
    return content.getvalue()


def _numpy_archive() -> bytes:
    content = io.BytesIO()
    np.savez(content, a=np.ones(2))
    return content.getvalue()


def _compressed() -> bytes:
    content = io.BytesIO()
    torch.save(drawn().state_dict(), content)
    with zipfile.ZipFile(content) as archive:
        return _zip({name: archive.read(name) for name in archive.namelist()}, zipfile.ZIP_DEFLATED)


def _tar() -> bytes:
    return b"w.pt".ljust(257, b"\0") + b"ustar  \0" + bytes(300)


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "is empty"),
    "a Git LFS pointer": (
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        "is a Git LFS pointer, not the weights: run 'git lfs pull'",
    ),
    "a web page": (lambda: b"<!DOCTYPE html>\n<html><title>Google Drive", "is a web page"),
    "a web page after spaces": (lambda: b"\n\n  <HTML><body>404", "is a web page"),
    "JSON": (lambda: b'{"weight_map": {}}', "is JSON, not weights"),
    "gzip": (lambda: gzip.compress(b"x"), "is compressed by gzip"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(20), "is an HDF5 file, such as Keras writes"),
    "tar": (_tar, "is a tar archive"),
    "TorchScript": (_script, "is a TorchScript program: save model.state_dict()"),
    "NumPy's archive": (_numpy_archive, "is an archive of NumPy arrays"),
    "Keras 3": (lambda: _zip({"model.weights.h5": b"", "config.json": b""}), "is a Keras model"),
    "a zip of pictures": (lambda: _zip({"a.png": b""}), "not one that torch.save writes"),
    "a compressed zip": (_compressed, "is compressed"),
    "text": (lambda: b"Dear Sir", "is text, such as a server's error message"),
    "no words": (lambda: b"\xfe\xdc" * 40, "is neither safetensors nor a PyTorch file"),
    "a server's XML": (lambda: b"<Error><Code>NoSuchKey</Code>", "is a web page"),
    "a web page after a mark": (lambda: b"\xef\xbb\xbf<!DOCTYPE html>", "is a web page"),
    "a web page after a comment": (lambda: b"<!-- 1 --><html>", "is a web page"),
    "a pickle of protocol 4": (lambda: pickle.dumps({"a": 1}, 4), "holds a dict, not a dictionary"),
    "a picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(9), "is a picture, not weights"),
    "ONNX": (lambda: b"\x08\x07\x12\x07pytorch\x1a", "is an ONNX file"),
    "zstd": (lambda: b"\x28\xb5\x2f\xfd" + bytes(9), "is compressed by zstd"),
    "an array that is too short": (
        lambda: pickle.dumps({"w": np.ones((5, 7))}, 4).replace(b"K\x05K\x07", b"K\x05K\x09"),
        "1 unexpected (w)",
    ),
    "a zip cut short": (lambda: b"PK\x03\x04 cut", "nor a readable PyTorch file"),
    "a pickle cut short": (lambda: pickle.dumps({"a": 1})[:-3], "nor a readable PyTorch file"),
    "a zip without a pickle's end": (
        lambda: _zip({"w/data.pkl": b"\x80\x02}q"}),
        "nor a readable PyTorch file",
    ),
    "an opcode of the extension registry": (lambda: b"\x80\x02\x82\x01.", "nor a readable"),
    "nesting 100,000 deep": (
        lambda: b"\x80\x02" + b"(" * 100_000 + b"K\x01" + b"t" * 100_000 + b".",
        "not a dictionary of tensors",
    ),
    "a list in itself": (lambda: b"\x80\x02]q\x00h\x00a.", "not a dictionary of tensors"),
    "a memo of 2**31": (lambda: b"\x80\x02K\x01r\xff\xff\xff\x7f.", "not a dictionary of tensors"),
    "bytes of 2**40": (
        lambda: b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.",
        "nor a readable PyTorch file",
    ),
}


NAMED_WRONGLY = {
    "nothing": "is empty",
    "a Git LFS pointer": "is a Git LFS pointer",
    "a server's XML": "is a web page",
    "text": "is text",
    "a pickle of protocol 4": "was written by torch.save or pickle, not as safetensors",
    "TorchScript": "was written by torch.save or pickle",
}


@pytest.mark.parametrize("name", NAMED_WRONGLY)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_file_that_is_called_safetensors_is_told_by_what_it_is(name: str, tmp_path: Path):
    (tmp_path / "w.safetensors").write_bytes(FILES[name][0]())
    assert NAMED_WRONGLY[name] in refused(tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_other_files_are_told_by_what_they_are(name: str, tmp_path: Path):
    make, words = FILES[name]
    (tmp_path / "w.pt").write_bytes(make())
    assert words in refused(tmp_path / "w.pt")


def test_a_network_that_holds_itself_ends(tmp_path: Path):
    network = drawn()
    network._modules["again"] = network
    torch.save(network, tmp_path / "w.pt")
    filled = Small()
    load_weights(filled, read_weights(tmp_path / "w.pt"), name="small")
    assert torch.equal(filled.fc.weight, network.fc.weight)


@pytest.mark.parametrize("seed", range(60))
def test_a_file_with_changed_bytes_is_refused_or_reads_as_numbers(seed: int, tmp_path: Path):
    """Bytes are changed anywhere, in files of each kind; the answer is one line, or a network."""
    path, dice = tmp_path / "w", np.random.default_rng(seed)
    content, state = {"state_dict": drawn().state_dict(), "epoch": 3}, drawn().state_dict()
    if seed % 3 == 0:
        save_file(state, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=seed % 3 == 1)
    data = bytearray(path.read_bytes())
    for place in dice.integers(0, len(data) if seed % 2 else 900, 1 + seed % 9):
        data[place] = dice.integers(0, 256)
    path.write_bytes(data)
    try:
        load_weights(Small(), read_weights(path), name="small")
    except BadCheckpoint as error:
        assert "\n" not in str(error)


# ---- tensors that are none


def _lying_storage(numbers: int) -> bytes:
    """A file whose pickle says that a storage has so many numbers; it has 216 * 3."""
    content = io.BytesIO()
    torch.save({"conv1.weight": torch.zeros(6, 3, 3, 3)}, content)
    with zipfile.ZipFile(content) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in entries if name.endswith("data.pkl"))
    old, new = b"K\xa2", b"J" + struct.pack("<i", numbers)  # 162 numbers
    assert entries[name].count(old) == 1
    entries[name] = entries[name].replace(old, new)
    return _zip(entries)


@pytest.mark.parametrize("numbers", [10**9, 2**31 - 1, 161, -1])
def test_a_storage_that_is_not_as_large_as_it_says_is_refused_before_memory_is_taken(
    numbers: int, tmp_path: Path
):
    (tmp_path / "w.pt").write_bytes(_lying_storage(numbers))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadCheckpoint):
        weights = read_weights(tmp_path / "w.pt")
        load_weights(nn.ModuleDict({"conv1": nn.Conv2d(3, 6, 3, bias=False)}), weights, name="x")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # KiB


def test_a_tensor_larger_than_its_memory_is_compared_before_it_is_made(tmp_path: Path):
    state = {**drawn().state_dict(), "fc.weight": torch.zeros(1).half().expand(10**6, 10**6)}
    torch.save(state, tmp_path / "w.pt")
    assert "fc.weight: file 1000000x1000000, model 4x8" in refused(tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore:.*nested tensors", "ignore:.*quantize", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda t: t.to_sparse(), "fc.weight cannot be read (a tensor that is sparse)"),
        (lambda t: t.to_sparse_csr(), "fc.weight cannot be read (a tensor that is sparse)"),
        (
            lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
            "fc.weight cannot be read (a tensor that is quantised)",
        ),
        (lambda t: torch.nested.nested_tensor([t, t]), "a tensor that is nested"),
        (lambda t: t.to("meta"), "on the meta device, without values"),
        (lambda t: t.to(torch.int8), "fc.weight holds int8 numbers"),
        (lambda t: t.view(torch.int32), "fc.weight holds int32 numbers"),
        (lambda t: t > 0, "fc.weight holds bool numbers"),
        (lambda t: t.to(torch.complex64), "fc.weight holds complex64 numbers"),
        (lambda t: t.to(torch.float8_e4m3fn), "fc.weight holds float8_e4m3fn numbers"),
        (lambda t: t * torch.nan, "NaN or infinity: 1 in (fc.weight)"),
        (lambda t: [1, 2, 3], "1 missing (fc.weight)"),
        (lambda t: t.numpy().astype("O"), "fc.weight cannot be read (a tensor that is a NumPy"),
    ],
)
def test_tensors_of_other_kinds_are_refused_by_name(
    make: Callable[[Tensor], object], words: str, tmp_path: Path
):
    state = drawn().state_dict()
    torch.save({**state, "fc.weight": make(state["fc.weight"])}, tmp_path / "w.pt")
    assert words in refused(tmp_path / "w.pt")


@pytest.mark.parametrize("label", ["I32", "U32", "F8_E5M2"])
def test_floats_that_a_file_relabels_are_refused(label: str, tmp_path: Path):
    path = tmp_path / "w.safetensors"
    save_file(drawn().state_dict(), path)
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    if label.startswith("F8"):
        header["fc.bias"].update(shape=[16])  # as many bytes
    header["fc.bias"]["dtype"] = label
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    assert "fc.bias" in refused(path)


def test_a_counter_with_fractions_is_refused(tmp_path: Path):
    state = drawn().state_dict() | {"bn1.num_batches_tracked": torch.tensor(0.5)}
    save_file(state, tmp_path / "w.safetensors")
    assert "bn1.num_batches_tracked holds fractions" in refused(tmp_path / "w.safetensors")


# ---- metadata

ARCHITECTURE = ARCHITECTURES["zfnet-small"].with_classes(2)


def _changed(**values: Any) -> str:
    return json.dumps({**ARCHITECTURE.to_dict(), **values})


def _layer(**values: Any) -> str:
    layers = ARCHITECTURE.to_dict()["convolutions"]
    return _changed(convolutions=[{**layers[0], **values}, *layers[1:]])


HOSTILE: dict[str, tuple[str, str]] = {
    "no JSON": ("architecture", "{"),
    "another type": ("architecture", "[1, 2]"),
    "nested 100,000 deep": ("architecture", "[" * 100_000),
    "dictionaries 100,000 deep": ("architecture", '{"a":' * 100_000),
    "a number as text": ("architecture", _changed(classes="2")),
    "a truth as a number": ("architecture", _changed(classes=True)),
    "a fraction": ("architecture", _changed(input_size=72.5)),
    "NaN": ("architecture", _changed(dropout=float("nan"))),
    "sizes of 1e9": ("architecture", _changed(classes=10**9)),
    "sizes below what is checked": ("architecture", _changed(classes=MOST)),
    "maps of 1e9": ("architecture", _layer(maps=10**9)),
    "maps below what is checked": ("architecture", _layer(maps=MOST)),
    "a stride of 0": ("architecture", _layer(stride=0)),
    "a stride below 0": ("architecture", _layer(stride=-1)),
    "groups that do not divide": ("architecture", _layer(groups=7)),
    "no layers": ("architecture", _changed(convolutions=[])),
    "layers that are none": ("architecture", _changed(convolutions=[1, None])),
    "2,000 layers": ("architecture", _changed(dense=[{}] * 2000)),
    "an unknown key": ("architecture", _changed(colour="red")),
    "an input of 1e9 pixels": ("preprocess", '{"shape": [3, 1000000000, 1000000000]}'),
    "a shape of text": ("preprocess", '{"shape": "3x72x72", "scaling": "unit", "fit": "crop"}'),
    "a preprocessing of another type": ("preprocess", "3"),
    "classes that are no names": ("classes", "[1, 2]"),
    "classes in a dictionary": ("classes", '{"a": "cat"}'),
}


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return build(ARCHITECTURE).state_dict()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_metadata_end_in_one_line_and_take_no_memory(
    name: str, tensors: dict[str, Tensor], tmp_path: Path
):
    key, value = HOSTILE[name]
    metadata = {"format": FORMAT, "architecture": _changed(), key: value}
    write_weights(tmp_path / "w.safetensors", tensors, metadata)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadInput) as caught:
        open_model(f"zfnet-small@{tmp_path}/w.safetensors")
    assert "\n" not in str(caught.value) and "w.safetensors" in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # KiB


@pytest.mark.parametrize(
    "mean",
    [torch.zeros(3, 5, 5), torch.zeros(3, 72, 72).long(), torch.full((3, 72, 72), torch.nan)],
)
def test_a_mean_picture_that_is_none_is_refused(
    mean: Tensor, tensors: dict[str, Tensor], tmp_path: Path
):
    preprocess = {"shape": [3, 72, 72], "scaling": "paper", "fit": "crop", "mean": "per-pixel"}
    metadata = {"format": FORMAT, "architecture": _changed(), "preprocess": json.dumps(preprocess)}
    write_weights(tmp_path / "w.safetensors", {**tensors, "preprocess.mean": mean}, metadata)
    with pytest.raises(BadCheckpoint, match="metadata 'preprocess' cannot be read"):
        open_model(f"zfnet-small@{tmp_path}/w.safetensors")


def test_metadata_of_another_program_are_a_note(tensors: dict[str, Tensor], tmp_path: Path):
    theirs = {"architecture": "zfnet", "classes": "cat, dog", "preprocess": "as usual"}
    write_weights(tmp_path / "w.safetensors", tensors, theirs)
    model = open_model(f"zfnet-small@{tmp_path}/w.safetensors")
    assert model.classes is None
    assert "its metadata are another program's (architecture, classes, preprocess)" in model.notes
