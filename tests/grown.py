"""A run whose features grow as planned: its kept weights are written by hand, epoch by epoch.

conv1/0   looks for red at epochs 0 and 1, for blue from 2 on: the winning image changes at 2
conv1/1   is what it is at the end from epoch 1 on
conv1/2   is what it is at the end at all epochs but 1, where it is dead
conv1/3   is dead at the end
conv1/4   goes from red to green: 0, 50, 80 and 100 % of the way
conv1/5   never changes;   conv1/6 and 7 are new at each epoch, as is all of conv2
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.models.architectures import ARCHITECTURES, Convnet, Initialisation, build
from convscope.training.checkpoint import Epoch, Run, RunFolder, RunStatus
from convscope.training.recipe import SMALL

ARCHITECTURE = (
    replace(ARCHITECTURES["zfnet-small"], input_size=28)
    .with_maps(dict.fromkeys(range(1, 6), 8))
    .with_units(16)
    .with_classes(2)
)
EPOCHS = (0, 1, 2, 3)
DEAD = 3  # of conv1, at the end
SETTLED = {0: 2, 1: 1, 2: 2, 4: 2, 5: 0, 6: 3, 7: 3}  # conv1, by projection at 0.9
SHARES = (0.0, 0.5, 0.8, 1.0)  # of conv1/4's way
RED, GREEN, BLUE = 0, 1, 2
RECIPE = replace(SMALL, epochs=3, keep_epochs=EPOCHS)


def write_pictures(folder: Path) -> Path:
    """One picture of each colour, and noise, in two class folders."""
    dice = np.random.default_rng(0)
    pictures = {
        name: np.broadcast_to(np.eye(3)[plane] * 255, (28, 28, 3))
        for plane, name in enumerate(("plain/red", "plain/green", "plain/blue"))
    }
    pictures |= {f"noise/{n}": 90 + 70 * dice.random((28, 28, 3)) for n in range(5)}
    for name, pixels in pictures.items():
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


def network_at(epoch: int) -> Convnet:
    """The planned network after an epoch."""
    network = build(ARCHITECTURE, Initialisation.HE, seed=100 + epoch)
    end = build(ARCHITECTURE, Initialisation.HE, seed=100 + EPOCHS[-1])
    with torch.no_grad():
        for map_ in (1, 2, 5):
            network.conv1.weight[map_] = end.conv1.weight[map_]
        network.conv1.weight[0] = looks_for(RED if epoch < 2 else BLUE)
        if epoch == 0:
            network.conv1.weight[1] = -network.conv1.weight[1]
        if epoch == 1:
            network.conv1.weight[2] = 0
        if epoch == EPOCHS[-1]:
            network.conv1.weight[DEAD] = 0
        share = SHARES[epoch]
        network.conv1.weight[4] = (1 - share) * looks_for(RED) + share * looks_for(GREEN)
    return network


def looks_for(plane: int) -> Tensor:
    """A filter (3, 7, 7) of one colour."""
    weight = torch.zeros(3, 7, 7)
    weight[plane] = 0.01
    return weight


def write_run(
    folder: Path, *, status: RunStatus = RunStatus.FINISHED, last: int = EPOCHS[-1]
) -> Path:
    """The run's folder, as training would have left it after epoch `last`."""
    folder.mkdir(parents=True)
    about = {"spec": "pictures", "identity": "ab" * 32, "count": 8, "skipped": 0}
    run = Run(ARCHITECTURE, RECIPE, ("noise", "plain"), about, about, {"device": "cpu"})
    preprocess = Preprocess(ARCHITECTURE.input_shape, Scaling.PAPER, Fit.NONE)
    writer = RunFolder(folder, run, preprocess)
    for epoch in range(last + 1):
        if epoch > 0:
            writer.log(an_epoch(epoch))
        writer.keep(network_at(epoch), epoch)
    if status is RunStatus.FINISHED:
        writer.finish(network_at(last))
    else:
        writer.stop(status)
    return folder


def an_epoch(number: int) -> Epoch:
    """One that brought something."""
    return Epoch(
        epoch=number,
        loss=2.0 / number,
        accuracy=0.2 * number,
        val_loss=2.5 / number,
        val_accuracy=0.1 * number,
        val_top5=0.3 * number,
        learning_rate=0.01 / 10**number,
        renormalised=5 * number,
        steps=4,
        seconds=1.0,
    )
