"""What a server is started with, checked before anything heavy is loaded."""

from __future__ import annotations

import dataclasses
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from convscope.errors import BadOption
from convscope.experiments.options import Reading, Running

__all__ = ["check_explorer_installed", "opening"]

LIBRARIES = ("starlette", "uvicorn", "websockets")
INSTALL = "pip install 'convscope[explore]'"


def check_explorer_installed() -> None:
    """Refuse to start where the libraries of the explorer are missing.

    Raises:
        BadOption: Some of them are.
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise BadOption(f"convscope explore needs {', '.join(missing)}: {INSTALL}")


def opening(
    model: str,
    data: str | None,
    reading: Reading,
    running: Running,
    atlas: Path | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What the model's process is told to open, JSON-able.

    Args:
        model: MODEL, as on the command line.
        data: DATA, as on the command line.
        reading: How images are read.
        running: Device and seed.
        atlas: The folder of the network's atlas.
        more: What else `desk.open_desk` takes.
    """
    return {
        "model": model,
        "data": data,
        "reading": _plain(reading),
        "running": _plain(running),
        "atlas": None if atlas is None else str(atlas),
        "paths": [path for path in sys.path if path],
        **more,
    }


def _plain(options: Any) -> dict[str, Any]:
    """A group of options as JSON has it; enums of text are text already."""
    values = dataclasses.asdict(options)
    return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}
