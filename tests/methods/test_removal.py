"""Taking a unit away: the loss is what a network without it gives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from convscope.errors import BadInput
from convscope.methods.removal import class_losses, losses_without, remove_units
from convscope.network.network import Network, open_network

SHAPE = (3, 12, 12)


def build() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(54, 4),
    ).double().eval()  # fmt: skip


@pytest.fixture(scope="module")
def network() -> Network:
    return open_network(build(), SHAPE)


IMAGES = torch.randn(7, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2])


def test_the_loss_without_a_unit_is_that_of_a_module_without_it(network: Network) -> None:
    before, without = losses_without(network.trace(IMAGES), ["2/3", "5/0", "7/1"], LABELS)
    module = build()
    loss = nn.CrossEntropyLoss(reduction="none")
    torch.testing.assert_close(before, loss(module(IMAGES), LABELS))
    for row, after, channel in ((0, 3, 3), (1, 6, 0), (2, 8, 1)):
        values = module[:after](IMAGES).clone()
        values[:, channel] = 0
        torch.testing.assert_close(without[row], loss(module[after:](values), LABELS))


def test_a_map_may_be_set_to_its_mean(network: Network) -> None:
    maps = network.values(IMAGES, ["2"])["2"]
    means = {"2": maps.mean((0, 2, 3))}
    _, without = losses_without(network.trace(IMAGES), ["2/1"], LABELS, means=means)
    changed = maps.clone()
    changed[:, 1] = means["2"][1]
    expected = nn.functional.cross_entropy(build()[3:](changed), LABELS, reduction="none")
    torch.testing.assert_close(without[0], expected)


def test_one_logit_is_two_classes() -> None:
    network = open_network(nn.Sequential(nn.Flatten(), nn.Linear(432, 1)).double(), SHAPE)
    output = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
    losses = class_losses(network, output)[[0, 1], [1, 0]]
    expected = [math.log1p(math.exp(-2)), math.log1p(math.exp(-1))]
    assert losses.tolist() == pytest.approx(expected)


def test_labels_that_the_network_does_not_tell_are_refused(network: Network) -> None:
    with pytest.raises(BadInput, match="classes 0 to 3"):
        losses_without(network.trace(IMAGES), ["5/0"], LABELS + 1)


class Branched(nn.Module):
    """A sum and a concatenation around the layer that loses a map."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.stem, self.body = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)
        self.head = nn.Linear(10, 4)
        self.lost: int | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        y = self.body(x).relu()
        if self.lost is not None:
            y = y.clone()
            y[:, self.lost] = 0
        return self.head(torch.cat([x, x + y], 1).mean((2, 3)))


def test_what_lies_beside_the_layer_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convscope.methods.removal.PAIRS", 4)
    module = Branched().double().eval()
    network = open_network(module, SHAPE)
    layer = network.activation("body")
    units = [f"{layer}/{channel}" for channel in (4, 0, 3)]
    removed = remove_units(network.trace(IMAGES), units, LABELS)
    for row, channel in enumerate((4, 0, 3)):
        module.lost = channel
        scores = module(IMAGES)
        loss = nn.functional.cross_entropy(scores, LABELS, reduction="none")
        torch.testing.assert_close(removed.loss_without[row], loss)
        torch.testing.assert_close(removed.classes_without[row], -scores.log_softmax(1))
        assert torch.equal(removed.right_without[row], scores.argmax(1) == LABELS)


def test_a_map_that_holds_what_is_put_there_is_not_run_again(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = network.trace(IMAGES)
    values = trace["2"].clone()
    values[:5, 3] = 0
    trace = trace.replaced("2", values)
    asked = []
    monkeypatch.setattr(
        "convscope.methods.removal._answer",
        lambda trace, above, known, images: asked.append(images.tolist()) or trace["7"][images],
    )
    removed = remove_units(trace, ["2/3"], LABELS)
    assert asked == [[5, 6]]
    torch.testing.assert_close(removed.loss_without[0], removed.loss)
