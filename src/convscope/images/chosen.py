"""Some images of another set, in an order, with labels of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from convscope.errors import BadData
from convscope.images.image_set import Content, ImageSet

__all__ = ["ChosenImages", "chosen_images", "evenly", "without_classes"]

Targets = tuple[int, ...]


class ChosenImages(ImageSet):
    """A view of another set: nothing is copied, and the images' names stay.

    indices : which of `base`, in the order of this set
    truth : for each of them its label, or its `targets`, over `classes`
    """

    def __init__(
        self,
        spec: str,
        base: ImageSet,
        indices: Sequence[int],
        classes: tuple[str, ...] | None,
        truth: Sequence[int | None] | Sequence[Targets],
    ) -> None:
        super().__init__(spec, classes)
        self._base, self._indices, self._truth = base, tuple(indices), tuple(truth)
        self.multi_label = any(isinstance(each, tuple) for each in self._truth)

    def __len__(self) -> int:
        return len(self._indices)

    def name(self, index: int) -> str:
        return self._base.name(self._indices[index])

    def label(self, index: int) -> int | None:
        truth = self._truth[index]
        return None if isinstance(truth, tuple) else truth

    def targets(self, index: int) -> Targets:
        truth = self._truth[index]
        return truth if isinstance(truth, tuple) else super().targets(index)

    def content(self, index: int) -> Content:
        return self._base.content(self._indices[index])


def chosen_images(images: ImageSet, indices: Iterable[int]) -> ChosenImages:
    """Some images of a set with their labels, under its name."""
    chosen = [int(index) for index in indices]
    truth: Sequence[int | None] | Sequence[Targets] = [images.label(index) for index in chosen]
    if images.multi_label:
        truth = [images.targets(index) for index in chosen]
    return ChosenImages(images.spec, images, chosen, images.classes, truth)


def evenly(total: int, wanted: int | None) -> list[int]:
    """At most that many of `total` indices, evenly over all; None is all."""
    if wanted is None or wanted >= total:
        return list(range(total))
    return [place * total // wanted for place in range(wanted)]


def without_classes(images: ImageSet, names: Iterable[str], *, spec: str | None = None) -> ImageSet:
    """The set without the images of some classes, the others' labels moved up.

    spec : of the result; default: the set's own, and what it is without

    Raises  BadData: no such class, several classes an image, or fewer than two classes left.
    """
    dropped = list(names)
    if not dropped:
        return images
    if images.classes is None or images.multi_label:
        raise BadData(f"{images.spec} has several classes an image, or none: there is none to drop")
    for name in dropped:
        if name not in images.classes:
            raise BadData(
                f"{images.spec} has no class {name!r} to drop: its {len(images.classes)} classes "
                f"are {', '.join(images.classes[:6])}, …"
            )
    kept = tuple(name for name in images.classes if name not in dropped)
    if len(kept) < 2:
        raise BadData(f"{images.spec}: {len(kept)} classes are left; at least two are needed")
    number = {images.classes.index(name): label for label, name in enumerate(kept)}
    chosen = [index for index in range(len(images)) if images.label(index) in number]
    labels = [number[label] for i in chosen if (label := images.label(i)) is not None]
    spec = f"{images.spec} without {', '.join(dropped)}" if spec is None else spec
    return ChosenImages(spec, images, chosen, kept, labels)
