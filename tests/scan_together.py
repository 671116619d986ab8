"""A scan by several processes that this one forks, so that torch is imported once for all.

    python tests/scan_together.py CONFTEST PICTURES FOLDER NAME=COUNT[:DIES@MOMENT] ...

For each word, COUNT processes go on with the atlas FOLDER/NAME (begun if there is none), one after
the other; the process DIES kills itself, as `kill -9` does, at its MOMENT-th batch of both passes
together. Prints a line of JSON for each word: the exit codes, and what was said on stderr.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import torch

from convscope.atlas import render as depict
from convscope.atlas.build import Search, write_atlas
from convscope.distributed import processes
from convscope.errors import ConvscopeError
from convscope.execution import Execution
from convscope.images.datasets import open_images
from convscope.network.network import open_network
from convscope.scan import engine
from exports import export_once
from forks import become, free_port


def main() -> None:
    conftest, pictures, folder, *words = sys.argv[1:]
    torch.set_num_threads(1)
    engine.CHECKPOINT_SECONDS = depict.CHECKPOINT_SECONDS = 0.0
    depict.TILE_BYTES = 1  # every layer waits for its own tiles
    depict.TRACE_BYTES = 2**17
    depict.TILES_AT_ONCE = 7
    tiny = _conftest(conftest)
    export_once()
    open_network(tiny.tiny_module(), (3, tiny.SIDE, tiny.SIDE))  # for all that are forked
    for word in words:
        name, _, count = word.partition("=")
        count, _, death = count.partition(":")
        dies, _, moment = death.partition("@")
        port = free_port()
        with tempfile.TemporaryFile("w+") as said:
            children = [
                _forked(tiny, pictures, Path(folder, name), (rank, int(count), port), said.fileno(),
                        int(moment) if death and rank == int(dies) else 0)
                for rank in range(int(count))
            ]  # fmt: skip
            codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
            said.seek(0)
            print(json.dumps({"codes": codes, "said": said.read().splitlines()}), flush=True)


def _conftest(path: str):
    spec = importlib.util.spec_from_file_location("conftest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _forked(tiny, pictures: str, out: Path, who: tuple[int, int, int], said: int, dies: int) -> int:
    child = os.fork()
    if child:
        return child
    os.dup2(said, 2)
    code = 1
    try:
        if dies:
            _die_at(dies)
        rank, count, port = who
        become(rank, count, port)
        # a folder for each process, so that it is seen that the others need none
        with processes(torch.device("cpu")) as ranks:
            where = out if ranks.first else out.with_name(f"{out.name}-{rank}")
            write_atlas(
                tiny.tiny_model(), open_images(pictures), where,
                Search(batch_size=4), resume=True, how=Execution(ranks=ranks),
            )  # fmt: skip
            if where != out and where.exists():
                raise ConvscopeError(f"process {rank} wrote {where}")
        code = 0
    except ConvscopeError as error:
        if not getattr(error, "said", False):
            sys.stderr.write(f"scan: {error}\n")  # in one write, whoever else speaks
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)


def _die_at(moment: int) -> None:
    """Kill this process when its network is given its `moment`-th batch."""
    seen = 0

    def counted(whole):
        def call(*arguments, **named):
            nonlocal seen
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return whole(*arguments, **named)

        return call

    engine.forward_batch = counted(engine.forward_batch)
    depict.project_winners = counted(depict.project_winners)


if __name__ == "__main__":
    main()
