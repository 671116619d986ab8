"""Which layer cannot take images of a size, and what it gets. Only for the message."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["why_it_fails"]

TOO_SMALL = re.compile(
    r"too small|greater than actual input|non-zero|negative|empty", re.IGNORECASE
)


def why_it_fails(module: nn.Module, image: Tensor) -> str | None:
    """Run a module, and say which layer refuses the images.

    Args:
        module: in evaluation mode; as it was afterwards.
        image: (N, C, H, W), of the size that is asked about.

    Returns:
        In a few words with the remedy; None where it runs, or fails for another reason.
    """
    running: list[tuple[str, nn.Module, str]] = []
    hooks = []

    def enter(name: str) -> Any:
        def hook(layer: nn.Module, given: Any) -> None:
            running.append((name, layer, _shape(given)))

        return hook

    def leave(layer: nn.Module, given: Any, returned: Any) -> None:
        running.pop()

    try:
        for name, layer in module.named_modules():
            hooks += [
                layer.register_forward_pre_hook(enter(name)),
                layer.register_forward_hook(leave),
            ]
        with torch.no_grad():
            module(image)
    except Exception as error:
        return _words(running, str(error)) if running else None
    finally:
        for each in hooks:
            each.remove()
    return None


def _words(running: list[tuple[str, nn.Module, str]], error: str) -> str | None:
    name, layer, shape = running[-1]
    where = f"layer {name!r} ({type(layer).__name__})" if name else "its own forward()"
    gets = f", which gets {shape}" if shape and name else ""
    if TOO_SMALL.search(error):
        return f"the map becomes empty at {where}{gets}: give a larger --input"
    if isinstance(layer, nn.Linear) and "cannot be multiplied" in error:
        return (
            f"{where} takes {layer.in_features} numbers{gets}: it was made for another size of "
            "input; give that as --input"
        )
    return None


def _shape(given: Any) -> str:
    """The shape of one image's part of what a layer gets."""
    value = given[0] if isinstance(given, tuple) and given else given
    return "x".join(map(str, value.shape[1:])) if isinstance(value, Tensor) else ""
