"""What forward() makes of its parameters, of numbers, and of the shapes of values: constants.

One that follows from parameters is computed anew when they are written to. One that does not, such
as `torch.zeros(...)`, is made once. Where it is as long as the batch, it must be the same for every
image, and has one row.
"""

from __future__ import annotations

import math
from collections.abc import Container
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from convscope.errors import UnsupportedOp
from convscope.network.aliasing import writes_in_place
from convscope.network.constants import Constants
from convscope.network.export import is_tensor, refusal
from convscope.network.ops import op_of

__all__ = ["Folding"]

OTHER_BATCH = 3
"""Images of a second batch, which a constant is tried on."""
MOST = 2**30
"""Numbers of a constant: more than any network makes."""


class Folding:
    """Takes the constants of an exported graph, in order.

    Args:
        batch: The symbol that stands for the number of images.
        sources: The module's parameters, buffers and constants, by name in the graph.
        learned: Those names whose values may be trained; what is computed from them is added.
        written: Those that are numbers of forward() itself, which nothing else can change.
    """

    def __init__(
        self, batch: Any, sources: dict[str, Tensor], learned: set[str], written: Container[str]
    ) -> None:
        self.stored = Constants(sources)
        self.learned = learned
        self._batch = batch
        # names whose values follow from the module's tensors
        self._follows = {name for name in sources if name not in written}
        self._as_batch: set[str] = set()  # names whose values are as long as the batch
        self._compact: dict[str, tuple[int, Tensor]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.stored

    def __getitem__(self, name: str) -> Any:
        """A constant's value as it is at this point of forward()."""
        value = self.stored[name]
        if name in self._follows or not isinstance(value, Tensor):
            return value
        if value.is_inference():  # it does not count its writes
            return _compact(value)
        if name not in self._compact or self._compact[name][0] != value._version:
            self._compact[name] = value._version, _compact(value)
        return self._compact[name][1]

    def take(self, fx: Any) -> None:
        """Fold one node. A number that depends on the size of the batch is left alone.

        Args:
            fx: The node.

        Raises:
            UnsupportedOp: It draws at random, or is not the same for every image.
        """
        inputs = fx.all_input_nodes
        if fx.meta.get("val") is None:
            return
        sized = [node for node in inputs if node.name not in self.stored]
        if sized and not is_tensor(fx):
            return
        tags = getattr(fx.target, "tags", ())
        if torch.Tag.nondeterministic_seeded in tags and not _idle(fx):
            raise UnsupportedOp(refusal(fx, "draws at random"))
        if any(node.name in self.learned for node in inputs):
            self.learned.add(fx.name)
        if sized or any(node.name in self._as_batch for node in inputs):
            self._try(fx)
        if any(node.name in self._follows for node in inputs):
            self._check_write(fx)
            self._follows.add(fx.name)
            self.stored.compute(partial(self._compute, fx))
        else:
            with torch.no_grad():
                self.stored.put(fx.name, self._call(fx, self.stored, 1))

    def _try(self, fx: Any) -> None:
        """Whether a constant is the same for one image and for several."""
        with torch.no_grad():
            one, some = (self._call(fx, self.stored, n, copy=True) for n in (1, OTHER_BATCH))
        lengths = list(fx.meta["val"].shape) if is_tensor(fx) else []
        as_batch = bool(lengths) and not isinstance(lengths[0], int)
        if as_batch:
            self._as_batch.add(fx.name)
        for first, other in zip(tree_leaves(one), tree_leaves(some), strict=True):
            spread = first.expand(OTHER_BATCH, *first.shape[1:]) if as_batch else first
            if spread.shape != other.shape or not torch.equal(spread, other):
                raise UnsupportedOp(refusal(fx, "takes a number that is computed at run time"))

    def _check_write(self, fx: Any) -> None:
        if not writes_in_place(fx):
            return
        target = fx.args[0]
        op = op_of(target.target) if target.op == "call_function" else None
        if target.name not in self._follows or (op is not None and (op.views or op.reshapes)):
            raise UnsupportedOp(refusal(fx, "writes into a constant through a view"))

    def _compute(self, fx: Any, values: dict[str, Any]) -> Any:
        """Put a constant's value beside the values it is computed from. One that is written to is
        left alone: its copy takes its name."""
        written = fx.args[0].name if writes_in_place(fx) else None
        if written is not None:
            values[written] = values[written].clone()
        values[fx.name] = self._call(fx, values, 1)
        if written is not None:
            values[written] = values[fx.name]
        return values[fx.name]

    def _call(self, fx: Any, values: Any, images: int, copy: bool = False) -> Any:
        """Compute a node for a batch of so many images.

        Args:
            fx: The node.
            values: Constants by name.
            images: How many.
            copy: Leave the constants as they are, also where the node writes into one.
        """

        def argument(node: Any) -> Any:
            if node.name in values:
                value = values[node.name]
                if images > 1 and node.name in self._as_batch:
                    value = value.expand(images, *value.shape[1:])
                return value.clone() if copy and isinstance(value, Tensor) else value
            given = node.meta["val"]
            if not isinstance(given, Tensor):
                return self._number(given, images)
            shape = [self._number(n, images) for n in given.shape]
            return torch.empty(shape, dtype=given.dtype, device=given.device)  # its shape counts

        if is_tensor(fx):
            shape = [self._number(n, images) for n in fx.meta["val"].shape]
            if math.prod(shape) > MOST:
                size = "x".join(map(str, shape))
                raise UnsupportedOp(refusal(fx, f"makes a constant of {size} numbers"))
        args, kwargs = torch.fx.node.map_arg((fx.args, fx.kwargs), argument)
        return fx.target(*args, **kwargs)

    def _number(self, given: Any, images: int) -> Any:
        """A number that may depend on the size of the batch."""
        if isinstance(given, (int, float)):
            return given
        value = given.node.expr.subs(self._batch.node.expr, images)
        return int(value) if isinstance(given, torch.SymInt) else float(value)


def _idle(fx: Any) -> bool:
    """Whether it is a dropout at test time, which draws nothing."""
    arguments = [argument.name for argument in fx.target._schema.arguments]
    given = {**dict(zip(arguments, fx.args, strict=False)), **fx.kwargs}
    return given.get("train") is False


def _compact(value: Tensor) -> Tensor:
    """A copy that takes no memory along axes where all is alike."""
    small = value
    for axis in range(value.dim() if value.dim() > 1 else 0):
        first = small.narrow(axis, 0, min(1, small.shape[axis]))
        if first.numel() and torch.equal(first.expand_as(small), small):
            small = first
    return small.clone().expand(value.shape)
