"""Whatever a user calls a layer, it is read, run and found under that name."""

from __future__ import annotations

import hashlib

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.methods.occluder import Occluder
from convscope.methods.project import project
from convscope.methods.rules import DECONVNET, GRADIENT
from convscope.methods.sweep import sweep
from convscope.network.feature_layers import hidden_layers, last_hidden_layer
from convscope.network.network import open_network

SHAPE = (3, 16, 16)
OURS = ("input", "output", "x", "image", "base", "window", "conv", "conv2d", "relu:2", "input:2")


class Named(nn.Module):
    """Two convolutions, each rectified by a function, and a dense layer, under any names."""

    def __init__(self, first: str, second: str, last: str) -> None:
        super().__init__()
        self.names = (first, second, last)
        self.add_module(first, nn.Conv2d(3, 4, 3))
        self.add_module(second, nn.Conv2d(4, 4, 3))
        self.add_module(last, nn.Linear(4, 5))

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = (self.get_submodule(name) for name in self.names)
        return last(F.relu(second(F.relu(first(x)))).mean((2, 3)))


def named(*names: str) -> nn.Module:
    torch.manual_seed(0)
    return Named(*names).eval()


PLAIN = ("one", "two", "three")


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_layer_may_have_any_name_and_nothing_else_changes(name: str, place: int):
    names = [*PLAIN]
    names[place] = name
    plain, module = named(*PLAIN), named(*names)
    ours, theirs = open_network(module, SHAPE), open_network(plain, SHAPE)
    assert ours.layer(name).kind == theirs.layer(PLAIN[place]).kind
    assert [layer.kind for layer in ours.layers] == [layer.kind for layer in theirs.layers]
    assert [layer.field for layer in ours.layers] == [layer.field for layer in theirs.layers]
    image = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours.trace(image)[ours.output], module(image))
    torch.testing.assert_close(
        ours.values(image, [name])[name], theirs.values(image, [PLAIN[place]])[PLAIN[place]]
    )
    renamed = dict(zip((x.name for x in theirs.layers), (x.name for x in ours.layers), strict=True))
    for rules in (DECONVNET, GRADIENT):
        for layer in theirs.layers:
            torch.testing.assert_close(
                project(ours.trace(image), f"{renamed[layer.name]}/1", rules).projection,
                project(theirs.trace(image), f"{layer.name}/1", rules).projection,
            )
    occluder = Occluder.fitting(16, 16, 5, 5)
    torch.testing.assert_close(
        sweep(ours, image, occluder, fill=0.0).logits,
        sweep(theirs, image, occluder, fill=0.0).logits,
    )
    assert hidden_layers(ours) == tuple(renamed[n] for n in hidden_layers(theirs))
    assert last_hidden_layer(ours) == renamed[last_hidden_layer(theirs)]


def test_input_is_the_image_unless_a_layer_is_called_so():
    image = torch.rand(1, *SHAPE)
    plain, ours = open_network(named(*PLAIN), SHAPE), open_network(named("input", "b", "c"), SHAPE)
    assert plain.layers[0].inputs == ("input",)
    assert plain.table()[0]["inputs"] == ["input"]
    torch.testing.assert_close(plain.trace(image)["input"], image)
    torch.testing.assert_close(plain.values(image, ["input", "one"])["input"], image)
    assert [name for name, _ in plain.stream(image, ["input"])] == ["input"]
    assert ours.layers[0].inputs == (".input",)
    assert ours.layers[1].inputs == ("input",)
    assert ours.trace(image)["input"].shape == (1, 4, 14, 14)
    torch.testing.assert_close(ours.trace(image)[".input"], image)
    assert "input" in plain.trace(image, [])


def test_no_name_is_given_twice_where_a_module_is_called_as_we_count():
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("act", nn.ReLU())
            self.add_module("act:2", nn.Tanh())
            self.add_module("relu:2", nn.Conv2d(3, 3, 1))
            self.add_module("relu", nn.Sigmoid())

        def forward(self, x: Tensor) -> Tensor:
            act, tanh = self.get_submodule("act"), self.get_submodule("act:2")
            x = act(act(x))
            x = F.relu(F.relu(tanh(x)))
            return self.relu(self.get_submodule("relu:2")(x))

    module = Counted().eval()
    network = open_network(module, SHAPE)
    assert [(layer.name, layer.kind) for layer in network.layers] == [
        ("act", "relu"), ("act:3", "relu"), ("act:2", "tanh"), ("relu:3", "relu"),
        ("relu:4", "relu"), ("relu:2", "conv"), ("relu", "sigmoid"),
    ]  # fmt: skip
    image = torch.rand(1, *SHAPE)
    torch.testing.assert_close(network.trace(image)[network.output], module(image))


def test_a_stored_identity_says_input_of_the_image_as_ever():
    from convscope.scan.feature_cache import _structure

    torch.manual_seed(0)
    network = open_network(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()), SHAPE)
    whole = hashlib.sha256()
    for node in network.nodes.values():
        settings = sorted((key, repr(value)) for key, value in node.settings.items())
        below = ("input",) if node.name == "0" else ("0",)
        whole.update(repr((node.name, node.kind, below, node.shape, settings)).encode())
    assert _structure(network, ["1"]) == whole.hexdigest()
