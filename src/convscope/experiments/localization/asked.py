"""Of which class the maps are: apart from the rest, so that an option needs nothing heavy."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["MappedClass"]


class MappedClass(StrEnum):
    """Of which class the maps are."""

    MARKED = "marked"
    PREDICTED = "predicted"
