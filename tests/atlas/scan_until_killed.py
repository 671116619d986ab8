"""Scans in processes that kill themselves, as `kill -9` does, at a chosen moment.

    python scan_until_killed.py CONFTEST PICTURES OUT

Each line of stdin, MOMENT WHEN [gallery], is a process that this one forks, so that torch is
imported once for all; it goes on with OUT, or with the gallery of the finished atlas there, and its
exit code is printed. MOMENT counts the files that the scan brings to the disk (calls of os.fsync:
two for each file that is put in place, one for each tile file); WHEN is "before" or "after" the
call. MOMENT 0 lives on.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import traceback
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from convscope.atlas import gallery
from convscope.atlas import render as depict
from convscope.atlas.build import build_atlas
from convscope.atlas.gallery import write_gallery
from convscope.atlas.store import open_atlas
from convscope.execution import Execution
from convscope.images.datasets import open_images
from convscope.network.network import open_network
from convscope.scan import engine
from exports import export_once


def main() -> None:
    conftest, pictures, out = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("conftest", conftest)
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    torch.set_num_threads(1)
    engine.CHECKPOINT_SECONDS = depict.CHECKPOINT_SECONDS = gallery.CHECKPOINT_SECONDS = 0.0
    depict.TILE_BYTES = 1  # every layer waits for its own tiles
    depict.TRACE_BYTES = 2**17
    export_once()
    open_network(tiny.tiny_module(), (3, tiny.SIDE, tiny.SIDE))  # for all that are forked
    for line in sys.stdin:
        moment, when, *what = line.split()
        child = os.fork()
        if not child:
            scan(tiny, pictures, out, (int(moment), when), what)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def scan(tiny, pictures: str, out: str, moment: tuple[int, str], what: list[str]) -> None:
    """Go on with the atlas, and end this process."""
    code = 1
    try:
        die_at(*moment)
        images = open_images(pictures)  # one worker: the files come in one order
        if what:
            how = Execution(workers=1)
            write_gallery(tiny.tiny_model(), images, open_atlas(out), batch_size=5, how=how)
        else:
            build_atlas(tiny.tiny_model(), images, out, batch_size=4, workers=1, resume=True)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


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
