"""Who is let in: whoever has the token, from a page of this server, under a name of this machine.

A server on 127.0.0.1 can be reached by every program of the machine and, through the browser, by
every page that the person has open. Three checks keep these out, before anything is looked up:

    Host     names this machine. A page of another name that was made to point to 127.0.0.1 (DNS
             rebinding) sends its own name: 421
    Origin   of a request that a page makes is this server itself; pages of others: 403
    token    drawn when the server starts, the first part of every address; compared in constant
             time: 403
"""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "new_token"]

HOSTS = {"127.0.0.1", "localhost", "::1"}
"""Names of this machine. Any port: a tunnel (ssh -L) may have another one at its other end."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
}
OPEN = "open the address that convscope explore printed"


def new_token() -> str:
    """Draw a token: 32 random bytes, as text that an address can hold."""
    return secrets.token_urlsafe(32)


class Guard:
    """Lets a request through to an application, or answers it with 403 or 421.

    Args:
        app: What is guarded; it sees addresses without the token.
        token: The first part of every address.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as every ASGI application does."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        status, reason = self._refusal(scope)
        if status and scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4403, "reason": reason})
        elif status:
            refused = PlainTextResponse(f"convscope: {reason}\n", status, headers=HEADERS)
            await refused(scope, receive, send)
        else:
            root = f"/{self.token}"
            inner = {**scope, "path": scope["path"][len(root) :] or "/", "raw_path": None}
            await self.app(inner, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str]:
        """(status, reason); status 0 where the request may pass."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name_of(host) not in HOSTS:
            return 421, "this server answers to 127.0.0.1 and localhost only"
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return 403, "the request comes from another page"
        given = scope["path"].split("/")[1] if scope["path"].startswith("/") else ""
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return 403, f"the address has no valid token: {OPEN}"
        return 0, ""


def _name_of(host: str) -> str:
    """The name in a Host header, without the port; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _with_headers(send: Send) -> Send:
    """A `send` that adds the headers of every answer."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            mine = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            others = [
                pair for pair in message["headers"] if pair[0].lower().decode() not in HEADERS
            ]
            message = {**message, "headers": [*others, *mine]}
        await send(message)

    return sent
