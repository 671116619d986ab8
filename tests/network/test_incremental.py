"""Incremental recomputation against running the whole network on every variant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from convscope.models.architectures import alexnet, zfnet
from convscope.network.local.incremental import BoxGrid, IncrementalSweep
from convscope.network.local.plan import Plan
from convscope.network.network import Network, open_network

from .graphs import SpaceToDepth, graphs


def grid(shape: tuple[int, ...], size: tuple[int, int], stride: tuple[int, int]) -> BoxGrid:
    height, width = shape[-2:]
    return BoxGrid(
        tuple((r, min(r + size[0], height)) for r in range(0, height, stride[0])),
        tuple((c, min(c + size[1], width)) for c in range(0, width, stride[1])),
    )


def brute_force(network: Network, image: Tensor, change: Tensor, boxes: BoxGrid, layer: str) -> Any:
    """(R, K, *shape): the layer's values for every variant, one whole pass for each row."""
    found = []
    for top, bottom in boxes.rows:
        batch = image.repeat(len(boxes.columns), 1, 1, 1)
        for variant, (left, right) in zip(batch, boxes.columns, strict=True):
            variant[:, top:bottom, left:right] = change[:, top:bottom, left:right]
        found.append(network.values(batch, [layer])[layer])
    return torch.stack(found)


def compare(module: nn.Module, shape: tuple[int, int, int], boxes: BoxGrid) -> IncrementalSweep:
    torch.manual_seed(1)
    network = open_network(module, shape)
    image, change = torch.randn(2, *shape)
    watched = [name for name in network.nodes if len(network.layer(name).shape) == 3][-1]
    sweep = IncrementalSweep(network, boxes, [network.output], {watched: [0, 1]})
    outputs, sums = sweep.run(image, change)
    expected = brute_force(network, image, change, boxes, network.output)
    torch.testing.assert_close(outputs[network.output], expected, atol=1e-4, rtol=1e-5)
    assert torch.equal(outputs[network.output].argmax(-1), expected.argmax(-1))
    maps = brute_force(network, image, change, boxes, watched)
    expected_sums = maps.flatten(3).sum(-1)[..., :2]
    torch.testing.assert_close(sums[watched], expected_sums, atol=1e-3, rtol=1e-4)
    return sweep


@given(
    graphs(),
    st.tuples(st.integers(1, 40), st.integers(1, 12)),
    st.tuples(st.integers(4, 9), st.integers(4, 9)),
)
def test_random_graphs_give_what_brute_force_gives(
    graph: tuple[nn.Module, tuple[int, int, int]], size: tuple[int, int], stride: tuple[int, int]
) -> None:
    module, shape = graph
    compare(module, shape, grid(shape, size, stride))


@pytest.mark.parametrize("build", [zfnet, alexnet])
def test_the_papers_networks_give_what_brute_force_gives(build: Any) -> None:
    torch.manual_seed(0)
    module = build(10).eval()
    compare(module, (3, 224, 224), grid((224, 224), (33, 47), (90, 90)))


LARGE = [
    pytest.param(name, marks=pytest.mark.long)
    for name in ("vgg11_bn", "googlenet", "densenet121", "inception_v3")
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "mobilenet_v2", *LARGE])
def test_torchvisions_networks_give_what_brute_force_gives(
    name: str, torchvision_network: Callable[[str], tuple[nn.Module, Network]]
) -> None:
    module, network = torchvision_network(name)
    shape = network.input_shape
    compare(module, shape, grid(shape, (13, 21), (shape[1] // 3, shape[2] // 4)))


@pytest.mark.parametrize(
    ("build", "size", "stride"), [(zfnet, 32, 8), (zfnet, 16, 4), (zfnet, 50, 4), (alexnet, 32, 8)]
)
def test_executed_work_stays_within_a_twentieth_of_the_exact_bound(
    build: Any, size: int, stride: int
) -> None:
    """Counted multiply-adds, so no clock: planned windows against exactly affected intervals."""
    network = open_network(build(10).eval(), (3, 224, 224))
    boxes = grid((224, 224), (size, size), (stride, stride))
    sweep = IncrementalSweep(network, boxes, [network.output])
    assert sweep.work.executed <= 1.05 * sweep.work.exact
    assert sweep.work.full > 2 * sweep.work.exact


def test_the_work_that_is_planned_is_the_work_that_is_done() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 5, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(4, 6, 3, padding=1)
    ).eval()
    network = open_network(module, (3, 40, 40))
    sweep = IncrementalSweep(network, grid((40, 40), (9, 9), (6, 6)), [network.output])
    done = 0
    for step in sweep.plan.steps:

        def counted(patch: Tensor, step: Any = step, run: Any = step.run) -> Tensor:
            nonlocal done
            result = run(patch)
            positions = result.shape[0] * result.shape[2] * result.shape[3]
            if step.head.kind == "conv":
                done += positions * step.head.tensors["weight"].numel()
            return result

        step.run = counted
    image = torch.randn(3, 40, 40)
    sweep.run(image, torch.zeros_like(image))
    assert done == sweep.work.executed


def test_a_box_that_nothing_reads_changes_nothing() -> None:
    """The last row of pixels lies outside every window of a 3x3 stride-2 convolution on 8x8."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Flatten(), nn.Linear(36, 5)).eval()
    compare(module, (3, 8, 8), BoxGrid(((7, 8),), ((0, 8),)))


@pytest.mark.parametrize("strides", [(4, 5), (2, 5), (5, 3)])
def test_boxes_that_nothing_reads_may_lie_between_others(strides: tuple[int, int]) -> None:
    """Steps pass over their pixels: their windows are empty, and lie anywhere."""
    torch.manual_seed(0)
    module = nn.Sequential(
        SpaceToDepth(), SpaceToDepth(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 5)
    )
    compare(module.eval(), (3, 14, 14), grid((14, 14), (1, 1), strides))


def test_progress_counts_every_variant_once() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 100, 5)).eval()
    network = open_network(module, (3, 12, 12))
    boxes = grid((12, 12), (3, 3), (2, 2))
    done: list[int] = []
    image = torch.randn(3, 12, 12)
    IncrementalSweep(network, boxes, [network.output]).run(image, image * 0, done.append)
    assert sum(done) == 36


def test_a_box_that_moves_has_windows_of_one_size_everywhere() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 5, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(4, 6, 3, padding=1)
    ).eval()
    network = open_network(module, (3, 40, 40))
    image, change = torch.randn(2, 3, 40, 40)
    plan = Plan(network, [network.output])
    sizes = set()
    for top, left in [(0, 0), (1, 30), (2, 7), (13, 12), (31, 31), (0, 17), (13, 12)]:
        boxes = BoxGrid(((top, top + 9),), ((left, left + 9),))
        sweep = IncrementalSweep.planned(plan, boxes)
        (group,) = sweep.groups
        sizes.add((*group.rows.size.items(), *group.columns.size.items()))
        found = sweep.run(image, change)[0][network.output]
        expected = brute_force(network, image, change, boxes, network.output)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert len(sizes) == 1


def test_packed_filters_give_the_same_bits() -> None:
    torch.manual_seed(0)
    network = open_network(nn.Sequential(nn.Conv2d(8, 16, 3), nn.ReLU()).eval(), (8, 20, 20))
    (step,) = Plan(network, [network.output]).steps
    for shape in [(1, 8, 7, 9), (2, 8, 7, 9), (1, 8, 20, 20)]:
        patch = torch.randn(shape).contiguous(memory_format=torch.channels_last)
        first, second, third = (step.run(patch) for _ in range(3))
        assert torch.equal(first, second) and torch.equal(first, third)
        conv = network.nodes[step.head.name].tensors
        plain = nn.functional.conv2d(patch, conv["weight"], conv["bias"]).relu()
        torch.testing.assert_close(third, plain, atol=1e-5, rtol=1e-5)
