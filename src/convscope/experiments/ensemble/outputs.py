"""What a network says of pictures: probabilities of the classes, of one crop or of ten."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import BadModel, NonFinite, UnsupportedOp
from convscope.experiments.ensemble.combined import Chances
from convscope.images.fitting import Fit, middle
from convscope.images.preprocess import Preprocess
from convscope.methods.classes import Head
from convscope.models.architectures import Convnet
from convscope.models.zoo import Model
from convscope.network.network import open_network
from convscope.progress import Progress
from convscope.training.evaluation import ten_crops

__all__ = ["chances_of"]

TOGETHER = 256  # crops per forward pass


@torch.inference_mode()
def chances_of(
    model: Model,
    pixels: Tensor,
    *,
    crops: int = 1,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> dict[int, Chances]:
    """Compute the probabilities that a network gives to pictures.

    Args:
        model: The network, and how it wants its images.
        pixels: Pictures through `view_of` of the model's preprocessing.
        crops: 1, or 10 to average ten crops as well.
        device: Where to run.
        progress: Is told how many pictures are done.

    Returns:
        Under 1 the probabilities of the middle of each picture; under 10, if asked for, those
        averaged over ten crops.

    Shape:
        pixels: uint8 (N, S, S, 3). Probabilities: float32 (N, classes).

    Raises:
        NonFinite: Some of them are NaN.
        BadModel: The output gives no probabilities.
    """
    head = _head(model)
    module, size = model.module.to(device).eval(), model.input_shape[1]
    wide = _widened(model.preprocess, pixels.shape[1])
    start = middle(pixels.shape[1], size)
    parts: dict[int, list[Tensor]] = {1: [], 10: []} if crops == 10 else {1: []}
    for part in pixels.split(TOGETHER // crops):
        images = torch.from_numpy(wide.scaled(part.numpy())).to(device)
        if crops == 10:
            cut = ten_crops(images, size)  # (10, n, 3, size, size), the middle at 4
            chances = _probabilities(module, head, cut.flatten(0, 1)).unflatten(0, (10, -1))
            parts[1].append(chances[4].cpu())
            parts[10].append(chances.mean(0).cpu())
        else:
            cut = images[:, :, start : start + size, start : start + size]
            parts[1].append(_probabilities(module, head, cut).cpu())
        if progress is not None:
            progress("images", sum(map(len, parts[1])), len(pixels))
    found = {each: torch.cat(chances) for each, chances in parts.items()}
    lost = int((~found[crops].isfinite()).any(1).sum())
    if lost:
        raise NonFinite(
            f"{model.spec}: its output is NaN or infinite for {lost} of {len(pixels)} images: "
            "check its weights"
        )
    return {each: chances.numpy() for each, chances in found.items()}


def _head(model: Model) -> Head | None:
    """How the output is read; None where the network has operations that cannot be followed."""
    if isinstance(model.module, Convnet):
        return Head(model.module.architecture.classes, normalised=False)
    try:
        return Head.of(open_network(model.module, model.input_shape))
    except (UnsupportedOp, BadModel):
        return None


def _probabilities(module: nn.Module, head: Head | None, images: Tensor) -> Tensor:
    """The probabilities (N, classes) of some images; BadModel where the output gives none."""
    output = module(images.contiguous(memory_format=torch.channels_last))
    if not isinstance(output, Tensor):
        raise BadModel(f"the network returns a {type(output).__name__}, not one tensor of scores")
    output = output.float()
    if head is None:
        if bool(((output >= 0) & (output <= 1)).all() and output.any()):
            raise BadModel(
                "the network has operations that Convscope does not follow, and all of its outputs "
                "lie between 0 and 1: whether they are probabilities cannot be told"
            )
        head = Head(output[0].numel(), normalised=False)
    return head.probabilities(head.vectors(output))


def _widened(preprocess: Preprocess, side: int) -> Preprocess:
    """The same scaling for pictures with more around the input.

    Of a mean per pixel only the part behind the input is kept with the weights; beyond it, its
    edges go on. In the middle that changes nothing.
    """
    mean, size = preprocess.mean, preprocess.shape[1]
    if isinstance(mean, np.ndarray) and side > size:
        before = middle(side, size)
        around = (before, side - size - before)
        mean = np.pad(mean, ((0, 0), around, around), mode="edge")
    return replace(preprocess, shape=(3, side, side), fit=Fit.NONE, mean=mean)
