"""How well a network knows its test pictures: by the middle of each, or by ten crops."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.errors import BadOption
from convscope.images.preprocess import middle
from convscope.network.ranks import ALONE, Ranks
from convscope.training.pictures import Pictures

__all__ = ["Scores", "evaluate", "ten_crops"]

TOGETHER = 256  # images per forward pass


@dataclass(frozen=True)
class Scores:
    """crops : of each picture, 1 or 10; loss : mean cross-entropy, nats; top1, top5 : shares"""

    crops: int
    loss: float
    top1: float
    top5: float


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    pictures: Pictures,
    mean: Tensor,
    size: int,
    *,
    crops: int = 1,
    device: torch.device | str = "cpu",
    ranks: Ranks = ALONE,
) -> Scores:
    """The network's scores, in float32. It comes back in the mode, training or not, that it was in.

    pictures : uint8 (N, S, S, 3), S at least `size`; mean : float32 (S, S, 3), taken off first
    crops : 1, the middle; 10, the corners and the middle with their mirror images, whose softmax
        outputs are averaged (paper §3)

    Raises  BadOption: another number of crops, or 10 of pictures no larger than `size`.
    """
    side = len(mean)
    if crops not in (1, 10) or (crops == 10 and side == size):
        raise BadOption(f"{crops} crops of {size} from {side} pixels: 1, or 10 of larger pictures")
    trained, device = network.training, torch.device(device)
    network.eval()
    start, mean = middle(side, size), mean.to(device)
    sums = torch.zeros(3, dtype=torch.float64)
    for chosen in ranks.share(torch.arange(len(pictures))).split(TOGETHER // crops):
        if not len(chosen):  # more processes than pictures
            continue
        images = (pictures.pixels[chosen].to(device).float() - mean).permute(0, 3, 1, 2)
        if crops == 1:
            cut = images[:, :, start : start + size, start : start + size]
            logits = network(cut.contiguous(memory_format=torch.channels_last))
        else:
            cut = ten_crops(images, size).flatten(0, 1)  # (10 * n, 3, size, size)
            logits = network(cut.contiguous(memory_format=torch.channels_last))
            chances = logits.float().softmax(1).unflatten(0, (10, -1)).mean(0)
            logits = chances.clamp_min(torch.finfo(torch.float32).tiny).log()
        sums += _counted(logits.float().cpu(), pictures.labels[chosen])
    network.train(trained)
    loss, first, five = (ranks.total(sums.to(device)).cpu() / len(pictures)).tolist()
    return Scores(crops, loss, first, five)


def ten_crops(images: Tensor, size: int) -> Tensor:
    """(10, N, 3, size, size) of (N, 3, S, S): corners (top left, top right, bottom left, bottom
    right), middle, then the same mirrored (paper §3)."""
    far, centre = images.shape[-1] - size, middle(images.shape[-1], size)
    corners = [(0, 0), (0, far), (far, 0), (far, far), (centre, centre)]
    cut = [images[:, :, top : top + size, left : left + size] for top, left in corners]
    return torch.stack([*cut, *(each.flip(3) for each in cut)])


def _counted(logits: Tensor, labels: Tensor) -> Tensor:
    """float64 (3,): summed cross-entropy, right at first, right among five."""
    loss = F.cross_entropy(logits, labels, reduction="sum")
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    return torch.stack([loss.double(), best[:, 0].sum().double(), best.sum().double()])
