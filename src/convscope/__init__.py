"""Convscope: a microscope for convolutional networks.

    >>> network = convscope.open_network(module, (3, 224, 224))
    >>> trace = network.trace(image)
    >>> convscope.project(trace, ["conv5/128"])

Names are loaded when first used, so that `import convscope` does not import torch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from . import errors
    from .atlas.build import build_atlas
    from .atlas.store import open_atlas
    from .atlas.verify import verify
    from .experiments.ablation.equal_budget import ablate
    from .experiments.correspondence.sign_distance import correspond
    from .experiments.diagnosis.diagnosis import diagnose
    from .experiments.ensemble.averaging import ensemble
    from .experiments.evolution.growth import evolve
    from .experiments.invariance.curves import invariance
    from .experiments.paper.reproduction import reproduce
    from .experiments.sensitivity.sweeps import sensitivity
    from .experiments.transfer.layers import probe
    from .experiments.transfer.learning_curve import transfer
    from .experiments.transfer.multilabel import transfer_several
    from .experiments.transfer.reading import LayerReader
    from .images.datasets import open_images
    from .images.duplicates import near_duplicates
    from .images.preprocess import Preprocess
    from .methods.project import Projections, TargetProjections, project, project_target
    from .methods.relevance import class_relevance
    from .methods.rules import (
        DECONVNET,
        DEEPLIFT,
        GRADIENT,
        GRADIENT_X_INPUT,
        GUIDED,
        LRP_EPSILON,
        LRP_GAMMA,
        Rules,
    )
    from .methods.targets import Target
    from .microscope import Microscope, View, open
    from .models.zoo import open_model
    from .network.network import Layer, Network, open_network
    from .network.trace import Trace
    from .network.unit import Unit
    from .verbs import (
        adaptive,
        atlas,
        check,
        compare,
        contrast,
        curvature,
        demo,
        explore,
        features,
        find_errors,
        invert,
        layers,
        localize,
        occlude,
        paper,
        pictures,
        remove_units,
        saliency,
        sanity,
        train,
        visualize,
    )

_HOMES = {
    "DECONVNET": "methods.rules",
    "DEEPLIFT": "methods.rules",
    "GRADIENT": "methods.rules",
    "GRADIENT_X_INPUT": "methods.rules",
    "GUIDED": "methods.rules",
    "LRP_EPSILON": "methods.rules",
    "LRP_GAMMA": "methods.rules",
    "Target": "methods.targets",
    "TargetProjections": "methods.project",
    "Layer": "network.network",
    "LayerReader": "experiments.transfer.reading",
    "Microscope": "microscope",
    "Network": "network.network",
    "Preprocess": "images.preprocess",
    "Projections": "methods.project",
    "Rules": "methods.rules",
    "Trace": "network.trace",
    "Unit": "network.unit",
    "View": "microscope",
    "ablate": "experiments.ablation.equal_budget",
    "adaptive": "verbs",
    "atlas": "verbs",
    "build_atlas": "atlas.build",
    "check": "verbs",
    "class_relevance": "methods.relevance",
    "compare": "verbs",
    "contrast": "verbs",
    "correspond": "experiments.correspondence.sign_distance",
    "curvature": "verbs",
    "demo": "verbs",
    "diagnose": "experiments.diagnosis.diagnosis",
    "ensemble": "experiments.ensemble.averaging",
    "evolve": "experiments.evolution.growth",
    "explore": "verbs",
    "features": "verbs",
    "find_errors": "verbs",
    "invariance": "experiments.invariance.curves",
    "invert": "verbs",
    "layers": "verbs",
    "localize": "verbs",
    "near_duplicates": "images.duplicates",
    "open": "microscope",
    "occlude": "verbs",
    "open_atlas": "atlas.store",
    "open_images": "images.datasets",
    "open_model": "models.zoo",
    "open_network": "network.network",
    "paper": "verbs",
    "pictures": "verbs",
    "probe": "experiments.transfer.layers",
    "project": "methods.project",
    "project_target": "methods.project",
    "remove_units": "verbs",
    "reproduce": "experiments.paper.reproduction",
    "saliency": "verbs",
    "sanity": "verbs",
    "sensitivity": "experiments.sensitivity.sweeps",
    "train": "verbs",
    "transfer": "experiments.transfer.learning_curve",
    "transfer_several": "experiments.transfer.multilabel",
    "verify": "atlas.verify",
    "visualize": "verbs",
}

__all__ = [
    "DECONVNET",
    "DEEPLIFT",
    "GRADIENT",
    "GRADIENT_X_INPUT",
    "GUIDED",
    "LRP_EPSILON",
    "LRP_GAMMA",
    "Layer",
    "LayerReader",
    "Microscope",
    "Network",
    "Preprocess",
    "Projections",
    "Rules",
    "Target",
    "TargetProjections",
    "Trace",
    "Unit",
    "View",
    "ablate",
    "adaptive",
    "atlas",
    "build_atlas",
    "check",
    "class_relevance",
    "compare",
    "contrast",
    "correspond",
    "curvature",
    "demo",
    "diagnose",
    "ensemble",
    "errors",
    "evolve",
    "explore",
    "features",
    "find_errors",
    "invariance",
    "invert",
    "layers",
    "localize",
    "near_duplicates",
    "occlude",
    "open",
    "open_atlas",
    "open_images",
    "open_model",
    "open_network",
    "paper",
    "pictures",
    "probe",
    "project",
    "project_target",
    "remove_units",
    "reproduce",
    "saliency",
    "sanity",
    "sensitivity",
    "train",
    "transfer",
    "transfer_several",
    "verify",
    "visualize",
]


class _Atlas(ModuleType):
    """The package `convscope.atlas`, which is the verb as well: `convscope.atlas(...)`."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return import_module(".verbs", __name__).atlas(*arguments, **options)


class _Errors(ModuleType):
    """The module `convscope.errors`, which is the verb as well: `convscope.errors(...)`."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return import_module(".verbs", __name__).find_errors(*arguments, **options)


class _Convscope(ModuleType):
    """This package, which makes its atlas and its errors callable whenever they are loaded."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _CALLABLE:
            value.__class__ = _CALLABLE[name]
        super().__setattr__(name, value)


_CALLABLE = {"atlas": _Atlas, "errors": _Errors}


sys.modules[__name__].__class__ = _Convscope


def _for_notebooks() -> Any:
    return import_module(".report.displays", __name__).for_notebooks()


import_module(".display", __name__).draw_by(_for_notebooks)


def __getattr__(name: str) -> Any:
    if name in _CALLABLE:  # the import sets the attribute, for good
        return import_module(f".{name}", __name__)
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
    found = next((study for study in studies if study.verb.replace("-", "_") == name), None)
    return found and import_module(".experiments.as_function", __name__).as_function(found)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
