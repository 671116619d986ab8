"""What every source of networks gives, and how foreign code is called to get it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch._C import (
    _len_torch_dispatch_stack,
    _len_torch_function_stack,
    _pop_torch_function_stack,
    _push_on_torch_function_stack,
)
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from convscope.errors import BadModel, ConvscopeError
from convscope.images.preprocess import Preprocess
from convscope.models.weights import Weights
from convscope.text import error_words

__all__ = ["LoadedModule", "blamed", "seeded"]


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
        title: what to call it in a heading; None where its spec says it.
        shape: (C, H, W) of the only images that it takes; None where nothing says so.
    """

    module: nn.Module
    weights: Weights | None = None
    random_weights: bool = False
    preprocess: Preprocess | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    title: str | None = None
    shape: tuple[int, int, int] | None = None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw from a seed; its generator, defaults and modes are as before afterwards."""
    device, dtype = torch.get_default_device(), torch.get_default_dtype()
    gradients = torch.is_grad_enabled()
    functions, dispatches = _get_current_function_mode_stack(), _len_torch_dispatch_stack()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            yield
        finally:
            while _len_torch_dispatch_stack() > dispatches:
                mode = _get_current_dispatch_mode()
                assert mode is not None
                TorchDispatchMode.__exit__(mode, None, None, None)  # a pop alone ends torch 2.10
            _drop_function_modes()  # one left behind would see all that torch does from now on
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(gradients)
            if torch.get_default_device() != device:
                torch.set_default_device(None if device.type == "cpu" else device)
                functions = [each for each in functions if not isinstance(each, DeviceContext)]
                if device.type == "cpu":
                    _drop_function_modes()
            for mode in functions:
                _push_on_torch_function_stack(mode)


def _drop_function_modes() -> None:
    while _len_torch_function_stack():
        _pop_torch_function_stack()


@contextmanager
def blamed(spec: str) -> Iterator[None]:
    """Turn whatever foreign code raises into a BadModel that names the model."""
    try:
        yield
    except (ConvscopeError, KeyboardInterrupt):
        raise
    except BaseException as error:  # theirs may derive from nothing else
        words = error_words(error)
        raise BadModel(f"{spec} failed with {type(error).__name__}: {words}") from error
