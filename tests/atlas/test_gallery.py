"""Whole images, predictions and pictures with random weights, against second ways to find them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import warm
from convscope.atlas import gallery
from convscope.atlas.build import build_atlas
from convscope.atlas.folder import sheet_path
from convscope.atlas.gallery import (
    UNTRAINED,
    has_gallery,
    image_path,
    read_predictions,
    write_gallery,
)
from convscope.atlas.sheets import projection_tile
from convscope.atlas.store import Atlas, open_atlas
from convscope.execution import Execution
from convscope.images.datasets import open_images
from convscope.images.pictures import crop, shown_box
from convscope.methods.project import project
from convscope.methods.rules import DECONVNET
from convscope.network.network import open_network
from convscope.network.unit import Unit
from folders import content

SCRIPT = Path(__file__).with_name("scan_until_killed.py")


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, pictures, tiny) -> Atlas:
    folder = tmp_path_factory.mktemp("gallery") / "atlas"
    made = build_atlas(tiny.model(), open_images(pictures), folder, check=0)
    assert not has_gallery(folder)
    write_gallery(tiny.model(), open_images(pictures), made, batch_size=5)
    assert has_gallery(folder)
    return made


@pytest.fixture(scope="module")
def seen(pictures, tiny) -> torch.Tensor:
    images, preprocess = open_images(pictures), tiny.model().preprocess
    return torch.stack([preprocess.tensor(images.picture(i)) for i in range(len(images))])


def winning(atlas: Atlas) -> list[int]:
    found = {one for table in atlas.layers.values() for one in table.image.unique().tolist()}
    return sorted(found - {-1})


def test_every_winning_image_lies_there_whole(atlas, pictures, tiny, seen):
    preprocess = tiny.model().preprocess
    for index in winning(atlas):
        with Image.open(image_path(atlas.folder, index)) as file:
            kept = np.asarray(file.convert("RGB")).astype(float)
        shown = preprocess.to_uint8(seen[index]).astype(float)
        assert kept.shape == shown.shape
        assert np.abs(kept - shown).mean() < 12  # it is stored with loss
    assert len(list((atlas.folder / "images").iterdir())) == len(winning(atlas))


def test_predictions_are_the_likeliest_classes(atlas, tiny, seen):
    found = read_predictions(atlas)
    assert list(found) == winning(atlas)
    expected = tiny.module()(seen).detach().double().softmax(1)
    for index, told in found.items():
        labels = [label for label, _ in told]
        assert labels == expected[index].argsort(descending=True).tolist()
        for label, probability in told:
            assert probability == pytest.approx(float(expected[index, label]), abs=1e-5)


def test_untrained_pictures_are_projections_with_all_weights_drawn_anew(atlas, tiny, seen):
    torch.manual_seed(0)
    module = tiny.module()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in (module[0], module[3], module[7], module[9]):
            drawn = torch.randn(layer.weight.shape, generator=draws)
            layer.weight.copy_(layer.weight.mean() + layer.weight.std() * drawn)
    network, compared = open_network(module, (3, 24, 24)), 0
    for layer in ("0", "3", "7"):
        record, table = atlas.record(layer), atlas.layers[layer]
        with Image.open(sheet_path(atlas.folder, record.slug, UNTRAINED, 0)) as file:
            sheet = np.asarray(file.convert("RGB")).astype(float)
        for channel in range(record.channels):
            place = (int(table.row[channel, 0]), int(table.column[channel, 0]))
            trace = network.trace(seen[int(table.image[channel, 0])])
            if float(trace[record.activation][0, channel, place[0], place[1]]) <= 0:
                continue  # nothing to scale: its projection is that of a strength below zero
            compared += 1
            found = project(trace, Unit(record.activation, channel, *place), DECONVNET)
            box = found.places[0]
            shown = shown_box(box, 24, 24)
            # the picture is scaled by its own largest value, so that the signal's strength is none
            picture = tiny.model().preprocess.rgb(found.projection[0])
            expected = projection_tile(crop(picture, shown, 0.0, within=box))
            factor = record.tile // expected.shape[0]
            left = record.tile * channel
            cell = sheet[: record.tile : factor, left : left + record.tile : factor]
            assert np.abs(cell[: expected.shape[0], : expected.shape[1]] - expected).max() <= 1
    assert compared >= 5


def test_a_gallery_that_is_there_stays(atlas, pictures, tiny):
    before = content(atlas.folder)
    write_gallery(tiny.model(), open_images(pictures), atlas)
    assert content(atlas.folder) == before


class Stop(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def bare(atlas, tmp_path) -> Path:
    """The atlas before its gallery was made."""
    folder = tmp_path / "atlas"
    shutil.copytree(atlas.folder, folder)
    shutil.rmtree(folder / "images")
    for name in ("gallery.json", "predictions.safetensors"):
        (folder / name).unlink()
    for sheet in folder.glob(f"sheets/*/{UNTRAINED}-*"):
        sheet.unlink()
    return folder


def test_stopped_at_every_step_in_turn_it_ends_with_the_same_bytes(
    atlas, bare, pictures, tiny, monkeypatch
):
    monkeypatch.setattr(gallery, "CHECKPOINT_SECONDS", 0.0)
    images, begun = open_images(pictures), []

    def go_on() -> None:
        calls = []

        def progress(phase: str, done: int, total: int) -> None:
            calls.append(done)
            if len(calls) == 2 and done < total:
                raise Stop

        begun.append(calls)
        how = Execution(progress=progress)
        write_gallery(tiny.model(), images, open_atlas(bare), batch_size=5, how=how)

    while True:
        try:
            go_on()
        except Stop:
            assert not has_gallery(bare)
            continue
        break
    assert [calls[0] for calls in begun] == [5 * at for at in range(len(begun))]
    assert len(begun) > 2
    assert content(bare) == content(atlas.folder)


@pytest.mark.slow
def test_kill_9_at_several_moments_ends_with_the_same_bytes(atlas, bare, pictures, tmp_path):
    scans = warm.start(SCRIPT, Path(__file__).with_name("conftest.py"), pictures, bare)

    def run(moment: int, when: str) -> int:
        print(moment, when, "gallery", file=scans.stdin, flush=True)
        return int(scans.stdout.readline())

    for moment, when in [(1, "before"), (13, "after"), (14, "before"), (40, "after")]:
        assert run(moment, when) == -9
        assert not has_gallery(bare)
    assert run(0, "never") == 0
    scans.communicate()
    assert scans.wait() == 0
    assert content(bare) == content(atlas.folder)


def test_what_a_kill_after_the_last_file_left_is_cleared(bare, atlas, pictures, tiny):
    shutil.copy(atlas.folder / "gallery.json", bare)
    (bare / "work-gallery").mkdir()
    write_gallery(tiny.model(), open_images(pictures), open_atlas(bare))
    assert not (bare / "work-gallery").exists()
