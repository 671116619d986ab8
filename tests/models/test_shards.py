"""Weights in several files beside an index: all of them, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from convscope.errors import BadCheckpoint
from convscope.models.shards import weights_in_folder
from convscope.models.weights import load_weights, read_weights

from .forms import Small, drawn

INDEX = "model.safetensors.index.json"


def in_shards(folder: Path, state: dict[str, Tensor]) -> Path:
    """A state dict in two files and an index, as Hugging Face's libraries write them."""
    names = list(state)
    files = {n: f"model-0000{1 + (i > 1)}-of-00002.safetensors" for i, n in enumerate(names)}
    for file in set(files.values()):
        save_file({n: state[n].clone() for n in names if files[n] == file}, folder / file)
    about = {"metadata": {"total_size": 1}, "weight_map": files}
    (folder / INDEX).write_text(json.dumps(about))
    return folder / INDEX


def changed(folder: Path, **files: object) -> Path:
    """The index, with what it says of the first tensors replaced."""
    content = json.loads((folder / INDEX).read_text())
    content["weight_map"] |= files
    (folder / INDEX).write_text(json.dumps(content))
    return folder / INDEX


def test_they_fill_a_network_as_one_file_does(tmp_path: Path):
    theirs, ours = drawn(Small), drawn(Small, seed=2)
    index = in_shards(tmp_path, theirs.state_dict())
    assert weights_in_folder(tmp_path) == index
    load_weights(ours, read_weights(index), name="net")
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))


def test_their_fingerprint_is_that_of_all_files(tmp_path: Path):
    index = in_shards(tmp_path, drawn(Small).state_dict())
    before = read_weights(index).sha256
    assert read_weights(index).sha256 == before
    in_shards(tmp_path, drawn(Small, seed=2).state_dict())
    assert read_weights(index).sha256 != before


@pytest.mark.parametrize(
    "file", ["../other.safetensors", "/etc/passwd", "a\\b.safetensors", "weights.bin", 3, None]
)
def test_nothing_but_a_safetensors_file_beside_the_index_is_opened(file: object, tmp_path: Path):
    in_shards(tmp_path, drawn(Small).state_dict())
    save_file({"x": torch.zeros(1)}, tmp_path.parent / "other.safetensors")
    with pytest.raises(BadCheckpoint, match=r"'x' is in .*no \.safetensors file beside"):
        read_weights(changed(tmp_path, x=file))


def test_a_tensor_that_is_not_where_the_index_says_is_named(tmp_path: Path):
    in_shards(tmp_path, drawn(Small).state_dict())
    with pytest.raises(BadCheckpoint, match=r"does not hold the tensors .*\(x\)"):
        read_weights(changed(tmp_path, x="model-00002-of-00002.safetensors"))


def test_a_missing_shard_is_named(tmp_path: Path):
    index = in_shards(tmp_path, drawn(Small).state_dict())
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(BadCheckpoint, match=r"1 of 2 shards are missing \(model-00002"):
        read_weights(index)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "[" * 100_000, "\udcff"],
    ids=["nothing", "cut", "a list", "no map", "no table", "empty", "deep", "no text"],
)
def test_what_is_no_index_is_refused_in_a_line(text: str, tmp_path: Path):
    (tmp_path / INDEX).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadCheckpoint, match="is no index of shards"):
        read_weights(tmp_path / INDEX)


def test_shards_that_are_pickles_and_two_indices_are_refused(tmp_path: Path):
    (tmp_path / "pytorch_model.bin.index.json").write_text("{}")
    with pytest.raises(BadCheckpoint, match="shards that are no safetensors"):
        read_weights(tmp_path / "pytorch_model.bin.index.json")
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors.index.json").write_text("{}")
    with pytest.raises(BadCheckpoint, match="holds 2 indices"):
        weights_in_folder(tmp_path)
