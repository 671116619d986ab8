"""A model that was opened in Python, for a process of its own: written as an exported program.

A module may be of a class that no other process can import, such as one of a notebook; its exported
graph has the names of its layers and its weights, and holds no code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from convscope.errors import BadModel
from convscope.models.zoo import Model

__all__ = ["hand_over"]


def hand_over(model: Model, folder: Path) -> tuple[str, dict[str, Any]]:
    """Write a model into a folder, as `desk.open_desk` opens it.

    Args:
        model: From `open_model`.
        folder: Where its file is written.

    Returns:
        MODEL, and what is known of it besides, JSON-able.

    Raises:
        BadModel: torch.export cannot write it.
    """
    path = folder / "model.pt2"
    images = torch.zeros(2, *model.input_shape)
    batch = {0: torch.export.Dim("batch", min=1, max=2**20)}
    try:
        program = torch.export.export(
            model.module, (images,), dynamic_shapes=(batch,), strict=False
        )
        torch.export.save(program, path)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadModel(
            f"{model.spec} cannot be handed to the explorer's process ({first}): start it with the "
            "words of the command line, such as convscope.explore('package.module:factory')"
        ) from None
    mean = model.preprocess.per_pixel_mean
    return str(path), {
        "preprocess": model.preprocess.to_dict(),
        "mean": None if mean is None else mean.tolist(),
        "spec": model.spec,
        "title": model.title,
        "weights_sha256": model.weights_sha256,
        "random_weights": model.random_weights,
        "classes": model.classes,
        "notes": model.notes,
    }
