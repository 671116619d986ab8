"""What layers keep of an image, from the words of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convscope.experiments.session import Session
from convscope.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.methods.inversion import Inversion, InversionSettings

__all__ = ["invert_layers"]

EXAMPLES = 32
"""Images of a set whose features' distances are measured, at most."""


def invert_layers(
    session: Session,
    image: Tensor,
    layers: Sequence[str] | None,
    settings: InversionSettings,
    *,
    data: str | None = None,
    progress: Progress = silent,
) -> Inversion:
    """Find the pictures that layers answer to as they do to an image.

    Args:
        session: The network.
        image: Preprocessed.
        layers: Which; None is every convolutional one that leads to the answer.
        settings: How.
        data: DATA of the command line: an error is then a share of the mean distance between its
            images' features, of 32 of them spread evenly over the set.
        progress: Is called with (what, done, total).

    Raises:
        NoSuchLayer, BadOption, BadInput: As `methods.inversion.invert`.
        BadData: There is no such set, or fewer than two images of it can be read.

    Shape:
        image: (C, H, W).
    """
    from convscope.errors import BadData
    from convscope.experiments.visualizing import example_images
    from convscope.methods.ascent.showing import canvas_of
    from convscope.methods.inversion import invert

    network = session.network
    for layer in layers or ():
        network.feature_layer(layer)  # before images are read
    examples = None
    if data is not None:
        images = session.images(data)
        examples = example_images(session, images, EXAMPLES)
        if len(examples) < 2:
            raise BadData(f"{images.spec}: one image can be read; a distance needs two")
    canvas = canvas_of(network, session.model.preprocess)
    asked = network.conv_layers() if layers is None else layers
    return invert(network, image, asked, canvas, settings, examples=examples, progress=progress)
