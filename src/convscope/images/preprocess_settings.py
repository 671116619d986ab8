"""The settings of a preprocessing, made strict: shape, mean, numbers per channel, shown bands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from convscope.errors import BadOption
from convscope.images.scaling import CustomScaling, Order, Scaling, listed
from convscope.text import is_number

__all__ = ["Shape", "checked_bands", "checked_mean", "checked_shape", "for_channels", "parse_shape"]

Shape = tuple[int, int, int]


def parse_shape(text: str) -> Shape:
    """Parse `3x224x224`.

    Raises:
        BadOption: It has another form.

    Example:
        >>> parse_shape("3x224x224")
        (3, 224, 224)
    """
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) != 3 or not all(is_number(side.strip()) for side in sides):
        raise BadOption(f"input {text!r}: it is CxHEIGHTxWIDTH, such as 3x224x224")
    return checked_shape(int(side) for side in sides)


def checked_shape(shape: Iterable[int]) -> Shape:
    sides = tuple(int(side) for side in shape)
    if len(sides) != 3 or min(sides) < 1:
        raise BadOption(
            f"input shape {'×'.join(map(str, sides))}: it is CHANNELS×HEIGHT×WIDTH, such as "
            "3x224x224, or 1x28x28 for grey pictures"
        )
    return sides[0], sides[1], sides[2]


def for_channels(recipe: CustomScaling, channels: int) -> CustomScaling:
    """The recipe with a number for each channel.

    Raises:
        BadOption: Its numbers are for another number of channels.
    """
    if recipe.channels not in (1, channels) or (recipe.order is Order.BGR and channels != 3):
        count = 3 if recipe.order is Order.BGR else recipe.channels
        raise BadOption(
            f"mean {listed(recipe.mean)} and std {listed(recipe.std)} in order {recipe.order} are "
            f"for {count} channels, the input has {channels}: use unit, or a FILE.yaml of its own"
        )
    mean = recipe.mean * channels if len(recipe.mean) == 1 else recipe.mean
    std = recipe.std * channels if len(recipe.std) == 1 else recipe.std
    return replace(recipe, mean=mean, std=std)


def checked_bands(given: str | Iterable[int] | int | None, channels: int) -> tuple[int, ...] | None:
    """Check which channels are shown.

    Args:
        given: "4,3,2" or three numbers, counted from 1; one number; or None.
        channels: Of the network's input.

    Raises:
        BadOption: It is something else, or there is no such channel.

    Example:
        >>> checked_bands("4,3,2", 12)
        (4, 3, 2)
    """
    if given is None:
        return None
    given = [given] if isinstance(given, int) else given
    words = given.split(",") if isinstance(given, str) else list(given)
    whole = all(is_number(str(word).strip()) for word in words)
    bands = tuple(int(word) for word in words) if whole else ()
    if len(bands) not in (1, 3) or not all(1 <= band <= channels for band in bands):
        raise BadOption(
            f"show bands {','.join(map(str, words))}: one or three of the channels 1 to {channels},"
            " such as " + ("3,2,1" if channels >= 3 else "1")
        )
    return bands


def checked_mean(mean: Any, scaling: Scaling, shape: Shape) -> Any:
    if mean is None:
        return None
    if scaling is not Scaling.PAPER:
        raise BadOption(f"scaling {scaling} has its own mean; a mean belongs to scaling paper")
    if isinstance(mean, torch.Tensor):
        mean = mean.detach().cpu().numpy()
    values = np.array(mean, dtype=np.float32)
    if not np.isfinite(values).all():
        raise BadOption("the mean holds NaN or infinity")
    if values.shape == shape[:1]:
        return tuple(float(value) for value in mean)
    if values.shape != shape:
        raise BadOption(f"the mean has shape {values.shape}; it is {shape[0]} numbers or {shape}")
    values.flags.writeable = False
    return values
