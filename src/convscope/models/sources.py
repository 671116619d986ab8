"""Networks of torchvision and timm.

Functions here take a name, weights or None, and a seed, and return what was loaded. They never
download: without a weights file the weights are what the library draws from the seed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from convscope.errors import BadModel
from convscope.images.fitting import CROP_SHARE
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import RECIPES, CustomScaling, Scaling
from convscope.images.torchvision_import import import_torchvision
from convscope.models.heads import build_for, skeleton
from convscope.models.loaded import LoadedModule, blamed, seeded
from convscope.models.shards import weights_in_folder
from convscope.models.stems import RGB, with_stem_of
from convscope.models.weights import Weights, read_weights

__all__ = ["from_timm", "from_torchvision", "libraries_with"]

AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
# torchvision's weights for these two were ported from TensorFlow and want pixels in [-1, 1];
# torchvision converts inside the network (transform_input), here the preprocessing does
SIGNED_PIXELS = CustomScaling(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


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

    def make(classes: int | None) -> nn.Module:
        head = {} if classes is None else {"num_classes": classes}
        made: nn.Module = models.get_model(name, weights=None, **extra, **head)
        return made

    preprocess = _torchvision_preprocess(models, name)
    with seeded(seed):
        if weights is None:
            return _random(make(None), preprocess, seed)
        spare = AUXILIARY.get(name, ())
        build, channels = with_stem_of(make, weights, skeleton(make, None))
        module, notes = build_for(build, weights, f"torchvision:{name}", spare=spare)
    if channels != RGB:
        return _of_other_channels(module, weights, preprocess, channels, notes)
    if name in AUXILIARY:
        notes = (_about_signed_pixels(name), *notes)
        preprocess = replace(preprocess, scaling=Scaling.CUSTOM, recipe=SIGNED_PIXELS)
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
        name: as timm has it; or hf-hub:OWNER/NAME, which must lie in the cache; or local-dir:DIR.
        weights: that fill it; None draws them.
        seed: of random weights.

    Raises:
        BadModel: timm is missing, has no such network, or cannot make it.
        BadCheckpoint: the weights do not fit.
    """
    import_torchvision()  # which timm imports
    try:
        import timm
        from timm.data import resolve_model_data_config  # type: ignore[attr-defined, unused-ignore]
    except ImportError as error:
        raise BadModel("timm is not installed: pip install 'convscope[zoo]'") from error
    name, folder = _timm_folder(name)
    if folder is None and ("/" in name or not timm.is_model(name)):  # with a slash it would ask HF
        raise _unknown("timm", name, timm.list_models())
    spec = f"timm:{name}"

    def make(classes: int | None) -> nn.Module:
        head: dict[str, Any] = {} if classes is None else {"num_classes": classes}
        with blamed(spec):
            made: nn.Module = timm.create_model(folder or name, pretrained=False, **head)
        return made

    notes: tuple[str, ...]
    own = _weights_in(folder) if folder and weights is None else weights
    with seeded(seed):
        if own is None:
            module, notes = make(None), (f"random weights, seed {seed}",)
        else:
            build, channels = with_stem_of(make, own, skeleton(make, None))
            module, notes = build_for(build, own, spec, headless=True)
    with blamed(spec):
        config = resolve_model_data_config(module)
    preprocess = _normalised(tuple(config["input_size"]), config["mean"], config["std"])
    if own is not None and channels != preprocess.shape[0]:
        return _of_other_channels(module, own, preprocess, channels, notes)
    return LoadedModule(
        module,
        own,
        random_weights=own is None,
        preprocess=(own and own.preprocess) or preprocess,
        notes=(*notes, *_differences(config)),
    )


def _timm_folder(name: str) -> tuple[str, str | None]:
    """The model, and where it lies if it is a folder: one of the Hub's cache, or a user's own.

    Raises:
        BadModel: it is not there.
    """
    source, colon, rest = name.partition(":")
    if source == "local-dir" and colon:
        if not (Path(rest).expanduser() / "config.json").is_file():
            raise BadModel(f"timm:{name}: no config.json in {rest}: give a folder that timm saved")
        return name, f"local-dir:{Path(rest).expanduser()}"
    if source not in ("hf-hub", "hf_hub") or not colon:
        return name, None
    from huggingface_hub import try_to_load_from_cache

    with blamed(f"timm:{name}"):
        config = try_to_load_from_cache(rest, "config.json")
    if not isinstance(config, str):
        raise BadModel(
            f"timm:{name} is not in the cache of Hugging Face, and Convscope never downloads: "
            f"fetch it with 'hf download {rest}', then try again"
        )
    return name, f"local-dir:{Path(config).parent}"


def _weights_in(folder: str) -> Weights:
    """The weights in a folder of timm's.

    Raises:
        BadModel: there are none.
    """
    path = Path(folder.removeprefix("local-dir:"))
    if found := weights_in_folder(path):
        return read_weights(found)
    for file in ("pytorch_model.bin", "open_clip_model.safetensors"):
        if (path / file).is_file():
            return read_weights(path / file)
    raise BadModel(f"{path} holds no model.safetensors: fetch the whole model, or give @weights")


def _differences(config: dict[str, Any]) -> tuple[str, ...]:
    """A note on how timm's evaluation differs from ours, if it does."""
    share, filter_ = config["crop_pct"], config["interpolation"]
    if share == CROP_SHARE and filter_ == "bilinear":
        return ()
    return (
        f"timm evaluates it with crop {share:.3g} and {filter_} resizing, "
        f"here with crop {CROP_SHARE} and bilinear",
    )


def libraries_with(name: str, *, exactly: bool = True) -> list[str]:
    """The MODEL of a network that torchvision or timm have, as far as they are installed.

    Args:
        name: that somebody gave, without saying of which library.
        exactly: only those of this very name; else those of a similar one.

    Example:
        >>> libraries_with("resnet18")
        ['torchvision:resnet18', 'timm:resnet18']
    """
    found = []
    with suppress(BadModel), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing of theirs is used
        models = import_torchvision().models
        known = models.list_models(module=models)
        found += [f"torchvision:{each}" for each in _similar(name, known, exactly)]
        with suppress(ImportError):
            import timm

            found += [f"timm:{each}" for each in _similar(name, timm.list_models(), exactly)]
    return found


def _similar(name: str, known: Sequence[str], exactly: bool) -> list[str]:
    if exactly:
        return [name] if name in known else []
    return get_close_matches(name.lower(), known, n=1, cutoff=0.75)


def _of_other_channels(
    module: nn.Module, weights: Weights, usual: Preprocess, channels: int, notes: tuple[str, ...]
) -> LoadedModule:
    """A library's network for other pictures than RGB: nothing but the weights says how they were
    scaled."""
    said = f"its first layer takes {channels} channel{'s' * (channels != 1)}, as the weights have"
    shape = (channels, *usual.shape[1:])
    own = weights.preprocess
    return LoadedModule(module, weights, preprocess=own, notes=(said, *notes), shape=shape)


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
