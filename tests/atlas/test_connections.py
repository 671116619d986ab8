"""Which maps feed which, on a network that is small enough to do by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convscope.atlas.connections import connections
from convscope.network.network import open_network


class Fork(nn.Module):
    """Two convolutions side by side, joined, pooled, and read by a grouped one."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)
        self.top = nn.Conv2d(4, 2, 3, padding=1, groups=2, bias=False)
        with torch.no_grad():
            self.top.weight.zero_()
            self.top.weight[0, 0] = 1.0  # of left/0: 9 in all
            self.top.weight[0, 1] = -2.0  # of left/1
            self.top.weight[1, 1, 1, 1] = 0.5  # of right/1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = torch.cat([self.left(x).relu(), self.right(x).relu()], 1)
        return self.top(nn.functional.max_pool2d(both, 2))


def test_inputs_and_outputs_are_weight_times_mean_activation():
    network = open_network(Fork(), (3, 8, 8))
    activations = {name: network.activation(name) for name in ("left", "right", "top")}
    means = {
        "left": torch.tensor([3.0, 1.0]),
        "right": torch.tensor([5.0, 4.0]),
        "top": torch.zeros(2),
    }
    found = connections(network, activations, means)
    assert found["top"]["input"][0].tolist()[:2] == [[0, 0], [0, 1]]
    assert found["top"]["input_strength"][0, :2].tolist() == [27.0, -18.0]
    assert found["top"]["input"][1].tolist()[:2] == [[1, 1], [-1, -1]]
    assert found["top"]["input_strength"][1, 0] == 2.0
    assert found["left"]["output"][:, 0].tolist() == [[2, 0], [2, 0]]
    assert found["left"]["output_strength"][:, 0].tolist() == [27.0, -18.0]
    assert found["right"]["output"][:, 0].tolist() == [[-1, -1], [2, 1]]
    assert found["right"]["output_strength"][1, 0] == pytest.approx(2.0)
    for layer in ("left", "right"):
        assert (found[layer]["input"] == -1).all() and found[layer]["input_strength"].isnan().all()
    assert (found["top"]["output"] == -1).all()
