"""What rules may refuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from convscope.errors import UnsupportedOp
from convscope.methods.rules import DEEPLIFT, LRP_EPSILON, LRP_GAMMA, Rules


@contextmanager
def may_refuse(rules: Rules) -> Iterator[None]:
    """Rules that share a value out may refuse an operation, by its name; others may not."""
    try:
        yield
    except UnsupportedOp as error:
        if rules not in (DEEPLIFT, LRP_EPSILON, LRP_GAMMA):
            raise
        assert str(error).startswith("there is no rule that shares out what ")
