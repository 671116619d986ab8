"""What the string metadata of a weights file say, checked before anything is built from it.

The strings are JSON that anybody may have written: wrong types, numbers of 1e9, lists 100,000
deep. What is read here has the right types and sizes that a machine can hold.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

from convscope.errors import BadInput
from convscope.images.preprocess import Preprocess
from convscope.models.architectures import Architecture, Convolution, Dense
from convscope.text import error_words

__all__ = ["read_architecture", "read_class_names", "read_fact", "read_preprocess"]

MOST = 1_000_000  # maps, units, classes, pixels: more than any network has
MOST_PIXELS = 8192  # of an input's side
MOST_LAYERS = 1000
TYPES = {"int": (int,), "float": (float, int), "str": (str,), "bool": (bool,)}

T = TypeVar("T")


def read_fact(text: str, read: Callable[[Any], T]) -> T:
    """Read an entry of the metadata.

    Args:
        text: JSON.
        read: from the JSON's value to what it means.

    Raises:
        ValueError: it cannot be read, in a few words.
    """
    try:
        return read(json.loads(text))
    except (BadInput, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(error_words(error)) from error
    except (ArithmeticError, RecursionError, MemoryError) as error:
        raise ValueError(f"{type(error).__name__}: its numbers or nesting make no sense") from error


def read_architecture(values: Any) -> Architecture:
    """An architecture whose numbers are numbers, and no greater than there are networks for.

    Raises:
        TypeError: a value is missing, unknown or of another kind.
        ValueError: a number is out of range.
    """
    _check(values, Architecture)
    for key, kind in (("convolutions", Convolution), ("dense", Dense)):
        layers = values[key]
        if not isinstance(layers, list) or len(layers) > MOST_LAYERS:
            raise TypeError(f"{key} is not a list of up to {MOST_LAYERS} layers")
        for layer in layers:
            _check(layer, kind)
    if not values["convolutions"]:
        raise ValueError("it has no convolutions")
    return Architecture.from_dict(values)


def read_class_names(value: Any) -> tuple[str, ...]:
    """Names of classes.

    Raises:
        TypeError: they are no list of names.
    """
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError("not a list of names")
    return tuple(value)


def read_preprocess(values: Any, mean: Tensor | None) -> Preprocess:
    """How images are prepared.

    Args:
        values: as `Preprocess.to_dict` gives them.
        mean: the mean picture (3, H, W) beside them, if there is one.

    Raises:
        TypeError: a value is of another kind.
        BadOption: a value is not allowed.
    """
    if not isinstance(values, dict):
        raise TypeError("not a dictionary")
    shape = values.get("shape")
    if not isinstance(shape, list) or not all(
        type(n) is int and 0 < n <= MOST_PIXELS for n in shape
    ):
        raise TypeError(f"its shape is not a list of numbers up to {MOST_PIXELS}")
    if mean is not None and (list(mean.shape) != shape or not mean.is_floating_point()):
        raise TypeError("the mean picture beside it has another shape or holds no numbers")
    if mean is not None and not mean.isfinite().all():
        raise ValueError("the mean picture beside it holds NaN or infinity")
    return Preprocess.from_dict(values, mean)


def _check(values: Any, kind: Any) -> None:
    """Compare a dictionary with the fields of a dataclass."""
    if not isinstance(values, dict):
        raise TypeError(f"{kind.__name__} is not a dictionary")
    for each in dataclasses.fields(kind):
        allowed = TYPES.get(str(each.type))
        value = values.get(each.name)
        if allowed is None or each.name not in values:
            continue  # a list of layers; one that is missing is found when it is made
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise TypeError(f"{each.name} is not a {each.type}")
        if not isinstance(value, str) and not 0 <= value <= MOST:
            raise ValueError(f"{each.name} is not between 0 and {MOST}")
    size = values.get("input_size", 0)
    if size > MOST_PIXELS:
        raise ValueError(f"input_size is above {MOST_PIXELS}")
