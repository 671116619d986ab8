"""A mergeable table: for every feature map, the K positions that excite it most, one per image.

The order is total: larger value first, then smaller image index, row and column. With a total
order the table depends on the set of (image, map) pairs alone: not on the batch size, the order of
the batches, the number of shards, or where a run was interrupted.

    table = TopK.empty(channels=64, k=9)
    for maps, images in batches:
        table.update(maps, images)                  # one shard
    whole = merge(table, table_of_another_shard)    # any order, any grouping
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from convscope.errors import BadInput, BadOption

__all__ = ["TopK", "merge"]

EMPTY = -1  # image, row and column of a place that no image has taken; its value is -inf
FIELDS = ("value", "image", "row", "column", "active", "non_finite")


@dataclass(eq=False)
class TopK:
    """The K strongest activations of each of C feature maps, at most one position per image.

    Rankings are idempotent (an image that comes twice keeps its best position), counts are not:
    shards that are merged should not share images.

    Attributes:
        value: float32 (C, K), descending along K; -inf where a place is empty.
        image: int64 (C, K), index of the image; -1 where empty.
        row: int64 (C, K), of the position on the layer's grid; -1 where empty.
        column: int64 (C, K), of the position on the layer's grid; -1 where empty.
        active: int64 (C,), in how many images the map was above zero somewhere.
        non_finite: int64 (C,), how many NaN and infinite activations there were; they never rank.
        images: how many images were seen.

    Example:
        >>> table = TopK.empty(channels=2, k=1)
        >>> table.update(torch.tensor([[[[1.0, 3.0]], [[0.0, 0.0]]]]), torch.tensor([7]))
        >>> table.value.tolist(), table.image.tolist(), table.column.tolist()
        ([[3.0], [0.0]], [[7], [7]], [[1], [0]])
    """

    value: Tensor
    image: Tensor
    row: Tensor
    column: Tensor
    active: Tensor
    non_finite: Tensor
    images: int = field(default=0, kw_only=True)

    @classmethod
    def empty(cls, channels: int, k: int, device: torch.device | str = "cpu") -> TopK:
        """A table that has seen nothing.

        Args:
            channels: C, the number of feature maps.
            k: K, the number of places per feature map.
            device: of its tensors.

        Raises:
            BadOption: `channels` or `k` is below 1.
        """
        if channels < 1 or k < 1:
            raise BadOption(
                f"a top-k table of {channels} feature maps and {k} places; both must be at least 1"
            )
        places = [torch.full((channels, k), EMPTY, device=device) for _ in range(3)]
        counts = [torch.zeros(channels, dtype=torch.int64, device=device) for _ in range(2)]
        value = torch.full((channels, k), float("-inf"), device=device)
        return cls(value, *places, *counts)

    @property
    def channels(self) -> int:
        """C, the number of feature maps."""
        return self.value.shape[0]

    @property
    def k(self) -> int:
        """K, the number of places per feature map."""
        return self.value.shape[1]

    @property
    def dead(self) -> Tensor:
        """bool (C,): the map was never above zero, though it had numbers."""
        return (self.active == 0) & ~self.not_finite

    @property
    def not_finite(self) -> Tensor:
        """bool (C,): the map was NaN or infinite everywhere, in all images."""
        return (self.image[:, 0] == EMPTY) & (self.non_finite > 0)

    def update(self, maps: Tensor, image_indices: Tensor, peak: Tensor | None = None) -> None:
        """Add N images: each takes a place of a map if it is strong enough.

        Args:
            maps: the feature maps, of any floating type, compared as float32.
            image_indices: int64, each at least 0.
            peak: each map's maximum (NaN where it holds NaN), of maps that hold no -inf; where the
                caller knows it, the maps are only searched where an image takes a place.

        Raises:
            BadInput: shapes that do not belong to this table, or a negative index.

        Shape:
            maps (N, C, H, W), image_indices (N,), peak (N, C).
        """
        self._check(maps, image_indices)
        if maps.shape[0] == 0:
            return
        indices = image_indices.to(maps.device, torch.int64)
        maps = maps.float()
        known = peak is not None
        peak = maps.amax((2, 3)) if peak is None else peak.float()
        # (N, C); NaN wins in a maximum, so NaN and +inf show in it
        if not (peak.isfinite().all() and (known or maps.amin() > float("-inf"))):
            finite = maps.isfinite()
            self.non_finite += (~finite).sum((0, 2, 3))
            maps = maps.masked_fill(~finite, float("-inf"))
            peak = maps.amax((2, 3))
        peak = peak + 0.0  # -0.0 and 0.0 become the same bits, so that every sort sees a tie
        self.images += maps.shape[0]
        self.active += (peak > 0).sum(0)
        self._admit(maps, peak, indices)

    def _admit(self, maps: Tensor, peak: Tensor, indices: Tensor) -> None:
        """Give places to images; positions are only searched where one beats a map's last place."""
        last_value, last_image = self.value[:, -1], self.image[:, -1]
        beats = peak > last_value
        beats |= (peak == last_value) & (indices[:, None] <= last_image)
        touched = beats.any(0).nonzero().squeeze(1)  # (T,) channels whose row changes
        if touched.numel() == 0:
            return
        # Only the K strongest newcomers of a map can matter, so only they are searched.
        by_image = indices.argsort(stable=True)
        newcomers = peak.masked_fill(~beats, float("-inf"))[by_image][:, touched]
        newcomers, order = newcomers.sort(dim=0, descending=True, stable=True)
        if indices.unique().numel() == indices.numel():  # a repeated image takes one place only
            newcomers, order = newcomers[: self.k], order[: self.k]
        value, source = newcomers.T, by_image[order].T  # (T, M)
        row, column = _positions(maps, source, touched, value)
        image = indices[source].masked_fill(value == float("-inf"), EMPTY)
        table = (self.value, self.image, self.row, self.column)
        joined = [
            torch.cat([old[touched], new], dim=1)
            for old, new in zip(table, (value, image, row, column), strict=True)
        ]
        for old, new in zip(table, _strongest(*joined, k=self.k), strict=True):
            old[touched] = new

    def _check(self, maps: Tensor, indices: Tensor) -> None:
        if maps.ndim != 4 or maps.shape[1] != self.channels or 0 in maps.shape[2:]:
            raise BadInput(
                f"activations of shape {tuple(maps.shape)} do not fit a table of "
                f"{self.channels} feature maps; wanted (N, {self.channels}, H, W)"
            )
        if indices.shape != maps.shape[:1] or (indices.numel() and int(indices.min()) < 0):
            raise BadInput(
                f"image indices must be {maps.shape[0]} integers of at least 0, one for each "
                f"image of the batch; found {indices.tolist()[:5]}"
            )

    def to(self, device: torch.device | str) -> TopK:
        """The same table on another device."""
        return TopK(*(getattr(self, name).to(device) for name in FIELDS), images=self.images)

    def tensors(self) -> dict[str, Tensor]:
        """The table as named tensors on the CPU, for saving; `from_tensors` is the inverse."""
        tensors = {name: getattr(self, name).cpu().contiguous() for name in FIELDS}
        return {**tensors, "images": torch.tensor(self.images)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> TopK:
        """The table that `tensors` described."""
        return cls(*(tensors[name].clone() for name in FIELDS), images=int(tensors["images"]))


def merge(a: TopK, b: TopK) -> TopK:
    """Merge two tables into the table of both tables' images; commutative and associative.

    Args:
        a: one table.
        b: the other, of the same layer and K, on any device.

    Returns:
        A new table on the device of `a`.

    Raises:
        BadInput: the tables are of different size.

    Example:
        >>> whole = merge(table_of_one_process, table_of_another)
    """
    if a.value.shape != b.value.shape:
        raise BadInput(
            f"cannot merge a top-k table of {tuple(a.value.shape)} (feature maps, places) "
            f"with one of {tuple(b.value.shape)}; both must come from the same layer and K"
        )
    joined = [
        torch.cat([getattr(a, name), getattr(b, name).to(a.value.device)], dim=1)
        for name in FIELDS[:4]
    ]
    active = a.active + b.active.to(a.active.device)
    non_finite = a.non_finite + b.non_finite.to(a.active.device)
    value, image, row, column = _strongest(*joined, k=a.k)
    return TopK(value, image, row, column, active, non_finite, images=a.images + b.images)


def _positions(
    maps: Tensor, source: Tensor, touched: Tensor, value: Tensor
) -> tuple[Tensor, Tensor]:
    """Where each newcomer reaches its value, first in row-major order.

    Args:
        maps: the feature maps (N, C, H, W).
        source: (T, M), the newcomer's place in the batch.
        touched: (T,), the channels that have newcomers.
        value: (T, M), the newcomer's maximum; -inf where there is none.

    Returns:
        Rows and columns, int64 (T, M); -1 where there is no newcomer.
    """
    row = torch.full_like(source, EMPTY)
    column = torch.full_like(source, EMPTY)
    real = value > float("-inf")
    channel = touched[:, None].expand_as(source)[real]
    planes = maps[source[real], channel]  # (P, H, W)
    hit = (planes == value[real][:, None, None]).flatten(1)  # (P, H*W)
    place = hit.to(torch.uint8).argmax(1)  # argmax returns the first of equals
    width = maps.shape[3]
    row[real], column[real] = place // width, place % width
    return row, column


def _strongest(
    value: Tensor, image: Tensor, row: Tensor, column: Tensor, *, k: int
) -> list[Tensor]:
    """The first k of (C, M) places in the order (-value, image, row, column), one per image.

    Of an image that occurs twice the first place stays; the other becomes empty and goes last.
    """
    places = [value, image, row, column]
    for key in (3, 2, 1):  # stable sorts, last key first, make the lexicographic order
        places = _reorder(places, places[key].argsort(dim=1, stable=True))
    places = _reorder(places, places[0].argsort(dim=1, descending=True, stable=True))
    by_image = places[1].argsort(dim=1, stable=True)
    image = places[1].gather(1, by_image)
    again = torch.zeros_like(image, dtype=torch.bool)
    again[:, 1:] = (image[:, 1:] == image[:, :-1]) & (image[:, 1:] != EMPTY)
    if again.any():
        repeated = torch.zeros_like(again).scatter_(1, by_image, again)
        places[0] = places[0].masked_fill(repeated, float("-inf"))
        places[1:] = [place.masked_fill(repeated, EMPTY) for place in places[1:]]
        places = _reorder(places, places[0].argsort(dim=1, descending=True, stable=True))
    return [place[:, :k] for place in places]


def _reorder(places: list[Tensor], order: Tensor) -> list[Tensor]:
    return [place.gather(1, order) for place in places]
