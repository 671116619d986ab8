"""The network under an occluder at every position: answers by hand, and laws."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import BadInput, BadOption, NonFinite, NoSuchUnit
from convscope.methods.occluder import Occluder
from convscope.methods.occlusion import occlude
from convscope.methods.sweep import full_batch_size, sweep
from convscope.network.network import Network, open_network

IMAGE = torch.arange(1.0, 17.0).reshape(1, 4, 4)  # its sum is 136


def counting_network() -> Network:
    """Map 0 is the image, map 1 its negative; class 0 is the image's sum, class 1 always 100."""
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
        module[0].bias.zero_()
        module[3].weight.zero_()
        module[3].weight[0, :16] = 1.0
        module[3].bias.copy_(torch.tensor([0.0, 100.0]))
    return open_network(module, (1, 4, 4))


def random_network(*tail: nn.Module) -> Network:
    torch.manual_seed(0)
    return open_network(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5), *tail,
        ),
        (3, 16, 16),
    )  # fmt: skip


def random_image() -> torch.Tensor:
    return torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_an_occluded_sum_is_the_sum_without_the_block():
    result = sweep(counting_network(), IMAGE, Occluder(2, 2), fill=0.0, units=["1/0", "1/1"])
    assert result.logits is not None
    assert result.logits[..., 0].tolist() == [[122, 114], [90, 82]]
    assert result.activity[..., 0].tolist() == [[122, 114], [90, 82]]
    assert not result.activity[..., 1].any()
    assert (result.rows.tolist(), result.columns.tolist()) == ([0, 2], [0, 2])
    assert result.base_logits is not None
    assert result.base_logits.tolist() == [136, 100]
    assert result.base_activity.tolist() == [136, 0]


def test_the_most_probable_class_changes_where_too_much_is_hidden():
    result = sweep(counting_network(), IMAGE, Occluder(2, 2), fill=0.0)
    assert result.label().tolist() == [[0, 0], [1, 1]]


def test_an_occluder_at_the_edge_covers_what_is_left_of_it():
    result = sweep(counting_network(), IMAGE, Occluder(3, 2), fill=0.0, units=["1/0"])
    assert result.activity[..., 0].tolist() == [[82, 91], [64, 82]]


def test_an_occluder_larger_than_the_image_hides_everything_at_once():
    result = sweep(counting_network(), IMAGE, Occluder(9, 4), fill=1.0, units=["1/0"])
    assert result.activity[..., 0].tolist() == [[16]]


def test_a_fill_keeps_its_own_pixels_in_place():
    result = sweep(counting_network(), IMAGE, Occluder(2, 2), fill=-IMAGE, units=["1/0", "1/1"])
    assert result.activity[..., 0].tolist() == [[122, 114], [90, 82]]
    assert result.activity[..., 1].tolist() == [[14, 22], [46, 54]]


def test_many_targets_and_units_of_one_sweep_equal_sweeps_of_their_own():
    network, image, occluder = random_network(), random_image(), Occluder(5, 3)
    together = sweep(network, image, occluder, fill=0.1, units=["1/2", "4/7", "1/0"])
    for i, unit in enumerate(["1/2", "4/7", "1/0"]):
        alone = sweep(network, image, occluder, fill=0.1, units=[unit])
        torch.testing.assert_close(together.activity[..., i], alone.activity[..., 0])
        torch.testing.assert_close(together.probability(i), alone.probability(i))


def test_every_position_is_the_network_on_that_occluded_image():
    network, image = random_network(), random_image()
    result = sweep(network, image, Occluder((4, 6), (5, 7)), fill=0.5, units=["4/3"])
    assert result.logits is not None
    for i, top in enumerate(result.rows.tolist()):
        for j, left in enumerate(result.columns.tolist()):
            hidden = image.clone()
            hidden[:, top : top + 4, left : left + 6] = 0.5
            trace = network.trace(hidden)
            torch.testing.assert_close(result.logits[i, j], trace[network.output][0])
            torch.testing.assert_close(result.activity[i, j, 0], trace["4"][0, 3].sum())


@pytest.mark.parametrize("batch_size", [1, 3, 7, 1000])
def test_the_batch_size_changes_nothing(batch_size):
    network, image, occluder = random_network(), random_image(), Occluder(5, 3)
    asked = {"fill": 0.0, "units": ["4/1"], "method": "full"}
    one = sweep(network, image, occluder, **asked)
    other = sweep(network, image, occluder, batch_size=batch_size, **asked)
    torch.testing.assert_close(one.logits, other.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(one.activity, other.activity, rtol=0, atol=1e-5)
    assert torch.equal(one.label(), other.label())


def test_a_network_that_ends_in_a_softmax_is_not_normalised_twice():
    image, occluder = random_image(), Occluder(5, 3)
    plain = sweep(random_network(), image, occluder, fill=0.0)
    ended = sweep(random_network(nn.Softmax(1), nn.Flatten()), image, occluder, fill=0.0)
    assert (plain.normalised, ended.normalised) == (False, True)
    for target in range(5):
        torch.testing.assert_close(plain.probability(target), ended.probability(target))
    torch.testing.assert_close(plain.base_probabilities(), ended.base_probabilities())


def test_probabilities_of_a_sigmoid_are_taken_as_they_are():
    result = sweep(random_network(nn.Sigmoid()), random_image(), Occluder(8, 8), fill=0.0)
    assert result.normalised
    assert torch.equal(result.probability(2), result.logits[..., 2])


def test_without_classes_nothing_above_the_units_runs():
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    network = open_network(body, (3, 16, 16))
    result = sweep(network, random_image(), Occluder(8, 8), fill=0.0, units=["1/3"], classify=False)
    assert result.logits is None
    assert result.activity.shape == (2, 2, 1)
    with pytest.raises(BadInput, match="classify=True"):
        result.label()
    with pytest.raises(BadInput, match="'1', 4x14x14"):
        sweep(network, random_image(), Occluder(8, 8), fill=0.0)


def test_progress_counts_positions_up_to_all_of_them():
    seen = []
    sweep(
        random_network(), random_image(), Occluder(4, 4), fill=0.0, batch_size=5, method="full",
        progress=lambda what, done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(5, 16), (10, 16), (15, 16), (16, 16)]


def test_batches_are_sized_by_what_they_hold_in_memory():
    network = random_network()
    assert full_batch_size(network, [network.output]) == 16
    wide = open_network(nn.Sequential(nn.Conv2d(3, 512, 1), nn.ReLU()), (3, 224, 224))
    assert full_batch_size(wide, [wide.output]) == 1


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"method": "guess"}, BadOption, "method 'guess': it is incremental, full"),
        ({"batch_size": 0}, BadOption, "1 or more"),
        ({"fill": torch.zeros(2)}, BadOption, "fill has shape"),
        ({"units": ["4/99"]}, NoSuchUnit, "0 to 7"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(settings, error, words):
    settings = {"fill": 0.0, **settings}
    with pytest.raises(error, match=words):
        sweep(random_network(), random_image(), Occluder(4, 4), **settings)


def test_a_target_that_is_no_class_is_refused():
    result = sweep(random_network(), random_image(), Occluder(8, 8), fill=0.0)
    with pytest.raises(BadOption, match="classes 0 to 4"):
        result.probability(5)


def test_an_image_of_another_shape_and_several_images_are_refused():
    with pytest.raises(BadInput, match="3x8x8"):
        sweep(random_network(), torch.zeros(3, 8, 8), Occluder(4, 4), fill=0.0)
    with pytest.raises(BadInput, match="one at a time"):
        sweep(random_network(), torch.zeros(2, 3, 16, 16), Occluder(4, 4), fill=0.0)


def test_nan_in_the_weights_is_named_by_layer_and_nan_in_the_image_as_such():
    network = random_network()
    with torch.no_grad():
        network.nodes["3"].tensors["weight"][0, 0, 0, 0] = torch.nan
    with pytest.raises(NonFinite, match="layer '3' makes NaN"):
        sweep(network, random_image(), Occluder(4, 4), fill=0.0)
    with pytest.raises(NonFinite, match="the image holds NaN"):
        sweep(network, torch.full((3, 16, 16), torch.nan), Occluder(4, 4), fill=0.0)


def test_incremental_and_full_answer_alike() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 5, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    ).eval()
    network = open_network(module, (3, 40, 36))
    image = torch.randn(3, 40, 36)
    units = ["4/3", "1/0", "4/1", "7/2"]
    fast, slow = (
        sweep(network, image, Occluder((9, 13), (5, 7)), fill=0.3, units=units, method=method)
        for method in ("incremental", "full")
    )
    assert fast.logits is not None and slow.logits is not None
    torch.testing.assert_close(fast.logits, slow.logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(fast.activity, slow.activity, atol=1e-3, rtol=1e-4)
    assert torch.equal(fast.label(), slow.label())


@pytest.mark.parametrize("method", ["incremental", "full"])
def test_bfloat16_is_close_and_says_how_close(method):
    network, image = random_network(), random_image()
    exact = sweep(network, image, Occluder(4, 4), fill=0.0, method=method)
    found = sweep(network, image, Occluder(4, 4), fill=0.0, method=method, precision="bfloat16")
    assert exact.rounding is None
    assert found.rounding is not None and found.logits.dtype == torch.float32
    off = (found.logits - exact.logits).abs().max()
    assert 0 < off < 0.05 * exact.logits.abs().max()
    assert found.rounding.checked == 16  # all of them
    assert found.rounding.logits == pytest.approx(float(off), abs=1e-5)
    assert found.rounding.labels == int((found.label() != exact.label()).sum())


def test_an_unknown_precision_is_refused():
    with pytest.raises(BadOption, match="float32, bfloat16"):
        sweep(random_network(), random_image(), Occluder(4, 4), fill=0.0, precision="int8")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", ["incremental", "full"])
def test_a_narrow_network_answers_in_float32_what_it_says_itself(dtype, method) -> None:
    """Weights in bfloat16: the numbers are its own, handed out in a type that numpy knows."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(196, 5)
    ).to(dtype)
    network = open_network(module.eval(), (3, 16, 16))
    image, occluder = random_image().to(dtype).float(), Occluder(6, 5)
    maps = occlude(network, image, occluder, fill=0.25, method=method)
    for name, array in maps.arrays().items():
        assert array.dtype in (np.float32, np.float64, np.int64) or name == "unit"
    assert maps.projection.dtype == maps.image.dtype == maps.fill.dtype == torch.float32
    own = []
    for box in occluder.boxes(16, 16):
        covered = image.clone()
        covered[:, box.top : box.bottom, box.left : box.right] = 0.25
        with torch.no_grad():
            own.append(module(covered[None].to(dtype)).float().softmax(1)[0, maps.target])
    torch.testing.assert_close(maps.probability.flatten(), torch.stack(own), atol=2e-3, rtol=0)
    sweeps = [
        sweep(open_network(each, (3, 16, 16)), image, occluder, fill=0.25, precision="bfloat16")
        for each in (module, copy.deepcopy(module).float())
    ]
    assert sweeps[0].rounding == sweeps[1].rounding  # both against float32
