"""The way to the model's process: it is started, asked, killed, and started anew.

Each request has a ticket; its replies come back under it until one says that it is the last. What
was dropped is kept here too, and given to a new process, so that a page goes on where it was.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import convscope.errors as errors
from convscope.errors import BadInput, ConvscopeError
from convscope.explorer.frames import HEAD, header_of, pack, posted

__all__ = ["Channel", "Link", "Process", "start_process"]

PATIENCE = 5.0  # seconds after which a cancelled computation that goes on is killed
KEPT_BYTES = 128 << 20  # of dropped images
BROKEN = "the model's process has ended; it is being started again"

Send = Callable[[bytes], Awaitable[None]]
"""Takes a reply's frame to whoever asked."""


@dataclass(frozen=True)
class Process:
    """A worker's two ends, and how it is ended.

    Attributes:
        reader: Its replies.
        writer: Its requests.
        kill: Ends it at once; may be called from any thread.
        wait: Waits until it has ended.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    kill: Callable[[], None]
    wait: Callable[[], Awaitable[object]]


async def start_process() -> Process:
    """Start `convscope.explorer.worker` with this Python."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "convscope.explorer.worker",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 22,
        start_new_session=True,  # Ctrl-C is for the server, which ends this one
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None

    def kill() -> None:
        with suppress(ProcessLookupError):
            child.kill()

    return Process(child.stdout, child.stdin, kill, child.wait)


class Channel:
    """A request that is being answered.

    Attributes:
        ticket: Its number on the pipe.
        send: Takes its replies.
        asked: What was asked: its own number is `id`.
    """

    def __init__(self, ticket: int, send: Send, asked: Mapping[str, Any]) -> None:
        self.ticket, self.send, self.asked = ticket, send, asked
        self.ended = asyncio.Event()


class Link:
    """The server's side of the model's process.

    Args:
        opening: What `desk.open_desk` is called with.
        start: Starts a process.
        tell: Is told "ready", "restarting" and "failed".
    """

    def __init__(
        self,
        opening: Mapping[str, Any],
        start: Callable[[], Awaitable[Process]] = start_process,
        tell: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._opening, self._start, self.tell = opening, start, tell
        self._tickets = itertools.count(1)
        self._channels: dict[int, Channel] = {}
        self._kept: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._patience: set[asyncio.Task[None]] = set()
        self.state, self.hello = "starting", dict[str, Any]()

    async def open(self) -> dict[str, Any]:
        """Start the process and wait until its model is open.

        Returns:
            What the page must know of it.

        Raises:
            BadModel, BadOption, BadData, ...: as opening it raised them there.
        """
        self._process = await self._start()
        self._write(0, pack({"open": dict(self._opening)}))
        try:
            _, frame = await self._next()
        except asyncio.IncompleteReadError:
            raise ConvscopeError("the model's process ended while it opened the model") from None
        header = header_of(frame)
        if "failed" in header:
            raise getattr(errors, header["failed"], BadInput)(header["error"])
        for name, data in self._kept.values():
            self._write(next(self._tickets), pack({"do": "keep", "name": name}, [data]))
        self.state, self.hello = "ready", header["ready"]
        self._reading = asyncio.create_task(self._read())
        return self.hello

    def kill(self) -> None:
        """End the process at once, from any thread; nothing is started again."""
        self.state = "closed"
        if self._process is not None:
            self._process.kill()

    async def close(self) -> None:
        """End the process, and let go of all that leads to it."""
        self.kill()
        for task in [*self._patience, *([self._reading] if self._reading else [])]:
            task.cancel()
            with suppress(asyncio.CancelledError, ConvscopeError):
                await task
        if self._process is not None:
            await _let_go(self._process)

    def restart(self) -> None:
        """Kill the process; a new one takes its place."""
        if self.state == "ready" and self._process is not None:
            self._process.kill()

    async def ask(self, asked: Mapping[str, Any], send: Send, parts: list[bytes]) -> Channel:
        """Send a request; its replies go to `send`, the last of them says `done`."""
        channel = Channel(next(self._tickets), send, asked)
        if self.state != "ready":
            await self._end(channel, BROKEN)
            return channel
        self._channels[channel.ticket] = channel
        self._write(channel.ticket, pack(asked, parts))
        return channel

    async def keep(self, name: str, data: bytes) -> dict[str, Any]:
        """Give the process an image's file.

        Returns:
            Its key, name and notes.

        Raises:
            BadImage: It cannot be read.
        """
        replies: list[dict[str, Any]] = []

        async def collect(frame: bytes) -> None:
            replies.append(header_of(frame))

        channel = await self.ask({"do": "keep", "name": name}, collect, [data])
        await channel.ended.wait()
        for reply in replies:
            if "error" in reply:
                raise errors.BadImage(reply["error"])
        self._kept[replies[0]["key"]] = (name, data)
        while sum(len(kept) for _, kept in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return replies[0]

    def cancel(self, channel: Channel) -> None:
        """Stop a computation; the process is killed if it does not stop in time."""
        if channel.ticket not in self._channels:
            return
        self._write(channel.ticket, pack({"do": "cancel"}))
        watch = asyncio.create_task(self._wait_for(channel))
        self._patience.add(watch)
        watch.add_done_callback(self._patience.discard)

    async def _wait_for(self, channel: Channel) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(channel.ended.wait(), PATIENCE)
        if not channel.ended.is_set():
            self.restart()

    # ---- the pipe -------------------------------------------------------------------------------

    def _write(self, ticket: int, frame: bytes) -> None:
        assert self._process is not None
        with suppress(ConnectionError, RuntimeError):
            self._process.writer.write(posted(ticket, frame))

    async def _next(self) -> tuple[int, bytes]:
        assert self._process is not None
        reader = self._process.reader
        ticket, length = HEAD.unpack(await reader.readexactly(HEAD.size))
        return ticket, await reader.readexactly(length)

    async def _read(self) -> None:
        """Hand replies on until the process ends, then start another one."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                ticket, frame = await self._next()
                channel = self._channels.get(ticket)
                if channel is None:
                    continue
                with suppress(Exception):  # whoever asked may be gone
                    await channel.send(frame)
                if header_of(frame).get("done"):
                    self._channels.pop(ticket, None)
                    channel.ended.set()
        if self.state != "closed":
            await self._again()

    async def _again(self) -> None:
        self.state = "restarting"
        if self._process is not None:
            await _let_go(self._process)
        for channel in list(self._channels.values()):
            await self._end(channel, BROKEN)
        self._channels.clear()
        await self._say("restarting")
        try:
            await self.open()
            await self._say("ready")
        except ConvscopeError as error:
            self.state = "failed"
            sys.stderr.write(f"convscope: {error}\n")
            await self._say("failed")

    async def _say(self, word: str) -> None:
        if self.tell is not None:
            await self.tell(word)

    async def _end(self, channel: Channel, error: str) -> None:
        with suppress(Exception):  # whoever asked may be gone
            await channel.send(pack({"id": channel.asked.get("id"), "error": error, "done": True}))
        channel.ended.set()


async def _let_go(process: Process) -> None:
    """Close the way to a process that has been killed."""
    process.writer.close()
    with suppress(ConnectionError):
        await process.writer.wait_closed()
    await process.wait()
