"""The errors that Convscope raises on purpose, as one tree.

    ConvscopeError
    ├── BadInput                what the user gave cannot be used; the command line exits with 2
    │   ├── BadOption           an option's or argument's value
    │   ├── BadImage            one image: missing, corrupt, or too large
    │   ├── BadData             a data set: empty, unknown, or nothing readable in it
    │   ├── BadModel            a model: unknown, its factory fails, or it cannot be exported
    │   │   ├── BadCheckpoint   weights that do not fit, are unsafe to read, or hold NaN
    │   │   └── UnsupportedOp   an operation outside the op table
    │   ├── NoSuchLayer         no layer of that name
    │   ├── NoSuchUnit          no such channel or position in the layer
    │   └── FolderInUse         an output folder holds something that must not be overwritten
    ├── NonFinite               NaN or infinity where numbers were needed, the layer named
    ├── PeerFailed              another process of the same work failed
    └── Cancelled               whoever asked does not wait for the answer any more

A message says what was found, what is allowed, and the remedy, in one line.
"""

from __future__ import annotations

__all__ = [
    "BadCheckpoint",
    "BadData",
    "BadImage",
    "BadInput",
    "BadModel",
    "BadOption",
    "Cancelled",
    "ConvscopeError",
    "FolderInUse",
    "NoSuchLayer",
    "NoSuchUnit",
    "NonFinite",
    "PeerFailed",
    "UnsupportedOp",
]


class ConvscopeError(Exception):
    """Base class of every error that Convscope raises on purpose."""


class BadInput(ConvscopeError, ValueError):
    """What the user gave cannot be used. The command line exits with 2."""


class BadOption(BadInput):
    """An option's or argument's value is not allowed."""


class BadImage(BadInput):
    """One image is missing, corrupt, or too large."""


class BadData(BadInput):
    """A data set is empty, unknown, or holds nothing readable."""


class BadModel(BadInput):
    """A model is unknown, its factory fails, or it cannot be exported."""


class BadCheckpoint(BadModel):
    """Weights do not fit the model, are unsafe to read, or hold NaN."""


class UnsupportedOp(BadModel):
    """The network contains an operation outside the op table."""


class NoSuchLayer(BadInput):
    """The network has no layer of that name."""


class NoSuchUnit(BadInput):
    """The layer has no such channel or position."""


class FolderInUse(BadInput):
    """An output folder holds something that must not be overwritten."""


class NonFinite(ConvscopeError, ArithmeticError):
    """NaN or infinity stands where numbers were needed."""


class PeerFailed(ConvscopeError):
    """Another process of the same work failed, so this one stops too.

    Attributes:
        said: Whether that process has reported the reason itself, so that this one need not.
    """

    def __init__(self, message: str, *, said: bool) -> None:
        super().__init__(message)
        self.said = said


class Cancelled(ConvscopeError):
    """Whoever asked does not wait for the answer any more."""
