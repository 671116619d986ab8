"""What cannot be read is refused by name, and a module comes back as it was, read or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.errors import BadInput, BadModel, UnsupportedOp
from convscope.methods.project import project
from convscope.network.network import open_network
from nets import Calling

SHAPE = (3, 12, 12)

REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "a median": (lambda net, x: net.conv(x).median(1)[0], "aten.median.dim"),
    "a sort": (lambda net, x: net.conv(x).sort(1)[0], "aten.sort.default"),
    "a product over the batch": (
        lambda net, x: torch.einsum("nc,mc->n", *[x.mean((2, 3))] * 2),
        "images of a batch",
    ),
    "a product of images": (lambda net, x: x.flatten(1) @ x.flatten(1).t(), "images of a batch"),
    "a sum over the batch": (lambda net, x: x - x.sum(0, keepdim=True), "images of a batch"),
    "a norm of everything": (lambda net, x: x / x.norm(), "images of a batch"),
    "a random leak": (lambda net, x: F.rrelu(net.conv(x), training=True), "draws at random"),
    "what is taken apart into something else": (
        lambda net, x: F.conv3d(x.unsqueeze(2), torch.ones(2, 3, 1, 1, 1)).squeeze(2),
        "aten.conv3d.default",
    ),
    "noise": (lambda net, x: net.conv(x) + torch.randn(4, 1, 1), "draws at random"),
    "noise like a value": (lambda net, x: x + torch.rand_like(x), "aten.rand_like.default"),
    "numbers of images": (
        lambda net, x: x + torch.arange(x.shape[0]).view(-1, 1, 1, 1),
        "computed at run time",
    ),
    "a value written into zeros": (
        lambda net, x: torch.zeros_like(x).add_(x),
        "writes into a constant",
    ),
    "batch norm by the batch": (
        lambda net, x: F.batch_norm(net.conv(x), None, None, training=True),
        "batch_norm.default in the network's own forward() normalises with the batch's own",
    ),
    "a mean over the batch": (lambda net, x: x - x.mean(0, keepdim=True), "images of a batch"),
    "a mean of everything": (lambda net, x: x - x.mean((0, 1, 2, 3)), "images of a batch"),
    "softmax over the batch": (lambda net, x: F.softmax(net.conv(x), 0), "images of a batch"),
    "one image of the batch": (lambda net, x: net.conv(x)[:1], "images of a batch"),
    "random dropout": (lambda net, x: F.dropout(net.conv(x)), "training=self.training"),
    "the switches of a pool": (
        lambda net, x: F.max_pool2d(x, 2, return_indices=True)[1] * 0.5,
        "reads getitem_1, which is no feature map",
    ),
    "unpooling of regions that overlap": (
        lambda net, x: F.max_unpool2d(*F.max_pool2d(x, 3, 2, return_indices=True), 3, 2),
        "unpools regions that overlap",
    ),
    "unpooling by other switches": (
        lambda net, x: F.max_unpool2d(
            F.max_pool2d(x, 2), F.adaptive_max_pool2d(x, 6, return_indices=True)[1], 2
        ),
        "takes the switches of an adaptive max pool",
    ),
    "a number of the batch": (lambda net, x: net.conv(x) * x.shape[0], "computed at run time"),
    "a flipped batch": (lambda net, x: net.conv(x).flip(0), "mixes the images of a batch"),
    "a rolled batch": (lambda net, x: net.conv(x).roll(1), "mixes the images of a batch"),
    "a batch turned around": (lambda net, x: x.rot90(2, (0, 1)), "mixes the images of a batch"),
    "two lists of indices": (lambda net, x: x[:, [0, 1], [2, 3]], "more than one list of indices"),
    "a filter in three dimensions": (
        lambda net, x: F.conv3d(x[:, None], net.conv.weight[:, None]),
        "aten.conv3d.default",
    ),
    "a sampling grid": (
        lambda net, x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1)),
        "aten.grid_sampler.default",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_refused_by_name_with_the_remedy(name: str):
    function, reason = REFUSED[name]
    with pytest.raises(UnsupportedOp) as refusal:
        open_network(Calling(function), SHAPE)
    message = str(refusal.value)
    assert reason in message
    assert "the network's own forward()" in message
    assert "Replace the operation, or add it to convscope/network/ops" in message


class Sorted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sort(1)[0]


def test_a_refusal_names_the_layer_and_the_line():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(), Sorted()))
    where = r"aten\.sort\.default in layer '1\.1' is not in the op table \(test_refusals\.py:"
    with pytest.raises(UnsupportedOp, match=where + r"\d+: return x\.sort\(1\)\[0\]\)"):
        open_network(module, SHAPE)


BROKEN: dict[str, tuple[Callable[..., Any], str]] = {
    "explodes": (lambda net, x: [][1], "IndexError: list index out of range"),
    "wrong input shape": (lambda net, x: net.conv(x[:, :2]), "check the input shape"),
    "branches on a value": (
        lambda net, x: net.conv(x) if x.sum() > 0 else x,
        "does not branch on its values",
    ),
    "returns its images": (lambda net, x: x, "computes nothing from its images"),
    "ignores its images": (lambda net, x: net.table, "computes nothing from its images"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_module_that_cannot_be_exported_is_a_bad_model(
    name: str, capfd: pytest.CaptureFixture[str]
):
    function, reason = BROKEN[name]
    with pytest.raises(BadModel, match=reason) as error:
        open_network(Calling(function), SHAPE)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shape", [(3, 12), (3, 0, 12), (1, 3, 12, 12)])
def test_an_input_shape_that_is_none_is_refused(shape: tuple[int, ...]):
    with pytest.raises(BadInput, match="give \\(channels, height, width\\)"):
        open_network(nn.ReLU(), shape)


def count_up(net: Calling, x: Tensor) -> Tensor:
    net.count.add_(1)
    return net.conv(x) * net.count


def assign_count(net: Calling, x: Tensor) -> Tensor:
    net.count = net.count + 1
    return net.conv(x) * net.count


STATES: dict[str, tuple[Callable[..., Any], type[Exception] | None]] = {
    "read": (lambda net, x: F.relu_(net.conv(x)), None),
    "counts its calls": (count_up, None),
    "assigns its count": (assign_count, None),
    "overwrites its images": (lambda net, x: net.conv(x.sub_(1)), None),
    "unsupported": (lambda net, x: net.conv(x).sort(1)[0], UnsupportedOp),
    "explodes": (lambda net, x: [][1], BadModel),
}


def snapshot(module: nn.Module) -> dict[str, Any]:
    state = {name: (id(t), t.clone(), t.requires_grad) for name, t in module.state_dict(
        keep_vars=True).items()}  # fmt: skip
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_state_dict_hooks")
    return {
        "modes": [child.training for child in module.modules()],
        "hooks": [[list(getattr(c, name)) for name in hooks] for c in module.modules()],
        "tensors": {key: (where, grad) for key, (where, _, grad) in state.items()},
        "values": {key: value for key, (_, value, _) in state.items()},
        "gradients": all(p.grad is None for p in module.parameters()),
    }


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("training", [True, False])
def test_the_module_comes_back_as_it_was(name: str, training: bool):
    function, error = STATES[name]
    module = nn.Sequential(Calling(function), nn.Sequential(nn.BatchNorm2d(4), nn.Dropout()))
    module.train(training)
    module[1][0].train(not training)
    module[0].gain.requires_grad_(False)
    module[0].conv.register_forward_hook(lambda *args: None)
    before = snapshot(module)
    if error is None:
        network = open_network(module, SHAPE)
        project(network.trace(torch.randn(1, *SHAPE)), f"{network.output}/1")
    else:
        with pytest.raises(error):
            open_network(module, SHAPE)
    after = snapshot(module)
    values, expected = after.pop("values"), before.pop("values")
    assert after == before
    assert all(torch.equal(values[key], expected[key]) for key in expected)
