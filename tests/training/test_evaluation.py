"""The test of a network: one crop, or the paper's ten."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from convscope.distributed import Ranks
from convscope.errors import BadOption
from convscope.training.evaluation import evaluate, ten_crops
from convscope.training.pictures import LabelledPictures

SIDE, SIZE = 9, 6


@pytest.fixture
def pictures() -> LabelledPictures:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, SIDE, SIDE, 3), generator=generator).byte()
    names = tuple("abcdefg")
    return LabelledPictures(pixels, torch.arange(40) % 7, names, "noise", "0" * 64)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 7))
    with torch.no_grad():
        for weight in layers.parameters():
            weight.mul_(0.05)
    return layers.train()


MEAN = torch.arange(SIDE * SIDE * 3).reshape(SIDE, SIDE, 3).float()


def test_the_ten_crops_are_the_corners_the_middle_and_their_mirror_images():
    picture = torch.arange(16.0).reshape(1, 1, 4, 4)
    crops = ten_crops(picture, 2)[:, 0, 0].int().tolist()
    expected = [
        [[0, 1], [4, 5]],
        [[2, 3], [6, 7]],
        [[8, 9], [12, 13]],
        [[10, 11], [14, 15]],
        [[5, 6], [9, 10]],
    ]
    assert crops == expected + [[row[::-1] for row in crop] for crop in expected]


def naive(network: nn.Module, pictures: LabelledPictures, crops: int) -> tuple[float, float, float]:
    """Picture by picture, crop by crop, in float64."""
    double, loss, first, five = network.double(), 0.0, 0, 0
    for pixels, label in zip(pictures.pixels, pictures.labels, strict=True):
        image = (pixels.double() - MEAN.double()).permute(2, 0, 1).numpy()
        far, mid = SIDE - SIZE, round((SIDE - SIZE) / 2)
        corners = (
            [(mid, mid)] if crops == 1 else [(0, 0), (0, far), (far, 0), (far, far), (mid, mid)]
        )
        views = [image[:, top : top + SIZE, left : left + SIZE] for top, left in corners]
        views += [view[:, :, ::-1] for view in views] if crops == 10 else []
        chances = np.zeros(7)
        for view in views:
            logits = double(torch.from_numpy(view.copy())[None])[0].detach().numpy()
            exponents = np.exp(logits - logits.max())
            chances += exponents / exponents.sum() / len(views)
        order = np.argsort(-chances).tolist()
        loss -= float(np.log(chances[int(label)]))
        first += order[0] == int(label)
        five += int(label) in order[:5]
    network.float()
    return loss / len(pictures), first / len(pictures), five / len(pictures)


@pytest.mark.parametrize("crops", [1, 10])
def test_the_scores_are_those_counted_by_hand(network, pictures, crops: int):
    scores = evaluate(network, pictures, MEAN, SIZE, crops=crops)
    assert scores.crops == crops and network.training
    found = (scores.loss, scores.top1, scores.top5)
    assert found == pytest.approx(naive(network, pictures, crops), rel=1e-4)


def test_the_shares_of_several_processes_add_up(network, pictures):
    whole = evaluate(network, pictures, MEAN, SIZE, crops=10)
    parts = []
    for rank in range(3):

        class Third(Ranks):
            def total(self, values):
                parts.append(values.clone())
                return values

        evaluate(network, pictures, MEAN, SIZE, crops=10, ranks=Third(rank, 3))
    loss, first, five = (sum(parts) / len(pictures)).tolist()
    assert (loss, first, five) == pytest.approx((whole.loss, whole.top1, whole.top5))


def test_ten_crops_need_larger_pictures_and_other_numbers_are_refused(network, pictures):
    with pytest.raises(BadOption, match="10 crops of 9 from 9"):
        evaluate(network, pictures, MEAN, SIDE, crops=10)
    with pytest.raises(BadOption, match="5 crops"):
        evaluate(network, pictures, MEAN, SIZE, crops=5)
