"""Processes that tests fork, so that torch is imported once, and that join as those of torchrun."""

from __future__ import annotations

import os
import socket

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def free_port() -> int:
    """Where the first process can wait for the others."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def become(rank: int, count: int, port: int) -> None:
    """Say to this process which of them it is."""
    words = (str(rank), str(rank), str(count), "127.0.0.1", str(port))
    os.environ.update(zip(NAMES, words, strict=True))
