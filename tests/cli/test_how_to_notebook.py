"""The how-to of notebooks does what it says: its code runs, and what it shows is there."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import convscope

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "notebook.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the page's code leaves behind; `folder` is where it ran."""
    folder = tmp_path_factory.mktemp("notebook")
    names: dict[str, Any] = {"__name__": "notebook", "folder": folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in BLOCKS:
            exec(compile(block, "notebook.md", "exec"), names)
    return names


def test_a_module_is_open_in_three_lines_and_stays_as_it_is(ran: dict[str, Any]) -> None:
    [lines] = [block for block in BLOCKS if "convscope.open(net" in block]
    assert len(lines.strip().splitlines()) <= 4 and "import convscope" in lines
    assert ran["net"].training and not ran["net"][0]._forward_hooks
    assert ran["scope"].classes == ("cat", "dog", "car")


def test_the_numbers_are_those_of_the_module(ran: dict[str, Any]) -> None:
    net, view = ran["net"].eval(), ran["view"]
    with torch.no_grad():
        scores = net(view.input[None])[0]
    names, shares = zip(*view.predicted(3), strict=True)
    order = scores.softmax(0).sort(descending=True)
    assert list(names) == [ran["scope"].classes[index] for index in order.indices]
    assert shares == pytest.approx(order.values.tolist())
    assert view["3"].shape == (16, 32, 32)
    torch.testing.assert_close(view["0"], net[0](view.input[None])[0].detach())
    peaks = view["4"].amax((1, 2)).sort(descending=True)
    assert [unit.channel for unit in view.strongest("3", 4)] == peaks.indices[:4].tolist()

    image = view.input.clone().requires_grad_()
    scores = net(image[None])[0]
    (slope,) = torch.autograd.grad(scores[0] - scores[1], image)
    torch.testing.assert_close(ran["margin"].projection[0], slope)
    assert float(ran["maps"].base_value) == pytest.approx(dict(view.predicted(3))[names[0]])
    assert ran["found"].projection.shape == (2, 3, 64, 64)


@pytest.mark.parametrize("name", ["found", "maps", "own", "margin", "unit", "layer"])
def test_what_is_found_shows_itself_as_a_picture(name: str, ran: dict[str, Any]) -> None:
    value = ran[name]
    with Image.open(io.BytesIO(value._repr_png_())) as picture:
        assert picture.format == "PNG" and min(picture.size) > 100
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 50
    assert "\n" not in repr(value) and " at 0x" not in repr(value) and len(repr(value)) < 300


def test_files_and_the_page_are_written(ran: dict[str, Any]) -> None:
    for name in ("projections.png", "unit.png"):
        with Image.open(ran["folder"] / name) as picture:
            assert picture.format == "PNG"
    assert (ran["folder"] / "atlas" / "index.html").is_file()
    opened = convscope.open_atlas(ran["folder"] / "atlas")
    assert opened["3/5"].values == ran["unit"].values == ran["layer"][5].values
    assert len(ran["layer"]) == 16 and len(ran["unit"].images) == len(ran["unit"].values)
