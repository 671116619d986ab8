"""Convscope: a microscope for convolutional networks.

    >>> network = convscope.open_network(module, (3, 224, 224))
    >>> trace = network.trace(image)
    >>> convscope.project(trace, ["conv5/128"])

Names are loaded when first used, so that `import convscope` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .atlas.scan import build_atlas
    from .atlas.store import open_atlas
    from .experiments.ablation.equal_budget import ablate
    from .experiments.correspondence.sign_distance import correspond
    from .experiments.diagnosis.diagnosis import diagnose
    from .experiments.ensemble.averaging import ensemble
    from .experiments.evolution.growth import evolve
    from .experiments.invariance.curves import invariance
    from .experiments.paper.study import reproduce
    from .experiments.sensitivity.sweeps import sensitivity
    from .experiments.transfer.layers import probe
    from .experiments.transfer.learning_curve import transfer
    from .experiments.transfer.multilabel import transfer_several
    from .experiments.transfer.reading import LayerReader
    from .images.datasets import open_images
    from .images.duplicates import near_duplicates
    from .images.preprocess import Preprocess
    from .methods.project import Projections, project
    from .methods.rules import DECONVNET, GRADIENT, GUIDED, Rules
    from .network.network import Layer, Network, open_network
    from .network.trace import Trace
    from .network.unit import Unit
    from .network.zoo import open_model

_HOMES = {
    "DECONVNET": "methods.rules",
    "GRADIENT": "methods.rules",
    "GUIDED": "methods.rules",
    "Layer": "network.network",
    "LayerReader": "experiments.transfer.reading",
    "Network": "network.network",
    "Preprocess": "images.preprocess",
    "Projections": "methods.project",
    "Rules": "methods.rules",
    "Trace": "network.trace",
    "Unit": "network.unit",
    "ablate": "experiments.ablation.equal_budget",
    "build_atlas": "atlas.scan",
    "correspond": "experiments.correspondence.sign_distance",
    "diagnose": "experiments.diagnosis.diagnosis",
    "ensemble": "experiments.ensemble.averaging",
    "evolve": "experiments.evolution.growth",
    "invariance": "experiments.invariance.curves",
    "near_duplicates": "images.duplicates",
    "open_atlas": "atlas.store",
    "open_images": "images.datasets",
    "open_model": "network.zoo",
    "open_network": "network.network",
    "probe": "experiments.transfer.layers",
    "project": "methods.project",
    "reproduce": "experiments.paper.study",
    "sensitivity": "experiments.sensitivity.sweeps",
    "transfer": "experiments.transfer.learning_curve",
    "transfer_several": "experiments.transfer.multilabel",
}

__all__ = [
    "DECONVNET",
    "GRADIENT",
    "GUIDED",
    "Layer",
    "LayerReader",
    "Network",
    "Preprocess",
    "Projections",
    "Rules",
    "Trace",
    "Unit",
    "ablate",
    "build_atlas",
    "correspond",
    "diagnose",
    "ensemble",
    "evolve",
    "invariance",
    "near_duplicates",
    "open_atlas",
    "open_images",
    "open_model",
    "open_network",
    "probe",
    "project",
    "reproduce",
    "sensitivity",
    "transfer",
    "transfer_several",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    study = _study(name)
    if study is None:
        raise AttributeError(f"module 'convscope' has no attribute {name!r}")
    return study


def _study(name: str) -> Any:
    """A study that has no function of its own, as a function; None where there is none."""
    if name.startswith("_") or name in ("experiments", "errors"):
        return None
    studies = import_module(".experiments.registry", __name__).STUDIES
    found = next((each for each in studies if each.verb.replace("-", "_") == name), None)
    return found and import_module(".experiments.study", __name__).as_function(found)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
