"""Features of a run that was written by hand, so that all that happens to them is known."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from convscope.distributed import Ranks
from convscope.errors import BadCheckpoint, BadData, BadOption, FolderInUse, NoSuchLayer
from convscope.experiments.evolution.growth import evolve
from convscope.experiments.evolution.kept import kept_epochs
from convscope.experiments.evolution.result import Evolution, MapEvolution
from convscope.images.datasets import open_images
from convscope.images.fitting import Fit
from convscope.images.image_set import ImageSet
from convscope.images.pictures import GREY
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.network.network import open_network
from convscope.progress import Progress
from convscope.scan import engine
from convscope.training.checkpoint import RunStatus, read_run
from grown import ARCHITECTURE, DEAD, EPOCHS, SETTLED, SHARES, network_at, write_pictures, write_run
from work_together import all_find_the_same

SETTINGS = {"layers": ["conv1", "conv2"], "maps": 7, "workers": 0, "batch_size": 3}


@dataclass(frozen=True)
class Grown:
    """A run, its images, and what was found, with the study's folder."""

    run: Path
    images: ImageSet
    study: Path
    found: Evolution

    def row(self, channel: int) -> MapEvolution:
        """A drawn map of conv1."""
        return next(row for row in self.found.layers[0].rows if row.channel == channel)

    def pixels(self) -> torch.Tensor:
        """(N, 3, 28, 28) as the network gets them."""
        preprocess = Preprocess((3, 28, 28), Scaling.PAPER, Fit.NONE)
        return torch.stack(
            [preprocess.tensor(self.images.picture(i)) for i in range(len(self.images))]
        )


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    place = tmp_path_factory.mktemp("grown")
    run = write_run(place / "run")
    images = open_images(str(write_pictures(place / "pictures")))
    found = evolve(run, images, out=place / "study", **SETTINGS)
    return Grown(run, images, place / "study", found)


def written(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# ---- what excites a map most --------------------------------------------------------------------


def test_the_winner_at_each_epoch_is_that_of_a_plain_convolution(grown: Grown) -> None:
    pixels = grown.pixels()
    for at, epoch in enumerate(EPOCHS):
        conv = network_at(epoch).conv1
        with torch.no_grad():
            maps = F.relu(F.conv2d(pixels, conv.weight, conv.bias, stride=2, padding=1))
        peaks = maps.amax((2, 3))  # (N, C)
        for row in grown.found.layers[0].rows:
            lead, peak = row.leads[at], peaks[:, row.channel]
            if peak.max() <= 0:
                assert lead.dead
                continue
            assert lead.image == int(peak.argmax())
            assert lead.value == pytest.approx(float(peak.max()), rel=1e-5)
            assert maps[lead.image, row.channel, lead.row, lead.column] == peak.max()


def test_a_planted_change_of_the_winning_image_is_marked_where_it_is(grown: Grown) -> None:
    leads = grown.row(0).leads
    assert [lead.name for lead in leads] == ["plain/red.png"] * 2 + ["plain/blue.png"] * 2
    assert [lead.label for lead in leads] == ["plain"] * 4
    assert grown.row(0).changes == (2,)
    assert grown.row(5).changes == ()


def test_a_map_that_is_dead_for_a_while_is_so_there_and_its_picture_is_grey(grown: Grown) -> None:
    row = grown.row(2)
    assert [lead.dead for lead in row.leads] == [False, True, False, False]
    assert row.changes == ()  # the winner after is the winner before
    assert (row.projections[1] == GREY).all() and (row.patches[1] == GREY).all()
    assert (row.projections[2] != GREY).any()


def test_maps_that_are_dead_at_the_end_are_told_and_not_drawn(grown: Grown) -> None:
    layer = grown.found.layers[0]
    assert layer.dead_at_end == (DEAD,) and layer.dead[-1] == 1
    assert [row.channel for row in layer.rows] == [c for c in range(8) if c != DEAD]
    assert DEAD not in layer.measured


def test_maps_that_are_not_finite_are_told_counted_and_not_called_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_at(epoch: int) -> torch.nn.Module:
        network = network_at(epoch)
        with torch.no_grad():
            if epoch == EPOCHS[-1]:
                network.conv1.weight[1] = 3e38  # infinite in bright pictures
        return network

    monkeypatch.setattr("grown.network_at", broken_at)
    run, dice = write_run(tmp_path / "run"), np.random.default_rng(0)
    (tmp_path / "bright").mkdir()
    for number in range(3):
        pixels = dice.integers(200, 256, (28, 28, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "bright" / f"{number}.png")
    images = open_images(str(tmp_path / "bright"))
    found = evolve(run, images, epochs=[0, EPOCHS[-1]], **{**SETTINGS, "layers": ["conv1"]})
    [layer] = found.layers
    assert layer.not_finite == (0, 1) and layer.not_finite_at_end == (1,)
    assert DEAD in layer.dead_at_end and 1 not in layer.dead_at_end
    assert layer.dead[-1] == len(layer.dead_at_end)
    assert 1 not in layer.measured and 1 not in [row.channel for row in layer.rows]
    values = 3 * math.prod(open_network(network_at(0), (3, 28, 28)).layer("conv1").grid)
    [line] = found.warnings()
    assert line == (
        f"conv1: {values:,} activations were NaN or infinite at epoch {EPOCHS[-1]}, all of 1 map"
    )
    assert layer.to_dict()["not_finite_at_end"] == [1]


# ---- when it settles ----------------------------------------------------------------------------


def test_the_convergence_epochs_are_those_that_were_planted(grown: Grown) -> None:
    conv1, conv2 = grown.found.layers
    assert {row.channel: row.converged["projection"] for row in conv1.rows} == SETTLED
    assert set(conv2.convergence["projection"].epochs) == {EPOCHS[-1]}
    assert conv2.convergence["projection"].to_the_end == 1.0
    assert grown.row(0).converged["image"] == 2 and grown.row(5).converged["image"] == 0
    assert grown.found.trends["projection"].rho > 0.5  # lower layers first, as planted


def seen(weight: torch.Tensor, row: int, column: int) -> torch.Tensor:
    """What of a first-layer filter (3, 7, 7) lies within the image at a place of the grid, flat."""
    top, left = 2 * row - 1, 2 * column - 1
    inside = weight[:, max(0, -top) : 28 - top, max(0, -left) : 28 - left]
    return inside.detach().double().flatten()


def test_a_first_layer_projection_is_as_similar_as_its_filter(grown: Grown) -> None:
    layer = grown.found.layers[0]
    end = network_at(EPOCHS[-1]).conv1.weight
    for at, epoch in enumerate(EPOCHS):
        now = network_at(epoch).conv1.weight
        for place, row in enumerate(layer.rows):
            unit = row.leads[-1].row, row.leads[-1].column
            a, b = (seen(weight[row.channel], *unit) for weight in (now, end))
            found = layer.similarity["projection"][place, at]
            silent = found == 0.0  # where the unit was not above zero
            assert silent or found == pytest.approx(
                float(F.cosine_similarity(a, b, dim=0)), abs=1e-5
            )
    assert (layer.similarity["projection"][:, 1:] != 0).mean() > 0.5
    share = np.array(SHARES)
    expected = share / np.hypot(share, 1 - share)  # red turns into green, at right angles
    place = layer.measured.index(4)
    assert layer.similarity["projection"][place][1:] == pytest.approx(expected[1:], abs=1e-5)


def test_a_filter_is_measured_by_the_way_that_it_has_gone(grown: Grown) -> None:
    layer = grown.found.layers[0]
    found = layer.similarity["filter"][layer.measured.index(4)]
    assert found == pytest.approx([1 - (1 - share) ** 2 for share in SHARES], abs=1e-6)
    assert layer.similarity["filter"][layer.measured.index(5)].tolist() == [1] * 4  # never moved
    assert grown.row(4).converged["filter"] == 2


def test_a_lower_threshold_is_reached_no_later(grown: Grown) -> None:
    found = evolve(grown.run, grown.images, out=grown.study, resume=True, threshold=0.7, **SETTINGS)
    settled = {row.channel: row.converged["projection"] for row in found.layers[0].rows}
    assert settled[4] == 1  # half the way: a cosine of 0.707
    assert all(settled[channel] <= SETTLED[channel] for channel in settled)


# ---- a study that is interrupted ----------------------------------------------------------------


@pytest.mark.parametrize("calls", [2, 9])
def test_an_interrupted_study_goes_on_to_the_same_bytes(
    grown: Grown, tmp_path: Path, calls: int
) -> None:
    left = calls

    def interrupt(what: str, done: int, total: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evolve(grown.run, grown.images, out=tmp_path, progress=interrupt, **SETTINGS)
    assert written(tmp_path) != written(grown.study)
    with pytest.raises(FolderInUse, match="not empty"):
        evolve(grown.run, grown.images, out=tmp_path, **SETTINGS)
    found = evolve(grown.run, grown.images, out=tmp_path, resume=True, **SETTINGS)
    assert written(tmp_path) == written(grown.study)
    assert not list(tmp_path.glob("scan-*"))
    assert json.dumps(found.to_dict()) == json.dumps(grown.found.to_dict())


def test_a_study_of_other_settings_is_not_gone_on_with(grown: Grown) -> None:
    before = written(grown.study)
    with pytest.raises(FolderInUse, match="seed is 0 there, 1 now"):
        evolve(grown.run, grown.images, out=grown.study, resume=True, seed=1, **SETTINGS)
    assert written(grown.study) == before


# ---- what is asked for --------------------------------------------------------------------------


def test_a_seed_draws_a_subset_and_chosen_epochs_are_columns(grown: Grown) -> None:
    found = evolve(
        grown.run, grown.images, layers=["conv1"], maps=2, measured=3, epochs=(3, 0), seed=4,
        workers=0,
    )  # fmt: skip
    layer = found.layers[0]
    order = torch.randperm(8, generator=torch.Generator().manual_seed(4)).tolist()
    alive = [channel for channel in order if channel != DEAD]
    assert [row.channel for row in layer.rows] == sorted(alive[:2])
    assert list(layer.measured) == sorted(alive[:3])
    assert found.epochs == (0, 3)
    for row in layer.rows:
        assert row.leads[1] == grown.row(row.channel).leads[3] or row.leads[1].changed
        assert np.array_equal(row.projections[1], grown.row(row.channel).projections[3])


def test_a_run_that_is_not_complete_ends_with_what_it_kept(tmp_path: Path, grown: Grown) -> None:
    folder = write_run(tmp_path / "run", status=RunStatus.DIVERGED, last=1)
    found = kept_epochs(folder, read_run(folder))
    assert [each.epoch for each in found] == [0, 1]


def test_epochs_that_cannot_be_looked_at_are_named(grown: Grown, tmp_path: Path) -> None:
    run = read_run(grown.run)
    with pytest.raises(BadOption, match=r"epoch 7.*kept 0, 1, 2, 3"):
        kept_epochs(grown.run, run, [0, 7])
    with pytest.raises(BadOption, match="fewer than two"):
        kept_epochs(grown.run, run, [1])
    with pytest.raises(BadData, match=r"epoch-0000\.safetensors is gone"):
        kept_epochs(tmp_path, run)
    short = write_run(tmp_path / "short", status=RunStatus.RUNNING, last=0)
    with pytest.raises(BadData, match="needs two or more"):
        kept_epochs(short, read_run(short))
    other = (grown.run / "epoch-0001.safetensors").read_bytes()
    (short / "epoch-0000.safetensors").write_bytes(other)
    (short / "epoch-0001.safetensors").write_bytes(other)
    with pytest.raises(BadCheckpoint, match="not what the run wrote after epoch 0"):
        kept_epochs(short, run, [0, 1])[0].open()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"maps": 0}, BadOption, "1 to 32"),
        ({"maps": 33}, BadOption, "1 to 32"),
        ({"measured": 0}, BadOption, "at least 1"),
        ({"threshold": 1.5}, BadOption, "threshold"),
        ({"layers": []}, BadOption, "no layers"),
        ({"layers": ["conv9"]}, NoSuchLayer, "conv9"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(
    grown: Grown, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        evolve(grown.run, grown.images, **changes)


# ---- several processes --------------------------------------------------------------------------


def prepare() -> None:
    """Export the network once for all processes."""
    open_network(network_at(0), ARCHITECTURE.input_shape)


def shared(folder: Path, ranks: Ranks, progress: Progress) -> dict[str, object]:
    """The study by one of several processes, over the run and pictures beside its folder."""
    run, images = folder.parent / "run", open_images(str(folder.parent / "pictures"))
    resume = folder.exists()
    engine.CHECKPOINT_SECONDS = 0.0
    found = evolve(
        run, images, out=folder, resume=resume, progress=progress, ranks=ranks, **SETTINGS
    )
    tiles = [row.patches.sum() + row.projections.sum() for row in found.layers[0].rows]
    return {**found.to_dict(), "tiles": list(map(int, tiles))}


@pytest.mark.long
def test_one_two_and_four_processes_find_the_same_also_after_a_kill(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    write_pictures(tmp_path / "pictures")
    (tmp_path / "pictures" / "plain" / "broken.png").write_bytes(b"no picture")
    found = all_find_the_same("experiments.test_evolution:shared", tmp_path, "1@2")
    assert [each["name"] for each in found["skipped"]] == ["plain/broken.png"]


def test_the_folder_of_a_scan_that_an_earlier_version_began_is_removed(
    grown: Grown, tmp_path: Path
) -> None:
    shutil.copytree(grown.study, tmp_path / "study")
    (tmp_path / "study" / "scan-1" / "work").mkdir(parents=True)
    (tmp_path / "study" / "scan-1" / "work" / "state.safetensors").write_bytes(b"before")
    evolve(grown.run, grown.images, out=tmp_path / "study", resume=True, **SETTINGS)
    assert written(tmp_path / "study") == written(grown.study)
