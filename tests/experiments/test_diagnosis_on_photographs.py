"""SqueezeNet 1.1 on photographs: what is found is known of it, and nothing else is raised."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from convscope.experiments.diagnosis.diagnosis import diagnose
from convscope.experiments.diagnosis.findings import FindingKind, Severity
from convscope.images.datasets import batches, open_images
from convscope.models.zoo import open_model
from convscope.network.network import open_network

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("CONVSCOPE_DATA", REPOSITORY.parent / "shared" / "data"))
SAMPLES = DATA / "imagenet_1000_samples_256.zip"
WEIGHTS = DATA / "squeezenet1_1_torchvision_fp16.safetensors"
COUNT = 60

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        find_spec("torchvision") is None or not (SAMPLES.is_file() and WEIGHTS.is_file()),
        reason=f"no torchvision, {SAMPLES.name} or {WEIGHTS.name} in CONVSCOPE_DATA ({DATA})",
    ),
    pytest.mark.filterwarnings("ignore:torchvision's compiled operators:UserWarning"),
]


@pytest.mark.long
def test_squeezenet_has_an_aliased_first_layer_one_known_dead_map_and_no_other_fault():
    model = open_model(f"torchvision:squeezenet1_1@{WEIGHTS}")
    network = open_network(model.module, model.input_shape)
    images = open_images(SAMPLES)
    chosen = [place * len(images) // COUNT for place in range(COUNT)]
    seen = batches(images, model.preprocess, batch_size=20, workers=1, indices=chosen)
    diagnosis = diagnose(network, (batch.tensors for batch in seen))
    (fault,) = diagnosis.faults
    assert (fault.layer, fault.kind) == ("features.0", FindingKind.ALIASING)
    assert 8 <= len(fault.units) <= 20  # of 64: 3 x 3 edge filters at a stride of 2
    notes = [f for f in diagnosis.findings if f.severity is Severity.NOTE]
    assert {f.kind for f in notes} <= {FindingKind.DEAD, FindingKind.RARE}
    dead = {f.layer: f.units for f in notes if f.kind is FindingKind.DEAD}
    assert dead["features.3.expand1x1"] == (40,)
    assert sum(map(len, dead.values())) <= 4
    assert diagnosis.layer("features.0").unsteadiness > max(
        layer.unsteadiness for layer in diagnosis.layers[1:] if layer.unsteadiness is not None
    )
