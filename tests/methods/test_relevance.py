"""What units are worth to a class: the activation times a slope taken by differences."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convscope.errors import BadInput
from convscope.methods.relevance import class_relevance, strongest_for_class
from convscope.network.network import open_network
from convscope.network.unit import Unit

SHAPE = (3, 10, 10)


def build() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(20, 3),
    ).double().eval()  # fmt: skip


def odds(scores: torch.Tensor, target: int) -> float:
    p = scores.detach().softmax(-1)[target]
    return float((p / (1 - p)).log())


@pytest.mark.parametrize(("layer", "after"), [("4", 5), ("1", 2), ("5", 6)])
def test_it_is_the_largest_activation_times_derivative(layer: str, after: int) -> None:
    module = build()
    network = open_network(module, SHAPE)
    images = torch.randn(2, *SHAPE, dtype=torch.float64)
    for target in range(3):
        values = module[:after](images[1:])
        worth = torch.zeros_like(values)
        for i in range(values.numel()):
            changed = values.clone()
            changed.view(-1)[i] += 1e-6
            above, below = (odds(module[after:](v)[0], target) for v in (changed, values))
            worth.view(-1)[i] = values.reshape(-1)[i] * (above - below) / 1e-6
        at = int(worth.argmax())
        trace = network.trace(images)
        every = class_relevance(trace, ["1", layer], target, images=[1])[layer]
        torch.testing.assert_close(every, worth.detach(), rtol=1e-4, atol=1e-7)
        found = strongest_for_class(trace, layer, target, image=1)
        shape = values.shape[1:]
        place = torch.unravel_index(torch.tensor(at), shape)
        assert found == Unit(layer, *(int(part) for part in place))


def test_a_layer_beside_the_answer_is_refused() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Conv2d(3, 2, 10), nn.Conv2d(3, 2, 10)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.used(x).flatten(1), self.unused(x)

    network = open_network(Two(), SHAPE)
    with pytest.raises(BadInput, match="does not depend on unused"):
        strongest_for_class(network.trace(torch.rand(1, *SHAPE)), "unused", 0)
