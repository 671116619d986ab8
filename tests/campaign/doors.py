"""Hostile requests to the explorer, script payloads in names, use for hours, very many files."""

from __future__ import annotations

import json
import os
import random
import re
import string
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from starlette.websockets import WebSocketDisconnect

from atlas.conftest import tiny_model, tiny_module, write_pictures
from campaign.mutations import HOSTILE
from campaign.row import Row
from convscope.atlas.build import build_atlas
from convscope.atlas.store import open_atlas
from convscope.errors import ConvscopeError
from convscope.explorer.desk import Desk, open_desk
from convscope.images.datasets import open_images
from convscope.images.preprocess import Preprocess
from convscope.live.cancel import Cancel
from convscope.models.zoo import Model
from convscope.report.page import write_page
from explorer.serving_here import HERE, TOKEN, Served
from explorer.slow_desk import SlowDesk

# ---- requests -----------------------------------------------------------------------------------


@cache
def _folder() -> Path:
    atlas = Path(tempfile.mkdtemp(prefix="campaign-doors-")) / "atlas"
    atlas.mkdir()
    (atlas / "index.html").write_text("<p>the atlas</p>")
    (atlas.parent / "secret.txt").write_text("secret")
    (atlas / "link.txt").symlink_to(atlas.parent / "secret.txt")
    return atlas


def requests(seed: int, folder: Path) -> str | None:
    """Ten requests of a stranger or of a broken page: refused, and a good one is answered then."""
    dice = random.Random(seed)
    SlowDesk.opened = 0
    with Served(SlowDesk, _folder()) as served:
        for _ in range(10):
            wrong = dice.choice((_stranger, _stranger, _traversal, _upload, _messages))(
                served, dice
            )
            if wrong:
                return wrong
        if served.client.get(f"/{TOKEN}/").status_code != 200:
            return "it answers no more"
        with served.socket(origin=HERE) as socket:
            socket.receive_bytes()
            socket.send_text(json.dumps({"id": 1, "do": "echo", "words": "still here"}))
            if b"still here" not in socket.receive_bytes():
                return "its socket answers no more"
    return None


def _text(dice: random.Random, most: int = 40) -> str:
    letters = string.printable.strip() + "éあ\u202e"
    return "".join(dice.choices(letters, k=dice.randint(0, most)))


def _stranger(served: Served, dice: random.Random) -> str | None:
    """No token, a wrong one, another host or another page's origin."""
    how = dice.randrange(3)
    token = dice.choice(("", _text(dice), TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "%00", "é" * 9))
    token = TOKEN if how else re.sub(r"[?#/\\%]", "", token)
    headers: dict[str, str] = {}
    if how == 1:
        headers["host"] = dice.choice(
            ("evil.example", "127.0.0.1.evil", "", "[", "0.0.0.0", "a:b:c", "127.0.0.1@evil")
        )
    elif how == 2:
        headers["origin"] = dice.choice(
            ("null", "http://evil.example", "https://127.0.0.1:8000", "", "file://")
        )
    method = dice.choice(("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"))
    answer = served.client.request(
        method, f"/{token}/{dice.choice(('', 'page/main.js', 'images'))}", headers=headers
    )
    return (
        None
        if answer.status_code in (403, 421)
        else f"{method} {token!r} {headers}: {answer.status_code}"
    )


def _traversal(served: Served, dice: random.Random) -> str | None:
    """What lies beside the atlas and the page."""
    up = dice.choice(("..", "%2e%2e", ".%2e", "..%2f..", "..\\..", "%252e%252e", "....//", "./.."))
    root = dice.choice(("atlas", "page", "images", "socket", "atlas/x"))
    what = dice.choice(
        ("secret.txt", "link.txt", "app.py", "etc/passwd", "%00", "index.html%00.js", "a" * 3000)
    )
    answer = served.client.get(f"/{TOKEN}/{root}/{up}/{what}")
    if "secret" in answer.text or "root:" in answer.text or answer.status_code >= 500:
        return f"{root}/{up}/{what}: {answer.status_code}"
    return None


def _upload(served: Served, dice: random.Random) -> str | None:
    """A body that lies of its size, is none, or is no image; a name that is hostile."""
    headers = dice.choice(
        ({}, {"content-length": str(2**40)}, {"content-length": "-5"}, {"content-length": "1e3"})
    )
    name = dice.choice(("../../x", "\x1b[2J", "<script>", "a" * 5000, _text(dice)))
    body = dice.choice((b"", b"x", bytes(5000), b"image" + _text(dice).encode()))
    answer = served.client.post(
        f"/{TOKEN}/images", params={"name": name}, content=body, headers=headers
    )
    return None if answer.status_code in (200, 400, 413, 422) else f"upload: {answer.status_code}"


def _messages(served: Served, dice: random.Random) -> str | None:
    """What no page sends over its socket: it is told so, or is cut off; no more."""
    with suppress(WebSocketDisconnect), served.socket(origin=HERE) as socket:
        socket.receive_bytes()
        for _ in range(4):
            message = _message(dice)
            if isinstance(message, bytes):
                socket.send_bytes(message)
            else:
                socket.send_text(message)
        socket.send_text(json.dumps({"id": 99, "do": "echo", "words": "here"}))
        for _ in range(9):
            if b"here" in socket.receive_bytes():
                return None
        return "the socket does not answer after messages that it does not understand"
    return "the socket was cut off by messages that it does not understand"


def _message(dice: random.Random) -> str | bytes:
    how = dice.randrange(7)
    if how == 0:
        return _text(dice, 200)
    if how == 1:
        return "[" * dice.choice((10, 900, 60_000))
    if how == 2:
        return "x" * dice.choice((65_536, 70_000, 1_000_000))
    if how == 3:
        return bytes(dice.randrange(100))
    asked: dict[str, Any] = {
        "id": dice.choice((1, 2, 10**30, -1)),
        "do": dice.choice(("nothing", "cancel", "keep", "", "__init__")),
    }
    key = dice.choice(("id", "do", "slot", "words", "key"))
    asked[key] = dice.choice([value for value in HOSTILE if value != "\ud800"])
    text = json.dumps(asked)
    return text if len(text) < 200_000 else "{}"


# ---- script payloads ----------------------------------------------------------------------------

PAYLOADS = (
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "\"><svg onload=alert(1)>",  # noqa: E501
    "' onmouseover='alert(1)", "javascript:alert(1)", "${alert(1)}", "{{7*7}}", "<!--<script>",
    "]]><script>alert(1)</script>", "\u2028alert(1)\u2029", "</title><script>alert(1)</script>",
    "</style><script>alert(1)</script>", "<a href=javascript:alert(1)>x</a>", "&lt;script&gt;",
    "\\\"-alert(1)//", "`-alert(1)-`", "<iframe srcdoc='<script>alert(1)</script>'>", "%3Cscript%3E",  # noqa: E501
    "<base href=//evil.example>", "<meta http-equiv=refresh content=0;url=//evil.example>",
)  # fmt: skip
HARMLESS = "payload-harmless"


class Shape(HTMLParser):
    """The elements of a page, and their attributes, without what they say."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def _scan(folder: Path, payload: str) -> Path:
    """An atlas in which each name that a stranger gives is the payload, and its page."""
    torch.set_num_threads(1)
    write_pictures(folder / "first", 6)
    name = payload.replace("/", "\u2215")[:100]
    for path in sorted((folder / "first").rglob("*.png")):
        place = folder / "pictures" / (name + path.parent.name) / (name + path.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(place, "PNG")
    module = torch.nn.Sequential()
    layer = payload.replace(".", "\u2024")
    for number, part in enumerate(tiny_module().children()):
        module.add_module(f"{layer}{number}", part)
    model = Model(
        module=module.eval(), preprocess=Preprocess((3, 24, 24), "imagenet", "none"), spec=payload,
        weights_sha256=None, random_weights=True, classes=(payload, payload + "b", payload + "c"),
    )  # fmt: skip
    images = open_images(folder / "pictures")
    build_atlas(model, images, folder / "atlas", top=2, batch_size=4, workers=1, plain=True)
    return write_page(folder / "atlas") or folder / "atlas"


def payload(seed: int, folder: Path) -> str | None:
    """The pages have the elements that they have without the payload, and scripts that are data."""
    dice = random.Random(seed)
    word = PAYLOADS[seed % len(PAYLOADS)]
    if seed >= len(PAYLOADS):
        other = dice.choice(PAYLOADS)
        word = dice.choice(
            (word + other, other[::-1] + word, _text(dice, 5).replace("\0", "") + word)
        )
    try:
        _scan(folder / "hostile", word)
    except ConvscopeError as error:
        return None if "\n" not in str(error) else f"{word}: two lines"
    _scan(folder / "plain", HARMLESS)
    for path in sorted((folder / "hostile" / "atlas").rglob("*")):
        if path.suffix == ".html":
            found = Shape(path.read_text()).found
            wanted = Shape(
                (
                    folder / "plain" / "atlas" / path.relative_to(folder / "hostile" / "atlas")
                ).read_text()
            ).found
            if found != wanted:
                return f"{word}: {path.name} has other elements"
        elif path.suffix == ".js" and path.parent.name != "page":
            text = path.read_text()
            if "<" in text or "\u2028" in text:
                return f"{word}: {path.name} holds what HTML would obey"
    return _in_a_browser(folder, word)


def _in_a_browser(folder: Path, word: str) -> str | None:
    from report_browser import CHROMIUM, browse

    if CHROMIUM is None:
        return None
    dom = browse(folder / "hostile" / "atlas" / "index.html", "", folder / "profile")
    found = {tag for tag, names in Shape(dom).found if any(name.startswith("on") for name in names)}
    if found or "<iframe" in dom or 'data-view="' not in dom:
        return f"{word}: in the browser: {sorted(found)}"
    return None


# ---- hours --------------------------------------------------------------------------------------


ASKS = 14_400
"""Questions of four hours, one a second: what is kept of images has filled after two."""


def hours(seed: int, folder: Path) -> str | None:
    """A server, then the process of a model, are asked for four hours: memory is flat."""
    return _server_for_hours() or _desk_for_hours(random.Random(seed), folder)


def _server_for_hours() -> str | None:
    """The messages of a socket and the files of a page."""
    with Served(SlowDesk, _folder()) as served, served.socket(origin=HERE) as socket:
        socket.receive_bytes()

        def ask(number: int) -> None:
            socket.send_text(
                json.dumps({"id": number, "do": "echo", "words": "x" * 500, "slot": "a"})
            )
            socket.receive_bytes()
            if number % 20 == 0:
                served.client.get(f"/{TOKEN}/page/main.js")

        return _flat("the server", ask)


def _desk_for_hours(dice: random.Random, folder: Path) -> str | None:
    """What a person does: drop images, look, point at units, move occluders, remove, sweep."""
    torch.set_num_threads(1)
    paths = sorted(write_pictures(folder / "pictures", 40).rglob("*.png"))
    desk = open_desk("zfnet-small", {}, {"device": "cpu"}, str(folder / "pictures"))
    layers = [layer["name"] for layer in desk.hello()["layers"] if len(layer["shape"]) == 3]
    image: dict[str, Any] = {}

    def ask(number: int) -> None:
        nonlocal image
        if number % 20 == 0:
            file = dice.choice(paths).read_bytes() + number.to_bytes(4, "big")  # each its own file
            image = {"key": _asked(desk, "keep", [file], name="dropped.png")["key"]}
            _asked(desk, "look", image=image)
        unit = f"{dice.choice(layers)}/{dice.randrange(8)}"
        box = [dice.randrange(0, 32), dice.randrange(0, 32), 8, 8]
        do = dice.choice(("project", "project", "occlude", "occlude", "target", "remove", "tiles"))
        words: dict[str, dict[str, Any]] = {
            "project": {"unit": unit, "rules": dice.choice(("deconvnet", "gradient"))},
            "occlude": {"box": box, "units": [unit]},
            "target": {"rules": "guided"},
            "remove": {"units": [unit]},
            "tiles": {"layer": unit.split("/")[0]},
        }
        _asked(desk, do, image=image, **words[do])
        if number % 200 == 0:
            _asked(desk, "sweep", image=image, size=16, stride=8)
            _asked(desk, "contrast", image=image, unit=unit)

    return _flat("the model's process", ask)


def _asked(desk: Desk, do: str, parts: Any = (), **more: Any) -> dict[str, Any]:
    """The last answer to a question."""
    return list(desk.answer({"do": do, **more}, list(parts), Cancel()))[-1][0]


def _flat(what: str, ask: Callable[[int], None]) -> str | None:
    """Ask for four hours; by how much it has grown in the last two, where that is much."""
    first = 0.0
    for number in range(ASKS):
        if number == ASKS // 2:
            first = _memory()
        ask(number)
    grown = _memory() - first
    return None if grown < 20 else f"{what} grew by {grown:.0f} MB in {ASKS // 2} questions"


# ---- very many files ----------------------------------------------------------------------------

FILES = 200_000


def files(seed: int, folder: Path) -> str | None:
    """An atlas over a folder of very many files: what it holds grows by their names alone."""
    torch.set_num_threads(1)
    first = sorted(write_pictures(folder / "first", 100, seed).rglob("*.png"))
    for number in range(FILES):
        place = folder / "pictures" / f"class-{number % 100:02d}" / f"{number:06d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(first[number % len(first)], place)
    images = open_images(folder / "pictures")
    seen: dict[int, float] = {}

    def progress(phase: str, done: int, total: int) -> None:
        if phase == "images" and 4 * done // total not in seen:
            seen[4 * done // total] = _memory()

    build_atlas(
        tiny_model(), images, folder / "atlas", layers=["0", "3"], top=3, batch_size=256,
        workers=1, plain=True, progress=progress,
    )  # fmt: skip
    write_page(folder / "atlas")
    if len(open_atlas(folder / "atlas").images) != FILES:
        return "the atlas has not all of them"
    grown = seen[4] - seen[1]
    return None if grown < 100 else f"grew by {grown:.0f} MB over three quarters of the files"


def _memory() -> float:
    """What this process holds now, MB."""
    import gc

    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


ROWS = [
    Row(
        "requests",
        "ten hostile requests to the explorer",
        "refused, still answering",
        300,
        requests,
        _folder,
        60,
        least=4,
    ),
    Row(
        "payloads",
        "script payloads in every name, every page of an atlas, in a browser where there is one",
        "no element or script of theirs",
        200,
        payload,
        seconds=300,
        least=1,
    ),
    Row(
        "hours",
        "four hours of questions to one explorer: its server, the model's process",
        "memory flat",
        1,
        hours,
        _folder,
        7200,
        least=0,
    ),
    Row(
        "files",
        f"an atlas over {FILES:,} files",
        "all of them, memory flat",
        1,
        files,
        seconds=7200,
        least=0,
    ),
]
