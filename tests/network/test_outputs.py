"""A network with several outputs: all are layers, one is its answer, and which one is said."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import BadModel, BadOption, UnsupportedOp
from convscope.methods.occluder import Occluder
from convscope.methods.project import project
from convscope.methods.sweep import sweep
from convscope.network.feature_layers import hidden_layers, last_hidden_layer
from convscope.network.network import open_network
from convscope.network.task import Task
from convscope.scan.strongest import layers_with_maps

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


@dataclass
class Result:
    """As libraries return their outputs."""

    logits: Tensor
    hidden: tuple[Tensor, ...] | None = None
    loss: float | None = None


class ModelOutput(OrderedDict):  # type: ignore[type-arg]
    """A dictionary whose items are attributes, too."""


class Pair(NamedTuple):
    logits: Tensor
    aux_logits: Tensor | None


class Bag:
    """An object of any other class; it knows itself, too, as objects may."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values, me=self, name="a bag")


OTHER: dict[str, tuple[Callable[..., Any], dict[str, str]]] = {
    "a dataclass": (lambda e, g, a: Result(g), {"logits": "gender"}),
    "a dataclass with more": (
        lambda e, g, a: Result(g, (e, a), 0.5),
        {"logits": "gender", "hidden.0": "mean", "hidden.1": "age"},
    ),
    "one within a list": (lambda e, g, a: [a, Result(g)], {"0": "age", "1.logits": "gender"}),
    "a model output": (
        lambda e, g, a: ModelOutput(logits=g, states=(e,)),
        {"logits": "gender", "states.0": "mean"},
    ),
    "a named tuple": (lambda e, g, a: Pair(a, g), {"logits": "age", "aux_logits": "gender"}),
    "a named tuple with a gap": (lambda e, g, a: Pair(a, None), {"logits": "age"}),
    "a namespace": (lambda e, g, a: SimpleNamespace(out=g, aux=a), {"out": "gender", "aux": "age"}),
    "any object": (lambda e, g, a: Bag(out=g, more=[a]), {"out": "gender", "more.0": "age"}),
}


@pytest.mark.parametrize("name", OTHER)
def test_outputs_in_containers_of_any_class_are_read_by_their_names(name: str):
    returned, outputs = OTHER[name]
    module = Heads(returned).eval()
    last = list(outputs)[-1]
    network = open_network(module, SHAPE, output=last)
    assert network.outputs == outputs and network.output == outputs[last]
    assert "forward" not in vars(module)
    images = torch.rand(2, *SHAPE)
    alone = Heads(lambda *all_three: all_three).eval()(images)
    wanted = dict(zip(("mean", "gender", "age"), alone, strict=True))
    for layer in outputs.values():
        torch.testing.assert_close(network.trace(images)[layer], wanted[layer])


def test_a_module_that_fails_comes_back_as_it_was():
    class Failing(Heads):
        def forward(self, x: Tensor) -> Any:
            return Result(super().forward(x).sort(1).values)

    module = Failing(lambda e, g, a: g).train()
    with pytest.raises(UnsupportedOp, match="sort"):
        open_network(module, SHAPE)
    assert "forward" not in vars(module) and module.training

    class Raising(Heads):
        def forward(self, x: Tensor) -> Any:
            raise ZeroDivisionError("no images today")

    module = Raising(lambda e, g, a: g)
    mine = module.forward = lambda x: Result(Heads.forward(module, x))  # type: ignore[assignment]
    assert open_network(module, SHAPE).outputs == {"logits": "gender"}
    assert module.forward is mine
    with pytest.raises(BadModel, match="no images today"):
        open_network(Raising(lambda e, g, a: g), SHAPE)


def test_a_number_for_the_whole_batch_is_no_output():
    with pytest.raises(UnsupportedOp, match="mixes the images of a batch"):
        open_network(Heads(lambda e, g, a: g.mean()), SHAPE)


def test_the_layers_of_every_head_are_there_in_an_atlas():
    network = open_network(Heads(RETURNED["a dictionary"][0]).eval(), SHAPE)
    assert network.conv_layers() == ("trunk",)
    assert network.conv_layers(all_outputs=True) == ("trunk", "map")
    assert layers_with_maps(network, None) == ("trunk", "map")
    assert layers_with_maps(network, ["map"]) == ("map",)


class TwoHeaded(Heads):
    """As GoogLeNet and Inception: a second head in the middle, for training."""

    def forward(self, x: Tensor) -> Any:
        maps = torch.relu(self.trunk(x))
        aux = self.gender(maps.mean((2, 3))) if self.training else None
        return Pair(self.age(torch.relu(self.map(maps)).mean((2, 3))), aux)


@pytest.mark.parametrize("training", [False, True])
def test_an_auxiliary_head_of_training_is_left_out_in_either_mode(training: bool):
    module = TwoHeaded(lambda *_: None).train(training)
    assert open_network(module, SHAPE).outputs == {"logits": "age"}
    assert module.training is training


@pytest.mark.parametrize("wish", [None, "aux"])
def test_a_segmentation_network_has_its_out_and_its_aux(wish: str | None):
    class Segments(Heads):
        def forward(self, x: Tensor) -> Any:
            maps = torch.relu(self.trunk(x))
            up = nn.functional.interpolate
            return {
                "out": up(self.map(maps), size=x.shape[-2:], mode="bilinear"),
                "aux": up(maps[:, :4], size=x.shape[-2:], mode="bilinear"),
            }

    module = Segments(lambda *_: None).eval()
    network = open_network(module, SHAPE, output=wish)
    image = torch.rand(*SHAPE)
    with torch.no_grad():
        wanted = module(image[None])[wish or "out"]
    torch.testing.assert_close(network.trace(image)[network.output], wanted)
    assert str(network.about_outputs()).endswith(f"{wish or 'out'} is taken for its answer")


def test_the_task_is_kept_and_makes_another_network():
    module = Heads(RETURNED["one"][0]).eval()
    plain, values = open_network(module, SHAPE), open_network(module, SHAPE, task="regress")
    assert values.to(torch.float64).task is Task.REGRESS
    assert plain.identity() != values.identity()
    with pytest.raises(BadOption, match="auto, classify, multilabel, regress"):
        open_network(module, SHAPE, task="segment")


def test_heads_that_serve_training_only_are_not_read():
    class Auxiliary(Heads):
        def forward(self, x: Tensor) -> Any:
            embedding = torch.relu(self.trunk(x)).mean((2, 3))
            return (self.gender(embedding), x) if self.training else self.gender(embedding)

    module = Auxiliary(lambda *_: None).train()
    assert open_network(module, SHAPE).outputs == {"": "gender"}
    assert module.training
