"""The baseline of transfer (paper, Tables 3 and 4): a network that learns all from the same images.

What one fold's network is shown is what its probe is shown: the fold's training images. It is
tested on the fold's test images, which its training never sees. Trainings go through
`training.loop.train` alone.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convscope.execution import Execution
from convscope.experiments.transfer.folds import Fold, labels_of
from convscope.experiments.transfer.scores import class_accuracies
from convscope.images.batches import batches
from convscope.images.image_set import ImageSet
from convscope.images.subsets import subset_images
from convscope.models.architectures import Initialisation
from convscope.models.zoo import open_model
from convscope.progress import Progress, named
from convscope.store.fingerprint import text_fingerprint
from convscope.training.loop import train
from convscope.training.recipe import Recipe, Schedule

__all__ = ["Scratch", "for_few_images"]

TESTED = 64  # images per forward pass
BATCH = 16  # images per step


def for_few_images(recipe: Recipe) -> Recipe:
    """A recipe for thousands of images, changed for tens of them, where steps are few.

    Small batches, so that there are more of them; no dropout, and no weights that begin as small as
    the paper's: each would leave the network untrained.
    """
    return replace(recipe, batch_size=BATCH, dropout=0.0, initialisation=Initialisation.HE)


@dataclass(frozen=True, eq=False)
class Scratch:
    """Trains an architecture on a fold's images: the baseline of `transfer`.

    Attributes:
        architecture: A name of models/architectures.py.
        recipe: What to train with. A rate that would fall at the validation's plateaus falls by a
            cosine: there are no images to validate on but those that are learned from.
        test: Where tests come from, if not from `images`.
        folder: For the runs; each is removed once it is measured.
    """

    architecture: str
    recipe: Recipe
    images: ImageSet
    folder: Path
    test: ImageSet | None = None
    device: str | torch.device = "cpu"
    workers: int = 0
    progress: Progress | None = None

    def __post_init__(self) -> None:
        recipe = replace(self.recipe, keep_epochs=())
        if recipe.schedule is Schedule.PLATEAU:
            recipe = replace(recipe, schedule=Schedule.COSINE)
        object.__setattr__(self, "recipe", recipe)

    def to_dict(self) -> dict[str, Any]:
        """What is trained, and how: what the results depend on besides the fold. JSON-able."""
        return {"architecture": self.architecture, "recipe": self.recipe.to_dict()}

    @property
    def key(self) -> str:
        """The architecture, and a word that another recipe changes."""
        words = json.dumps(self.recipe.to_dict(), sort_keys=True)
        return f"{self.architecture} {text_fingerprint(words)[:12]}"

    def __call__(self, fold: Fold, per_class: int, number: int) -> dict[str, Any]:
        """{"accuracies": by class}. Raises as `training.loop.train` does."""
        shown = subset_images(self.images, fold.train(per_class))
        recipe = replace(self.recipe, seed=self.recipe.seed + number)
        run = self.folder / f"{per_class} per class, fold {number}"
        shutil.rmtree(run, ignore_errors=True)  # of a study that was interrupted in it
        what = f"from scratch, {per_class} per class, fold {number}"
        how = Execution(self.device, self.workers, progress=named(self.progress, what))
        learned = train(self.architecture, (shown, shown), recipe, run, how=how)
        tests = subset_images(self.test or self.images, fold.test)
        accuracies = _tested(learned.weights, self.architecture, tests, self.device)
        shutil.rmtree(run)
        return {"accuracies": accuracies}


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
