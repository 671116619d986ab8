"""The baseline of transfer (paper, Tables 3 and 4): a network that learns all from the same images.

What one fold's network is shown is what its probe is shown: the fold's training images; it is
tested on the fold's test images. Trainings go through `training.loop.train` alone.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convscope.experiments.transfer.folds import Fold, labels_of
from convscope.experiments.transfer.scores import class_accuracies
from convscope.images.batches import batches
from convscope.images.chosen import chosen_images
from convscope.images.image_set import ImageSet
from convscope.network.zoo import open_model
from convscope.progress import Progress, named
from convscope.training.loop import train
from convscope.training.recipe import Recipe

__all__ = ["Scratch"]

TESTED = 64  # images per forward pass


@dataclass(frozen=True, eq=False)
class Scratch:
    """Trains an architecture on a fold's images; `transfer`'s argument of that name.

    architecture : a name of network/architectures.py;   test : where the tests come from, if not
        from `images`;   folder : for the runs, each removed once it is measured
    """

    architecture: str
    recipe: Recipe
    images: ImageSet
    folder: Path
    test: ImageSet | None = None
    device: str | torch.device = "cpu"
    workers: int = 0
    progress: Progress | None = None

    def __call__(self, fold: Fold, per_class: int, number: int) -> dict[str, Any]:
        """{"architecture", "accuracies": by class}. Raises as `training.loop.train` does."""
        tested = chosen_images(self.test or self.images, fold.test)
        recipe = replace(self.recipe, seed=self.recipe.seed + number)
        run = self.folder / f"{per_class} per class, fold {number}"
        shutil.rmtree(run, ignore_errors=True)  # of a study that was interrupted in it
        learned = train(
            self.architecture,
            chosen_images(self.images, fold.train(per_class)),
            tested,
            recipe,
            run,
            device=self.device,
            workers=self.workers,
            progress=named(self.progress, f"from scratch, {per_class} per class, fold {number}"),
        )
        accuracies = _tested(learned.weights, self.architecture, tested, self.device)
        shutil.rmtree(run)
        return {"architecture": self.architecture, "accuracies": accuracies}


@torch.no_grad()
def _tested(
    weights: Path, architecture: str, tests: ImageSet, device: str | torch.device
) -> list[float]:
    """The accuracy of each class."""
    model = open_model(f"{architecture}@{weights}")
    module = model.module.to(device)
    predicted = np.full(len(tests), -1, np.int64)
    for batch in batches(tests, model.preprocess, batch_size=TESTED):
        if len(batch):
            scores = module(batch.tensors.to(device))
            predicted[batch.indices.numpy()] = scores.argmax(1).cpu().numpy()
    return class_accuracies(predicted, labels_of(tests), len(tests.classes or ())).tolist()
