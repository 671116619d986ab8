"""Where a map is worth most to a class: a unit that fires on one class and serves another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convscope.atlas.build import build_atlas
from convscope.atlas.store import Atlas, open_atlas
from convscope.errors import BadInput, BadOption, FolderInUse
from convscope.images.datasets import open_images
from convscope.models.zoo import Model
from convscope.report.page_evidence import relevant_of_map
from folders import content

RED, GREEN = 0, 1


class Gated(nn.Module):
    """Unit 0 fires on red, strongly, and on green, weakly. Only beside green does class 1 hear it.

    Class 1 is relu(unit 0 + 10 unit 1 - 6), and unit 1 fires on green alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.units, self.gate, self.head = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 1, 1), nn.Linear(1, 2)
        with torch.no_grad():
            self.units.weight.copy_(
                torch.tensor([[5.0, 2.0, 0.0], [-9.0, 1.0, 0.0]])[..., None, None]
            )
            self.units.bias.zero_()
            self.gate.weight.copy_(torch.tensor([[1.0, 10.0]])[..., None, None])
            self.gate.bias.fill_(-6.0)
            self.head.weight.copy_(torch.tensor([[0.0], [1.0]]))
            self.head.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heard = self.gate(self.units(x).relu()).relu()
        return self.head(heard.mean((2, 3)))


def model(tiny) -> Model:
    made = tiny.model(Gated().eval(), scaling="unit")
    return Model(**{**vars(made), "classes": ("red", "green")})


@pytest.fixture(scope="module")
def colours(tmp_path_factory) -> Path:
    """Six red and six green pictures, of different strength, a spot of the colour each."""
    folder = tmp_path_factory.mktemp("colours")
    random = np.random.default_rng(0)
    for number in range(12):
        red = number % 2 == 0
        pixels = np.zeros((24, 24, 3), np.uint8)
        top, left = random.integers(0, 18, 2)
        pixels[top : top + 6, left : left + 6, RED if red else GREEN] = 255 - 10 * number
        path = folder / ("red" if red else "green") / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture(scope="module")
def atlas(colours, tiny, tmp_path_factory) -> Atlas:
    folder = tmp_path_factory.mktemp("relevant") / "atlas"
    return build_atlas(
        model(tiny), open_images(colours), folder, layers=["units"], top=4, relevant=[GREEN]
    )


def names(atlas: Atlas, images: torch.Tensor) -> list[str]:
    return ["" if at < 0 else atlas.images[at].class_name or "" for at in images.tolist()]


def test_a_unit_that_fires_on_red_but_serves_green_shows_green(atlas):
    assert names(atlas, atlas.layers["units"].image[0]) == ["red"] * 4
    found = atlas.relevance("units", GREEN)
    assert names(atlas, found.image[0]) == ["green"] * 4
    shown = np.asarray(atlas.relevant("units", 0, 0, GREEN))
    assert shown[..., GREEN].mean() > 10 * shown[..., RED].mean() + 100
    assert np.asarray(atlas.patch("units", 0, 0))[..., RED].mean() > 100


def test_it_is_the_activation_times_the_derivative_of_the_log_odds(atlas, colours, tiny):
    images, preprocess = open_images(colours), model(tiny).preprocess
    every = []
    for index in range(len(images)):
        image = preprocess.tensor(images.picture(index)).double()
        units = Gated().double().units(image[None]).relu().detach().requires_grad_()
        heard = Gated().double().gate(units).relu().mean((2, 3))
        scores = Gated().double().head(heard)[0]
        (scores[1] - scores[0]).backward()  # of two classes, the log-odds
        every.append((units * units.grad)[0].detach())
    worth = torch.stack(every)
    for channel in range(2):
        peak = worth[:, channel].amax((1, 2))
        expected = peak.sort(descending=True, stable=True)
        table = atlas.relevance("units", GREEN)
        kept = int((peak > 0).sum().clamp(max=4))
        assert table.image[channel, :kept].tolist() == expected.indices[:kept].tolist()
        torch.testing.assert_close(
            table.value[channel, :kept].double(), expected.values[:kept], rtol=1e-4, atol=1e-7
        )
        assert (table.image[channel, kept:] == -1).all()
        assert (table.value[channel, kept:] == -torch.inf).all()


def test_the_page_tells_where_a_map_is_worth_most_to_the_class(atlas):
    told = relevant_of_map(atlas, atlas.record("units"), 0)
    table = atlas.relevance("units", GREEN)
    expected = [[value, at] for value, at in zip(table.value[0], table.image[0], strict=True)]
    [[name, number, images]] = told
    assert (name, number) == ("green", GREEN) and len(images) == 4
    for (value, file, label), (worth, at) in zip(images, expected, strict=True):
        assert value == pytest.approx(float(worth), rel=0.01)
        assert (file, label) == (atlas.images[int(at)].name, "green")


def test_units_that_serve_nothing_of_the_class_take_no_place(colours, tiny, tmp_path):
    against = build_atlas(
        model(tiny), open_images(colours), tmp_path / "a", layers=["units"], top=4, relevant=[RED]
    )
    assert (against.relevance("units", RED).image == -1).all()  # both speak for green alone
    assert np.asarray(against.relevant("units", 0, 0, RED)).std() == 0


def test_a_class_that_is_none_or_was_not_asked_for_is_refused(atlas, colours, tiny, tmp_path):
    with pytest.raises(BadOption, match="--relevant 0"):
        atlas.relevant("units", 0, 0, RED)
    images = open_images(colours)
    for options, words in (
        ({"relevant": [2]}, "2"),
        ({"relevant": [1], "plain": True}, "plain"),
        ({"relevant": [1, 1]}, "once"),
    ):
        with pytest.raises((BadOption, BadInput), match=words):
            build_atlas(model(tiny), images, tmp_path / "b", layers=["units"], **options)
    with pytest.raises(FolderInUse, match="--relevant"):
        build_atlas(
            model(tiny), images, atlas.folder, layers=["units"], top=4, relevant=[RED], resume=True
        )


def test_an_interrupted_atlas_ends_with_the_same_bytes(atlas, colours, tiny, tmp_path):
    class Stop(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        if what == "projections" and done > 3:
            raise Stop

    options = {"layers": ["units"], "top": 4, "relevant": [GREEN]}
    out = tmp_path / "a"
    with pytest.raises(Stop):
        build_atlas(model(tiny), open_images(colours), out, progress=stop, **options)
    again = build_atlas(model(tiny), open_images(colours), out, resume=True, **options)
    assert content(atlas.folder) == content(again.folder)
    assert open_atlas(out).manifest.extras.relevant == (GREEN,)
