"""The op table: a row says all, and what it leaves out costs speed, never a wrong number."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.errors import UnsupportedOp
from convscope.geometry.window import Field, Status, Window
from convscope.methods import descent
from convscope.methods.descent import Start, cone_for, descend_in_windows
from convscope.methods.project import project
from convscope.methods.rules import GRADIENT
from convscope.network import ops
from convscope.network.local.incremental import BoxGrid, IncrementalSweep
from convscope.network.local.receptive_windows import SavedInMaps
from convscope.network.network import Network, open_network
from convscope.network.node import Node, Op, Saved
from convscope.network.ops.shared import aten
from nets import Apply

ROOT = Path(__file__).parents[2]


@contextmanager
def registered(op: Op) -> Iterator[None]:
    """The table with one row more."""
    with patch.dict(ops._BY_ATEN, dict.fromkeys(op.aten, op)):
        yield


def roll(node: Node, value: Tensor) -> Tensor:
    return value.roll(2, 3)


def roll_back(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    return (signal.roll(-2, 3),)


ROLL = Op("roll", (aten.roll.default,), roll, roll_back)
"""Columns moved by two, the last ones to the front: no window moves with a unit."""


def unshuffle_of_contributing() -> Op:
    """The row that CONTRIBUTING.md shows, from its text."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (code,) = re.findall(r"### an operation.*?```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, Any] = {
        "F": F, "Field": Field, "Node": Node, "Op": Op, "Saved": Saved, "Tensor": Tensor,
        "Window": Window, "aten": aten,
    }  # fmt: skip
    exec(code, names)
    op = names["PIXEL_UNSHUFFLE"]
    assert isinstance(op, Op)
    return op


UNSHUFFLE = unshuffle_of_contributing()
UP_ONLY = replace(UNSHUFFLE, adjoint_on_window=None)
NO_WINDOWS = replace(UP_ONLY, on_window=None)
NO_FIELD = Op("pixel_unshuffle", UNSHUFFLE.aten, UNSHUFFLE.forward, UNSHUFFLE.adjoint,
              read=UNSHUFFLE.read)  # fmt: skip
ROWS = {
    "a whole row": (UNSHUFFLE, nn.PixelUnshuffle(2)),
    "upward windows alone": (UP_ONLY, nn.PixelUnshuffle(2)),
    "no windows": (NO_WINDOWS, nn.PixelUnshuffle(2)),
    "no field": (NO_FIELD, nn.PixelUnshuffle(2)),
    "a roll": (ROLL, Apply(lambda x: x.roll(2, 3))),
}
SHAPE = (3, 12, 12)


def opened(name: str) -> tuple[nn.Sequential, Network]:
    """conv, relu, the operation, conv, relu, dense, in float64."""
    op, layer = ROWS[name]
    torch.manual_seed(0)
    grid = layer(torch.zeros(1, 4, 12, 12)).shape[1:]
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), layer, nn.Conv2d(grid[0], 4, 3, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(4 * grid[1] * grid[2], 5),
    )  # fmt: skip
    module = module.double().requires_grad_(False)
    with registered(op):
        return module, open_network(module, SHAPE)


@pytest.mark.parametrize("name", ROWS)
def test_a_sweep_through_it_is_what_the_module_says(name: str) -> None:
    module, network = opened(name)
    image, change = torch.rand(2, *SHAPE, dtype=torch.float64)
    boxes = BoxGrid(((0, 3), (5, 8)), ((0, 2), (9, 12)))
    sweep = IncrementalSweep(network, boxes, [network.output])
    outputs, _ = sweep.run(image, change)
    for (i, rows), (j, columns) in product(enumerate(boxes.rows), enumerate(boxes.columns)):
        variant = image.clone()
        variant[:, slice(*rows), slice(*columns)] = change[:, slice(*rows), slice(*columns)]
        expected = module(variant[None])[0]
        found = outputs[network.output][i, j]
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    windowed = {step.head.name for step in sweep.plan.steps if step.windowed}
    assert ("3" in windowed) == (name in ("a whole row", "upward windows alone"))


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("share", [0.0, 1e9], ids=["whole maps", "windows where there are"])
def test_a_projection_through_it_is_the_gradient(name: str, share: float) -> None:
    module, network = opened(name)
    image = torch.rand(1, *SHAPE, dtype=torch.float64, requires_grad=True)
    value = module[:5](image)[0]
    row, column = (value[1] > 0).nonzero()[0].tolist()
    (expected,) = torch.autograd.grad(value[1, row, column], image)
    assert expected.any()
    with patch.object(descent, "WORTH_WINDOWS", share):
        assert (cone_for(network, "4", GRADIENT) is not None) == (
            share > 0 and name == "a whole row"
        )
        found = project(network.trace(image.detach()), f"4/1@{row},{column}", GRADIENT)
    torch.testing.assert_close(found.projection, expected, rtol=1e-10, atol=1e-14)


def test_a_walk_in_windows_refuses_by_name_what_has_no_rule_there() -> None:
    _, network = opened("upward windows alone")
    cone = network.cone("4")
    assert cone is not None
    positions = torch.tensor([[2, 2]])
    start = Start("4", torch.tensor([1]), positions, torch.ones(1, dtype=torch.float64))
    trace = network.trace(torch.rand(1, *SHAPE, dtype=torch.float64))
    seen = SavedInMaps(cone, positions, trace, torch.tensor([0]))
    with pytest.raises(UnsupportedOp, match=r"gradient .*pixel_unshuffle on windows.*'2'"):
        descend_in_windows(seen, start, GRADIENT)


def test_the_row_of_contributing_has_the_windows_of_the_formula() -> None:
    """Row i reads rows 2i and 2i + 1; a 3x3 filter below, padded by one, one more around them."""
    _, network = opened("a whole row")
    layer = network.layer("2")
    assert layer.shape == (16, 6, 6)
    assert layer.field == Field(Window(4, 2, -1), Window(4, 2, -1))
    assert opened("no field")[1].layer("2").status is Status.GLOBAL


def test_what_is_elementwise_is_pointwise_and_what_goes_down_on_windows_goes_up_on_them() -> None:
    for op in ops.OPS:
        assert op.pointwise or not op.elementwise, op.kind
        upward = op.on_window is not None or op.on_window_at is not None
        assert upward or op.adjoint_on_window is None, op.kind
        assert (op.on_window_at is None) == (op.reach is None), op.kind
        assert op.adjoint is not None or op.adjoint_on_window is None, op.kind


SOURCE = ROOT / "src" / "convscope"
TABLE = SOURCE / "network" / "ops"
OTHER_KINDS = {"atlas/tiles.py": "tile.kind", "experiments/diagnosis/remedies.py": "finding.kind",
               "experiments/adaptive/result.py": "row.kind",
               "experiments/localization/result.py": "row.kind",
               "experiments/pictures/result.py": "one.kind",
               "report/adaptive_figure.py": "row.kind",
               "report/localization_figure.py": "row.kind",
               "network/from_export.py": "spec.kind",
               "network/exported_module.py": "spec.kind"}  # fmt: skip
"""What is called a kind, too, and is none of an operation: file -> expression."""


def is_kind(node: ast.expr) -> bool:
    """Whether an expression is `x.kind`, or `x["kind"]` as in a network's table."""
    if isinstance(node, ast.Attribute):
        return node.attr == "kind" and not ast.unparse(node).endswith("dtype.kind")
    return isinstance(node, ast.Subscript) and ast.unparse(node.slice) == "'kind'"


def names_a_kind(node: ast.expr) -> bool:
    """Whether an expression is the kind of a row of the table, or lists some."""
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return any(map(names_a_kind, node.elts))
    return isinstance(node, ast.Constant) and node.value in {op.kind for op in ops.OPS}


def questions_of_kind(source: str, file: str = "network/graph.py") -> list[str]:
    """Where a file of src/convscope asks what kind something is, as `file:line expression`.

    Where nodes are walked through, comparisons of anything with a kind's name count too.
    """
    names = file.partition("/")[0] in ("network", "methods")
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.Match):
            sides = [node.subject]
        else:
            continue
        asked = [side for side in sides if is_kind(side) or (names and names_a_kind(side))]
        if any(ast.unparse(side) != OTHER_KINDS.get(file) for side in asked):
            found.append(f"{file}:{node.lineno} {ast.unparse(sides[0])}")
    return found


def test_no_code_outside_the_table_asks_what_kind_an_operation_is() -> None:
    """What it needs to know of an operation is in its row."""
    files = [file for file in sorted(SOURCE.rglob("*.py")) if TABLE not in file.parents]
    assert SOURCE / "network" / "graph.py" in files
    found = [
        line
        for file in files
        for line in questions_of_kind(file.read_text(), file.relative_to(SOURCE).as_posix())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        'if node.kind == "conv": pass',
        "found = [n for n in nodes if n.op.kind not in WEIGHTED]",
        "x = RELU != self.nodes[at].kind",
        "x = reader.kind in KINDS - OTHERS",
        'x = row["kind"] == "conv"',
        'x = [k for k in bends if k == "lrn"]',
        'x = kind in ("add", "mul")',
        "match node.kind:\n    case 'conv': pass",
    ],
)
def test_a_question_of_kind_is_found_however_it_is_asked(line: str) -> None:
    assert questions_of_kind(line)


@pytest.mark.parametrize(
    "line",
    ["x = f'{node.kind}'", "x = table.get(node.kind)", "x = node.op.convolves", "x = a == 'zfnet'"],
)
def test_what_asks_for_no_kind_passes(line: str) -> None:
    assert not questions_of_kind(line)
