"""Subsets: some images of another set, in an order, with labels of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from convscope.errors import BadData
from convscope.images.image_set import Content, ImageSet

__all__ = ["SubsetImages", "evenly", "subset_images", "without_classes"]

Targets = tuple[int, ...]


class SubsetImages(ImageSet):
    """A subset of another set: nothing is copied, and the images' names stay.

    Args:
        spec: The words that name this set.
        base: The set that the images are from.
        indices: Which of `base`, in the order of this set.
        classes: The names that labels count through, or None.
        truth: For each image its label, or its `targets`, over `classes`.
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
        self.multi_label = any(isinstance(value, tuple) for value in self._truth)
        self.left_out, self.streamed = base.left_out, base.streamed

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

    def identity(self) -> str:
        if not self.streamed:
            return super().identity()
        words = f"{self._base.identity()}\n{','.join(map(str, self._indices))}"
        return hashlib.sha256(words.encode()).hexdigest()


def subset_images(images: ImageSet, indices: Iterable[int]) -> SubsetImages:
    """Return the subset of some images with their labels, under the set's own name.

    Args:
        images: The set.
        indices: Which images, in the order of the subset.

    Example:
        first = subset_images(images, range(100))
    """
    chosen = [int(index) for index in indices]
    truth: Sequence[int | None] | Sequence[Targets] = [images.label(index) for index in chosen]
    if images.multi_label:
        truth = [images.targets(index) for index in chosen]
    return SubsetImages(images.spec, images, chosen, images.classes, truth)


def evenly(total: int, wanted: int | None) -> list[int]:
    """Choose indices that lie evenly over a range.

    Args:
        total: How many indices there are.
        wanted: How many to choose at most; None is all.

    Example:
        >>> evenly(10, 4)
        [0, 2, 5, 7]
    """
    if wanted is None or wanted >= total:
        return list(range(total))
    return [place * total // wanted for place in range(wanted)]


def without_classes(images: ImageSet, names: Iterable[str], *, spec: str | None = None) -> ImageSet:
    """Return a set without the images of some classes, the others' labels renumbered.

    Args:
        images: A set of one class an image.
        names: The classes to leave out.
        spec: The name of the result; by default the set's own, and what it is without.

    Raises:
        BadData: There is no such class, images show several classes, or fewer than two are left.
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
    return SubsetImages(spec, images, chosen, kept, labels)
