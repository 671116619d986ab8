"""Cancelling: a long answer looks, between its steps, whether anybody still waits for it."""

from __future__ import annotations

from threading import Event

from convscope.errors import Cancelled

__all__ = ["Cancel"]


class Cancel:
    """What one thread sets and another, which computes, looks at.

    Example:
        >>> cancel = Cancel()
        >>> cancel.cancel()
        >>> cancel.cancelled
        True
    """

    def __init__(self) -> None:
        self._event = Event()

    def cancel(self) -> None:
        """From now on nobody waits for the answer."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """End the computation, if nobody waits for it.

        Raises:
            Cancelled: Nobody does.
        """
        if self.cancelled:
            raise Cancelled("the question was withdrawn before it was answered")
