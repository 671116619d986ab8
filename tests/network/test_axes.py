"""Axes alone: what lists channels, rows and columns after reshapes, permutations and layers.

The truth is a value whose numbers say where they come from: each is its own index in the image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.network.axes import Axis, Grid, axes_by_node, grid_of
from nets import Apply

N, C, H, W = 3, 8, 4, 6
Function = Callable[[Tensor], Tensor]


def grid_after(function: Function) -> Grid | None:
    """The grid that is read off the exported graph."""
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    program: Any = torch.export.export(
        Apply(function), (torch.zeros(N, C, H, W),), dynamic_shapes=(batch,), strict=False
    )
    graph = program.graph
    (image,) = (n for n in graph.nodes if n.name == program.graph_signature.user_inputs[0])
    (output,) = (n for n in graph.nodes if n.op == "output")
    return grid_of(axes_by_node(graph, image).get(output.all_input_nodes[0]))


def shown(value: Tensor, grid: Grid) -> Tensor:
    """The value as feature maps (N, C, rows, columns), where the grid says they are."""
    others = [axis for axis in range(1, value.dim()) if axis not in grid.order]  # of length one
    maps = value.permute(0, *grid.order, *others).flatten(2)
    places = grid.rows * grid.columns
    return maps[:, :, grid.before : grid.before + places].unflatten(2, (grid.rows, grid.columns))


def windows(x: Tensor) -> Tensor:
    """Windows of 2 x 3 beside the images, (N * 4, 6, C), and the pieces put back."""
    x = x.permute(0, 2, 3, 1).reshape(-1, H // 2, 2, W // 3, 3, C).permute(0, 1, 3, 2, 4, 5)
    x = x.reshape(-1, 6, C) * 1
    x = x.reshape(-1, H // 2, W // 3, 2, 3, C).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, H, W, C)


def class_token(x: Tensor) -> Tensor:
    x = x.flatten(2).transpose(1, 2)
    return torch.cat([x[:, :1] * 0 - 1, x, x[:, :2] * 0 - 1], 1)


SHOWN: dict[str, Function] = {
    "as it is": lambda x: x * 1,
    "channels last": lambda x: x.permute(0, 2, 3, 1),
    "tokens": lambda x: x.flatten(2).transpose(1, 2),
    "tokens, channels first": lambda x: x.flatten(2),
    "tokens by einsum": lambda x: torch.einsum("nct->ntc", x.flatten(2)),
    "tokens among others": class_token,
    "the others cut off": lambda x: class_token(x)[:, 1 : 1 + H * W],
    "windows, put back": windows,
    "heads, put back": lambda x: (
        x.flatten(2).transpose(1, 2).reshape(-1, H * W, 2, C // 2).transpose(1, 2)
        .transpose(1, 2).reshape(-1, H * W, C)
    ),
    "rolled and rolled back": lambda x: x.roll((1, 2), (2, 3)).relu().roll((-1, -2), (2, 3)),
    "rows before channels": lambda x: x.transpose(1, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_a_grid_that_is_found_is_where_the_values_are(name: str) -> None:
    grid = grid_after(SHOWN[name])
    image = torch.arange(N * C * H * W, dtype=torch.float64).view(N, C, H, W) + 1
    assert grid is not None and (grid.rows, grid.columns) == (H, W)
    assert torch.equal(shown(SHOWN[name](image), grid), image)


HIDDEN: dict[str, Function] = {
    "windows among the images": lambda x: (
        x.permute(0, 2, 3, 1).reshape(-1, 2, 2, 2, 3, C).permute(0, 1, 3, 2, 4, 5)
        .reshape(-1, 6, C)
    ),
    "windows beside each other": lambda x: (
        x.permute(0, 2, 3, 1).reshape(-1, 2, 2, 2, 3, C).permute(0, 1, 3, 2, 4, 5)
        .reshape(-1, H * W, C)
    ),
    "columns before rows": lambda x: x.transpose(2, 3).flatten(2).transpose(1, 2),
    "rolled": lambda x: x.roll(1, 2).flatten(2).transpose(1, 2),
    "tokens that are mixed": lambda x: nn.functional.linear(x.flatten(2), torch.ones(24, 24)),
    "a product of tokens": lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2),
    "no places left": lambda x: x.mean((2, 3)),
    "rows cut in the middle of a token": lambda x: x.reshape(-1, 12, 16),
}  # fmt: skip


@pytest.mark.parametrize("name", HIDDEN)
def test_no_grid_is_claimed_where_there_is_none(name: str) -> None:
    assert grid_after(HIDDEN[name]) is None


def test_neighbours_that_became_channels_leave_a_coarser_grid() -> None:
    """Each value of the grid is made of the 2 x 2 pixels that lie there."""

    def merged(x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1).reshape(-1, 2, 2, 3, 2, C).permute(0, 1, 3, 2, 4, 5).flatten(3)
        return nn.functional.linear(x, torch.ones(5, 4 * C, dtype=x.dtype))

    grid = grid_after(merged)
    assert grid is not None and (grid.rows, grid.columns) == (2, 3)
    image = torch.rand(1, C, H, W)
    expected = 4 * nn.functional.avg_pool2d(image.sum(1, keepdim=True), 2)
    torch.testing.assert_close(shown(merged(image), grid)[:, :1], expected)


def test_a_size_of_one_lists_nothing() -> None:
    assert Axis.of("rows", 1) == Axis() and Axis().size == 1 and Axis().what is None
    assert Axis.of("rows", 4).resized(2) == Axis.of("rows", 2)
    assert not Axis.unknown(3).resized(5).known
