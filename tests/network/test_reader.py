"""Whatever way a network is written, it reads as the same nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.methods.project import project
from convscope.network.network import Network, open_network
from nets import Calling

SHAPE = (3, 12, 12)


class Net(nn.Module):
    """One network; `spelling` says how some of its steps are written."""

    def __init__(self, **spelling: Callable[..., Any]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.relu = nn.ReLU()
        self.relu2, self.relu3 = nn.ReLU(), nn.ReLU()
        self.in_place = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.lrn = nn.LocalResponseNorm(3, alpha=0.3, beta=0.6, k=1.5)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.conv3 = nn.Conv2d(6, 4, 1)
        self.flat = nn.Flatten()
        self.drop = nn.Dropout()
        self.fc = nn.Linear(10 * 6 * 6, 5)
        self.nested = nn.Sequential(
            self.conv1, self.bn, nn.Sequential(self.relu, self.pool), self.lrn
        )
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        say = self.spelling.get
        relu = say("relu")
        stem = say("stem")
        if stem:
            x = stem(self, x)
        else:
            x = say("conv", lambda net, v: net.conv1(v))(self, x)
            x = say("norm", lambda net, v: net.bn(v))(self, x)
            x = (relu or Net.relu_of("relu"))(self, x)
            x = say("pool", lambda net, v: net.pool(v))(self, x)
            x = say("lrn", lambda net, v: net.lrn(v))(self, x)
        y = (relu or Net.relu_of("relu2"))(self, self.conv2(x))
        x = (relu or Net.relu_of("relu3"))(self, say("join", torch.add)(y, x))
        x = say("cat", lambda a, b: torch.cat([a, b], 1))(x, self.conv3(x))
        x = say("flatten", lambda net, v: torch.flatten(v, 1))(self, x)
        x = say("dropout", lambda net, v: net.drop(v))(self, x)
        return say("dense", lambda net, v: net.fc(v))(self, x)

    @staticmethod
    def relu_of(name: str) -> Callable[[nn.Module, Tensor], Tensor]:
        return lambda net, value: getattr(net, name)(value)


def assign_add(a: Tensor, b: Tensor) -> Tensor:
    a += b
    return a


def functional_batch_norm(net: Net, x: Tensor) -> Tensor:
    bn = net.bn
    return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps)


def without_gradients(net: Net, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net.nested(x)


SPELLINGS: dict[str, dict[str, Callable[..., Any]]] = {
    "one ReLU module reused": {"relu": lambda net, v: net.relu(v)},
    "one in-place ReLU module reused": {"relu": lambda net, v: net.in_place(v)},
    "F.relu": {"relu": lambda net, v: F.relu(v)},
    "F.relu in place": {"relu": lambda net, v: F.relu(v, inplace=True)},
    "F.relu_": {"relu": lambda net, v: F.relu_(v)},
    "torch.relu": {"relu": lambda net, v: torch.relu(v)},
    "torch.relu_": {"relu": lambda net, v: torch.relu_(v)},
    "x.relu()": {"relu": lambda net, v: v.relu()},
    "x.relu_()": {"relu": lambda net, v: v.relu_()},
    "x.relu_() for its effect": {"relu": lambda net, v: (v.relu_(), v)[1]},
    "nested Sequential": {"stem": lambda net, v: net.nested(v)},
    "a stem without gradients": {"stem": without_gradients},
    "F.conv2d": {"conv": lambda net, v: F.conv2d(v, net.conv1.weight, net.conv1.bias, padding=1)},
    "F.conv2d with padding='same'": {
        "conv": lambda net, v: F.conv2d(v, net.conv1.weight, net.conv1.bias, padding="same")
    },
    "F.batch_norm": {"norm": functional_batch_norm},
    "F.max_pool2d": {"pool": lambda net, v: F.max_pool2d(v, 3, 2, ceil_mode=True)},
    "torch.max_pool2d": {"pool": lambda net, v: torch.max_pool2d(v, (3, 3), [2], ceil_mode=True)},
    "F.local_response_norm": {
        "lrn": lambda net, v: F.local_response_norm(v, 3, alpha=0.3, beta=0.6, k=1.5)
    },
    "x + y": {"join": lambda a, b: a + b},
    "y.add_(x)": {"join": lambda a, b: a.add_(b)},
    "y += x": {"join": assign_add},
    "torch.add with alpha": {"join": lambda a, b: torch.add(a, b, alpha=1)},
    "torch.concat": {"cat": lambda a, b: torch.concat((a, b), dim=1)},
    "torch.concatenate along -3": {"cat": lambda a, b: torch.concatenate((a, b), -3)},
    "nn.Flatten": {"flatten": lambda net, v: net.flat(v)},
    "view(n, -1)": {"flatten": lambda net, v: v.view(v.size(0), -1)},
    "view(-1, features)": {"flatten": lambda net, v: v.view(-1, 360)},
    "reshape": {"flatten": lambda net, v: v.reshape(v.shape[0], 360)},
    "F.dropout with the training flag": {
        "dropout": lambda net, v: F.dropout(v, 0.3, training=net.training)
    },
    "F.dropout in place": {
        "dropout": lambda net, v: F.dropout(v, training=net.training, inplace=True)
    },
    "F.linear": {"dense": lambda net, v: F.linear(v, net.fc.weight, net.fc.bias)},
}


@pytest.fixture(scope="module")
def plain() -> Net:
    torch.manual_seed(0)
    net = Net().eval()
    with torch.no_grad():
        net.bn.running_mean.normal_()
        net.bn.running_var.uniform_(0.5, 2)
        net.bn.weight.normal_()
    return net


@pytest.fixture(scope="module")
def read_plain(plain: Net) -> Network:
    return open_network(plain, SHAPE)


def kinds(network: Network) -> list[str]:
    return ["flatten" if layer.kind == "view" else layer.kind for layer in network.layers]


def test_the_plain_spelling_reads_as_written(read_plain: Network):
    assert [(layer.name, layer.kind) for layer in read_plain.layers] == [
        ("conv1", "conv"), ("bn", "batch_norm"), ("relu", "relu"), ("pool", "max_pool"),
        ("lrn", "lrn"), ("conv2", "conv"), ("relu2", "relu"), ("add", "add"), ("relu3", "relu"),
        ("conv3", "conv"), ("cat", "cat"), ("flatten", "flatten"), ("drop", "dropout"),
        ("fc", "linear"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_gives_the_same_layers_values_and_projections_under_unique_names(
    name: str, plain: Net, read_plain: Network
):
    net = Net(**SPELLINGS[name]).eval()
    net.load_state_dict(plain.state_dict())
    network = open_network(net, SHAPE)
    assert kinds(network) == kinds(read_plain)
    names = [layer.name for layer in network.layers]
    assert len(set(names)) == len(names)
    assert all(below in ("input", *names) for layer in network.layers for below in layer.inputs)
    assert [layer.field for layer in network.layers] == [layer.field for layer in read_plain.layers]
    images = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1))
    trace, expected = network.trace(images), read_plain.trace(images)
    for layer, plain_layer in zip(network.layers, read_plain.layers, strict=True):
        torch.testing.assert_close(trace[layer.name], expected[plain_layer.name])
    torch.testing.assert_close(trace[network.output], net(images.clone()))
    for index in (2, 5, 8, 10, 13):
        ours, theirs = network.layers[index].name, read_plain.layers[index].name
        torch.testing.assert_close(
            project(trace, f"{ours}/1", images=1).projection,
            project(expected, f"{theirs}/1", images=1).projection,
        )


def test_a_module_used_again_has_a_number_and_functional_calls_count_too():
    reused = open_network(Net(relu=lambda net, v: net.relu(v)), SHAPE)
    assert [n.name for n in reused.layers if n.kind == "relu"] == ["relu", "relu:2", "relu:3"]
    functional = open_network(Net(relu=lambda net, v: F.relu(v)), SHAPE)
    assert [n.name for n in functional.layers if n.kind == "relu"] == ["relu", "relu:2", "relu:3"]


def test_names_are_dotted_paths_and_a_functional_call_is_named_after_its_module():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(F.relu(self.conv(x)) + x)

    network = open_network(nn.Sequential(Block(), nn.Sequential(Block(), nn.ReLU())), SHAPE)
    assert [layer.name for layer in network.layers] == [
        "0.conv", "0.relu", "0.add", "0.relu:2",
        "1.0.conv", "1.0.relu", "1.0.add", "1.0.relu:2", "1.1",
    ]  # fmt: skip


def test_a_block_gives_its_name_to_its_one_operation_only_where_that_is_its_result():
    class Rectified(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.conv(x))

    class Scaled(Rectified):
        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x * 2)

    network = open_network(nn.Sequential(Rectified(), Scaled()), SHAPE)
    assert [layer.name for layer in network.layers] == ["0.conv", "0", "1.mul", "1.conv"]


def test_a_functional_call_never_takes_the_name_of_a_module():
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(F.relu(x) - 1)

    assert [layer.name for layer in open_network(Both(), SHAPE).layers] == ["relu:2", "sub", "relu"]


ARITHMETIC: dict[str, Callable[..., Tensor]] = {
    "gain * x": lambda net, x: net.gain * net.conv(x),
    "gain + x": lambda net, x: net.gain + net.conv(x),
    "gain - x": lambda net, x: net.gain - net.conv(x),
    "gain - 3x": lambda net, x: torch.sub(net.gain, net.conv(x), alpha=3),
    "x - 3 gain": lambda net, x: torch.sub(net.conv(x), net.gain, alpha=3),
    "x / gain": lambda net, x: net.conv(x) / net.gain,
    "1 - x": lambda net, x: 1 - net.conv(x),
    "torch.rsub": lambda net, x: torch.rsub(net.conv(x), 2, alpha=3),
    "x - 2y": lambda net, x: net.conv(x) - 2 * net.conv(2 * x),
    "x * x": lambda net, x: net.conv(x) * net.conv(x),
    "a literal": lambda net, x: net.conv(x) * torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1, 1),
    "expanded": lambda net, x: net.conv(x) + net.gain.expand(1, 4, 12, 12),
    "pieces": lambda net, x: torch.cat(net.conv(x).chunk(3, dim=1)[::-1], 1),
    "sizes": lambda net, x: torch.cat(net.conv(x).split([1, 3], dim=1)[::-1], 1),
    "equal sizes": lambda net, x: torch.cat(net.conv(x).split(3, dim=-3)[::-1], 1),
    "pieces of a table": lambda net, x: net.conv(x) * net.table.chunk(2, 1)[1],
    "spread": lambda net, x: net.conv(x).mean(1, keepdim=True) * net.gain,
    "rows side by side": lambda net, x: torch.cat([net.conv(x), x.mean(1, True) * net.gain], 2),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_with_stored_tensors_and_pieces_gives_the_modules_values(name: str):
    torch.manual_seed(0)
    module = Calling(ARITHMETIC[name]).eval()
    network = open_network(module, SHAPE)
    images = torch.randn(2, *SHAPE)
    torch.testing.assert_close(
        network.values(images, [network.output])[network.output], module(images)
    )


def test_the_images_batch_may_have_any_size():
    network = open_network(nn.Conv2d(3, 2, 3), SHAPE)
    assert [len(network.trace(torch.zeros(n, *SHAPE))["conv"]) for n in (1, 2, 7)] == [1, 2, 7]


def test_the_values_follow_the_module_as_it_trains():
    module = nn.Sequential(nn.Conv2d(3, 2, 3))
    network = open_network(module, SHAPE)
    with torch.no_grad():
        module[0].bias.fill_(7)
    torch.testing.assert_close(network.nodes["0"].tensors["bias"], torch.full((2,), 7.0))
