"""A network with several outputs: all are layers, one is its answer, and which one is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import BadModel, BadOption
from convscope.methods.occluder import Occluder
from convscope.methods.project import project
from convscope.methods.sweep import sweep
from convscope.network.feature_layers import hidden_layers, last_hidden_layer
from convscope.network.network import open_network

SHAPE = (3, 16, 16)


class Heads(nn.Module):
    """A trunk, an embedding, and two heads, the second with a convolution of its own."""

    def __init__(self, returned: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Conv2d(3, 8, 3)
        self.gender = nn.Linear(8, 2)
        self.map = nn.Conv2d(8, 4, 3)
        self.age = nn.Linear(4, 7)
        self.returned = returned

    def forward(self, x: Tensor) -> Any:
        maps = torch.relu(self.trunk(x))
        embedding = maps.mean((2, 3))
        age = self.age(torch.relu(self.map(maps)).mean((2, 3)))
        return self.returned(embedding, self.gender(embedding), age)


RETURNED: dict[str, tuple[Callable[..., Any], dict[str, str]]] = {
    "a tuple": (lambda e, g, a: (e, g), {"0": "mean", "1": "gender"}),
    "a list": (lambda e, g, a: [g, a], {"0": "gender", "1": "age"}),
    "a dictionary": (
        lambda e, g, a: {"gender": g, "age": a},
        {"gender": "gender", "age": "age"},
    ),
    "nested": (
        lambda e, g, a: {"heads": [g, {"old": a}], "features": e},
        {"heads.0": "gender", "heads.1.old": "age", "features": "mean"},
    ),
    "with something that is no value": (
        lambda e, g, a: (None, g, 3.5, a),
        {"1": "gender", "3": "age"},
    ),
    "one in a tuple": (lambda e, g, a: (g,), {"0": "gender"}),
    "one": (lambda e, g, a: a, {"": "age"}),
    "the same twice": (lambda e, g, a: (g, g), {"0": "gender", "1": "gender"}),
}


@pytest.mark.parametrize("name", RETURNED)
def test_every_output_is_read_and_the_first_is_the_answer(name: str):
    returned, outputs = RETURNED[name]
    module = Heads(returned).eval()
    network = open_network(module, SHAPE)
    assert network.outputs == outputs
    assert network.output == next(iter(outputs.values()))
    images = torch.rand(2, *SHAPE)
    flat = [v for v in torch.utils._pytree.tree_leaves(module(images)) if isinstance(v, Tensor)]
    trace = network.trace(images)
    for value, layer in zip(flat, outputs.values(), strict=True):
        torch.testing.assert_close(trace[layer], value)
        assert float(project(trace, f"{layer}/1", images=1).activation) == float(trace[layer][1, 1])
    about = network.about_outputs()
    if len(outputs) == 1:
        assert about is None
    else:
        assert about is not None and about.startswith(f"it returns {len(outputs)} outputs, ")
        assert about.endswith(f": {next(iter(outputs))} is taken for its answer")


@pytest.mark.parametrize("wish", ["age", 1, "1"])
def test_another_output_can_be_chosen(wish: str | int):
    module = Heads(RETURNED["a dictionary"][0]).eval()
    network = open_network(module, SHAPE, output=wish)
    alone = open_network(Heads(RETURNED["one"][0]).eval(), SHAPE)
    assert network.output == "age"
    assert str(network.about_outputs()).endswith("age is taken for its answer")
    assert network.conv_layers() == alone.conv_layers() == ("trunk", "map")
    assert hidden_layers(network) == hidden_layers(alone)
    assert last_hidden_layer(network) == "mean:2"  # the embedding is the first
    image, occluder = torch.rand(*SHAPE), Occluder.fitting(16, 16, 4, 4)
    torch.testing.assert_close(
        sweep(network, image, occluder, fill=0.0).logits,
        sweep(alone, image, occluder, fill=0.0).logits,
    )
    moved = network.to(torch.float64)
    assert (moved.output, moved.outputs) == (network.output, network.outputs)
    assert network.identity() != open_network(module, SHAPE).identity()


def test_what_another_head_computes_is_no_part_of_the_answers_features():
    network = open_network(Heads(RETURNED["a dictionary"][0]).eval(), SHAPE)
    assert network.conv_layers() == ("trunk",)
    assert hidden_layers(network) == ("relu",)
    assert last_hidden_layer(network) == "mean"
    assert network.layer("map").kind == "conv"


@pytest.mark.parametrize("wish", ["colour", 2, -1, "2"])
def test_an_output_that_is_not_there_is_refused_with_those_that_are(wish: str | int):
    with pytest.raises(
        BadOption, match=r"it returns gender, age; give a name, or a number, 0 to 1"
    ):
        open_network(Heads(RETURNED["a dictionary"][0]), SHAPE, output=wish)
    with pytest.raises(BadOption, match="this network has one output"):
        open_network(nn.Conv2d(3, 2, 3), SHAPE, output="age")
    assert open_network(nn.Conv2d(3, 2, 3), SHAPE, output=0).output == "conv"


def test_an_output_that_is_not_computed_from_the_images_is_none():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.number = nn.Parameter(torch.rand(3))
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x: Tensor) -> Any:
            return self.number * 2, x, self.conv(x)

    assert open_network(Odd(), SHAPE).outputs == {"2": "conv"}
    with pytest.raises(BadModel, match="computes nothing"):
        open_network(nn.Identity(), SHAPE)


def test_heads_that_serve_training_only_are_not_read():
    class Auxiliary(Heads):
        def forward(self, x: Tensor) -> Any:
            embedding = torch.relu(self.trunk(x)).mean((2, 3))
            return (self.gender(embedding), x) if self.training else self.gender(embedding)

    module = Auxiliary(lambda *_: None).train()
    assert open_network(module, SHAPE).outputs == {"": "gender"}
    assert module.training
