"""The model's process: it reads requests from a pipe, computes, and writes replies to another.

    python -m convscope.explorer.worker

The first frame says which model; the answer to it is `ready` with what the page must know, or
`failed` with the reason. Then each request is a job in a thread of its own, with a token by which
it is cancelled; the engine computes one at a time. The process ends when its input does, so that
it never outlives its server, and whoever kills it loses nothing but what it was computing.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, Protocol

from convscope.errors import Cancelled, ConvscopeError
from convscope.explorer.frames import Reply, pack, posted, take, unpack
from convscope.live.cancel import Cancel

__all__ = ["Answers", "main", "work"]

JOBS = 16
"""Threads; the engine computes one request at a time, the others wait for it."""


class Answers(Protocol):
    """What a worker asks: see `desk.Desk`."""

    def hello(self) -> dict[str, Any]:
        """What the page must know before anything is asked."""

    def answer(self, asked: dict[str, Any], parts: list[bytes], cancel: Cancel) -> Iterator[Reply]:
        """The replies to a request, as they are computed."""


def work(requests: BinaryIO, replies: BinaryIO, open_desk: Callable[..., Answers]) -> None:
    """Answer requests until there are no more.

    Args:
        requests: What is read; the first frame's header is what `open_desk` is called with.
        replies: What is written.
        open_desk: Opens the model.
    """
    first = take(requests)
    if first is None:
        return
    writer = _Writer(replies)
    try:
        desk = open_desk(**unpack(first[1])[0]["open"])
        writer.write(first[0], pack({"ready": desk.hello()}))
    except ConvscopeError as error:
        writer.write(first[0], pack({"failed": type(error).__name__, "error": str(error)}))
        return
    jobs = _Jobs(desk, writer)
    while (taken := take(requests)) is not None:
        jobs.take(*taken)
    jobs.end()


class _Writer:
    """Writes frames from several threads, each whole."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def write(self, ticket: int, frame: bytes) -> None:
        with self._lock:
            try:
                self._stream.write(posted(ticket, frame))
                self._stream.flush()
            except (BrokenPipeError, ValueError):  # nobody listens any more
                return


class _Jobs:
    """What is being computed, by ticket."""

    def __init__(self, desk: Answers, writer: _Writer) -> None:
        self._desk, self._writer = desk, writer
        self._threads = ThreadPoolExecutor(JOBS, thread_name_prefix="job")
        self._cancels: dict[int, Cancel] = {}

    def take(self, ticket: int, frame: bytes) -> None:
        """Begin a job, or cancel one."""
        asked, parts = unpack(frame)
        if asked["do"] == "cancel":
            running = self._cancels.get(ticket)
            if running is not None:
                running.cancel()
            return
        cancel = self._cancels[ticket] = Cancel()
        self._threads.submit(self._answer, ticket, asked, parts, cancel)

    def end(self) -> None:
        """Let all that is being computed stop."""
        for cancel in list(self._cancels.values()):
            cancel.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _answer(
        self, ticket: int, asked: dict[str, Any], parts: list[bytes], cancel: Cancel
    ) -> None:
        named = {"id": asked.get("id"), "done": False}
        try:
            cancel.check()
            for header, pictures in self._desk.answer(asked, parts, cancel):
                self._writer.write(ticket, pack({**named, **header}, pictures))
            end: dict[str, Any] = {}
        except Cancelled:
            end = {"cancelled": True}
        except ConvscopeError as error:
            end = {"error": str(error)}
        except Exception as error:
            traceback.print_exc()
            end = {"error": f"{type(error).__name__}: {error} (the terminal has the details)"}
        finally:
            self._cancels.pop(ticket, None)
        self._writer.write(ticket, pack({**named, **end, "done": True}))


def main() -> None:
    """Work for the process that started this one, over its standard input and output."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a user's own code prints goes to the terminal, not into the frames
    from convscope.explorer.desk import open_desk

    def opened(**words: Any) -> Answers:
        desk = open_desk(**words)
        gc.freeze()  # what stays is not looked through again between two answers
        return desk

    work(sys.stdin.buffer, replies, opened)
    os._exit(0)  # threads that compute would be waited for


if __name__ == "__main__":
    main()
