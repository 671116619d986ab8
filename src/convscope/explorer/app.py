"""What the server answers: the page, its files, the atlas, dropped images, and the socket.

    GET  /               the page            GET  /page/NAME    its scripts and styles
    GET  /atlas/...      the static atlas    POST /images       an image's bytes; its key
    WS   /socket         requests as JSON text, replies as frames (frames.py)

Over the socket a page asks `{"id": 7, "do": "project", ...}`; `slot` makes a newer request of the
same kind cancel the older one. `{"do": "cancel", "id": 7}` stops one. Every tab has its own socket;
when it closes, all that it asked is cancelled.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from convscope.errors import ConvscopeError
from convscope.explorer.frames import pack
from convscope.explorer.guard import Guard
from convscope.explorer.link import Channel, Link
from convscope.text import is_number

__all__ = ["UPLOAD_BYTES", "make_app"]

UPLOAD_BYTES = 32 << 20
"""The largest image file that is taken."""
MESSAGE_CHARACTERS = 1 << 16  # of a request over the socket
OWN = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}


def make_app(link: Link, token: str, atlas: Path | None = None) -> ASGIApp:
    """Make the application that a server runs.

    Args:
        link: To the model's process.
        token: Every address begins with it.
        atlas: The folder of a static atlas of the same network.
    """
    tabs = _Tabs(link)
    link.tell = tabs.tell
    routes: list[Any] = [
        Route("/", _own("explore.html")),
        Route("/page/{name}", _page_file),
        Route("/images", _upload(link), methods=["POST"]),
        WebSocketRoute("/socket", tabs.serve),
    ]
    if atlas is not None:
        routes.append(Mount("/atlas", StaticFiles(directory=atlas, html=True, check_dir=False)))
    return Guard(Starlette(routes=routes), token)


# ---- files -------------------------------------------------------------------------------------


def _own(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return _file(name)

    return answer


async def _page_file(request: Request) -> Response:
    """A file of the page; those of the atlas's page that it uses are the atlas's own."""
    return _file(request.path_params["name"])


def _file(name: str) -> Response:
    web, page = files("convscope.explorer") / "web", files("convscope.report") / "page"
    kind = OWN.get(Path(name).suffix)
    there = {each.name: each for folder in (page, web) for each in folder.iterdir()}
    if kind is None or name not in there:
        return Response("no such file\n", 404)
    return Response(there[name].read_bytes(), media_type=kind)


# ---- images ------------------------------------------------------------------------------------


def _upload(link: Link) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        """Take an image in; its name is in the query, its bytes are the body."""
        data = bytearray()
        too_large = f"is larger than {UPLOAD_BYTES >> 20} MB: make it smaller"
        declared = request.headers.get("content-length", "0")
        if not is_number(declared, UPLOAD_BYTES):
            return JSONResponse({"error": f"the image {too_large}"}, 413)
        async for chunk in request.stream():
            data += chunk
            if len(data) > UPLOAD_BYTES:
                return JSONResponse({"error": f"the image {too_large}"}, 413)
        try:
            name = request.query_params.get("name", "image")
            return JSONResponse(await link.keep(name, bytes(data)))
        except ConvscopeError as error:
            return JSONResponse({"error": str(error)}, 422)

    return answer


# ---- tabs --------------------------------------------------------------------------------------


class _Tabs:
    """The pages that are open."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._open: set[WebSocket] = set()

    async def tell(self, word: str) -> None:
        """Tell every page how the model's process is."""
        for socket in list(self._open):
            with suppress(Exception):  # it may be closing
                await socket.send_bytes(pack(self._state()))

    def _state(self) -> dict[str, Any]:
        return {"event": self._link.state, "hello": self._link.hello}

    async def serve(self, socket: WebSocket) -> None:
        """Answer one page until it closes."""
        await socket.accept()
        self._open.add(socket)
        tab = _Tab(self._link, socket)
        try:
            await socket.send_bytes(pack(self._state()))
            while True:
                await tab.take(await _text_from(socket))
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self._open.discard(socket)
            tab.close()


class _Tab:
    """One page: what it is waiting for."""

    def __init__(self, link: Link, socket: WebSocket) -> None:
        self._link, self._socket = link, socket
        self._waiting: dict[int, Channel] = {}
        self._slots: dict[str, int] = {}

    async def take(self, text: str) -> None:
        """Take a message of the page."""
        asked = _request(text)
        if asked is None:
            await self._socket.send_bytes(pack({"error": "no request that is understood"}))
        elif asked["do"] == "cancel":
            self._cancel(asked["id"])
        elif asked["do"] == "restart":
            self._link.restart()
        else:
            await self._ask(asked)

    async def _ask(self, asked: dict[str, Any]) -> None:
        slot = asked.pop("slot", None)
        if isinstance(slot, str):
            self._cancel(self._slots.get(slot, -1))
            self._slots[slot] = asked["id"]
        self._forget_ended()
        self._waiting[asked["id"]] = await self._link.ask(asked, self._socket.send_bytes, [])

    def _cancel(self, number: int) -> None:
        channel = self._waiting.pop(number, None)
        if channel is not None:
            self._link.cancel(channel)

    def _forget_ended(self) -> None:
        self._waiting = {
            number: channel
            for number, channel in self._waiting.items()
            if not channel.ended.is_set()
        }

    def close(self) -> None:
        """Cancel all that is still computed for this page."""
        for number in list(self._waiting):
            self._cancel(number)


async def _text_from(socket: WebSocket) -> str:
    """The next message; empty, which is no request, where it is not text."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    return message.get("text") or ""


def _request(text: str) -> dict[str, Any] | None:
    """A request that a page may make; None for anything else."""
    if len(text) > MESSAGE_CHARACTERS:
        return None
    try:
        asked = json.loads(text)
        pack({"asked": asked})  # NaN and half characters cannot be handed on
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict) or not isinstance(asked.get("do"), str):
        return None
    allowed = isinstance(asked.get("id"), int) and asked["do"] != "keep"
    return asked if allowed else None
