"""What every question has at hand: the network, its plans, the images, and whose turn it is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.atlas.store import Atlas
from convscope.errors import BadOption, NonFinite
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.live.answers import Reader
from convscope.live.cancel import Cancel
from convscope.live.kept_images import Activations, KeptImage, KeptImages
from convscope.live.turns import Turns
from convscope.methods.sweep import refuse_not_finite
from convscope.methods.targets import ClassAt, TargetLike, Watched, as_target, choices, watched
from convscope.network.local.plan import Plan, Put
from convscope.network.network import Network
from convscope.text import is_number

__all__ = ["Engine", "LiveSettings"]

PLANS = 32
"""Plans that are kept: they share the filters, so that each is small."""


@dataclass(frozen=True)
class LiveSettings:
    """How much is kept and shown.

    Attributes:
        memory: Bytes of activations that are kept, of the images asked about last; those of one
            image are kept whatever they take.
        pictures: Images whose pixels are kept.
        strongest: Maps of each layer in a look.
        tile: Longest side of a map's small picture; larger maps are pooled by their maximum.
        bars: Classes in an answer, the highest.
        spare: Processors that short questions leave to others, such as a browser.
    """

    memory: int = 512 * 2**20
    pictures: int = 64
    strongest: int = 9
    tile: int = 56
    bars: int = 5
    spare: int = 0


class Engine:
    """The network and what is kept between questions. Questions come through `LiveNetwork`."""

    def __init__(
        self,
        network: Network,
        preprocess: Preprocess,
        classes: Sequence[str],
        images: ImageSet | None,
        atlas: Atlas | None,
        settings: LiveSettings,
    ) -> None:
        self.network, self.preprocess = network, preprocess
        self.classes = tuple(classes)
        self.images, self.atlas, self.settings = images, atlas, settings
        self.turns = Turns(settings.spare)
        self.kept = KeptImages(network, settings.pictures, settings.memory)
        self.plan = Plan(network, [network.output])
        self._plans: OrderedDict[object, Plan] = OrderedDict()
        self._fills: dict[str, Tensor] = {}
        self.reader = Reader(network, self.class_name, settings.bars)

    @contextmanager
    def asking(self, key: str, cancel: Cancel | None) -> Iterator[tuple[KeptImage, Activations]]:
        """Have the turn for a short question about an image.

        Raises:
            BadInput: There is no such image any more.
            Cancelled: Nobody waited any more when it was this question's turn.
        """
        image = self.kept[key]
        with self.turns.short():
            if cancel is not None:
                cancel.check()
            activations = self.kept.activations(image)
            with torch.no_grad():
                yield image, activations
            self.kept.let_go()

    def pausing(self, cancel: Cancel | None) -> Callable[[], None]:
        """What a long computation calls between its steps."""

        def pause() -> None:
            if cancel is not None:
                cancel.check()
            self.turns.give_way()

        return pause

    def planned(
        self,
        outputs: Sequence[str],
        sums: Mapping[str, Sequence[int]] | None = None,
        points: Mapping[str, Sequence[tuple[int, int]]] | None = None,
        put: Put | None = None,
    ) -> Plan:
        """How to run on windows towards some layers; worked out once, as long as it is used."""
        outputs = tuple(dict.fromkeys(outputs))
        if outputs == self.plan.outputs and not sums and not points and not put:
            return self.plan
        key = (
            outputs,
            tuple((name, tuple(channels)) for name, channels in (sums or {}).items()),
            tuple((name, tuple(positions)) for name, positions in (points or {}).items()),
            tuple((name, tuple(channels.items())) for name, channels in (put or {}).items()),
        )
        if key not in self._plans:
            self._plans[key] = self.plan.towards(outputs, sums, points, put)
            while len(self._plans) > PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(key)
        return self._plans[key]

    def fills(self) -> list[str]:
        """The words of `fill` that this network's images know, besides 0..255 and r,g,b."""
        known = []
        for words in ("grey", "mean", "black", "white"):
            try:
                self.preprocess.fill(words)
            except BadOption:
                continue
            known.append(words)
        return known

    def fill(self, words: str | float | Tensor) -> Tensor:
        """What an occluder shows, in preprocessed units, (C, H, W).

        Args:
            words: A colour as the command line has it, or numbers in preprocessed units.

        Raises:
            BadOption: It is no colour.
        """
        if isinstance(words, str):
            if words not in self._fills:
                self._fills[words] = self.preprocess.fill(words).to(
                    self.network.device, self.network.dtype
                )
            return self._fills[words]
        planes = torch.as_tensor(words, dtype=self.network.dtype, device=self.network.device)
        planes = planes[:, None, None] if planes.dim() == 1 else planes
        return planes.expand(self.network.input_shape)

    def target(self, given: TargetLike | str | None) -> TargetLike | None:
        """What is watched, of a class's number or name, with its position in maps of classes.

        Raises:
            BadOption: There is no such class.
        """
        if not isinstance(given, str):
            return given
        names = [name.strip().lower() for name in self.classes]
        words, position = given.strip(), None
        if words.lower() not in names:
            words, position = ClassAt.split(words)
        if words.strip().lower() in names:
            return ClassAt(names.index(words.strip().lower()), position)
        what, count = choices(self.network)
        if not is_number(words, count - 1):
            raise BadOption(
                f"target {given!r}: give a name, or the number of one of {count} {what}"
            )
        return ClassAt(int(words), position)

    def watched(
        self, image: KeptImage, activations: Activations, given: TargetLike | str | None
    ) -> tuple[Watched | None, int | None]:
        """A target's function, worked out once an image; None for a class of a vector of scores.

        Returns:
            The target, and the class that was asked for, if one was.

        Raises:
            BadOption: There is no such class or position.
            BadInput: The answer is neither a vector nor maps, and no function was given.
        """
        wish = as_target(self.target(given))
        key = ("watched", wish if isinstance(wish, ClassAt) else id(wish))
        background = self._background()
        found = activations.known(
            key, lambda: (wish, watched(self.network, image.tensor, wish, background=background))
        )[1]
        return found, wish.index if isinstance(wish, ClassAt) else None

    def _background(self) -> int | None:
        names = [name.strip(" _").lower() for name in self.classes]
        return names.index("background") if "background" in names else None

    def highest(self, layer: str) -> Tensor | None:
        """The highest activation of each map of a layer that the atlas knows, (C,), or None."""
        if self.atlas is None:
            return None
        for record in self.atlas.manifest.layers:
            if record.activation == layer:
                return self.atlas.layers[record.name].value[:, 0]
        return None

    def class_name(self, index: int) -> str:
        """What a class, or a number of a regression, is called."""
        if index < len(self.classes):
            return self.classes[index]
        return str(index)

    def refuse_not_finite(self, image: KeptImage) -> None:
        """Name the layer that makes NaN or infinity of an image, if one does.

        Raises:
            NonFinite: One does.
        """
        values = self.kept.activations(image).trace[self.network.output]
        if not torch.isfinite(values).all():
            refuse_not_finite(self.network, image.tensor)

    @staticmethod
    def check_finite(*values: Tensor) -> None:
        """Refuse what came out under an occluder, or without a unit.

        Raises:
            NonFinite: There is NaN or infinity, which there is not in the image as it is.
        """
        if not all(bool(torch.isfinite(value).all()) for value in values):
            raise NonFinite("NaN or infinity under the occluder, not without it: try another fill")
