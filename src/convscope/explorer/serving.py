"""The server from its start to its end: the model's process, the address, and Ctrl-C.

It runs in a thread of its own, with an event loop of its own, so that it also runs where a loop
runs already, as in a notebook; the thread that called waits, and can be interrupted.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import webbrowser
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from convscope.errors import BadOption
from convscope.explorer.app import make_app
from convscope.explorer.guard import new_token
from convscope.explorer.link import Link, Process, start_process

__all__ = ["Server", "Serving", "explore_until_interrupted"]

ADDRESS = "127.0.0.1"
SOON = 0.5  # seconds that the server's thread has to end


@dataclass(frozen=True)
class Serving:
    """What is served.

    Attributes:
        opening: The model: what `desk.open_desk` is called with.
        atlas: The folder of a static atlas of the same network.
        port: 0 is a free one.
        token: The first part of every address; drawn anew for each server.
        start: Starts the model's process; None: as `link.start_process` does.
    """

    opening: Mapping[str, Any]
    atlas: Path | None = None
    port: int = 0
    token: str = ""
    start: Callable[[], Awaitable[Process]] | None = None


class Server:
    """A server that has started, until it is closed.

    Attributes:
        address: Of the page, with the token.
        hello: What the model's process said of the model.
    """

    def __init__(self, serving: Serving) -> None:
        """Start it, and wait until the model is open.

        Raises:
            BadOption: The port is taken.
            BadModel, BadData, ...: The model cannot be opened.
        """
        token = serving.token or new_token()
        self._socket = _listen(serving.port)
        self.address = f"http://{ADDRESS}:{self._socket.getsockname()[1]}/{token}/"
        self._link = Link(serving.opening, serving.start or start_process)
        config = uvicorn.Config(
            make_app(self._link, token, serving.atlas),
            log_level="error", access_log=False, lifespan="off", server_header=False,
            ws_max_size=1 << 20, ws_per_message_deflate=False,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._begun = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="explorer", daemon=True)
        self._thread.start()
        try:
            _wait(self._begun)
        except BaseException:
            self.close()
            raise
        if self._failed is not None:
            self.close()
            raise self._failed
        self.hello = self._link.hello

    def wait(self) -> None:
        """Wait until it ends, or until this thread is interrupted."""
        while self._thread.is_alive():
            self._thread.join(3600)

    def close(self) -> None:
        """End it at once, and the model's process with it."""
        self._link.kill()
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(SOON)
        self._socket.close()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        try:
            await self._link.open()
            self._begun.set()
            await self._server.serve([self._socket])
        except BaseException as error:
            self._failed = error
        finally:
            await self._link.close()
            self._begun.set()


def _listen(port: int) -> socket.socket:
    """A socket of this machine alone.

    Raises:
        BadOption: The port is taken, or not ours to take.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((ADDRESS, port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        raise BadOption(f"--port {port}: {error.strerror}; give another one, or 0") from None
    return listening


def _wait(event: threading.Event) -> None:
    """Wait for an event so that Ctrl-C still interrupts."""
    while not event.wait(3600):
        pass


def explore_until_interrupted(
    serving: Serving,
    started: Callable[[str, dict[str, Any]], None],
    *,
    open_browser: bool,
) -> None:
    """Serve until Ctrl-C.

    Args:
        serving: What is served.
        started: Is told the address, and what is known of the model.
        open_browser: Whether to open the page.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        BadOption, BadModel, ...: As `Server` raises them.
    """
    server = Server(serving)
    try:
        started(server.address, server.hello["about"])
        if open_browser:
            webbrowser.open(server.address)
        server.wait()
    finally:
        server.close()
