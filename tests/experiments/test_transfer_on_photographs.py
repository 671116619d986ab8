"""Features of a real network on real photographs: what must not be lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from convscope.experiments.transfer.folds import Protocol
from convscope.experiments.transfer.learning_curve import transfer
from convscope.experiments.transfer.linear_model import Loss
from convscope.experiments.transfer.reading import LayerReader
from convscope.images.datasets import open_images
from convscope.images.subsets import subset_images, without_classes
from convscope.models.zoo import open_model
from convscope.network.network import open_network

DATA = Path(os.environ.get("CONVSCOPE_DATA", ""))
WEIGHTS = DATA / "squeezenet1_1_torchvision_fp16.safetensors"
CALTECH = DATA / "caltech101_40_per_class_144px.zip"
CLASSES, EACH = 12, 12
FLOOR = 0.80  # of 12 classes, from 5 images each; guessing reaches 0.083

pytestmark = [
    pytest.mark.filterwarnings("ignore:torchvision's compiled operators"),
    pytest.mark.real_data,
    pytest.mark.skipif(
        not os.environ.get("CONVSCOPE_DATA") or not (WEIGHTS.exists() and CALTECH.exists()),
        reason="CONVSCOPE_DATA names no folder with SqueezeNet's weights and the Caltech subset",
    ),
]


def test_squeezenet_s_features_tell_classes_that_it_never_learned() -> None:
    whole = open_images(f"caltech:{CALTECH}")
    classes = whole.classes or ()
    some = without_classes(whole, classes[CLASSES:])
    counts = [0] * CLASSES
    chosen = []
    for index in range(len(some)):
        label = some.label(index)
        assert label is not None
        if counts[label] < EACH:
            counts[label] += 1
            chosen.append(index)
    images = subset_images(some, chosen)
    model = open_model(f"torchvision:squeezenet1_1@{WEIGHTS}")
    reader = LayerReader(model, open_network(model.module, model.input_shape))
    found = transfer(reader, images, Protocol((1, 5), folds=3, classifiers=(Loss.SOFTMAX,)))
    one, five = (found.point("softmax", count).mean for count in (1, 5))
    assert found.layer == "features.12"
    assert five > FLOOR
    assert one < five
