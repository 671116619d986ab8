"""torchvision, imported also where its compiled part does not load.

torchvision 0.20 and later register Python stand-ins for two of their compiled operators while they
are imported, and fail when the compiled part is absent or was built for another torch:
"operator torchvision::nms does not exist". Convscope uses none of these operators, so their
schemas are declared, and the import is tried once more. Nobody is told: where a network does call
one of them, torchvision's own error says that they are missing, and what to install.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType

import torch

from convscope.errors import BadModel
from convscope.text import error_words

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@functools.cache
def import_torchvision() -> ModuleType:
    """Import torchvision.

    Raises:
        BadModel: torchvision is not installed, or its import fails otherwise.
    """
    try:
        return importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        if error.name == "torchvision":
            raise BadModel("torchvision is not installed: pip install 'convscope[zoo]'") from None
        raise _broken(error) from error
    except RuntimeError as error:
        if not operators_are_missing(error):
            raise _broken(error) from error
    except Exception as error:
        raise _broken(error) from error
    _forget_half_imported()
    _declare_schemas()
    try:
        return importlib.import_module("torchvision")
    except Exception as error:
        _forget_half_imported()
        raise _broken(error) from error


def operators_are_missing(error: BaseException) -> bool:
    """Whether an import failed because torchvision's compiled operators do not load."""
    return isinstance(error, RuntimeError) and "torchvision::" in str(error)


def _forget_half_imported() -> None:
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]


def _declare_schemas() -> None:
    library = _library()
    for schema in SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)


@functools.cache
def _library() -> torch.library.Library:
    # kept for the life of the process: its schemas go when it goes
    return torch.library.Library("torchvision", "FRAGMENT")


def _broken(error: Exception) -> BadModel:
    words = error_words(error)
    return BadModel(
        f"torchvision cannot be imported ({type(error).__name__}: {words}):"
        " install the one that belongs to your torch, pip install 'convscope[zoo]'"
    )
