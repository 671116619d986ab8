"""What the model's process answers: requests of the page -> headers and pictures, by the engine.

An image is named by where it comes from: `{"key": ...}`, one that was dropped, pasted or taken, or
`{"data": 17}`, one of DATA. The engine forgets pictures when newer ones come; this desk keeps the
files of the dropped ones and gives them again, so that no page ever has to.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.atlas.store import Atlas, open_atlas
from convscope.errors import BadImage, BadInput
from convscope.experiments.options import Device, Reading, Running
from convscope.experiments.session import UNTRAINED, Session, open_session
from convscope.experiments.study import option_words
from convscope.explorer.frames import Reply
from convscope.images.files import decode
from convscope.images.preprocess import Preprocess
from convscope.live.cancel import Cancel
from convscope.live.network import LiveNetwork, LiveSettings
from convscope.text import printable

__all__ = ["PIXEL_LIMIT", "Desk", "open_desk"]

PIXEL_LIMIT = 50_000_000  # of an image that is dropped; a phone's has 12 to 50 million
KEPT_BYTES = 128 << 20  # of the files of dropped images
THUMBNAIL = 72  # pixels; the tray shows 72
STRONGEST = 24  # maps a layer: as many as fit a wide screen
SEARCHED = 100_000  # names of DATA that a search looks through


def open_desk(
    model: str,
    reading: Mapping[str, Any],
    running: Mapping[str, Any],
    data: str | None = None,
    atlas: str | None = None,
    exported: Mapping[str, Any] | None = None,
    paths: Sequence[str] = (),
) -> Desk:
    """Open a model for the explorer.

    Args:
        model: MODEL, as on the command line.
        reading: Of images: the fields of `Reading`.
        running: Device, seed: the fields of `Running`.
        data: DATA, as on the command line.
        atlas: The folder of the network's atlas.
        exported: What is known of a model that was handed over from Python as FILE.pt2.
        paths: Where Python looks for modules, as in the process that started this one.

    Raises:
        BadModel, BadOption, BadData: As every verb raises them.
    """
    sys.path += [path for path in paths if path not in sys.path]
    options = {**running, "device": Device(running["device"])}
    if exported is not None:
        reading = {**reading, "preprocess": "unit"}  # replaced by its own right away
    session = open_session(model, Reading(**reading), Running(**options))
    words = option_words(Reading(**reading))
    if exported is not None:
        session, words = _as_it_was(session, exported), []
    return Desk(session, data, None if atlas is None else open_atlas(atlas), words)


def _as_it_was(session: Session, exported: Mapping[str, Any]) -> Session:
    """A model that came as a file, under the name and with the reading that it had in Python."""
    known = dict(exported)
    mean = known.pop("mean")
    preprocess = Preprocess.from_dict(
        known.pop("preprocess"), None if mean is None else np.asarray(mean, np.float32)
    )
    classes = known.pop("classes")
    model = replace(
        session.model,
        preprocess=preprocess,
        classes=None if classes is None else tuple(classes),
        notes=tuple(known.pop("notes")),
        **known,
    )
    return replace(session, model=model)


class Desk:
    """Answers requests about one model.

    Args:
        session: The model, opened.
        data: DATA, as on the command line, to choose images from.
        atlas: The network's atlas.
        options: The options with which another verb opens this model in the same way.
    """

    def __init__(
        self,
        session: Session,
        data: str | None = None,
        atlas: Atlas | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.session, self.atlas, self.options = session, atlas, list(options)
        self.images = None if data is None else session.images(data)
        self.live = LiveNetwork(
            session.network, session.model.preprocess, session.model.classes or (),
            images=self.images, atlas=atlas, settings=LiveSettings(strongest=STRONGEST, spare=1),
        )  # fmt: skip
        self.live.warm_up()
        self._files: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._from_data: dict[int, str] = {}
        self._answers: dict[str, Callable[[dict[str, Any], Cancel], Iterator[Reply]]] = {
            "look": self._look,
            "tiles": self._tiles,
            "project": self._project,
            "target": self._target,
            "contrast": self._contrast,
            "occlude": self._occlude,
            "sweep": self._sweep,
            "remove": self._remove,
            "names": self._names,
            "thumbnails": self._thumbnails,
        }

    def hello(self) -> dict[str, Any]:
        """What the page must know before anything is asked."""
        session, model = self.session, self.session.model
        return {
            **self.live.facts(),
            "title": session.title(),
            "model": model.spec,
            "about": session.facts(),
            "weights_sha256": model.weights_sha256,
            "warning": UNTRAINED if model.random_weights else None,
            "options": self.options,
            "atlas": self._about_atlas(),
        }

    def answer(self, asked: dict[str, Any], parts: list[bytes], cancel: Cancel) -> Iterator[Reply]:
        """The replies to a request, as they are computed.

        Args:
            asked: The request; `do` says what.
            parts: The bytes that came with it.
            cancel: Stops the computation.

        Raises:
            BadInput: It cannot be answered, with the reason for the person.
        """
        if asked["do"] == "keep":
            yield self._keep(str(asked["name"]), parts[0])
            return
        try:
            answer = self._answers[asked["do"]]
        except KeyError:
            do = asked["do"]
            raise BadInput(f"the page asked for {do!r}, which this server has not") from None
        yield from answer(asked, cancel)

    def _about_atlas(self) -> dict[str, Any] | None:
        """What the atlas calls each layer that it holds, and whether it is of these weights."""
        if self.atlas is None:
            return None
        manifest = self.atlas.manifest
        own = manifest.model.weights_sha256 == self.session.model.weights_sha256
        layers = {layer.activation: layer.name for layer in manifest.layers}
        return {"layers": {**layers, **{name: name for name in layers.values()}}, "own": own}

    # ---- images ---------------------------------------------------------------------------------

    def _keep(self, name: str, data: bytes) -> Reply:
        """Take an image's file in: what a person dropped, pasted or photographed."""
        name = printable(name)[:200] or "image"
        decoded = decode(data, name, self.session.model.preprocess.form, pixel_limit=PIXEL_LIMIT)
        key = self.live.add(decoded.image, name)
        self._files[key] = (name, data)
        self._files.move_to_end(key)
        while sum(len(kept) for _, kept in self._files.values()) > KEPT_BYTES:
            self._files.popitem(last=False)
        return {"key": key, "name": name, "notes": list(decoded.notes)}, []

    def _key(self, asked: Mapping[str, Any]) -> str:
        """The engine's name of the image that is asked about."""
        image = asked["image"]
        if "data" in image:
            index = int(image["data"])
            key = self._from_data.get(index)
            if key is None or key not in self.live:
                key = self._from_data[index] = self.live.add_from_data(index)
            return key
        key = str(image["key"])
        if key not in self.live:
            if key not in self._files:
                raise BadImage("this picture is not here any more: drop it again")
            name, data = self._files[key]
            self._keep(name, data)
        return key

    def _names(self, asked: dict[str, Any], cancel: Cancel) -> Iterator[Reply]:
        """The images of DATA, from one on, or those whose names or labels hold a text."""
        start, count = int(asked.get("start", 0)), min(int(asked.get("count", 60)), 500)
        find = str(asked.get("find", "")).casefold()
        if self.images is None:
            raise BadInput("no DATA was given: start convscope explore MODEL DATA")
        if not find:
            yield {"images": self.live.image_names(start, count), "more": len(self.images)}, []
            return
        found: list[dict[str, Any]] = []
        for at in range(0, min(len(self.images), SEARCHED), 1000):
            cancel.check()
            rows = self.live.image_names(at, 1000)
            found += [
                row for row in rows if find in f"{row['name']} {row['label'] or ''}".casefold()
            ]
            if len(found) >= start + count:
                break
        yield {"images": found[start : start + count], "more": len(found)}, []

    def _thumbnails(self, asked: dict[str, Any], cancel: Cancel) -> Iterator[Reply]:
        """Small pictures of DATA, one a reply, so that the tray fills while they are decoded."""
        if self.images is None:
            return
        preprocess = self.session.model.preprocess
        for index in [int(each) for each in asked["indices"]][:500]:
            cancel.check()
            try:
                picture = self.images.load(index, preprocess.form).image
                shown = preprocess.shown(picture)
            except BadInput as error:
                yield {"index": index, "unreadable": str(error)}, []
                continue
            step = max(1, min(shown.shape[:2]) // THUMBNAIL)
            small = shown[::step, ::step]
            yield {"index": index, "size": list(small.shape[:2])}, [rgba(small)]

    # ---- questions ------------------------------------------------------------------------------

    def _look(self, asked: dict[str, Any], cancel: Cancel) -> Iterator[Reply]:
        look = self.live.look(self._key(asked), cancel=cancel)
        yield look.to_dict(), [rgba(look.picture), *(_bytes(each.tiles) for each in look.layers)]

    def _tiles(self, asked: dict[str, Any], cancel: Cancel) -> Iterator[Reply]:
        channels = asked.get("channels")
        layer = self.live.tiles(self._key(asked), asked["layer"], channels, cancel=cancel)
        yield layer.to_dict(), [_bytes(layer.tiles)]

    def _project(self, asked: dict[str, Any], cancel: Cancel) -> Iterator[Reply]:
        key = self._key(asked)
        found = self.live.project(key, asked["unit"], asked["rules"], cancel=cancel)
        yield self._projected(found)

    def _target(self, asked: dict[str, Any], cancel: Cancel) -> Iterator[Reply]:
        key = self._key(asked)
        found = self.live.project_target(key, asked.get("target"), asked["rules"], cancel=cancel)
        yield self._projected(found)

    def _projected(self, found: Any) -> Reply:
        parts = [rgba(found.picture), rgba(found.spotlight), _bytes(found.light)]
        return {**found.to_dict(), "size": list(found.picture.shape[:2])}, parts

    def _contrast(self, asked: dict[str, Any], cancel: Cancel) -> Iterator[Reply]:
        fill = asked.get("fill", "grey")
        found = self.live.contrast(self._key(asked), asked["unit"], fill=fill, cancel=cancel)
        yield found.to_dict(), [_bytes(found.light)]

    def _occlude(self, asked: dict[str, Any], cancel: Cancel) -> Iterator[Reply]:
        found = self.live.occlude(
            self._key(asked), tuple(asked["box"]), fill=asked.get("fill", "grey"),
            units=tuple(asked.get("units", ())), target=asked.get("target"),
            without=tuple(asked.get("without", ())), to=asked.get("to", "zero"), cancel=cancel,
        )  # fmt: skip
        sizes = {"maps": [list(each.map.shape) for each in found.units]}
        yield {**found.to_dict(), **sizes}, [_bytes(each.map) for each in found.units]

    def _remove(self, asked: dict[str, Any], cancel: Cancel) -> Iterator[Reply]:
        found = self.live.remove(
            self._key(asked), list(asked["units"]), asked.get("to", "zero"),
            target=asked.get("target"), cancel=cancel,
        )  # fmt: skip
        yield found.to_dict(), []

    def _sweep(self, asked: dict[str, Any], cancel: Cancel) -> Iterator[Reply]:
        """Fig. 6: first what it will be, then what is known so far, part by part."""
        wanted = {name: asked[name] for name in SWEEP if asked.get(name) is not None}
        figure = self.live.sweep(self._key(asked), **wanted, cancel=cancel)
        yield {"figure": figure.to_dict()}, []
        for part in figure:
            maps = figure.maps()
            names = [name for name in MAPS if maps.get(name) is not None]
            drawn = [np.ascontiguousarray(figure.spread(name), np.float32) for name in names]
            known = {"level": part.level, "known": part.done, "of": part.total, "maps": names}
            yield known, [each.tobytes() for each in drawn]


SWEEP = ("size", "stride", "fill", "unit", "layer", "target")
"""What a request may say of a sweep."""
MAPS = ("value", "log_odds", "activity", "label")
"""Of a sweep, that the page draws; a network without classes has not all of them."""


def rgba(pixels: NDArray[np.uint8]) -> bytes:
    """RGB pixels (h, w, 3) as a canvas takes them: (h, w, 4)."""
    opaque = np.full((*pixels.shape[:2], 4), 255, np.uint8)
    opaque[..., :3] = pixels
    return opaque.tobytes()


def _bytes(pixels: NDArray[np.uint8]) -> bytes:
    return np.ascontiguousarray(pixels).tobytes()
