"""People's checkpoints open in the forms that they come in, exactly, and what was done is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from convscope.errors import BadCheckpoint
from convscope.models.fitting import matches, wanted_by
from convscope.models.weights import load_weights, read_weights

from .forms import (
    FILES,
    NORMED,
    PICKLED,
    Config,
    Small,
    Tied,
    drawn,
    halved,
    is_parametrised,
    normed,
    renamed,
    write_form,
    write_tied,
)


def said(network: nn.Module, path: Path, key: str | None = None) -> str:
    """Fill a network from a file, and give what was done."""
    return "; ".join(load_weights(network, read_weights(path, key), name="small"))


@pytest.mark.parametrize("form", [*PICKLED, *FILES])
def test_it_opens_with_every_tensor_as_it_was_saved(form: str, tmp_path: Path):
    wanted = write_form(form, tmp_path / "w")
    network = Small()
    said(network, tmp_path / "w")
    held = network.state_dict()
    for key, tensor in wanted.state_dict().items():
        if key != "bn1.num_batches_tracked":  # inference does not read it
            assert torch.equal(held[key], tensor), key


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("a state dict", ""),
        ("DataParallel", ""),
        ("model.", "read from 'model' in the file"),
        ("two prefixes", "read from 'model.backbone' in the file"),
        ("under 'net'", "read from 'net' in the file"),
        ("half precision", "saved in float16"),
        ("a whole network", "forms.Small was pickled whole: its tensors are read, its code is"),
        ("a whole network in a checkpoint", "forms.Small was pickled whole"),
        ("SWA", "1 counters left out"),
        ("a backbone beside another head", "projector.weight beside them left out"),
        ("Lightning", "criterion.weight beside them left out"),
        ("a script's own class beside", "forms.Config)"),
        ("torchvision's references", "read from 'model' in the file"),
        (
            "safetensors with another program's metadata",
            "its metadata are another program's (architecture, classes)",
        ),
    ],
)
def test_what_was_done_is_said(form: str, words: str, tmp_path: Path):
    write_form(form, tmp_path / "w")
    line = said(Small(), tmp_path / "w")
    assert (words in line) if words else not line
    assert "\n" not in line


def test_tied_weights_of_which_safetensors_keeps_one_fill_both(tmp_path: Path):
    wanted = write_tied(tmp_path / "w.safetensors")
    assert len(read_weights(tmp_path / "w.safetensors").tensors) == 3
    network = Tied()
    assert "is first.weight, as the network ties them" in said(network, tmp_path / "w.safetensors")
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(network(images), wanted(images))
    assert network.first.weight is network.second.weight


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated", "ignore:.*spectral_norm.*deprec")
@pytest.mark.parametrize("written", NORMED)
@pytest.mark.parametrize("wanted", NORMED)
def test_a_normed_weight_is_read_in_every_spelling(written: str, wanted: str, tmp_path: Path):
    if written == wanted == "plain":
        return
    theirs, ours = normed(written), normed(wanted, seed=5)
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    kinds = {name.rpartition(" ")[0].partition(" ")[2] for name in (written, wanted)} - {""}
    if len(kinds) > 1 or (written == "plain" and "spectral" in wanted):
        with pytest.raises(BadCheckpoint, match="missing"):  # one norm cannot be another
            said(ours, tmp_path / "w.pt")
        return
    line = said(ours, tmp_path / "w.pt")
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-6)
    assert ("norm" in line) is (written != wanted)
    assert is_parametrised(ours) is wanted.startswith("new")


def test_a_normed_weight_is_its_papers_formula(tmp_path: Path):
    """Salimans & Kingma 2016, eq. 2, row by row, and Miyato et al. 2018, eq. 8, by an SVD."""
    length, direction = torch.rand(4, 1, 1, 1) + 1, torch.randn(4, 3, 2, 2)
    torch.save({"weight_g": length, "weight_v": direction}, tmp_path / "g.pt")
    layer = nn.Conv2d(3, 4, 2, bias=False)
    said(layer, tmp_path / "g.pt")
    for row in range(4):
        by_hand = length[row].double() * direction[row].double() / direction[row].double().norm()
        torch.testing.assert_close(layer.weight[row].double(), by_hand, rtol=1e-6, atol=1e-7)
    weight = torch.randn(4, 12, dtype=torch.float64)
    left, values, right = torch.linalg.svd(weight)
    parts = {"weight_orig": weight, "weight_u": left[:, 0], "weight_v": right[0]}
    torch.save({**parts, "weight_orig": weight.view(4, 3, 2, 2)}, tmp_path / "s.pt")
    said(layer, tmp_path / "s.pt")
    by_hand = (weight / values[0]).view(4, 3, 2, 2)
    torch.testing.assert_close(layer.weight.double(), by_hand, rtol=1e-6, atol=1e-7)


# ---- where nobody can know


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A checkpoint with weights and their moving average, as timm's training writes it."""
    weights, average = drawn(seed=1), drawn(seed=2)
    content = {
        "state_dict": nn.DataParallel(weights).state_dict(),
        "state_dict_ema": average.state_dict(),
        "args": Config(),
    }
    torch.save(content, tmp_path / "two.pth")
    return tmp_path / "two.pth"


def test_two_readings_are_asked_about_and_nothing_is_loaded(two: Path):
    network = drawn(seed=9)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(
        BadCheckpoint, match=r"2 times, as state_dict, state_dict_ema: choose with --weights-key"
    ) as caught:
        said(network, two)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize(("key", "seed"), [("state_dict", 1), ("state_dict_ema", 2)])
def test_a_key_chooses_among_them(two: Path, key: str, seed: int):
    network = Small()
    assert f"read from '{key}'" in said(network, two, key)
    assert torch.equal(network.conv1.weight, drawn(seed=seed).conv1.weight)


@pytest.mark.parametrize(
    ("key", "seed"), [("student.backbone", 1), ("teacher.backbone", 2), ("teacher", 2)]
)
def test_a_key_may_be_a_prefix_of_the_names(tmp_path: Path, key: str, seed: int):
    both = {
        **renamed(drawn(seed=1).state_dict(), "student.backbone."),
        **renamed(drawn(seed=2).state_dict(), "teacher.module.backbone."),
        "student.head.weight": torch.ones(3),
    }
    save_file(both, tmp_path / "w.safetensors")
    with pytest.raises(BadCheckpoint, match=r"as student\.backbone, teacher\.backbone"):
        said(Small(), tmp_path / "w.safetensors")
    network = Small()
    said(network, tmp_path / "w.safetensors", key)
    assert torch.equal(network.fc.weight, drawn(seed=seed).fc.weight)


def test_a_key_that_is_not_there_is_answered_with_what_is(two: Path):
    with pytest.raises(BadCheckpoint, match=r"nothing under 'ema'.*state_dict, state_dict_ema"):
        said(Small(), two, "ema")
    with pytest.raises(BadCheckpoint, match=r"does not fit small: 0 of 11"):
        torch.save({"a": {"x": torch.ones(1)}, "b": drawn().state_dict()}, two)
        said(Small(), two, "a")


def test_the_file_itself_has_a_key_too(tmp_path: Path):
    content = {**drawn(seed=1).state_dict(), **renamed(drawn(seed=2).state_dict(), "ema.")}
    save_file(content, tmp_path / "w.safetensors")
    network = Small()
    said(network, tmp_path / "w.safetensors", "ema")
    assert torch.equal(network.fc.bias, drawn(seed=2).fc.bias)
    assert "and 8 more beside them left out" in said(network, tmp_path / "w.safetensors", ".")
    assert torch.equal(network.fc.bias, drawn(seed=1).fc.bias)
    with pytest.raises(BadCheckpoint, match=r"2 times, as \., ema: choose with --weights-key"):
        said(network, tmp_path / "w.safetensors")


# ---- what must not open


class Deeper(Small):
    """The same names, and a layer more."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Conv2d(8, 8, 1)


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_weights_of_a_deeper_network_do_not_fill_a_shallow_one(tmp_path: Path, prefix: str):
    torch.save(renamed(Deeper().state_dict(), prefix), tmp_path / "w.pt")
    with pytest.raises(BadCheckpoint, match=r"11 of 11 .* 2 unexpected \(more\.weight, more\.bias"):
        said(Small(), tmp_path / "w.pt")


@pytest.mark.parametrize("prefix", ["", "model.backbone."])
def test_a_missing_tensor_is_named_under_its_own_name(tmp_path: Path, prefix: str):
    state = renamed(drawn().state_dict(), prefix)
    del state[f"{prefix}fc.bias"]
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    with pytest.raises(BadCheckpoint, match=r"10 of 11 tensors match; 1 missing \(fc\.bias\)"):
        said(Small(), tmp_path / "w.pt")


def test_the_file_may_lack_a_prefix_that_the_network_has(tmp_path: Path):
    torch.save(drawn().state_dict(), tmp_path / "w.pt")
    network = nn.ModuleDict({"model": Small()})
    said(network, tmp_path / "w.pt")
    assert torch.equal(network["model"].fc.weight, drawn().fc.weight)


def test_optimiser_states_are_no_weights(tmp_path: Path):
    network = nn.Linear(2, 2)
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    network(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    torch.save({"optimizer": optimiser.state_dict()}, tmp_path / "w.pt")
    with pytest.raises(BadCheckpoint, match="0 of 2 tensors match"):
        said(network, tmp_path / "w.pt")


def test_half_precision_is_widened_exactly(tmp_path: Path):
    network = drawn()
    state = halved(network, torch.bfloat16)
    save_file(state, tmp_path / "w.safetensors")
    filled = Small()
    said(filled, tmp_path / "w.safetensors")
    assert torch.equal(filled.conv1.weight, state["conv1.weight"].float())


def test_matching_reads_no_tensor(tmp_path: Path):
    """Shapes are compared before a byte of the numbers is read."""
    path = tmp_path / "w.pt"
    torch.save({"state_dict": drawn().state_dict()}, path)
    weights = read_weights(path)
    path.unlink()
    (match,) = (m for m in matches(weights.readings, wanted_by(Small()), None) if m.fits)
    assert match.key == "state_dict"
