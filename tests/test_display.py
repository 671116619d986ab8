"""What a prompt and a notebook show: one line of every value, tables, pictures, bars."""

from __future__ import annotations

import ast
import io
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convscope
from convscope.display import Brief, Pictured, brief, html_table
from convscope.errors import BadInput, BadOption
from convscope.experiments.study import Chart, Outcome, Result
from convscope.network.legend import Legend
from convscope.progress import bars


@pytest.fixture(scope="module")
def network() -> convscope.Network:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    return convscope.open_network(module, (3, 8, 8))


@dataclass(frozen=True)
class Found(Brief):
    name: str
    values: Any


def test_a_value_is_one_short_line_whatever_it_holds() -> None:
    weights = torch.zeros(96, 3, 7, 7)
    assert repr(Found("conv1", weights)) == "Found(name='conv1', values=<float32 96x3x7x7>)"
    assert brief(np.zeros((2, 3), np.uint8)) == "<uint8 2x3>"
    assert brief(torch.tensor(2.5)) == "2.5" and brief(np.int64(7)) == "7"
    assert brief([1, 2, 3]) == "[1, 2, 3]" and brief((1,)) == "(1,)"
    assert brief(list(range(1000))) == "[0, 1, 2, 3, ... 1000 in all]"
    assert brief({"a": weights}) == "{'a': <float32 96x3x7x7>}"
    assert brief(brief) == "brief" and len(brief("x" * 10_000)) < 100
    nested = Found("outer", [Found("inner", weights)] * 9)
    assert len(repr(nested)) < 400 and "\n" not in repr(nested)


def test_a_class_s_own_repr_is_kept_by_those_that_derive_from_it() -> None:
    class Own(Brief):
        def __repr__(self) -> str:
            return "own"

    @dataclass
    class Derived(Own):
        value: int = 0

    assert repr(Derived()) == "own"


def returned_by(name: str) -> set[type]:
    """The classes of convscope that a public function returns."""
    module = import_module(f"convscope.{convscope._HOMES[name]}")
    function = getattr(module, name)
    words = getattr(function, "__annotations__", {}).get("return", "")
    names = {word.strip("[], ") for word in str(words).replace("[", " ").split()}
    tree = ast.parse(Path(module.__file__).read_text())
    homes = {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("convscope.")
        for alias in node.names
    }
    known = {n: getattr(module, n, None) or getattr(import_module(homes[n]), n)
             for n in names if n in homes or hasattr(module, n)}  # fmt: skip
    return {kind for kind in known.values() if isinstance(kind, type)
            and kind.__module__.startswith("convscope.")}  # fmt: skip


def test_what_public_functions_return_and_public_classes_have_a_repr_of_their_own() -> None:
    kinds: set[type] = set()
    for name in convscope.__all__:
        if name in convscope._HOMES:
            kinds |= returned_by(name)
            public = getattr(import_module(f"convscope.{convscope._HOMES[name]}"), name)
            kinds |= {public} if isinstance(public, type) else set()
    assert len(kinds) > 20
    assert {convscope.Network, convscope.Trace, convscope.Microscope} <= kinds
    plain = {"Unit"}  # numbers and names alone
    without = [k.__name__ for k in kinds if not issubclass(k, Brief) and k.__name__ not in plain]
    assert not without


def test_a_network_and_a_trace_are_tables(network: convscope.Network) -> None:
    assert repr(network) == "<Network 4 layers, 3x8x8 -> 3 2>"
    shown = network._repr_html_()
    assert shown.count("<tr>") == 1 + len(network.layers) and "<td>conv</td>" in shown
    trace = network.trace(torch.ones(2, 3, 8, 8))
    assert repr(trace) == "<Trace of 2 images, 4 of 4 layers>"
    values = trace["1"]
    cells = ["1", "float32 2x4x6x6", *(f"{float(v):.4g}" for v in (values.min(), values.mean()))]
    assert "".join(f"<td>{cell}</td>" for cell in cells) in trace._repr_html_()
    assert "<td>input</td><td>float32 2x3x8x8</td><td>1</td>" in trace._repr_html_()


def test_cells_are_text() -> None:
    assert html_table(["a"], [["<script>"]], "&") == (
        "<table><caption>&amp;</caption><tr><th>a</th></tr><tr><td>&lt;script&gt;</td></tr></table>"
    )


def test_pictures_without_a_known_preprocessing_span_black_to_white(network) -> None:
    images = torch.tensor([-300.0, -200.0, -100.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    [pixels] = network.legend.pictures(images)
    assert pixels[0, 0].tolist() == [0, 128, 255]
    preprocess = convscope.Preprocess((3, 8, 8), "unit")
    [pixels] = Legend(preprocess).pictures(torch.full((1, 3, 8, 8), 0.2))
    assert set(pixels.flatten().tolist()) == {51}
    blank = torch.full((1, 3, 8, 8), float("nan"))
    assert network.legend.pictures(blank)[0].shape == (8, 8, 3)
    assert network.to("cpu").with_tensors({}).legend is network.legend


def test_what_is_found_of_a_bare_network_is_drawn_saved_and_refused_by_name(
    network: convscope.Network, tmp_path: Path
) -> None:
    found = convscope.project(network.trace(torch.randn(1, 3, 8, 8)), ["1/0", "1/2"])
    for ending, magic in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        path = found.save(tmp_path / f"a.{ending}")
        assert path.read_bytes().startswith(magic)
    with pytest.raises(BadOption, match=r"\.png, \.pdf, \.svg"):
        found.save(tmp_path / "a.jpg")
    none = convscope.project(network.trace(torch.randn(1, 3, 8, 8)), [])
    assert none._repr_png_() is None and repr(none) == "<Projections by deconvnet: >"
    with pytest.raises(BadInput, match="give 1 to"):
        none.figure()


def test_show_is_the_notebook_s_display_or_the_viewer(network, monkeypatch) -> None:
    found = convscope.project(network.trace(torch.randn(1, 3, 8, 8)), "1/0")
    seen: list[Any] = []
    monkeypatch.setattr(Image.Image, "show", lambda picture: seen.append(picture.size))
    found.show()
    assert len(seen) == 1 and min(seen[0]) > 100

    class Kernel:
        kernel = object()

    fake = type(sys)("IPython")
    fake.get_ipython = Kernel  # type: ignore[attr-defined]
    shown = type(sys)("IPython.display")
    shown.display = seen.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    found.show()
    assert seen[1:] == [found]


class Findings(Result):
    def __init__(self, chart: Chart | None) -> None:
        self._chart = chart

    def to_dict(self) -> dict[str, Any]:
        return {}

    def words(self) -> list[str]:
        return ["a < b"]

    def chart(self) -> Chart | None:
        return self._chart


def test_a_result_shows_its_words_and_its_figure() -> None:
    chart = Findings(Chart("Active", "share", {"conv1": 0.5, "conv2": 0.25}))
    shown = chart._repr_html_()
    assert shown.startswith("<pre>a &lt; b</pre><img alt=") and "data:image/png;base64," in shown
    assert Findings(None)._repr_html_() == "<pre>a &lt; b</pre>"
    with pytest.raises(BadInput, match="a Findings has no figure"):
        Findings(None).figure()
    assert chart.outcome.result is chart and isinstance(chart.outcome, Outcome)


def test_a_kind_without_a_figure_is_refused_by_name() -> None:
    class Nothing(Pictured):
        pass

    with pytest.raises(BadInput, match="a Nothing has no figure"):
        Nothing().figure()


# progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bars_are_drawn_in_a_terminal_alone(monkeypatch) -> None:
    for out, shown, drawn in ((Terminal(), True, True), (Terminal(), False, False),
                              (io.StringIO(), True, False)):  # fmt: skip
        monkeypatch.setattr(sys, "stderr", out)
        with bars(shown) as progress:
            for done in range(1, 6):
                progress("images", done, 5)
            progress("units", 2, 2)
        text = out.getvalue()
        assert ("images" in text and "5/5" in text and "2/2" in text) is drawn
        assert bool(text) is drawn


def test_a_bar_is_closed_when_the_work_fails(monkeypatch) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    with pytest.raises(KeyError), bars() as progress:
        progress("images", 1, 5)
        raise KeyError
    assert out.getvalue().endswith("\n")
