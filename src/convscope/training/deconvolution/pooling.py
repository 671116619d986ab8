"""Max pooling over space and maps with switches: numbers (N, K, H, W) -> pooled, and back.

The largest magnitude of each block of 2 maps x 2 rows x 2 columns (or of another size) is kept with
its sign; the switch says where it stood.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from convscope.errors import BadOption

__all__ = ["Pool"]


@dataclass(frozen=True)
class Pool:
    """A pooling over disjoint blocks; of one map and one position it changes nothing.

    Attributes:
        maps: Neighbouring feature maps of a block.
        side: Rows and columns of a block.

    Example:
        >>> pool = Pool(maps=2, side=2)
        >>> pooled, switches = pool(codes)
        >>> pool.back(pooled, switches).shape == codes.shape
        True
    """

    maps: int = 2
    side: int = 2

    def __call__(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the largest magnitude of each block.

        Args:
            codes: The feature maps.

        Returns:
            The values with their signs, and the switches: their places within their blocks, the
            first of equals.

        Shape:
            codes: (N, K, H, W). Of both results: (N, K / maps, H / side, W / side).
        """
        blocks = self._blocks(codes)
        switches = blocks.abs().argmax(-1)
        return self._taken(blocks, switches), switches

    def at(self, codes: Tensor, switches: Tensor) -> Tensor:
        """Take the values at switches that are given: the adjoint of `back`.

        Shape:
            codes: (N, K, H, W). switches, the result: (N, K / maps, H / side, W / side).
        """
        return self._taken(self._blocks(codes), switches)

    def back(self, pooled: Tensor, switches: Tensor) -> Tensor:
        """Unpool: put each value where its switch says, and zero elsewhere.

        Shape:
            pooled, switches: (N, J, h, w). The result: (N, J * maps, h * side, w * side).
        """
        count, groups, height, width = pooled.shape
        block = self.maps * self.side**2
        blocks = pooled.new_zeros(*pooled.shape, block)
        blocks = blocks.scatter(-1, switches[..., None], pooled[..., None])
        blocks = blocks.view(count, groups, height, width, self.maps, self.side, self.side)
        return blocks.permute(0, 1, 4, 2, 5, 3, 6).reshape(
            count, groups * self.maps, height * self.side, width * self.side
        )

    def check(self, maps: int, size: tuple[int, int], layer: str) -> None:
        """Refuse a layer whose maps do not fall into whole blocks.

        Args:
            maps: How many feature maps there are.
            size: (height, width) of each.
            layer: Its name, for the message.

        Raises:
            BadOption: They do not.
        """
        if maps % self.maps:
            raise BadOption(
                f"{layer} has {maps} maps, pooled by {self.maps}: give a multiple of {self.maps}"
            )
        if size[0] % self.side or size[1] % self.side:
            raise BadOption(
                f"the maps of {layer} are {size[0]}×{size[1]}, pooled by {self.side}: the size of "
                f"the images must be a multiple of {self.side} for every layer"
            )

    def _blocks(self, codes: Tensor) -> Tensor:
        """(N, J, h, w, places of a block)."""
        count, maps, height, width = codes.shape
        return (
            codes.view(
                count, maps // self.maps, self.maps, height // self.side, self.side,
                width // self.side, self.side,
            )
            .permute(0, 1, 3, 5, 2, 4, 6)
            .flatten(4)
        )  # fmt: skip

    @staticmethod
    def _taken(blocks: Tensor, switches: Tensor) -> Tensor:
        return blocks.gather(-1, switches[..., None])[..., 0]
