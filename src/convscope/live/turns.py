"""Turns: one computation at a time, and a long one gives way to short ones.

PyTorch spreads one computation over all processors. Two at once wait for each other's threads and
take longer than one after the other. So whoever computes has the turn; a long computation offers it
to short ones between its steps, which are milliseconds apart.

Where a browser draws the answers on the same machine, short computations leave a processor to it:
threads that wait for one that has no processor make a tenth of a second of a hundredth.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

import torch

__all__ = ["Turns"]


class Turns:
    """Whose turn it is to compute; any thread may ask.

    Args:
        spare: Processors that short computations leave to others.
    """

    def __init__(self, spare: int = 0) -> None:
        self._spare, self._all = spare, torch.get_num_threads()
        self._changed = Condition()
        self._taken = False
        self._short = 0  # short computations that wait

    @contextmanager
    def short(self) -> Iterator[None]:
        """Wait for the turn, before all long computations, and have it."""
        with self._changed:
            self._short += 1
            self._changed.wait_for(lambda: not self._taken)
            self._short -= 1
            self._taken = True
        self._use(self._all - self._spare)
        try:
            yield
        finally:
            self._release()

    @contextmanager
    def long(self) -> Iterator[None]:
        """Wait until nobody else computes or waits with a short computation, and have the turn."""
        self._take_last()
        try:
            yield
        finally:
            self._release()

    def give_way(self) -> None:
        """Between two steps of a long computation: let the short ones that wait go first."""
        if self._short:
            self._release()
            self._take_last()

    def _take_last(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._taken and not self._short)
            self._taken = True
        self._use(self._all)

    def _use(self, threads: int) -> None:
        """How many threads PyTorch takes in this one: every thread has its own number."""
        if self._spare:
            torch.set_num_threads(max(1, threads))

    def _release(self) -> None:
        with self._changed:
            self._taken = False
            self._changed.notify_all()
