"""How well a network classifies its validation pictures: by their middle, or by ten crops each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.distributed import ALONE, Ranks
from convscope.errors import BadOption
from convscope.images.fitting import middle
from convscope.training.pictures import LabelledPictures

__all__ = ["CropScores", "evaluate", "ten_crops"]

TOGETHER = 256  # images per forward pass


@dataclass(frozen=True)
class CropScores:
    """How well a network classifies a set of pictures.

    Attributes:
        crops: Crops of each picture, 1 or 10.
        loss: The mean cross-entropy, nats.
        top1: The share of pictures whose class has the highest output.
        top5: The share of pictures whose class is among the five highest outputs.
    """

    crops: int
    loss: float
    top1: float
    top5: float


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    pictures: LabelledPictures,
    mean: Tensor,
    size: int,
    *,
    crops: int = 1,
    ranks: Ranks = ALONE,
) -> CropScores:
    """Compute a network's scores, in float32. The network's mode, training or not, is as before.

    Args:
        network: Takes (n, 3, size, size) and returns logits (n, classes).
        pictures: Labelled pictures of S × S pixels, S at least `size`.
        mean: The mean picture that is subtracted first, S × S.
        size: Height and width of the network's input, pixels.
        crops: 1, the middle; 10, the corners and the middle with their mirror images, whose
            softmax outputs are averaged (paper §3).
        ranks: The processes that share the pictures; all of them get the same scores.

    Raises:
        BadOption: Another number of crops, or 10 of pictures no larger than `size`.

    Shape:
        pictures.pixels: uint8 (N, S, S, 3). mean: float32 (S, S, 3).
    """
    side = len(mean)
    if crops not in (1, 10) or (crops == 10 and side == size):
        raise BadOption(f"{crops} crops of {size} from {side} pixels: 1, or 10 of larger pictures")
    trained, device = network.training, next(network.parameters()).device
    network.eval()
    start, mean = middle(side, size), mean.to(device)
    sums = torch.zeros(3, dtype=torch.float64)
    for indices in ranks.share(torch.arange(len(pictures))).split(TOGETHER // crops):
        if not len(indices):  # more processes than pictures
            continue
        images = (pictures.pixels[indices].to(device).float() - mean).permute(0, 3, 1, 2)
        if crops == 1:
            cropped = images[:, :, start : start + size, start : start + size]
            logits = network(cropped.contiguous(memory_format=torch.channels_last))
        else:
            cropped = ten_crops(images, size).flatten(0, 1)  # (10 * n, 3, size, size)
            logits = network(cropped.contiguous(memory_format=torch.channels_last))
            chances = logits.float().softmax(1).unflatten(0, (10, -1)).mean(0)
            logits = chances.clamp_min(torch.finfo(torch.float32).tiny).log()
        sums += _summed_scores(logits.float().cpu(), pictures.labels[indices])
    network.train(trained)
    loss, first, five = (ranks.total(sums.to(device)).cpu() / len(pictures)).tolist()
    return CropScores(crops, loss, first, five)


def ten_crops(images: Tensor, size: int) -> Tensor:
    """Cut ten crops out of each image: four corners, the middle, then the same mirrored (paper §3).

    The corners come in the order top left, top right, bottom left, bottom right.

    Args:
        images: Square images.
        size: Height and width of a crop, pixels.

    Shape:
        images: (N, 3, S, S). The result: (10, N, 3, size, size).
    """
    far, centre = images.shape[-1] - size, middle(images.shape[-1], size)
    corners = [(0, 0), (0, far), (far, 0), (far, far), (centre, centre)]
    crops = [images[:, :, top : top + size, left : left + size] for top, left in corners]
    return torch.stack([*crops, *(crop.flip(3) for crop in crops)])


def _summed_scores(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum up a batch's scores: the cross-entropy, and the pictures right at first and among five.

    Shape:
        logits: (n, classes). labels: (n,). The result: float64 (3,).
    """
    loss = F.cross_entropy(logits, labels, reduction="sum")
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    return torch.stack([loss.double(), best[:, 0].sum().double(), best.sum().double()])
