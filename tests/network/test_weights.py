"""Weights come in whole or not at all, and say what does not fit."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from convscope.errors import BadCheckpoint
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.models.architectures import ARCHITECTURES, build
from convscope.models.weights import (
    load_weights,
    module_sha256,
    read_weights,
    write_network,
    write_weights,
)
from convscope.store.atomic import replace_file


def tiny() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 4))


def state(seed: int = 1) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return {key: value.clone() for key, value in tiny().state_dict().items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_a_file_fills_the_module_and_is_named_by_its_sha256(tmp_path: Path, suffix: str):
    path, wanted, module = tmp_path / f"w{suffix}", state(), tiny()
    save_file(wanted, path) if suffix == ".safetensors" else torch.save(wanted, path)
    weights = read_weights(path)
    load_weights(module, weights, name="tiny")
    assert all(torch.equal(module.state_dict()[key], value) for key, value in wanted.items())
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_safetensors_file_is_known_by_its_content_too(tmp_path: Path):
    save_file(state(), tmp_path / "weights.bin")
    assert read_weights(tmp_path / "weights.bin").tensors.keys() == state().keys()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_stripped(tmp_path: Path, prefix: str):
    save_file({prefix + key: value for key, value in state().items()}, tmp_path / "w.safetensors")
    load_weights(tiny(), read_weights(tmp_path / "w.safetensors"), name="tiny")


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_weights_inside_a_training_checkpoint_are_found(tmp_path: Path, key: str):
    torch.save({key: state(), "epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "w.pt")
    load_weights(tiny(), read_weights(tmp_path / "w.pt"), name="tiny")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tmp_path: Path, kind: torch.dtype):
    halved = {k: v.to(kind) if v.is_floating_point() else v for k, v in state().items()}
    save_file(halved, tmp_path / "w.safetensors")
    tensors = read_weights(tmp_path / "w.safetensors").tensors
    assert {v.dtype for k, v in tensors.items() if "num_batches" not in k} == {torch.float32}
    assert torch.equal(tensors["0.weight"], halved["0.weight"].float())


def test_every_mismatch_is_listed_and_nothing_is_loaded(tmp_path: Path):
    wrong = state()
    del wrong["0.weight"]
    wrong["3.weight"] = torch.zeros(5, 8)
    wrong["extra"] = torch.zeros(1)
    save_file(wrong, tmp_path / "w.safetensors")
    module = tiny()
    before = module_sha256(module)
    with pytest.raises(BadCheckpoint) as caught:
        load_weights(module, read_weights(tmp_path / "w.safetensors"), name="tiny")
    message = str(caught.value)
    assert "7 of 9 tensors match" in message
    assert "1 missing (0.weight)" in message
    assert "1 unexpected (extra)" in message
    assert "1 of another shape (3.weight: file 5x8, model 4x8)" in message
    assert "\n" not in message
    assert module_sha256(module) == before


def test_a_long_list_of_mismatches_is_counted_not_printed(tmp_path: Path):
    save_file({f"layer{i}": torch.zeros(1) for i in range(30)}, tmp_path / "w.safetensors")
    with pytest.raises(BadCheckpoint, match=r"30 unexpected .* and 26 more"):
        load_weights(tiny(), read_weights(tmp_path / "w.safetensors"), name="tiny")


def test_counters_of_batches_may_be_missing_as_in_old_files(tmp_path: Path):
    old = {k: v for k, v in state().items() if not k.endswith("num_batches_tracked")}
    save_file(old, tmp_path / "w.safetensors")
    load_weights(tiny(), read_weights(tmp_path / "w.safetensors"), name="tiny")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_refused_by_name(tmp_path: Path, bad: float):
    broken = state()
    broken["3.bias"][2] = bad
    save_file(broken, tmp_path / "w.safetensors")
    module = tiny()
    before = module_sha256(module)
    with pytest.raises(BadCheckpoint, match=r"NaN or infinity: 1 in \(3\.bias\)"):
        load_weights(module, read_weights(tmp_path / "w.safetensors"), name="tiny")
    assert module_sha256(module) == before


class Trap:
    """Runs code where it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return (Path.touch, (self.witness,))


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path):
    witness = tmp_path / "ran"
    torch.save({"0.weight": Trap(witness)}, tmp_path / "w.pt")
    with pytest.raises(BadCheckpoint, match=r"holds more than tensors .*safetensors"):
        read_weights(tmp_path / "w.pt")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Trap(witness)))
    with pytest.raises(BadCheckpoint):
        read_weights(tmp_path / "plain.pth")
    assert not witness.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.safetensors", b"", "is empty"),
        ("w.safetensors", b"\xff" * 20, "not a whole safetensors file"),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        ("w.pt", b"", "is empty"),
        ("w.pt", b"PK\x03\x04 cut short", "neither safetensors nor a readable PyTorch file"),
        ("w.pt", b"hello", "neither safetensors nor a readable PyTorch file"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadCheckpoint, match=message) as caught:
        read_weights(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_file_cut_short_is_refused(tmp_path: Path):
    save_file(state(), tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    for length in (5, 9, 60, len(whole) - 1):
        (tmp_path / "w.safetensors").write_bytes(whole[:length])
        with pytest.raises(BadCheckpoint, match="not a whole safetensors file"):
            read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("content", [3, [], {}, {"epoch": 3}, "text", {"a": [{"b": None}]}])
def test_pickles_of_other_things_are_refused(tmp_path: Path, content: object):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(BadCheckpoint, match="state"):
        read_weights(tmp_path / "w.pt")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path):
    with pytest.raises(BadCheckpoint, match="does not exist"):
        read_weights(tmp_path / "none.pt")
    with pytest.raises(BadCheckpoint, match="is a folder"):
        read_weights(tmp_path)


def test_our_own_files_say_all_that_is_needed_to_use_them(tmp_path: Path):
    network = build(ARCHITECTURES["zfnet-small"].with_classes(2))
    mean = np.full((3, 72, 72), 120.5, np.float32)
    preprocess = Preprocess((3, 72, 72), Scaling.PAPER, Fit.STRETCH, mean)
    sha256 = write_network(
        tmp_path / "w.safetensors", network, preprocess, ("cat", "dog"), {"epoch": "3"}
    )
    weights = read_weights(tmp_path / "w.safetensors")
    assert weights.sha256 == sha256
    assert weights.architecture == network.architecture
    assert weights.preprocess == preprocess
    assert weights.classes == ("cat", "dog")
    assert weights.metadata["input"] == "3x72x72"
    assert weights.metadata["parameters"] == str(sum(p.numel() for p in network.parameters()))
    assert weights.metadata["epoch"] == "3"
    assert "preprocess.mean" not in weights.tensors
    again = build(network.architecture, None)
    load_weights(again, weights, name="again")
    assert module_sha256(again) == module_sha256(network)


def test_weights_in_another_memory_layout_are_written_alike(tmp_path: Path):
    network = build(ARCHITECTURES["alexnet-small"])
    preprocess = Preprocess((3, 72, 72), Scaling.PAPER)
    plain = write_network(tmp_path / "a.safetensors", network, preprocess, None)
    network.to(memory_format=torch.channels_last)
    assert write_network(tmp_path / "b.safetensors", network, preprocess, None) == plain


@pytest.mark.parametrize("key", ["architecture", "preprocess", "classes"])
@pytest.mark.parametrize("value", ["{", "3", '{"mean": "per-pixel"}'])
def test_metadata_that_cannot_be_read_is_an_error_that_names_it(
    tmp_path: Path, key: str, value: str
):
    ours = {"format": "convscope-weights/1", key: value}
    write_weights(tmp_path / "w.safetensors", state(), ours)
    weights = read_weights(tmp_path / "w.safetensors")
    with pytest.raises(BadCheckpoint, match=f"metadata '{key}' cannot be read"):
        getattr(weights, key)


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch):
    path = tmp_path / "w.safetensors"
    write_weights(path, state(1), {})
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_weights(path, state(2), {})
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["w.safetensors"]


def test_replacing_a_file_leaves_the_new_content(tmp_path: Path):
    replace_file(tmp_path / "run.json", b"old")
    replace_file(tmp_path / "run.json", json.dumps({"new": 1}).encode())
    assert json.loads((tmp_path / "run.json").read_text()) == {"new": 1}


def test_the_identity_of_a_module_changes_with_one_weight():
    module = tiny()
    before = module_sha256(module)
    assert module_sha256(module) == before
    with torch.no_grad():
        module[0].weight[0, 0, 0, 0] += 1
    assert module_sha256(module) != before


def test_only_tensors_reach_the_file(tmp_path: Path):
    write_weights(tmp_path / "w.safetensors", {"a": torch.ones(2, 3).t()}, {"note": "x"})
    assert torch.equal(load_file(tmp_path / "w.safetensors")["a"], torch.ones(3, 2))
