"""Maps whose channels come last: what lies between two permutations is read with channels first.

ConvNeXt's layer norms and dense layers see (N, H, W, C). Position by position they are what a layer
norm over channels and a 1x1 convolution are on (N, C, H, W): read so, they have a grid, windows and
receptive fields like any other layer, and the two permutations are gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from convscope.network.node import Node
from convscope.network.ops import COPY

__all__ = ["read_channels_first"]

TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def read_channels_first(
    drafts: Mapping[str, Node], kept: set[str]
) -> tuple[dict[str, Node], set[str]]:
    """Put channels first wherever both ends of a region permute, and leave the permutations out.

    Args:
        drafts: Name -> node, in order of execution.
        kept: Names of nodes that must stay, as outputs do.

    Returns:
        The nodes that are left, and the names of those that have their channels first now.
    """
    opening = {name for name, node in drafts.items() if _permutes(node, TO_LAST)}
    if not opening:
        return dict(drafts), set()
    closing = {name for name, node in drafts.items() if _permutes(node, TO_FIRST)}
    turned = _turned(drafts, opening, closing, kept)
    last = opening | turned.keys()
    first: dict[str, str] = {}  # what was permuted -> the node that holds it with channels first
    nodes: dict[str, Node] = {}
    for name, node in drafts.items():
        back = name in closing and node.inputs[0] in last
        reads_first = back or name in turned
        inputs = tuple(
            first.get(below, below) if reads_first or below not in opening else below
            for below in node.inputs
        )
        if name in opening or back:
            first[name] = inputs[0]
        if back and name in kept:
            nodes[name] = replace(node, op=COPY, inputs=inputs, below=(node.shape,), settings={})
        elif not back:
            nodes[name] = replace(turned.get(name, node), inputs=inputs)
    read = {below for node in nodes.values() for below in node.inputs}
    unread = opening - read - kept
    return {name: node for name, node in nodes.items() if name not in unread}, set(turned)


def _permutes(node: Node, axes: tuple[int, ...]) -> bool:
    return node.op.permutes and tuple(node.settings.get("axes", ())) == axes


def _turned(
    drafts: Mapping[str, Node], opening: set[str], closing: set[str], kept: set[str]
) -> dict[str, Node]:
    """The nodes of regions that are entered and left by permutations alone, channels first."""
    last, turned = set(opening), dict[str, Node]()
    for name, node in drafts.items():
        form = node.op.channels_first
        if form is None or not node.inputs or not last.issuperset(node.inputs):
            continue
        if (found := form(node)) is not None:
            turned[name] = found
            last |= {name} if len(node.shape) == 3 else set()
    readers: dict[str, list[str]] = {name: [] for name in drafts}
    for name, node in drafts.items():
        for below in node.inputs:
            readers.setdefault(below, []).append(name)

    def stands_alone(name: str) -> bool:
        """Whether something outside reads it, or it reads something that comes from outside."""
        outside = [reader for reader in readers[name] if reader not in turned.keys() | closing]
        enters = [below for below in drafts[name].inputs if below not in turned.keys() | opening]
        return bool(enters) or (len(drafts[name].shape) == 3 and bool(outside or name in kept))

    while alone := {name for name in turned if stands_alone(name)}:
        turned = {name: node for name, node in turned.items() if name not in alone}
    return turned
