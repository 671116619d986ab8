"""Networks that others wrote: torchvision's, timm's, and those of a user's own factory.

Functions here take a name, weights or None, and a seed, and return what was loaded. They never
download: without a weights file the weights are what the library, or the user's factory, draws
from the seed.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from convscope.errors import BadModel
from convscope.images.preprocess import CROP_SHARE, Preprocess
from convscope.images.scaling import RECIPES, CustomScaling, Scaling
from convscope.images.torchvision_import import import_torchvision
from convscope.models.weights import Weights, load_weights

__all__ = ["LoadedModule", "from_factory", "from_timm", "from_torchvision"]

AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
# torchvision's weights for these two were ported from TensorFlow and want pixels in [-1, 1];
# torchvision converts inside the network (transform_input), here the preprocessing does
SIGNED_PIXELS = CustomScaling(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
# densenet's layers had other names when torchvision's weights were saved
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.\w+)$")


@dataclass(frozen=True)
class LoadedModule:
    """A module and what its origin says about it.

    Attributes:
        module: with its weights.
        weights: the file that they are from, if any.
        random_weights: whether they were drawn at random.
        preprocess: how it wants its images; None where nothing says so.
        classes: names of its outputs; None where nothing says so.
        notes: what a user should know, a sentence each.
    """

    module: nn.Module
    weights: Weights | None = None
    random_weights: bool = False
    preprocess: Preprocess | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def from_torchvision(name: str, weights: Weights | None, seed: int) -> LoadedModule:
    """Make a classification network of torchvision.

    Args:
        name: as torchvision has it.
        weights: that fill it; None draws them.
        seed: of random weights.

    Raises:
        BadModel: torchvision is missing or has no such network.
        BadCheckpoint: the weights do not fit.
    """
    models = import_torchvision().models
    known = models.list_models(module=models)
    if name not in known:
        raise _unknown("torchvision", name, known)
    extra = {"aux_logits": False, "init_weights": False} if name in AUXILIARY else {}
    with _seeded(seed):
        module = models.get_model(name, weights=None, **extra)
    preprocess = _torchvision_preprocess(models, name)
    if weights is None:
        return _random(module, preprocess, seed)
    notes: tuple[str, ...] = ()
    if name.startswith("densenet"):
        tensors = {OLD_DENSENET.sub(r"\1\2", key): t for key, t in weights.tensors.items()}
        weights = replace(weights, tensors=tensors)
    if name in AUXILIARY:
        used = weights.without(AUXILIARY[name])
        notes = (_about_signed_pixels(name),)
        if dropped := len(weights.tensors) - len(used.tensors):
            notes += (
                f"{dropped} tensors of {name}'s auxiliary classifiers are left out: "
                "they only serve training",
            )
        weights = used
        preprocess = replace(preprocess, scaling=Scaling.CUSTOM, recipe=SIGNED_PIXELS)
    load_weights(module, weights, name=f"torchvision:{name}")
    return LoadedModule(module, weights, preprocess=weights.preprocess or preprocess, notes=notes)


def _about_signed_pixels(name: str) -> str:
    return (
        f"taken for torchvision's own weights of {name}, which want pixels in [-1, 1]; "
        "for weights trained on ImageNet-normalised pixels give --preprocess imagenet"
    )


def _torchvision_preprocess(models: ModuleType, name: str) -> Preprocess:
    """How images were preprocessed when torchvision's published weights were evaluated."""
    published = list(models.get_model_weights(name))
    if not published:
        return Preprocess((3, 224, 224))
    transform = published[0].transforms()
    side = transform.crop_size[0]
    return _normalised((3, side, side), transform.mean, transform.std)


def from_timm(name: str, weights: Weights | None, seed: int) -> LoadedModule:
    """Make a network of timm, which is fed as its default configuration says.

    Args:
        name: as timm has it.
        weights: that fill it; None draws them.
        seed: of random weights.

    Raises:
        BadModel: timm is missing, has no such network, or cannot make it.
        BadCheckpoint: the weights do not fit.
    """
    import_torchvision()  # which timm imports
    try:
        import timm
        from timm.data import resolve_model_data_config
    except ImportError as error:
        raise BadModel("timm is not installed: pip install 'convscope[zoo]'") from error
    if "/" in name or not timm.is_model(name):  # with a slash timm would ask the network
        raise _unknown("timm", name, timm.list_models())
    with _seeded(seed), _blamed(f"timm:{name}"):
        module = timm.create_model(name, pretrained=False)
        config = resolve_model_data_config(module)
    preprocess = _normalised(tuple(config["input_size"]), config["mean"], config["std"])
    notes = _differences(config)
    if weights is None:
        return _random(module, preprocess, seed, notes)
    load_weights(module, weights, name=f"timm:{name}")
    return LoadedModule(module, weights, preprocess=weights.preprocess or preprocess, notes=notes)


def _differences(config: dict[str, Any]) -> tuple[str, ...]:
    """A note on how timm's evaluation differs from ours, if it does."""
    share, filter_ = config["crop_pct"], config["interpolation"]
    if share == CROP_SHARE and filter_ == "bilinear":
        return ()
    return (
        f"timm evaluates it with crop {share:.3g} and {filter_} resizing, "
        f"here with crop {CROP_SHARE} and bilinear",
    )


def from_factory(spec: str, weights: Weights | None, seed: int) -> LoadedModule:
    """Make the network of `package.module:factory`: call a function or class, or take a module.

    The current folder is searched too, as `python -m` does.

    Args:
        spec: package.module:factory.
        weights: that fill it; None leaves those that the factory made.
        seed: of what the factory draws with torch.

    Raises:
        BadModel: no such Python module or name, an exception in it, or a result that is not a
            torch module.
        BadCheckpoint: the weights do not fit.
    """
    path, _, name = spec.partition(":")
    if not all(part.isidentifier() for part in (*path.split("."), *name.split("."))):
        raise BadModel(f"model '{spec}': give package.module:factory, such as mynets.small:build")
    with _current_folder(), _seeded(seed):
        source = _import(path, spec)
        factory: Any = source
        for part in name.split("."):
            if not hasattr(factory, part):
                raise _unknown_attribute(path, name, source)
            factory = getattr(factory, part)
        module = factory
        if not isinstance(factory, nn.Module):
            if not callable(factory):
                raise BadModel(
                    f"{spec} is of type {type(factory).__name__}: name a function, class or module"
                )
            with _blamed(spec):
                module = factory()
    if not isinstance(module, nn.Module):
        raise BadModel(f"{spec} returned {type(module).__name__}, not a torch.nn.Module")
    if weights is None:
        return LoadedModule(module, notes=(f"the weights are those that {spec} made",))
    load_weights(module, weights, name=spec)
    return LoadedModule(module, weights, preprocess=weights.preprocess, classes=weights.classes)


def _import(path: str, spec: str) -> ModuleType:
    try:
        with _blamed(spec):
            return importlib.import_module(path)
    except BadModel as blamed:
        cause = blamed.__cause__
        if (
            isinstance(cause, ModuleNotFoundError)
            and cause.name
            and f"{path}.".startswith(f"{cause.name}.")
        ):
            raise BadModel(
                f"{spec}: no module {cause.name}, neither installed nor in {Path.cwd()}"
            ) from cause
        raise


def _unknown_attribute(path: str, name: str, source: ModuleType) -> BadModel:
    public = [attribute for attribute in vars(source) if not attribute.startswith("_")]
    near = get_close_matches(name, public, n=3)
    hint = f": did you mean {' or '.join(near)}?" if near else ""
    return BadModel(f"{path} ({source.__file__}) has no {name}{hint}")


def _random(
    module: nn.Module, preprocess: Preprocess, seed: int, notes: tuple[str, ...] = ()
) -> LoadedModule:
    words = (f"random weights, seed {seed}", *notes)
    return LoadedModule(module, random_weights=True, preprocess=preprocess, notes=words)


def _normalised(shape: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> Preprocess:
    channels, height, width = shape
    recipe = CustomScaling(mean=(mean[0], mean[1], mean[2]), std=(std[0], std[1], std[2]))
    if recipe == RECIPES[Scaling.IMAGENET]:
        return Preprocess((channels, height, width))
    return Preprocess((channels, height, width), Scaling.CUSTOM, recipe=recipe)


def _unknown(source: str, name: str, known: Sequence[str]) -> BadModel:
    near = get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {len(known)} others"
    return BadModel(f"{source} has no network called '{name}': {hint}")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Let torch draw from a seed; afterwards its generator is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _blamed(spec: str) -> Iterator[None]:
    """Turn whatever foreign code raises into a BadModel that names the model."""
    try:
        yield
    except (Exception, SystemExit) as error:
        words = " ".join(str(error).split())
        raise BadModel(f"{spec} failed with {type(error).__name__}: {words}") from error


@contextmanager
def _current_folder() -> Iterator[None]:
    """Let Python find modules in the current folder, too."""
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before
