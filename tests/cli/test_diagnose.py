"""`convscope diagnose`: findings in words, result.json and the figure; the remedy tried."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from convscope.models.architectures import ARCHITECTURES, build
from experiments.banks import gabor, sound_bank

from .conftest import OPTIONS


def width(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.width


NAME = "mynet:build@mynet.safetensors"


def test_it_says_what_is_wrong_and_writes_the_figure(convscope, place: Path):
    said = convscope("diagnose", NAME, *OPTIONS, "--data", "photos", "--out", "found")
    assert said.code == 0, said.err
    assert "remedy: train the network" in said.out  # its weights are random numbers
    assert "Written: found" in said.out
    written = json.loads((place / "found" / "result.json").read_text())
    (network,) = written["networks"]
    assert network["images"] == 4
    assert [layer["name"] for layer in network["layers"]] == ["0", "3"]
    assert width(place / "found" / "diagnosis.png") > 900


def test_the_columns_of_its_table_are_explained_below_it(convscope, place: Path):
    said = convscope("diagnose", NAME, *OPTIONS, "--out", "found")
    for column in ("strongest 5 %", "max/median", "dead", "rare", "copies", "folded", "unsteady"):
        assert f"{column}:" in said.out


def test_two_networks_stand_side_by_side_and_programs_get_json(convscope, place: Path):
    said = convscope(
        "diagnose", NAME, "--against", "mynet:build", *OPTIONS, "--data", "photos", "--images",
        "2", "--out", "pair", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    result = json.loads(said.out)
    assert [each["model"] for each in result["networks"]] == [NAME, "mynet:build"]
    assert [each["images"] for each in result["networks"]] == [2, 2]
    assert width(place / "pair" / "diagnosis.png") > 1400  # one below the other


def test_without_images_the_weights_tell_what_they_can(convscope, place: Path):
    said = convscope("diagnose", NAME, *OPTIONS, "--out", "bare")
    assert said.code == 0, said.err
    written = json.loads((place / "bare" / "result.json").read_text())
    assert written["networks"][0]["layers"][0]["activity"] is None
    assert written["networks"][0]["layers"][0]["folding"]["measured"] is False


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--images", "3"], "--images needs --data"),
        (["--resume"], "--resume needs --data"),
        (["--try"], "--data"),
        (["--try", "--data", "photos"], "--try cannot change mynet:build"),
        (["--val", "photos"], "--val belongs to --try"),
        (["--seeds", "5"], "--seeds belongs to --try"),
        (["--try", "--data", "photos", "--against", NAME], "leave --against out"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_line(convscope, place: Path, arguments: list[str], line: str):
    said = convscope("diagnose", NAME, *OPTIONS, "--out", "new", *arguments)
    assert said.code == 2
    assert line in said.err
    assert said.err.count("\n") == 1
    assert not (place / "new").exists()


def test_a_diagnosis_is_gone_on_with_by_the_same_images_only(convscope, place: Path):
    command = ("diagnose", NAME, *OPTIONS, "--out", "kept", "--data", "photos")
    assert convscope(*command).code == 0
    first = json.loads((place / "kept" / "result.json").read_text())
    assert "not empty" in convscope(*command).err
    again = convscope(*command, "--resume", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["networks"] == first["networks"]
    fewer = convscope(*command, "--resume", "--images", "3")
    assert fewer.code == 2 and "images is" in fewer.err


def test_a_folder_in_use_is_left_alone(convscope, place: Path):
    said = convscope("diagnose", NAME, *OPTIONS, "--out", "photos")
    assert said.code == 2
    assert "not empty" in said.err


def aliased(path: Path) -> None:
    """alexnet-small with stripes in its first layer that its stride of 4 cannot carry."""
    network = build(ARCHITECTURES["alexnet-small"])
    stripes = (torch.hann_window(11) * torch.cos(torch.arange(11) * 2.4)).expand(11, 11)
    with torch.no_grad():
        network.conv1.weight[:8] = 0.05 * torch.stack([stripes, stripes.T] * 4)[:, None]
    save_file(network.state_dict(), path)


@pytest.mark.long
def test_the_remedy_is_tried_and_gone_on_with(convscope, place: Path):
    aliased(place / "aliased.safetensors")
    command = (
        "diagnose", "alexnet-small@aliased.safetensors", "--data", "scenes:train:48", "--val",
        "scenes:val:24", "--images", "24", "--try", "--seeds", "1", "--epochs", "1", "--workers",
        "1", "--out", "trial",
    )  # fmt: skip
    said = convscope(*command)
    assert said.code == 0, said.err
    assert "answer mostly to patterns too fine for a stride of 4" in said.out
    assert "applied: first layer 11x11/4 to 11x11/2" in said.out
    assert "validation error" in said.out
    trial = json.loads((place / "trial" / "result.json").read_text())["trial"]
    assert len(trial["after"]["attempts"]) == 1
    assert (place / "trial" / "trial.png").is_file()
    assert (place / "trial" / "diagnosis.png").is_file()
    assert convscope(*command).code == 2
    again = convscope(*command, "--resume", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["trial"] == trial


def test_an_untrained_network_is_trained_and_what_it_lacks_is_said(convscope, place: Path):
    said = convscope(
        "diagnose", "zfnet-small", "--data", "scenes:train:32", "--val", "scenes:val:16", "--try",
        "--seeds", "1", "--epochs", "1", "--workers", "1", "--out", "trial",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "left to you: conv1 (noise filters): train the network, or train it longer" in said.out
    assert "None of its faults has a remedy that can be applied" in said.out
    assert len(list((place / "trial" / "runs").iterdir())) == 1
    assert width(place / "trial" / "diagnosis.png") > 900
    written = json.loads((place / "trial" / "result.json").read_text())
    assert written["networks"][0]["findings"] == written["trial"]["findings"]


def sound(path: Path) -> None:
    """zfnet-small whose first layer sees every frequency that its stride carries."""
    network = build(ARCHITECTURES["zfnet-small"])
    more = [gabor(7, 0.1, angle, (0.0, 1.0, -1.0)) for angle in torch.arange(0.2, 3.2, 0.39)]
    with torch.no_grad():
        network.conv1.weight.copy_(torch.cat([sound_bank(7), torch.stack(more)]))
    save_file(network.state_dict(), path)


def test_a_network_without_a_fault_is_not_trained_again(convscope, place: Path):
    sound(place / "sound.safetensors")
    said = convscope(
        "diagnose", "zfnet-small@sound.safetensors", "--data", "scenes:train:32", "--val",
        "scenes:val:16", "--images", "8", "--try", "--workers", "1", "--out", "trial",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "found: conv3, dead maps (note)" in said.out  # of so few images
    assert "No fault was found: there is nothing to try." in said.out
    assert not (place / "trial" / "runs").exists()
    assert (place / "trial" / "diagnosis.png").is_file()
