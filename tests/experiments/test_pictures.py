"""Every kind of picture of a unit is the one that its own verb makes, and what it is worth too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import convscope
from convscope.errors import BadOption, FolderInUse
from convscope.experiments.options import Device, Running
from convscope.experiments.pictures.result import RULES, PictureKind, Pictures, UnitPictures
from convscope.experiments.session import Session, session_of
from convscope.images.pictures import grey_scaled
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.methods.ascent.loop import AscentSettings, maximise
from convscope.methods.ascent.showing import canvas_of, shown_pictures
from convscope.methods.inversion import InversionSettings, invert
from convscope.methods.project import project
from convscope.methods.rules import rules_named
from convscope.models.weights import module_sha256
from convscope.models.zoo import Model
from experiments.squares import SIDE, Squares

UNIT = "3/2"  # of the second rectifier; 3/3 is its twin
STEPS = 2


class Gated(nn.Module):
    """A gate that is a softmax over channels: DeepLIFT has no rule for it."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values * values.softmax(1)


def model_of(*, gated: bool = False) -> Model:
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2), nn.ReLU()]
    module = nn.Sequential(*parts, *([Gated()] if gated else []), nn.Flatten(), nn.LazyLinear(2))
    preprocess = Preprocess((3, SIDE, SIDE), Scaling.IMAGENET)
    module.eval()(torch.zeros(1, 3, SIDE, SIDE))
    with torch.no_grad():
        for tensor in (module[2].weight, module[2].bias):
            tensor[3] = tensor[2]
    return Model(module, preprocess, "tiny", module_sha256(module), False, ("red", "green"))


@pytest.fixture(scope="module")
def session() -> Session:
    return session_of(model_of(), Running(device=Device.CPU))


@pytest.fixture(scope="module")
def found(session: Session) -> Pictures:
    return convscope.pictures(session, Squares(8), [UNIT, "1/0"], steps=STEPS)


def seen(session: Session, row: UnitPictures) -> tuple[torch.Tensor, tuple[slice, slice]]:
    """The image that a unit is seen in, preprocessed, and what is shown of it."""
    picture = Squares(8).picture(int(row.image[:4]))
    top, left, bottom, right = row.box
    assert top >= 0 and left >= 0 and bottom <= SIDE and right <= SIDE  # none is cut here
    return session.model.preprocess.tensor(picture), (slice(top, bottom), slice(left, right))


@torch.no_grad()
def test_each_unit_is_seen_in_the_image_that_excites_it_most(session, found) -> None:
    images = Squares(8)
    every = torch.stack([session.model.preprocess.tensor(images.picture(i)) for i in range(8)])
    for row, name in zip(found.units, (UNIT, "1/0"), strict=True):
        layer, channel = name.split("/")
        values = session.model.module[: int(layer) + 1](every)[:, int(channel)].flatten(1)
        assert row.image == images.name(int(values.amax(1).argmax()))
        assert row.activation == pytest.approx(float(values.max()), rel=1e-5)
        assert [one.kind for one in row.pictures] == list(PictureKind)
        assert len({one.pixels.shape for one in row.pictures}) == 1
        assert not any(one.refused for one in row.pictures)


def test_the_patch_and_the_projections_are_those_of_the_unit(session, found) -> None:
    for row in found.units:
        image, part = seen(session, row)
        whole = Squares(8).pixels(int(row.image[:4]))
        assert (row["patch"].pixels == whole[part]).all()
        trace = session.network.trace(image)
        for kind in RULES:
            projection = project(trace, row.unit, rules_named(kind)).projection[0]
            shown = session.model.preprocess.rgb(projection)[:, part[0], part[1]]
            assert (row[kind].pixels == grey_scaled(shown, 0.002)).all(), kind


def test_saliency_is_the_largest_derivative_over_the_channels(session, found) -> None:
    """By autograd; the largest values, a five-hundredth of them, are white."""
    row = found.units[0]
    image, part = seen(session, row)
    image = image.clone().requires_grad_()
    layer, _, rest = row.unit.partition("/")
    channel, _, at = rest.partition("@")
    place = tuple(int(word) for word in at.split(","))
    session.model.module[: int(layer) + 1](image[None])[0, int(channel)][place].backward()
    sizes = image.grad.abs().amax(0)[part].double()
    grey = (255 * sizes / sizes.max()).round().numpy()  # of so few none is cut off
    assert np.abs(row["saliency"].pixels[..., 0] - grey).max() <= 1


def test_what_projections_are_worth_is_what_check_says(session, found) -> None:
    for row in found.units:
        image, _ = seen(session, row)
        for kind in RULES:
            [told] = convscope.check(session, image, row.unit, rules=kind)
            worth = row[kind].worth
            for name in ("place", "disc", "specific", "own_weights", "sentence"):
                assert getattr(worth, name) == told.to_dict()[name], (row.unit, kind, name)


def test_a_twin_has_the_same_pictures_and_none_is_its_own(found) -> None:
    for kind in RULES:
        worth = found.units[0][kind].worth
        assert worth.specific == 0 and not worth.is_specific
    assert "gradient: marks the place" in found.words()[-3]
    assert found.words()[-3].endswith(f"own for {sum_own(found)}.")


def sum_own(found: Pictures) -> int:
    return sum(row["gradient"].worth.specific >= 0.2 for row in found.units)


def test_optimised_and_inverted_are_those_of_their_verbs(session, found) -> None:
    row = found.units[0]
    image, part = seen(session, row)
    network, preprocess = session.network, session.model.preprocess
    canvas = canvas_of(network, preprocess)
    best = maximise(network, "3", [2], canvas, AscentSettings(steps=STEPS))
    assert (row["optimised"].pixels == shown_pictures(best, preprocess, free=False)[0]).all()
    assert row["optimised"].numbers == {"activation": float(best.activation[0])}
    images = Squares(8)
    examples = torch.stack([preprocess.tensor(images.picture(i)) for i in range(8)])
    how = InversionSettings(steps=STEPS)
    [layer] = invert(network, image, ["3"], canvas, how, examples=examples).layers
    assert row["inverted"].numbers == {"error": layer.error, "r": layer.correlation}
    [pixels] = network.legend.pictures(layer.picture[None])
    assert (row["inverted"].pixels == pixels[part]).all()


def test_what_a_method_has_no_rule_for_is_told_and_the_rest_is_there() -> None:
    found = convscope.pictures(model_of(gated=True), Squares(4), ["4.mul/2"], steps=1, device="cpu")
    row = found.units[0]
    assert row["deeplift"].pixels is None and "softmax" in row["deeplift"].refused
    assert row["deconvnet"].pixels is not None and row["gradient"].worth is not None
    assert any(line.startswith("no deeplift: ") for line in found.words())
    assert not any(line.startswith("deeplift: ") for line in found.summary())


def test_an_interrupted_study_ends_as_one_that_was_not(session, found, tmp_path: Path) -> None:
    def run(**options: object) -> Pictures:
        given = {"steps": STEPS, "out": tmp_path / "o", **options}
        return convscope.pictures(session, Squares(8), [UNIT, "1/0"], **given)

    run()
    (tmp_path / "o" / "pieces" / "1%2F0.npz").unlink()
    again = run(resume=True)
    assert again.to_dict() == found.to_dict()
    for one, other in zip(again.units, found.units, strict=True):
        for kind in PictureKind:
            assert (one[kind].pixels == other[kind].pixels).all()
    with pytest.raises(FolderInUse, match="steps"):
        run(resume=True, steps=3)


def test_a_position_belongs_to_one_image(session) -> None:
    with pytest.raises(BadOption, match="a position belongs to one image"):
        convscope.pictures(session, Squares(4), ["3/2@1,1"])
