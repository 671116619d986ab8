"""Planted faults are found, with the right units; a sound network raises no alarm."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import BadInput, BadModel, NonFinite
from convscope.experiments.diagnosis.diagnosis import Diagnosis, diagnose
from convscope.experiments.diagnosis.findings import Finding, FindingKind, Remedy, Severity
from convscope.experiments.diagnosis.responses import Tally
from convscope.images.datasets import open_images
from convscope.models.architectures import ARCHITECTURES, build
from convscope.network.network import open_network
from convscope.record import json_text
from convscope.scan import engine
from convscope.scan.checkpoint import CheckpointFile
from convscope.scan.engine import Scan

from .banks import SIDE, gabor, network_of, photographs, sound_bank
from .looking import unit_preprocess

GREY = (1.0, 1.0, 1.0)


def found(diagnosis: Diagnosis, kind: FindingKind, layer: str = "0") -> Finding:
    (finding,) = (f for f in diagnosis.findings if f.kind is kind and f.layer == layer)
    return finding


def examined(bank: Tensor, stride: int = 2, *, images: int = 24, **more: Tensor) -> Diagnosis:
    return diagnose(network_of(bank, stride, **more), photographs(images))


@pytest.mark.parametrize("images", [0, 24])
def test_a_sound_network_raises_no_alarm(images: int):
    network = network_of(sound_bank())
    diagnosis = diagnose(network, photographs(images) if images else None)
    assert diagnosis.findings == ()
    assert diagnosis.images == images


def test_a_dead_map_is_found_and_what_the_images_can_say_is_said():
    finding = found(
        examined(sound_bank(), bias=torch.tensor([0.0] * 5 + [-1e6] + [0.0] * 18)), FindingKind.DEAD
    )
    assert finding.units == (5,)
    assert finding.severity is Severity.NOTE  # one of 24
    assert "24 images" in finding.words
    assert finding.evidence["would_be_seen_from"] == pytest.approx(3 / 24)


def test_many_dead_maps_are_a_fault_and_the_first_layers_remedy_is_the_papers():
    bias = torch.zeros(24)
    bias[[1, 8, 20]] = -1e6
    finding = found(examined(sound_bank(), bias=bias), FindingKind.DEAD)
    assert finding.units == (1, 8, 20)
    assert finding.severity is Severity.FAULT
    assert finding.remedies[:2] == (Remedy.SMALLER_FILTER, Remedy.SMALLER_STRIDE)


def test_filters_without_weight_are_found_without_images():
    bank = sound_bank()
    bank[[3, 4]] *= 1e-5
    assert found(diagnose(network_of(bank)), FindingKind.DEAD).units == (3, 4)


@pytest.mark.parametrize("images", [0, 24])
def test_a_dominant_filter_is_found_with_the_papers_remedy(images: int):
    bank = sound_bank()
    bank[13] *= 20
    diagnosis = diagnose(network_of(bank), photographs(images) if images else None)
    finding = found(diagnosis, FindingKind.DOMINANT)
    assert finding.units == (13,)
    assert finding.severity is Severity.FAULT
    assert finding.evidence["energy_share"] == pytest.approx(400 / 423, rel=1e-3)
    assert finding.remedies == (Remedy.RENORMALISE,)
    assert [f.kind for f in diagnosis.faults] == [FindingKind.DOMINANT]


def test_duplicate_filters_are_found():
    bank = sound_bank()
    bank[6], bank[17] = bank[1], bank[9]
    finding = found(examined(bank), FindingKind.TWINS)
    assert finding.units == (1, 6, 9, 17)
    assert finding.severity is Severity.NOTE
    bank[8:14] = bank[8:9].clone()
    assert found(examined(bank), FindingKind.TWINS).severity is Severity.FAULT


@pytest.mark.parametrize("images", [0, 24])
def test_a_wave_above_the_strides_nyquist_is_found_and_the_same_wave_at_stride_one_is_not(
    images: int,
):
    bank = sound_bank()
    bank[[2, 9, 16]] = torch.stack([gabor(9, 0.42, angle, GREY) for angle in (0.0, 0.8, 1.57)])
    for stride in (1, 2):
        seen = photographs(images) if images else None
        diagnosis = diagnose(network_of(bank, stride), seen)
        kinds = [f.kind for f in diagnosis.faults]
        assert kinds == ([FindingKind.ALIASING] if stride == 2 else [])
    finding = found(diagnosis, FindingKind.ALIASING)
    assert finding.units == (2, 9, 16)
    assert finding.remedies == (Remedy.SMALLER_STRIDE,)


def test_aliasing_is_seen_in_the_layer_above_too():
    sound = examined(sound_bank(), 2)
    aliased = examined(sound_bank(), 4)
    assert FindingKind.ALIASING in [f.kind for f in aliased.faults]
    for layer in ("0", "2"):
        above, below = aliased.layer(layer).unsteadiness, sound.layer(layer).unsteadiness
        assert above is not None
        assert below is not None
        assert above > 1.5 * below
    assert (
        f"in 2 {aliased.layer('2').unsteadiness:.0%}" in found(aliased, FindingKind.ALIASING).words
    )


def test_missing_middle_frequencies_are_found():
    bank = sound_bank()
    for k in range(8, 16):
        bank[k] = gabor(9, 0.05 + 0.001 * k, 0.9 + k * 0.4, (1.0, 0.3 * (k % 3), -1.0))
    diagnosis = examined(bank)
    finding = found(diagnosis, FindingKind.COVERAGE)
    assert finding.severity is Severity.FAULT
    assert finding.evidence["band"] == "mid"
    assert finding.evidence["tuned"][1] == 0
    assert finding.remedies == (Remedy.SMALLER_FILTER,)


def test_random_weights_are_called_noise_and_nothing_else_is_held_against_them():
    network = open_network(build(ARCHITECTURES["zfnet-small"]).eval(), (3, 72, 72))
    diagnosis = diagnose(network)
    assert [(f.layer, f.kind) for f in diagnosis.findings] == [("conv1", FindingKind.NOISE)]


def test_maps_that_hardly_answer_are_a_note():
    images = photographs(12)
    answers = network_of(sound_bank(), 1).values(images, ["0"])["0"]
    bias = torch.zeros(24)
    for k in (1, 2, 9):
        bias[k] = -answers[:, k].flatten().sort().values[-20]  # 20 positions of 49,152 are left
    finding = found(diagnose(network_of(sound_bank(), 1, bias=bias), images), FindingKind.RARE)
    assert finding.units == (1, 2, 9)
    assert finding.severity is Severity.NOTE


def test_batches_and_one_tensor_say_the_same():
    network, images = network_of(sound_bank()), photographs(20)
    said: list[tuple[str, int, int]] = []
    parts = diagnose(
        network, iter(images.split(7)), total=20, progress=lambda *step: said.append(step)
    )
    whole = diagnose(network, images)
    assert parts.findings == whole.findings
    assert parts.layers[0].activity.active == whole.layers[0].activity.active
    assert parts.layers[1].unsteadiness == pytest.approx(whole.layers[1].unsteadiness, abs=1e-4)
    assert said == [("images", 7, 20), ("images", 14, 20), ("images", 20, 20)]
    assert parts.steady_images == 16


def test_an_interrupted_diagnosis_goes_on_and_answers_no_image_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "CHECKPOINT_SECONDS", 0.0)
    network, images = network_of(sound_bank()), open_images("scenes:val:40", size=SIDE)
    preprocess = unit_preprocess(SIDE)
    commits = CheckpointFile(tmp_path / "state.safetensors")

    def scan(progress=None) -> Scan:
        return Scan(network, images, preprocess, batch_size=4, workers=0, progress=progress)

    def stop(what: str, done: int, total: int) -> None:
        if done == 36:
            raise KeyboardInterrupt

    whole = diagnose(network, scan())
    with pytest.raises(KeyboardInterrupt):
        diagnose(network, scan(stop), commits=commits)
    counted, add = [], Tally.add
    monkeypatch.setattr(Tally, "add", lambda own, maps: counted.append(len(maps)) or add(own, maps))
    again = diagnose(network, scan(), commits=commits)
    assert sum(counted) == 4 * len(whole.layers)  # 36 of 40 had answered
    assert json.dumps(again.to_dict()) == json.dumps(whole.to_dict())
    assert whole.images == 40


def test_a_diagnosis_is_json():
    diagnosis = examined(sound_bank(), 4)
    read = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert read["findings"][0]["kind"] == "aliasing"
    assert len(read["layers"][0]["strength"]["rms"]) == 24
    assert read["layers"][0]["folding"]["measured"]


def test_what_cannot_be_diagnosed_is_refused():
    dense = open_network(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval(), (3, 2, 2))
    with pytest.raises(BadModel, match="no convolutional layer"):
        diagnose(dense)
    network = network_of(sound_bank())
    with pytest.raises(BadInput, match="at least one"):
        diagnose(network, [])
    with pytest.raises(BadInput, match="opened for"):
        diagnose(network, torch.zeros(1, 3, 8, 8))
    broken = sound_bank()
    broken[3, 0, 0, 0] = torch.nan
    with pytest.raises(NonFinite, match="layer 0"):
        diagnose(network_of(broken))
    with pytest.raises(NonFinite, match="layer 1"):
        diagnose(network, torch.full((1, 3, SIDE, SIDE), torch.nan))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_filters_and_maps_that_are_not_finite_are_named_and_counted(value: float):
    bank = sound_bank()
    bank[3, 0, 0, 0] = bank[7, 1, 2, 2] = value
    with pytest.raises(NonFinite, match=r"layer 0 .* 2 of 24 maps \(3, 7\) that are not finite"):
        diagnose(network_of(bank))
    bias = torch.zeros(24)
    bias[5] = abs(value)  # a rectifier makes 0 of minus infinity, which is dead
    found = diagnose(network_of(sound_bank(), bias=bias), photographs(2))
    whole = diagnose(network_of(sound_bank()), photographs(2))
    finding, *above = [one for one in found.findings if one.kind is FindingKind.NOT_FINITE]
    assert [one.units for one in above] == [tuple(range(16))] * bool(above)  # what reads it
    assert finding.units == (5,) and finding.severity is Severity.FAULT
    assert "1 of 24 maps (5) are NaN or infinite" in finding.words
    seen, sound = found.layers[0].activity, whole.layers[0].activity
    assert seen is not None and sound is not None and seen.not_finite == (5,)
    assert seen.active is not None and sound.active is not None  # all others as they are without it
    assert seen.active == (*sound.active[:5], None, *sound.active[6:])
    assert seen.dead == tuple(k for k in sound.dead if k != 5)
    json_text(found.to_dict())  # no NaN in it


def test_minus_infinity_at_one_position_does_not_make_every_map_dead():
    layer = nn.Conv2d(3, 2, 1, bias=False)
    image = torch.zeros(1, 3, 8, 8)
    image[0, 0, 0, 0] = -10.0
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.weight[1] = 3e38  # times -10 is below the least float32
    found = diagnose(open_network(nn.Sequential(layer), (3, 8, 8)), image).layers[0].activity
    assert found is not None and found.not_finite == (1,) and found.dead == ()


def test_maps_of_1e20_whose_squares_are_beyond_float32_are_measured():
    bank = sound_bank()
    bank[3] *= 1e20
    found = diagnose(network_of(bank), photographs(2)).layers[0].activity
    assert found is not None and found.not_finite == ()
    assert found.top_share == pytest.approx(1.0)
