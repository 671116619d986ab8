"""Arrays by name as the bytes of a .npz file."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["npz_bytes"]


def npz_bytes(arrays: Mapping[str, ArrayLike], *, compressed: bool = False) -> bytes:
    """Make the bytes of a .npz file.

    Args:
        arrays: By name; numbers and text alone.
        compressed: Smaller, and slower to write and read.

    Raises:
        TypeError: One holds Python's objects, which reading would have to run.
    """
    import numpy as np

    for name, array in arrays.items():  # NumPy's own option for this is not in 2.0
        if np.asarray(array).dtype.hasobject:
            raise TypeError(f"{name} holds objects")
    content = io.BytesIO()
    save: Callable[..., None] = np.savez_compressed if compressed else np.savez
    save(content, **arrays)
    return content.getvalue()
