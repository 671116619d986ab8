"""Units in images -> every kind of picture of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from convscope.errors import BadInput, NonFinite, UnsupportedOp
from convscope.execution import ONE_PROCESS, Execution
from convscope.experiments.pictures.result import (
    RULES,
    PictureKind,
    Pictures,
    Pixels,
    UnitPicture,
    UnitPictures,
    Worth,
)
from convscope.experiments.session import Session
from convscope.geometry.box import Box
from convscope.images.pictures import GREY, crop, grey_scaled, shown_box
from convscope.methods.ascent.loop import AscentSettings, maximise
from convscope.methods.ascent.showing import canvas_of, shown_pictures
from convscope.methods.checks import Checker, CheckSettings
from convscope.methods.contrastive import contrastive_occlusion
from convscope.methods.inversion import InversionSettings, invert
from convscope.methods.project import project
from convscope.methods.rules import rules_named
from convscope.methods.spotlight import lit, spotlight
from convscope.network.trace import Trace
from convscope.network.unit import Unit
from convscope.progress import counted_as
from convscope.scan.items import for_each
from convscope.store.results import Arrays, ResultStore

__all__ = ["PictureMaker", "pictures"]

CLIP = 0.002
"""Share of a picture's values, the largest, that is cut off: a few would hide all others."""
REFUSALS = (BadInput, NonFinite, UnsupportedOp)


def pictures(
    session: Session,
    units: Sequence[Unit],
    images: Sequence[str],
    results: ResultStore,
    *,
    steps: int | None = None,
    examples: Tensor | None = None,
    how: Execution = ONE_PROCESS,
) -> Pictures:
    """Make every kind of picture of some units.

    Args:
        session: The network.
        units: Each in the image of its number.
        images: As `Session.picture` opens them.
        results: What is there is not made again.
        steps, examples: As `PictureMaker` has them.
        how: Which of several processes this is, and who is told how many units are done.

    Raises:
        NoSuchLayer, NoSuchUnit: There is no such unit.
        BadImage, BadData: There is no such image.
    """
    maker = PictureMaker(session, steps=steps, examples=examples)

    def made(number: int) -> Arrays:
        picture = session.picture(images[number])
        return maker.make(units[number], picture.name, session.tensor(picture)[0]).arrays()

    how = replace(how, progress=counted_as(how.progress, "units"))
    rows = for_each([str(unit) for unit in units], made, results, results.arrays, how)
    return Pictures(tuple(UnitPictures.of(row) for row in rows))


class PictureMaker:
    """Makes every kind of picture of units of one network.

    Args:
        session: The network.
        steps: Of optimised pictures and of inversions; None is the number of each.
        examples: Preprocessed images; an inversion's error is then a share of their features' mean
            distance.

    Shape:
        examples: (N, C, H, W).
    """

    def __init__(
        self, session: Session, *, steps: int | None = None, examples: Tensor | None = None
    ) -> None:
        self.session, self.network = session, session.network
        self.canvas = canvas_of(session.network, session.model.preprocess)
        self.ascent = AscentSettings(seed=session.seed)
        if steps is not None:
            self.ascent = AscentSettings(steps=steps, seed=session.seed)
        self.inversion = InversionSettings(steps=steps, seed=session.seed)
        self.examples = examples
        settings = CheckSettings(seed=session.seed)
        self.checkers = {
            kind: Checker(session.network, rules_named(kind), settings) for kind in RULES
        }

    def make(self, unit: Unit | str, name: str, image: Tensor) -> UnitPictures:
        """Make every kind of picture of one unit.

        Args:
            unit: Without a position it stands for its map's strongest one in the image.
            name: What the image is called.
            image: Preprocessed.

        Raises:
            NoSuchLayer, NoSuchUnit: There is none.
            BadInput: The image has another shape.

        Shape:
            image: (C, H, W).
        """
        network = self.network
        unit = network.unit(unit)
        trace = network.trace(image[None], [unit.layer])
        unit = trace.strongest(unit, 0)
        at = unit.position or (0, 0)
        field = network.layer(unit.layer).field.box(at)
        [pixels] = network.legend.pictures(image[None].cpu())
        seen = _Seen(pixels, field, shown_box(field, *pixels.shape[:2]))
        values = trace[unit.layer][0, unit.channel]
        return UnitPictures(
            unit=str(unit),
            image=name,
            activation=float(values if unit.position is None else values[at]),
            box=seen.box.as_tuple(),
            pictures=tuple(self._pictures(trace, unit, image, seen)),
        )

    def _pictures(
        self, trace: Trace, unit: Unit, image: Tensor, seen: _Seen
    ) -> Iterator[UnitPicture]:
        makes: dict[PictureKind, Callable[[], UnitPicture]] = {
            PictureKind.PATCH: lambda: UnitPicture(PictureKind.PATCH, seen.patch.numpy()),
            PictureKind.SPOTLIGHT: lambda: self._spotlight(trace, unit, seen),
            **{kind: partial(self._projection, kind, trace, unit, seen) for kind in RULES},
            PictureKind.SALIENCY: lambda: self._saliency(trace, unit, seen),
            PictureKind.CONTRASTIVE: lambda: self._contrastive(unit, image, seen),
            PictureKind.OPTIMISED: lambda: self._optimised(unit),
            PictureKind.INVERTED: lambda: self._inverted(unit, image, seen),
        }
        for kind in PictureKind:
            try:
                yield makes[kind]()
            except REFUSALS as error:
                yield UnitPicture(kind, refused=str(error))

    def _projected(self, kind: PictureKind, trace: Trace, unit: Unit, seen: _Seen) -> Tensor:
        """By the rules of that name, what is shown of it, (3, h, w)."""
        found = project(trace, unit, rules_named(kind)).projection[0].cpu()
        return crop(self.session.model.preprocess.rgb(found), seen.box, 0.0)

    def _projection(self, kind: PictureKind, trace: Trace, unit: Unit, seen: _Seen) -> UnitPicture:
        pixels = grey_scaled(self._projected(kind, trace, unit, seen), CLIP)
        [trust] = self.checkers[kind].check(trace, unit)
        return UnitPicture(kind, pixels, Worth.of(trust))

    def _spotlight(self, trace: Trace, unit: Unit, seen: _Seen) -> UnitPicture:
        projection = self._projected(PictureKind.DECONVNET, trace, unit, seen)
        return UnitPicture(
            PictureKind.SPOTLIGHT, spotlight(seen.patch[None], projection[None])[0].numpy()
        )

    def _saliency(self, trace: Trace, unit: Unit, seen: _Seen) -> UnitPicture:
        """The largest absolute derivative over channels; bright is much."""
        gradient = project(trace, unit, rules_named(PictureKind.GRADIENT)).projection[0].cpu()
        sizes = crop(gradient.abs().amax(0, keepdim=True), seen.box, 0.0)[0].double()
        kept = sizes.numel() - int(CLIP * sizes.numel())
        most = float(sizes.flatten().kthvalue(kept).values) or float(sizes.max()) or 1.0
        grey = (255 * (sizes / most).clamp(max=1)).round().to(torch.uint8)
        return UnitPicture(PictureKind.SALIENCY, np.repeat(grey.numpy()[..., None], 3, axis=2))

    def _contrastive(self, unit: Unit, image: Tensor, seen: _Seen) -> UnitPicture:
        fill = self.session.model.preprocess.fill("grey").to(image)
        found = contrastive_occlusion(self.network, image, unit, fill=fill)
        bright = torch.zeros(1, *image.shape[-2:], dtype=torch.float64)
        part = found.seen
        bright[0, part.top : part.bottom, part.left : part.right] = found.light()
        pixels = lit(seen.patch[None], crop(bright, seen.box, 0.0))[0].numpy()
        row, column = found.strongest
        numbers = {
            "it loses": float(found.drop[row, column]),
            "others lose": float(found.neighbours_drop[row, column]),
        }
        return UnitPicture(PictureKind.CONTRASTIVE, pixels, numbers=numbers)

    def _optimised(self, unit: Unit) -> UnitPicture:
        found = maximise(self.network, unit.layer, [unit.channel], self.canvas, self.ascent)
        [pixels] = shown_pictures(found, self.session.model.preprocess, free=False)
        numbers = {"activation": float(found.activation[0])}
        return UnitPicture(PictureKind.OPTIMISED, pixels, numbers=numbers)

    def _inverted(self, unit: Unit, image: Tensor, seen: _Seen) -> UnitPicture:
        """Of the whole layer."""
        found = invert(
            self.network, image, [unit.layer], self.canvas, self.inversion, examples=self.examples
        )
        [layer] = found.layers
        [pixels] = self.network.legend.pictures(layer.picture[None])
        numbers = {"error": layer.error, "r": layer.correlation}
        return UnitPicture(PictureKind.INVERTED, seen.cut(pixels).numpy(), numbers=numbers)


@dataclass(frozen=True, eq=False)
class _Seen:
    """An image, the unit's receptive field, and the box of it that all pictures show."""

    pixels: Pixels
    field: Box
    box: Box

    @property
    def patch(self) -> Tensor:
        """uint8 (h, w, 3)."""
        return self.cut(self.pixels)

    def cut(self, pixels: Pixels) -> Tensor:
        """What is shown of a picture of the whole image, grey where the unit sees nothing."""
        planes = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)
        return crop(planes, self.box, GREY, within=self.field).permute(1, 2, 0)
