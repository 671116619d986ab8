"""From crops or from whole images: the same projections, and the cheaper way is taken."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from convscope.methods.descent import Start, crops_pay
from convscope.methods.project import project_fields, project_target
from convscope.methods.rules import DECONVNET, GRADIENT, GUIDED, Rules, gate_by_input
from convscope.models.architectures import zfnet
from convscope.network.network import Network, open_network
from convscope.network.node import Node, Saved


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return open_network(zfnet(10).eval(), (3, 224, 224))


@pytest.mark.parametrize("rules", [DECONVNET, GRADIENT, GUIDED], ids=str)
@pytest.mark.parametrize("layer", ["relu2", "relu4"])
def test_a_units_own_crop_gives_the_projection_of_the_whole_image(
    network: Network, layer: str, rules: Rules
) -> None:
    torch.manual_seed(1)
    trace = network.trace(60 * torch.randn(2, 3, 224, 224), [])
    rows = torch.tensor([0, 1, 1])
    positions = torch.tensor([[0, 0], [6, 7], [12, 12]])
    start = Start(layer, torch.tensor([3, 5, 8]), positions, torch.tensor([1.0, 2.0, 3.0]))
    whole = list(project_fields(trace, start, rows, rules))
    alone = list(project_fields(trace, start, rows, rules, from_crops=True))
    for (box, one), (same, other) in zip(whole, alone, strict=True):
        assert box == same
        assert float((one - other).abs().max()) <= 1e-5 * float(one.abs().max())


def test_crops_pay_for_few_units_of_many_images_and_not_for_many_units_of_one(
    network: Network,
) -> None:
    assert crops_pay(network, {"relu5": 10, "relu3": 10}, 20, DECONVNET)
    assert not crops_pay(network, {"relu5": 300}, 1, DECONVNET)
    assert not crops_pay(network, {"fc7": 1}, 20, DECONVNET)


def test_signals_lie_in_memory_as_the_values_that_they_meet() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.ReLU(), nn.AdaptiveMaxPool2d(4),
        nn.Conv2d(8, 6, 3), nn.Flatten(), nn.Linear(24, 2),
    )  # fmt: skip
    network = open_network(module.eval(), (3, 20, 20))
    trace = network.trace(torch.randn(2, 3, 20, 20))
    met = []

    def gate(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
        met.append((node.name, signal.stride() == saved.input().stride()))
        return gate_by_input(node, signal, saved)

    project_target(trace, lambda scores: scores[0], GRADIENT.replace({"relu": gate}))
    assert met == [("4", True), ("1", True)]
