"""Work by several processes that this one forks, so that torch is imported once for all.

    python tests/work_together.py MODULE:FUNCTION FOLDER NAME=COUNT[:DIES@MOMENT] ...

For each word, COUNT processes call FUNCTION(FOLDER/NAME, ranks, progress), one after the other; the
process DIES kills itself, as `kill -9` does, when progress is told for the MOMENT-th time. Prints a
line of JSON for each word: the exit codes, what the function returned in each process (None where
it did not), and what was said on stderr.

A test calls `work_together`, or `all_find_the_same`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

import warm
from convscope.distributed import processes
from convscope.errors import ConvscopeError
from exports import export_once
from folders import content
from forks import become, free_port

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Said:
    """What became of the processes of one word.

    Attributes:
        codes: how each ended, -9 after SIGKILL.
        found: what the function returned in each.
        said: lines on stderr.
    """

    codes: list[int]
    found: list[Any]
    said: list[str]


def work_together(function: str, folder: Path, words: Sequence[str]) -> list[Said]:
    """See the module's words; the function is called in processes of its own."""
    done = warm.run(__file__, function, folder, *words)
    assert done.returncode == 0, done.stderr
    return [Said(**json.loads(line)) for line in done.stdout.splitlines()]


def all_find_the_same(function: str, folder: Path, dies: str) -> Any:
    """Check that one, two and four processes find the same, also after a kill.

    Args:
        function: As `work_together` takes it.
        folder: Of the studies that the function writes.
        dies: The process of two that is killed and the moment, RANK@MOMENT; one then goes on alone.

    Returns:
        What the function finds.
    """
    kill = f"killed=2:{dies}"
    alone, two, four, killed, resumed = work_together(
        function, folder, ["one=1", "two=2", "four=4", kill, "killed=1"]
    )
    rank = int(dies.partition("@")[0])
    assert alone.codes == [0] and killed.codes[rank] == -9 and killed.codes[1 - rank] == 1
    assert len(killed.said) == 1 and "--resume" in killed.said[0]
    for each in (two, four, resumed):
        assert set(each.codes) == {0} and not each.said
        assert all(found == alone.found[0] for found in each.found)
    for name in ("two", "four", "killed"):
        assert content(folder / name) == content(folder / "one")
    return alone.found[0]


def main() -> None:
    name, folder, *words = sys.argv[1:]
    torch.set_num_threads(1)
    export_once()
    module, _, function = name.partition(":")
    home = import_module(module)
    work = getattr(home, function)
    if prepare := getattr(home, "prepare", None):
        prepare()  # once for all processes
    for word in words:
        place, _, count = word.partition("=")
        count, _, death = count.partition(":")
        dies, _, moment = death.partition("@")
        print(
            json.dumps(_together(work, Path(folder, place), int(count), (dies, moment))), flush=True
        )


def _together(work: Any, folder: Path, count: int, death: tuple[str, str]) -> dict[str, Any]:
    port = free_port()
    dies, moment = death
    with tempfile.TemporaryDirectory() as answers, tempfile.TemporaryFile("w+") as said:
        paths = [Path(answers, f"{rank}.json") for rank in range(count)]
        children = [
            _forked(
                work, folder, (rank, count, port), said.fileno(), path,
                int(moment) if dies and rank == int(dies) else 0,
            )
            for rank, path in enumerate(paths)
        ]  # fmt: skip
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        found = [json.loads(path.read_text()) if path.exists() else None for path in paths]
        said.seek(0)
        return {"codes": codes, "found": found, "said": said.read().splitlines()}


def _forked(
    work: Any, folder: Path, who: tuple[int, int, int], said: int, answer: Path, dies: int
) -> int:
    child = os.fork()
    if child:
        return child
    os.dup2(said, 2)
    code = 1
    try:
        become(*who)
        with processes(torch.device("cpu")) as ranks:
            answer.write_text(json.dumps(work(folder, ranks, _progress(dies))))
        code = 0
    except ConvscopeError as error:
        if not getattr(error, "said", False):
            sys.stderr.write(f"work: {error}\n")
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)


def _progress(dies: int) -> Progress:
    told = 0

    def tell(what: str, done: int, total: int) -> None:
        nonlocal told
        told += 1
        if told == dies:
            os.kill(os.getpid(), signal.SIGKILL)

    return tell


if __name__ == "__main__":
    main()
