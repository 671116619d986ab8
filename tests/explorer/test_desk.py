"""What the page is told is what the library says: maps, projections, occlusions, removals."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convscope.errors import BadImage, BadInput
from convscope.explorer.desk import THUMBNAIL, Desk, open_desk
from convscope.live.cancel import Cancel
from convscope.methods.project import project
from convscope.network.trace import Trace
from explorer.net_of_tests import CLASSES, SIDE, picture

HOSTILE = '"><img src=x onerror=alert(1)>.png'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of two pictures, one of them with a name that would like to be markup."""
    folder = tmp_path_factory.mktemp("data")
    for number, name in enumerate(["a/0.png", "a/1.png", "b/2.png", f"b/{HOSTILE}"]):
        (folder / name).parent.mkdir(exist_ok=True)
        picture(number).save(folder / name)
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    return folder


@pytest.fixture(scope="module")
def desk(folder: Path) -> Desk:
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        return open_desk(
            "net_of_tests:build",
            {
                "input": f"3x{SIDE}x{SIDE}", "preprocess": "unit",
                "classes": str(folder / "classes.txt"),
            },
            {"device": "cpu"},
            str(folder),
        )  # fmt: skip
    finally:
        sys.path.remove(str(Path(__file__).parent))


def ask(desk: Desk, do: str, parts: Any = (), **more: Any) -> list[tuple[dict[str, Any], Any]]:
    return list(desk.answer({"do": do, **more}, list(parts), Cancel()))


def dropped(desk: Desk, seed: int = 7) -> dict[str, str]:
    content = BytesIO()
    picture(seed).save(content, "png")
    return {"key": ask(desk, "keep", [content.getvalue()], name="dropped.png")[0][0]["key"]}


def trace(desk: Desk, seed: int = 7) -> Trace:
    tensor = desk.session.model.preprocess.tensor(picture(seed))
    return desk.session.network.trace(tensor[None])


def test_what_a_page_is_told_first(desk: Desk) -> None:
    hello = desk.hello()
    assert hello["input"] == [3, SIDE, SIDE]
    assert hello["classes"] == CLASSES
    assert hello["images"] == 4 and hello["atlas"] is None
    shown = [layer["name"] for layer in hello["layers"] if layer["shown"]]
    assert shown == ["relu1", "pool1", "relu2", "pool2", "relu3", "fc"]
    assert hello["warning"] is None and hello["model"] == "net_of_tests:build"
    assert hello["options"][:4] == ["--input", f"3x{SIDE}x{SIDE}", "--preprocess", "unit"]


def test_a_look_has_the_strongest_maps_of_every_layer_as_they_are(desk: Desk) -> None:
    (look, parts), seen = ask(desk, "look", image=dropped(desk))[0], trace(desk)
    pixels, *tiles = parts
    shown = np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE, 4)
    assert (shown[..., :3] == np.asarray(picture(7))).all() and (shown[..., 3] == 255).all()
    scores = seen["fc"][0].softmax(0)
    for bar in look["answer"]["bars"]:
        assert bar["value"] == pytest.approx(float(scores[bar["index"]]), abs=1e-6)
        assert bar["name"] == CLASSES[bar["index"]]
    for layer, bytes_ in zip(look["layers"], tiles, strict=True):
        values = seen[layer["name"]][0]
        strongest = values.flatten(1).amax(1) if values.dim() > 1 else values
        order = strongest.argsort(descending=True, stable=True).tolist()
        assert [each["channel"] for each in layer["maps"]] == order[: len(layer["maps"])]
        if values.dim() == 1:
            continue
        size = tuple(layer["tile"])
        assert size == values.shape[1:]  # small enough to be shown as it is
        found = np.frombuffer(bytes_, np.uint8).reshape(-1, *size)
        expected = 255 * values[order[: len(found)]] / values.max()
        assert np.abs(found - expected.numpy()).max() <= 1


@pytest.mark.parametrize("rules", ["deconvnet", "gradient", "guided"])
def test_a_projection_is_the_library_s(desk: Desk, rules: str) -> None:
    from convscope.methods.rules import rules_named

    image = dropped(desk)
    [(found, parts)] = ask(desk, "project", image=image, unit="relu3/2@3,4", rules=rules)
    ours = project(trace(desk), "relu3/2@3,4", rules_named(rules))
    assert found["value"] == pytest.approx(float(ours.activation[0]), rel=1e-5)
    assert found["box"] == ours.box[0].tolist()
    height, width = found["size"]
    field = ours.seen_picture(0)
    assert (height, width) == field.shape[1:]
    drawn = np.frombuffer(parts[0], np.uint8).reshape(height, width, 4)[..., :3].astype(float)
    strength = (drawn - 128).flatten()
    same = np.corrcoef(strength, field.permute(1, 2, 0).flatten().numpy())[0, 1]
    assert same > 0.99
    light = np.frombuffer(parts[2], np.uint8).reshape(SIDE, SIDE)
    top, left, bottom, right = found["seen"]
    outside = np.ones((SIDE, SIDE), bool)
    outside[top:bottom, left:right] = False
    assert light.any() and not light[outside].any()


def test_an_occluder_s_answer_is_that_of_the_covered_image(desk: Desk) -> None:
    box = [4, 6, 16, 18]
    [(found, maps)] = ask(
        desk, "occlude", image=dropped(desk), box=box, fill="black", units=["relu2/3"]
    )
    tensor = desk.session.model.preprocess.tensor(picture(7)).clone()
    tensor[:, 4:16, 6:18] = 0
    seen = desk.session.network.trace(tensor[None])
    scores = seen["fc"][0].softmax(0)
    for bar in found["answer"]["bars"]:
        assert bar["value"] == pytest.approx(float(scores[bar["index"]]), abs=1e-5)
    [unit] = found["units"]
    assert unit["sum"] == pytest.approx(float(seen["relu2"][0, 3].sum()), rel=1e-4)
    assert unit["base_sum"] == pytest.approx(float(trace(desk)["relu2"][0, 3].sum()), rel=1e-4)
    assert len(maps[0]) == found["maps"][0][0] * found["maps"][0][1]


def test_a_removal_sets_the_map_to_zero(desk: Desk) -> None:
    units = ["relu3/1", "relu3/4"]
    [(found, _)] = ask(desk, "remove", image=dropped(desk), units=units)
    base = trace(desk)
    values = base["relu3"].clone()
    values[:, [1, 4]] = 0
    scores = base.replaced("relu3", values)["fc"][0].softmax(0)
    for bar in found["answer"]["bars"]:
        assert bar["value"] == pytest.approx(float(scores[bar["index"]]), abs=1e-5)


def test_a_sweep_s_maps_end_as_occluding_place_by_place(desk: Desk) -> None:
    image = dropped(desk)
    (first, _), *parts = ask(desk, "sweep", image=image, size=8, stride=8, unit="relu2/3", target=1)
    figure = first["figure"]
    header, maps = parts[-1]
    assert header["known"] == header["of"] == len(figure["rows"]) * len(figure["columns"])
    value = np.frombuffer(maps[header["maps"].index("value")], np.float32)
    for place, (top, left) in enumerate(
        (top, left) for top in figure["rows"] for left in figure["columns"]
    ):
        box = [top, left, top + 8, left + 8]
        [(found, _)] = ask(desk, "occlude", image=image, box=box, target=1)
        bar = next(bar for bar in found["answer"]["bars"] if bar["index"] == 1)
        assert value[place] == pytest.approx(bar["value"], abs=1e-5)


def test_what_is_a_unit_s_own_is_lit_within_its_field(desk: Desk) -> None:
    [(found, parts)] = ask(desk, "contrast", image=dropped(desk), unit="relu2/3")
    light = np.frombuffer(parts[0], np.uint8).reshape(SIDE, SIDE)
    top, left, bottom, right = found["seen"]
    assert not light[:top].any() and not light[bottom:].any()
    assert not light[:, :left].any() and not light[:, right:].any()


def test_images_of_the_data_by_number_name_and_class(desk: Desk) -> None:
    [(found, _)] = ask(desk, "names")
    names = [row["name"] for row in found["images"]]
    assert found["more"] == 4 and f"b/{HOSTILE}" in names
    [(some, _)] = ask(desk, "names", find="ONERROR")
    assert [row["name"] for row in some["images"]] == [f"b/{HOSTILE}"]
    pictures = ask(desk, "thumbnails", indices=range(4))
    assert [header["index"] for header, _ in pictures] == [0, 1, 2, 3]
    for header, (pixels,) in pictures:
        height, width = header["size"]
        assert max(height, width) <= 2 * THUMBNAIL and len(pixels) == 4 * height * width
    (look, parts) = ask(desk, "look", image={"data": names.index("a/1.png")})[0]
    assert look["name"] == "a/1.png" and look["label"] == "a"
    shown = np.frombuffer(parts[0], np.uint8).reshape(SIDE, SIDE, 4)[..., :3]
    assert (shown == np.asarray(picture(1))).all()


def test_an_image_that_the_engine_forgot_is_given_again(desk: Desk) -> None:
    image = dropped(desk, 99)
    for index in range(80):
        desk.live.add(picture(1000 + index), "other.png")
    assert image["key"] not in desk.live
    [(look, _)] = ask(desk, "look", image=image)
    assert look["name"] == "dropped.png"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"do": "dance"}, "asked for 'dance'"),
        ({"do": "look", "image": {"key": "0000"}}, "drop it again"),
        ({"do": "look", "image": {"data": 4}}, "4"),
        ({"do": "project", "unit": "relu9/1", "rules": "gradient"}, "relu9"),
        ({"do": "project", "unit": "relu3/77", "rules": "gradient"}, "77"),
        ({"do": "project", "unit": "relu3/1", "rules": "magic"}, "magic"),
        ({"do": "occlude", "box": [0, 0, 4, 4], "fill": "plaid"}, "plaid"),
        ({"do": "remove", "units": ["relu3/1"], "to": "seven"}, "seven"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(
    desk: Desk, asked: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        ask(desk, **{"image": dropped(desk), **asked})


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x89PNG\r\n\x1a\n" + 50 * b"\0"])
def test_what_is_no_image_is_refused_with_its_name(desk: Desk, data: bytes) -> None:
    with pytest.raises(BadImage, match=r"x\.png"):
        ask(desk, "keep", [data], name="x.png")


def test_a_bomb_is_refused_before_it_is_decoded(desk: Desk) -> None:
    from PIL import Image

    content = BytesIO()
    Image.new("1", (9_000, 9_000)).save(content, "png")
    assert len(content.getvalue()) < 1 << 20
    with pytest.raises(BadImage, match="more than 50,000,000 pixels"):
        ask(desk, "keep", [content.getvalue()], name="bomb.png")


def test_a_cancelled_sweep_ends(desk: Desk) -> None:
    from convscope.errors import Cancelled

    cancel = Cancel()
    replies = desk.answer(
        {"do": "sweep", "image": dropped(desk), "size": 4, "stride": 1}, [], cancel
    )
    next(replies)
    next(replies)
    cancel.cancel()
    with pytest.raises(Cancelled):
        list(replies)


def test_a_model_handed_over_from_python_answers_as_it_did_there(
    desk: Desk, tmp_path: Path
) -> None:
    from convscope.explorer.handing_over import hand_over

    model = desk.session.model
    with torch.no_grad():
        model.module.fc.bias[0] += 1  # as after some training; the words would give other weights
        spec, known = hand_over(model, tmp_path)
        other = open_desk(spec, {}, {"device": "cpu"}, None, None, known)
        there, here = (ask(each, "look", image=dropped(each, 555))[0] for each in (other, desk))
        model.module.fc.bias[0] -= 1
    assert [layer["name"] for layer in there[0]["layers"]] == [
        layer["name"] for layer in here[0]["layers"]
    ]
    for ours, theirs in zip(here[0]["answer"]["bars"], there[0]["answer"]["bars"], strict=True):
        assert ours["name"] == theirs["name"]
        assert ours["value"] == pytest.approx(theirs["value"], abs=1e-6)
    assert other.hello()["options"] == []  # no words open what was handed over
    assert other.hello()["model"] == desk.hello()["model"] == "net_of_tests:build"
