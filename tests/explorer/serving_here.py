"""An explorer's server whose worker is a thread of this process, with a desk that a test gives."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from starlette.testclient import TestClient
from starlette.types import ASGIApp

from convscope.explorer.app import make_app
from convscope.explorer.link import Link, Process
from convscope.explorer.worker import Answers, work

TOKEN = "token-of-tests"
HERE = "http://127.0.0.1:8000"


def in_a_thread(open_desk: Callable[..., Answers]) -> Callable[[], Awaitable[Process]]:
    """Start a worker in a thread of this process, which `kill` cuts off."""

    async def start() -> Process:
        ours, theirs = socket.socketpair()

        def run() -> None:
            with (
                suppress(SystemExit, OSError),  # a desk that ends its process; nobody reads on
                theirs,
                theirs.makefile("rb") as requests,
                theirs.makefile("wb") as replies,
            ):
                work(requests, replies, open_desk)

        threading.Thread(target=run, daemon=True).start()
        reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 22)
        return Process(reader, writer, partial(_cut, theirs), partial(asyncio.sleep, 0))

    return start


def _cut(end: socket.socket) -> None:
    with suppress(OSError):  # it is closed
        end.shutdown(socket.SHUT_RDWR)


class Served:
    """An application, asked without a port.

    Attributes:
        client: Asks it; addresses are relative to the page's.
        link: To its worker.
    """

    def __init__(self, open_desk: Callable[..., Answers], atlas: Any = None) -> None:
        self.link = Link({"model": "made here"}, in_a_thread(open_desk))
        self.app: ASGIApp = make_app(self.link, TOKEN, atlas)
        self.client = TestClient(self.app, base_url=HERE, raise_server_exceptions=True)

    def __enter__(self) -> Served:
        self.client.__enter__()
        assert self.client.portal is not None
        self.client.portal.call(self.link.open)
        return self

    def __exit__(self, *error: object) -> None:
        assert self.client.portal is not None
        self.client.portal.call(self.link.close)
        self.client.__exit__()

    def socket(self, **headers: str) -> Any:
        """A page's socket."""
        place = f"{HERE.replace('http', 'ws')}/{TOKEN}/socket"
        return self.client.websocket_connect(place, headers=headers)
