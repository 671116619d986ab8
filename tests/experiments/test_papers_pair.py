"""Layer 1 as in AlexNet and as in ZFNet, on the same scenes: the fault is in the first alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convscope.experiments.diagnosis.diagnosis import Diagnosis
from convscope.experiments.diagnosis.examined import examine
from convscope.experiments.diagnosis.findings import FindingKind
from convscope.images.batches import batches
from convscope.images.datasets import open_images
from convscope.models.architectures import Architecture, Convolution, Dense
from convscope.models.zoo import open_model
from convscope.network.network import open_network
from convscope.training.loop import load_training_data, train_on
from convscope.training.recipe import SMALL

SIDE = 48
SECOND = Convolution(2, 16, 3, padding=1, pooled=True, normalised=True)
LARGE = Convolution(1, 32, 11, stride=4, padding=4, pooled=True, normalised=True)
FINE = Convolution(1, 32, 7, stride=2, padding=3, pooled=True, normalised=True)
RECIPE = replace(
    SMALL, epochs=10, batch_size=16, learning_rate=0.002, weight_decay=2e-3, keep_epochs=()
)


@pytest.fixture(scope="module")
def diagnoses(tmp_path_factory: pytest.TempPathFactory) -> tuple[Diagnosis, Diagnosis]:
    """Of the large and of the fine first layer, trained with the same images, recipe and seed."""
    pair = [
        Architecture(name, SIDE, (first, SECOND), (Dense(6, 64),), classes=12, dropout=0.0)
        for name, first in (("large", LARGE), ("fine", FINE))
    ]
    images = open_images("scenes:train:800", size=SIDE)
    seen = open_images("scenes:val:200", size=SIDE)
    lesson = load_training_data(pair[0], images, seen, RECIPE)
    found = []
    for network in pair:
        run = train_on(network, lesson, RECIPE, tmp_path_factory.mktemp("pair") / network.name)
        model = open_model(f"run:{run.folder}")
        given = (batch.tensors for batch in batches(seen, model.preprocess, batch_size=50))
        opened = open_network(model.module, model.input_shape)
        found.append(examine(opened, model.preprocess, network.name, given).diagnosis)
    return found[0], found[1]


@pytest.mark.long
def test_the_large_stride_aliases_and_the_fine_network_has_no_fault(
    diagnoses: tuple[Diagnosis, Diagnosis],
):
    large, fine = diagnoses
    assert ("conv1", FindingKind.ALIASING) in [(fault.layer, fault.kind) for fault in large.faults]
    assert fine.faults == ()


@pytest.mark.long
def test_the_large_stride_folds_more_and_shifts_less_with_the_image_in_both_layers(
    diagnoses: tuple[Diagnosis, Diagnosis],
):
    large, fine = (each.layers[0] for each in diagnoses)
    assert large.folding is not None
    assert fine.folding is not None
    assert large.folding.mean > 1.5 * fine.folding.mean
    assert (large.unsteadiness or 0.0) > 1.5 * (fine.unsteadiness or 1.0)
