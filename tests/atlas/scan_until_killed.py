"""A scan in a process of its own that kills itself, as `kill -9` does, at a chosen moment.

    python scan_until_killed.py CONFTEST PICTURES OUT MOMENT WHEN

MOMENT counts the files that the scan brings to the disk (calls of os.fsync: two for each file that
is put in place, one for each tile file); WHEN is "before" or "after" the call. MOMENT 0 lives on.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys

import torch

from convscope.atlas import depict
from convscope.atlas.scan import build_atlas
from convscope.images.datasets import open_images
from convscope.scan import engine


def main() -> None:
    conftest, pictures, out, moment, when = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("conftest", conftest)
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    torch.set_num_threads(1)
    engine.CHECKPOINT_SECONDS = depict.CHECKPOINT_SECONDS = 0.0
    depict.TILE_BYTES = 1  # every layer waits for its own tiles
    depict.TRACE_BYTES = 2**17
    die_at(int(moment), when)
    images = open_images(pictures)  # one worker: the files come in one order
    build_atlas(tiny.tiny_model(), images, out, batch_size=4, workers=1, resume=True)


def die_at(moment: int, when: str) -> None:
    real, calls = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == moment and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = fsync


if __name__ == "__main__":
    main()
