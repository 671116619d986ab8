"""What a network's numbers are handed out in."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["widened"]


def widened(values: Tensor) -> Tensor:
    """Convert values narrower than float32, such as bfloat16, to float32; leave others as they are.

    No value changes. Results are read by numpy, written to files and drawn, which bfloat16 is not
    made for: a network of such weights runs in them, and its answers come out in float32.

    Args:
        values: The values.

    Example:
        >>> widened(torch.zeros(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    narrow = values.is_floating_point() and values.dtype.itemsize < torch.float32.itemsize
    return values.float() if narrow else values
