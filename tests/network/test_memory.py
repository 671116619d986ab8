"""Writes in place are seen through everything that shares the memory, as PyTorch's own are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.errors import UnsupportedOp
from convscope.network.network import open_network
from nets import Calling

SHAPE = (3, 8, 8)
Forward = Callable[[Any, Tensor], Tensor]

FOLLOWED: dict[str, Forward] = {}
REFUSED: dict[str, Forward] = {}


def followed(forward: Forward) -> Forward:
    FOLLOWED[forward.__name__.replace("_", " ")] = forward
    return forward


def refused(forward: Forward) -> Forward:
    REFUSED[forward.__name__.replace("_", " ")] = forward
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


@refused
def a_flat_view_is_overwritten_and_the_maps_are_read(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.flatten(1).relu_()
    return x + 1


@refused
def the_maps_are_overwritten_and_a_flat_view_is_read(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    flat = x.flatten(1)
    x.relu_()
    return flat * 1


@refused
def some_channels_are_overwritten(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x[:, :2].relu_()
    return x + 1


@refused
def one_channel_is_overwritten(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x[:, 0].mul_(2)
    return x + 1


@refused
def a_piece_is_overwritten(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.chunk(2, 1)[0].relu_()
    return x + 1


@refused
def a_transposed_view_of_square_maps_is_overwritten(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.transpose(2, 3).mul_(net.table[:, :, :, 0].view(8, 1))
    return x + 1


@refused
def the_result_itself_is_stale(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.flatten(1).relu_()
    return x


@refused
def what_may_be_a_copy_is_overwritten(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x).transpose(2, 3)
    x.contiguous().relu_()
    return x + 1


@refused
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
    torch.testing.assert_close(found, module(images.clone()).detach())


@pytest.mark.parametrize("name", REFUSED)
def test_a_write_that_cannot_be_followed_exactly_is_refused(name: str):
    with pytest.raises(UnsupportedOp, match="memory that was overwritten through a view"):
        open_network(Calling(REFUSED[name]), SHAPE)


def test_the_users_images_are_not_overwritten():
    network = open_network(Calling(the_images_themselves_are_overwritten), SHAPE)
    images = torch.randn(1, *SHAPE)
    before = images.clone()
    network.trace(images)
    assert torch.equal(images, before)
