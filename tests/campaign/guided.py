"""Coverage-guided fuzzing of the doors, by atheris, which is no part of the project's environment.

    python3.11 -m venv /tmp/guided && /tmp/guided/bin/pip install atheris
    PYTHONPATH=src:.venv/lib/python3.11/site-packages /tmp/guided/bin/python \
        tests/campaign/guided.py picture -max_total_time=120

Doors: picture, archive, weights, metadata, unit, names, run, manifest, address. What ends in
anything but one of our errors in one line, or in nothing, is a failure: atheris keeps its bytes in
a file crash-*.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

import atheris
from starlette.types import ASGIApp, Message

with atheris.instrument_imports(include=["convscope"]):
    from convscope.atlas.folder import MANIFEST, read_manifest
    from convscope.errors import BadImage, ConvscopeError
    from convscope.explorer.app import make_app
    from convscope.explorer.link import Link
    from convscope.images.datasets import open_images
    from convscope.images.files import decode
    from convscope.models import metadata as facts
    from convscope.models.weights import read_weights
    from convscope.network.unit import Unit
    from convscope.text import split_integers, split_names
    from convscope.training.checkpoint import Run

FOLDER = Path(tempfile.mkdtemp(prefix="guided-"))


def picture(data: bytes) -> None:
    """The decoder, and the policy of what is refused."""
    decode(data, "x.png")


def archive(data: bytes) -> None:
    """A zip or a tar, and every picture in it."""
    path = FOLDER / ("x.zip" if data[:1] == b"P" else "x.tar")
    path.write_bytes(data)
    images = open_images(path)
    for index in range(min(4, len(images))):
        try:
            images.picture(index)
        except BadImage as error:
            _one_line(error)


def weights(data: bytes) -> None:
    """A file of weights of any form."""
    path = FOLDER / "w.pt"
    path.write_bytes(data)
    read_weights(path)


def metadata(data: bytes) -> None:
    """What weights say of their architecture and of how they are fed."""
    text = data.decode("utf-8", "replace")
    for read in (facts.read_architecture, facts.read_class_names, _preprocess):
        try:
            facts.read_fact(text, read)
        except ValueError as error:
            _one_line(error)


def _preprocess(value: object) -> object:
    return facts.read_preprocess(value, None)


def run(data: bytes) -> None:
    """A training's record."""
    try:
        facts.read_fact(data.decode("utf-8", "replace"), Run.from_dict)
    except ValueError as error:
        _one_line(error)


def manifest(data: bytes) -> None:
    """What a stranger's atlas says of itself."""
    (FOLDER / MANIFEST).write_bytes(data)
    read_manifest(FOLDER)


@cache
def _explorer() -> ASGIApp:
    """An explorer's application, beside a file that it must not give."""
    (FOLDER / "atlas").mkdir()
    (FOLDER / "secret.txt").write_text("secret")
    return make_app(Link({"model": "none"}), "token", FOLDER / "atlas")


def address(data: bytes) -> None:
    """An address of the explorer, with its token and without, as a server hands it on."""
    for start in ("/token/", "/token/atlas/", "/token/page/", ""):
        path = start + data.decode("utf-8", "replace")
        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": data, "root_path": "",
            "query_string": b"", "headers": [(b"host", b"127.0.0.1")], "scheme": "http",
            "http_version": "1.1", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 9),
        }  # fmt: skip
        said: list[Any] = []
        asyncio.run(_explorer()(scope, _nothing, _kept(said)))
        assert said[0]["status"] < 500, (path, said)
        assert b"secret" not in b"".join(part.get("body", b"") for part in said), path


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def _kept(said: list[Any]) -> Callable[[Message], Awaitable[None]]:
    async def keep(message: Message) -> None:
        said.append(message)

    return keep


def unit(data: bytes) -> None:
    """A unit's address."""
    Unit.parse(data.decode("utf-8", "replace"))


def names(data: bytes) -> None:
    """Lists of the command line."""
    text = data.decode("utf-8", "replace")
    split_names(text, "--layers")
    split_integers(text, "--epochs")


DOORS: dict[str, Callable[[bytes], None]] = {
    door.__name__: door
    for door in (picture, archive, weights, metadata, run, unit, names, manifest, address)
}


def _one_line(error: Exception) -> None:
    assert "\n" not in str(error) and len(str(error)) < 4000, repr(error)[:300]


def main() -> None:
    """Fuzz the door that is named, with libFuzzer's options."""
    door = DOORS[sys.argv.pop(1)]

    def tried(data: bytes) -> None:
        try:
            door(data)
        except ConvscopeError as error:
            _one_line(error)

    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(_seeds(door.__name__)):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([*sys.argv, str(corpus)], tried)
    atheris.Fuzz()


def _seeds(door: str) -> list[bytes]:
    """Something whole to begin with."""
    import io
    import zipfile

    from PIL import Image

    pictures = []
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP"):
        stream = io.BytesIO()
        Image.new("RGB", (3, 2), "red").save(stream, kind)
        pictures.append(stream.getvalue())
    if door == "picture":
        return pictures
    if door == "archive":
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as whole:
            whole.writestr("a/b.png", pictures[0])
        return [stream.getvalue()]
    if door == "manifest":
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from campaign.stores import made

        return [(made() / "atlas" / MANIFEST).read_bytes()]
    from convscope.models.architectures import ARCHITECTURES

    architecture = json.dumps(ARCHITECTURES["zfnet-small"].with_classes(2).to_dict()).encode()
    return [b"conv1/3@1,2", b"1,2", architecture, b"../secret.txt"]


if __name__ == "__main__":
    main()
