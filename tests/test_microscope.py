"""`convscope.open`: one object to start from, that does what the functions do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import convscope
from convscope.errors import BadInput, BadModel, BadOption, NoSuchUnit
from convscope.experiments.session import Session
from convscope.methods.ascent.loop import AscentSettings
from convscope.methods.checks import check
from convscope.methods.scores import score_target


def net(outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(5, outputs),
    )  # fmt: skip


OPTIONS = {"input": (3, 24, 24), "preprocess": "unit", "device": "cpu"}


@pytest.fixture(scope="module")
def scope() -> convscope.Microscope:
    return convscope.open(net(), classes=["cat", "dog", "car"], **OPTIONS)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def test_it_answers_as_the_functions_do(scope, pixels) -> None:
    view = scope.look(pixels)
    image = scope.model.preprocess.tensor(view.picture)
    torch.testing.assert_close(view.input, image)
    trace = scope.network.trace(image)
    for found, expected in (
        (scope.project(pixels, ["4/1", "3/2@5,5"], "guided"),
         convscope.project(trace, ["4/1", "3/2@5,5"], convscope.GUIDED)),
        (scope.project(pixels, "4/1"), convscope.project(trace, "4/1")),
    ):  # fmt: skip
        assert torch.equal(found.projection, expected.projection)
        assert found.units == expected.units
    maps = convscope.occlude(scope.model, image, size=8, stride=8, target=1, device="cpu")
    for found in (scope.occlude(pixels, size=8, stride=8, target="dog"),
                  view.occlude(size=8, stride=8, target=1)):  # fmt: skip
        torch.testing.assert_close(found.probability, maps.probability)
    assert scope.check(pixels, "4/1") == check(trace, "4/1") == view.check(["4/1"])
    [strong] = map(str, view.strongest("3", 1))
    own = convscope.contrast(scope.model, image, strong, device="cpu")
    torch.testing.assert_close(view.contrast(strong).contrast, own.contrast)


def test_a_view_measures_how_units_bend_around_what_they_see_of_the_image(scope, pixels) -> None:
    view = scope.look(pixels)
    [strong] = view.strongest("3", 1)
    settings = {"samples": 256, "directions": 1}
    expected = convscope.curvature(
        scope.model, ["3/2@5,5", str(strong)], image=view.input, device="cpu", **settings
    )
    for found, unit, own in zip(
        [*view.curvature("3/2@5,5", **settings), *view.curvature([strong], **settings)],
        ("3/2@5,5", str(strong)), expected, strict=True,
    ):  # fmt: skip
        assert str(found.found.unit) == unit and found.image == view.name
        assert found.found.to_dict() == own.found.to_dict()
        assert np.array_equal(found.strips, own.strips)
        row, column = found.found.unit.position
        value = float(view["4"][found.found.unit.channel, row, column])
        assert found.found.activation == pytest.approx(value, abs=1e-5)
    with pytest.raises(NoSuchUnit, match="3/9"):
        view.curvature("3/9")


def test_a_class_is_projected_by_name_and_by_default_the_one_that_is_told(scope, pixels) -> None:
    view = scope.look(pixels)
    image = view.input.clone().requires_grad_()
    scores = scope.model.module(image[None])[0]
    (slope,) = torch.autograd.grad(scores[1], image, retain_graph=True)
    found = view.project_target("dog")
    torch.testing.assert_close(found.projection[0], slope)
    assert found.target.name == "dog" and float(found.value) == pytest.approx(scores[1].item())
    told = int(scores.argmax())
    (slope,) = torch.autograd.grad(scores[told], image)
    torch.testing.assert_close(view.project_target().projection[0], slope)


@pytest.mark.parametrize(
    ("end", "task", "told"),
    [
        (nn.Identity(), "auto", lambda z: z),
        (nn.Softmax(1), "auto", lambda z: torch.logit(z.softmax(-1), eps=1e-9)),
        (nn.Sigmoid(), "multilabel", lambda z: torch.logit(z.sigmoid(), eps=1e-9)),
    ],
)
def test_the_score_of_a_class_is_what_comes_before_the_softmax(end, task, told, pixels) -> None:
    module = nn.Sequential(*net(), end)
    scope = convscope.open(module, task=task, **OPTIONS)
    view = scope.look(pixels)
    with torch.no_grad():
        wanted = told(module[:-1](view.input[None])[0].double())
    for index in range(3):
        value = float(view.project_target(index).value)
        assert value == pytest.approx(float(wanted[index]), abs=1e-5)


def test_one_number_speaks_for_two_classes(pixels) -> None:
    scope = convscope.open(net(1), **OPTIONS)
    view = scope.look(pixels)
    [z] = view["7"].tolist()
    assert float(view.project_target(1).value) == pytest.approx(z)
    assert float(view.project_target(0).value) == pytest.approx(-z)
    assert score_target(scope.network, view.input).name == f"class {int(z > 0)}"
    with pytest.raises(BadOption, match="classes 0 to 1"):
        view.project_target(2)


def test_a_module_stays_as_it_is_and_is_followed(pixels) -> None:
    module = net().train()
    scope = convscope.open(module, **OPTIONS)
    assert module.training and scope.model.module is module
    before = scope.look(pixels)["7"].clone()
    with torch.no_grad():
        module[7].bias.add_(1)
    torch.testing.assert_close(scope.look(pixels)["7"], before + 1)
    wrapped = convscope.open(nn.DataParallel(module), **OPTIONS)
    assert wrapped.model.module is module and repr(wrapped).startswith("<Microscope Sequential: ")


def test_models_by_name_and_opened_ones_are_taken(tmp_path: Path) -> None:
    scope = convscope.open("zfnet-small", seed=3, device="cpu")
    assert repr(scope) == (
        "<Microscope zfnet-small, random weights: 23 layers, 3x72x72 -> fc8 12, on cpu>"
    )
    again = convscope.open(scope.model, device="cpu")
    assert again.model is scope.model and isinstance(again.session, Session)
    view = scope.look("scenes:val:2#1")
    assert view.name.endswith(".png") or view.name
    assert view.occlude(size=36, stride=36).value.shape == (2, 2)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (lambda: convscope.open(net()), BadOption, "Sequential does not say how .*--input"),
        (lambda: convscope.open(net(), input=(3, 24, 24)), BadOption, "--preprocess"),
        (lambda: convscope.open(net(), weights_key="a", **OPTIONS), BadOption, "weights_key 'a'"),
        (lambda: convscope.open(net(), **{**OPTIONS, "device": "tpu"}), BadOption, "device 'tpu'"),
        (lambda: convscope.open(net(), **{**OPTIONS, "preprocess": {"mean": 0}}), BadOption,
         "no scale"),
        (lambda: convscope.open("zfnet-smal"), BadModel, "did you mean zfnet-small"),
        (lambda: convscope.open(nn.Sequential(nn.LazyConv2d(3, 3)), **OPTIONS), BadModel,
         "has no shape yet"),
        (lambda: convscope.open(nn.Identity, **OPTIONS), BadModel, "Identity is a class"),
        (lambda: convscope.open(3, **OPTIONS), BadModel, "no model is a int"),
        (lambda: convscope.open(net(), input=24, preprocess="unit"), BadOption, "input 24: it is"),
    ],
)  # fmt: skip
def test_what_cannot_be_opened_is_refused_by_name(given, error, words) -> None:
    with pytest.raises(error, match=words):
        given()


def test_an_opened_model_says_itself_how_it_is_read(scope) -> None:
    with pytest.raises(BadOption, match="classes: a model that is open says this itself"):
        convscope.open(scope.model, classes=["a"])


def test_views_refuse_by_name(scope, pixels) -> None:
    view = scope.look(pixels)
    with pytest.raises(NoSuchUnit):
        view.project("4/99")
    for unit in (3, None):
        with pytest.raises(NoSuchUnit, match=f"{unit} is not a unit"):
            view.project(unit)
    with pytest.raises(BadOption, match="no such class"):
        view.project_target("whale")
    with pytest.raises(BadOption, match="no rules named 'lrp-9'"):
        view.project("4/1", "lrp-9")
    with pytest.raises(BadInput, match="opened for N x 3x24x24"):
        scope.look(torch.zeros(3, 8, 8))
    with pytest.raises(BadInput, match="give one at a time"):
        scope.look(torch.zeros(2, 3, 24, 24))


def test_a_view_shows_the_image_its_classes_and_the_strongest_units(scope, pixels) -> None:
    view = scope.look(pixels)
    shown = view._repr_html_()
    [(name, share)] = view.predicted(1)
    assert f"<td>{name}</td><td>{share:.3f}</td>" in shown
    assert str(view.strongest("3", 1)[0]) in shown and "data:image/png;base64," in shown
    assert repr(view) == "<View of the image, 3x24x24, by Sequential>"
    segments = convscope.open(nn.Conv2d(3, 4, 3), **OPTIONS).look(pixels)
    assert "probability" not in segments._repr_html_()


def test_a_picture_is_saved_into_a_folder_that_is_made_for_it(scope, pixels, tmp_path) -> None:
    path = scope.look(pixels).project("4/1").save(tmp_path / "new" / "unit.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_class_is_visualized_by_its_number(scope) -> None:
    settings = AscentSettings(steps=1)
    [by_number], [by_word] = (scope.visualize(which, settings=settings) for which in (1, "class:1"))
    assert by_number.target == by_word.target
    assert (by_number.rgb == by_word.rgb).all()
