"""Pictures that are numpy's arrays, .npy files: bytes -> samples, or BadImage.

An array is (rows, columns), or has an axis of channels: the last one, (H, W, C), if that axis is as
long as the network's input has channels, else the first one, (C, H, W), if that one is. Where no
axis is, a last axis of 1 or 3, else a first one, is taken for grey or RGB. uint8 is 0 to 255, bool
black and white; of all other numbers `--range` says what black and white are.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import BadImage
from convscope.text import error_words

__all__ = ["ARRAYS", "channels_last", "is_array", "read_array"]

ARRAYS = {".npy"}  # extensions
MAGIC = b"\x93NUMPY"
HEADER_LIMIT = 10_000  # bytes, numpy's own
GREY_OR_RGB = (3, 1)


def is_array(data: bytes) -> bool:
    """Whether a file's bytes are an .npy file's."""
    return data.startswith(MAGIC)


def read_array(data: bytes, name: str, channels: int, pixel_limit: int) -> NDArray[Any]:
    """Read the samples of an .npy file; nothing in it is run.

    Args:
        data: The file's bytes.
        name: What errors call the file.
        channels: Of the network's input: says which axis the channels are.
        pixel_limit: The most pixels that are read.

    Returns:
        (H, W, C).

    Raises:
        BadImage: It is no whole array of numbers, or of none of these shapes.
    """
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False, max_header_size=HEADER_LIMIT)
    except (ValueError, OSError, EOFError, OverflowError, SyntaxError) as error:
        reason = error_words(error)
        if "allow_pickle" in reason or "Object arrays" in reason:
            reason = "it holds Python objects, which are not read"
        raise BadImage(f"{name}: is no array of numbers: {reason[:120]}") from None
    if array.dtype.kind not in "biuf" or array.size == 0:
        raise BadImage(f"{name}: is an array of {array.dtype} {array.shape}, not of pixels")
    pixels = channels_last(array, name, channels)
    if pixels.shape[0] * pixels.shape[1] > pixel_limit:
        rows, columns = pixels.shape[:2]
        raise BadImage(f"{name}: is {columns}×{rows}: more than {pixel_limit:,} pixels")
    return np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False))


def channels_last(array: NDArray[Any], name: str, channels: int) -> NDArray[Any]:
    """Bring an array to (H, W, C), as the module's rules say.

    Args:
        array: Of two or three axes.
        name: What errors call the picture.
        channels: Of the network's input.

    Raises:
        BadImage: It has other axes.
    """
    if array.ndim == 2:
        return array[..., None]
    if array.ndim == 3:
        for count in (channels, *GREY_OR_RGB):
            if array.shape[-1] == count:
                return array
            if array.shape[0] == count:
                return np.moveaxis(array, 0, -1)
    raise BadImage(
        f"{name}: is an array {array.shape}; a picture is (H, W), (H, W, {channels}) or "
        f"({channels}, H, W) for an input of {channels} channels"
    )
