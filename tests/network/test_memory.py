"""Writes in place are seen through everything that shares the memory, as PyTorch's own are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.errors import UnsupportedOp
from convscope.methods.project import project
from convscope.methods.rules import GRADIENT
from convscope.network.network import open_network
from nets import Apply, Calling

SHAPE = (3, 8, 8)
Forward = Callable[[Any, Tensor], Tensor]

FOLLOWED: dict[str, Forward] = {}


def followed(forward: Forward) -> Forward:
    FOLLOWED[forward.__name__.replace("_", " ")] = forward
    return forward


@followed
def a_residual_branch_sees_the_rectified_value(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    return F.relu(x, inplace=True) * 2 + x


@followed
def the_branch_was_read_before_the_write(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    before = x * 3
    x.relu_()
    return before + x


@followed
def two_writes_into_one_tensor(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.sub_(0.1)
    x.relu_()
    return x + 1


@followed
def a_sum_overwrites_a_branch_that_is_read_again(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    y = x * 2
    y += x
    return torch.cat([x, y, F.relu_(y)], 1)


@followed
def the_sum_is_taken_into_the_branch_below(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    y = x.relu()
    x += y
    return y * x


@followed
def dropout_at_test_time_returns_its_input(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    F.dropout(x, training=False).relu_()
    return x + 1


@followed
def dropout_of_what_is_overwritten_later(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    dropped = F.dropout(x, training=net.training)
    x.relu_()
    return dropped + 1


@followed
def contiguous_memory_is_not_copied(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.contiguous().relu_()
    return x + 1


@followed
def a_view_of_the_same_shape(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.view(x.shape[0], 4, 8, 8).relu_()
    return x + 1


@followed
def there_and_back_through_a_flat_view(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.flatten(1).view(-1, 4, 8, 8).relu_()
    return x + 1


@followed
def a_clone_is_a_copy(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    y = x.clone()
    y.relu_()
    return x + 2 * y


@followed
def the_original_of_a_clone_is_overwritten(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    y = x.clone()
    x.relu_()
    return x + 2 * y


@followed
def detached_memory_is_shared(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.detach().relu_()
    return x + 1


@followed
def the_images_themselves_are_overwritten(net: Any, x: Tensor) -> Tensor:
    x.sub_(0.5).relu_()
    return torch.cat([net.conv(x), x], 1)


@followed
def a_view_is_overwritten_and_only_the_view_is_read(net: Any, x: Tensor) -> Tensor:
    flat = net.conv(x).flatten(1)
    flat.relu_()
    return flat * 2


@followed
def a_flat_view_is_overwritten_and_the_maps_are_read(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.flatten(1).relu_()
    return x + 1


@followed
def the_maps_are_overwritten_and_a_flat_view_is_read(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    flat = x.flatten(1)
    x.relu_()
    return flat * 1


@followed
def some_channels_are_overwritten(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x[:, :2].relu_()
    return x + 1


@followed
def one_channel_is_overwritten(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x[:, 0].mul_(2)
    return x + 1


@followed
def a_piece_is_overwritten(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.chunk(2, 1)[0].relu_()
    return x + 1


@followed
def a_transposed_view_of_square_maps_is_overwritten(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.transpose(2, 3).mul_(net.table[:, :, :, 0].view(8, 1))
    return x + 1


@followed
def the_result_itself_is_stale(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.flatten(1).relu_()
    return x


@followed
def what_may_be_a_copy_is_overwritten(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x).transpose(2, 3)
    x.contiguous().relu_()
    return x + 1


@followed
def a_reshape_that_copies_is_overwritten(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x).transpose(2, 3)
    x.reshape(-1, 4, 64).reshape(-1, 4, 8, 8).relu_()
    return x + 1


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_write_in_place_gives_the_modules_own_values(name: str):
    torch.manual_seed(0)
    module = Calling(FOLLOWED[name]).eval()
    network = open_network(module, SHAPE)
    images = torch.randn(2, *SHAPE)
    found = network.values(images, [network.output])[network.output]
    with torch.no_grad():  # autograd forbids some of these writes
        torch.testing.assert_close(found, module(images.clone()))


WRITES: dict[str, Callable[[Tensor], Tensor]] = {}


def writing(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    WRITES[forward.__name__.replace("_", " ")] = forward
    return forward


@writing
def channels_from_others(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :2] = 2 * x[:, 2:]
    return y


@writing
def every_other_row_is_scaled_by_the_next(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, ::2] *= x[:, :, 1::2]
    return y


@writing
def channels_of_zeros_and_ones_around(x: Tensor) -> Tensor:
    y = x.new_zeros(x.shape[0], 8, *x.shape[2:])
    y[:, 1:5] = x
    y[:, 5:] = 1.0
    return y


@writing
def all_of_a_value(x: Tensor) -> Tensor:
    y = x * 2
    y[...] = x
    y[:, 0].fill_(0.5)
    return y * x


@writing
def a_column_of_a_flat_view(x: Tensor) -> Tensor:
    y = x.clone()
    y.flatten(2)[..., 3].add_(y.flatten(2)[..., 2])
    return y


@writing
def a_chunk_gates_another(x: Tensor) -> Tensor:
    first, second = x.clone().chunk(2, 1)
    first.mul_(second)
    return torch.cat([first, second], 1)


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written_into_a_part_is_exact_both_ways(name: str):
    torch.manual_seed(0)
    conv, write = nn.Conv2d(3, 4, 3, padding=1), WRITES[name]
    module = nn.Sequential(conv, Apply(lambda x: write(x).flatten(1))).double().eval()
    network = open_network(module, SHAPE)
    images = torch.randn(2, *SHAPE, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        answer = module(images.detach())
    found = network.values(images.detach(), [network.output])[network.output]
    assert torch.equal(found, answer)
    for unit in (3, 70, 200):
        value = GRADED.get(name, write)(conv(images)).flatten(1)[0, unit]
        (expected,) = torch.autograd.grad(value, images)
        trace = network.trace(images.detach()[:1])
        projection = project(trace, f"{network.output}/{unit}", GRADIENT).projection
        torch.testing.assert_close(projection, expected[:1], rtol=1e-12, atol=1e-14)


GRADED = {
    "a chunk gates another": lambda x: torch.cat([x[:, :2] * x[:, 2:], x[:, 2:]], 1),
}
"""The same without a write that autograd forbids."""


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.clone().index_fill_(0, torch.tensor([0]), 0.0),
        lambda x: _first_image_zeroed(x),
        lambda x: x * _first_row_of_zeros(x),
    ],
    ids=["by index", "by slice", "in a constant"],
)
def test_a_write_into_some_of_the_images_is_refused(write: Callable[[Tensor], Tensor]):
    with pytest.raises(UnsupportedOp):
        open_network(nn.Sequential(nn.Conv2d(3, 4, 3), Apply(write)), SHAPE)


def _first_image_zeroed(x: Tensor) -> Tensor:
    y = x.clone()
    y[0] = 0
    return y


def _first_row_of_zeros(x: Tensor) -> Tensor:
    y = x.new_ones(x.shape[0], 4, 1, 1)
    y[0] = 0
    return y


def test_a_scale_that_is_partly_written_over_follows_its_parameter():
    """As torchvision's Swin v2 does with the bias of its keys."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.scale = nn.Parameter(torch.tensor([1.0, 2, 3, 4]))

        def forward(self, x: Tensor) -> Tensor:
            scale = self.scale.clone()
            scale[1:3].zero_()
            return self.conv(x) * scale.view(4, 1, 1)

    module = Net()
    network = open_network(module, SHAPE)
    images = torch.randn(2, *SHAPE)
    for _ in range(2):
        found = network.values(images, [network.output])[network.output]
        torch.testing.assert_close(found, module(images).detach())
        with torch.no_grad():
            module.scale.add_(1)


def test_the_users_images_are_not_overwritten():
    network = open_network(Calling(the_images_themselves_are_overwritten), SHAPE)
    images = torch.randn(1, *SHAPE)
    before = images.clone()
    network.trace(images)
    assert torch.equal(images, before)
