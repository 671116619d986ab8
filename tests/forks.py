"""Processes that tests fork, so that torch is imported once, and that join as those of torchrun."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess

import torch

import warm
from convscope.distributed import Ranks, processes

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def free_port() -> int:
    """Where the first process can wait for the others."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def become(rank: int, count: int, port: int) -> None:
    """Say to this process which of them it is."""
    os.environ.update(_told(rank, count, port))


def _told(rank: int, count: int, port: int) -> dict[str, str]:
    words = (str(rank), str(rank), str(count), "127.0.0.1", str(port))
    return dict(zip(NAMES, words, strict=True))


def convscope_together(
    count: int, *words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> list[CompletedProcess[str]]:
    """What `convscope` with these words says in each of `count` processes that join."""
    port, started = free_port(), []
    for rank in range(count):
        here = {**(env or os.environ), **_told(rank, count, port)}
        started.append(warm.start("-m", "convscope", *words, cwd=cwd, env=here))
    said = [process.communicate() for process in started]
    return [
        CompletedProcess(list(words), process.wait(), *each)
        for process, each in zip(started, said, strict=True)
    ]


def forked(count: int, work: Callable[[Ranks], None], prepare: Callable[[int], None]) -> list[int]:
    """Do something in `count` processes that join; their exit codes, -9 of one that was killed.

    Args:
        count: of processes. This one should have no threads yet.
        work: is done in each of them.
        prepare: is called in each with its number, before they join.
    """
    port = free_port()
    children = [_fork(rank, count, port, work, prepare) for rank in range(count)]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _fork(
    rank: int, count: int, port: int, work: Callable[[Ranks], None], prepare: Callable[[int], None]
) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        become(rank, count, port)
        prepare(rank)
        with processes(torch.device("cpu")) as ranks:
            work(ranks)
        code = 0
    except BaseException as error:
        sys.stderr.write(f"process {rank}: {type(error).__name__}: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)


def die_at(moment: int, whole: Callable[..., object]) -> Callable[..., object]:
    """A function that kills this process, as `kill -9` does, in place of its `moment`-th call."""
    calls = 0

    def counted(*arguments: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*arguments, **named)

    return counted
