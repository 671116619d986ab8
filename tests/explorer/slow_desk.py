"""A desk that takes time, to see what becomes of those who wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from convscope.errors import BadImage, BadInput
from convscope.explorer.frames import Reply
from convscope.live.cancel import Cancel


class SlowDesk:
    """Answers `echo`, waits until it is cancelled, or for ever.

    Attributes:
        stopped: The numbers of what was cancelled.
        opened: How many there were.
        released: Lets go what waits for ever, at the end of a test.
    """

    stopped: list[int]
    opened = 0
    released = threading.Event()

    def __init__(self, **opening: Any) -> None:
        type(self).opened += 1
        self.opening, self.stopped = opening, []

    def hello(self) -> dict[str, Any]:
        return {"title": "slow", "opened": type(self).opened, **self.opening}

    def answer(self, asked: dict[str, Any], parts: list[bytes], cancel: Cancel) -> Iterator[Reply]:
        do = asked["do"]
        if do == "keep":
            if not parts[0].startswith(b"image"):
                raise BadImage(f"{asked['name']}: is corrupt")
            yield {"key": parts[0].decode()[5:], "name": asked["name"], "notes": []}, []
        elif do == "echo":
            yield {"said": asked["words"]}, [asked["words"].encode()]
        elif do == "count":
            for number in range(asked["to"]):
                cancel.check()
                yield {"number": number}, []
        elif do == "wait":
            yield {"waiting": True}, []
            while not cancel.cancelled:
                time.sleep(0.002)
            self.stopped.append(asked["id"])
            cancel.check()
        elif do == "stopped":
            yield {"stopped": list(self.stopped)}, []
        elif do == "hang":
            yield {"hanging": True}, []
            self.released.wait()
        elif do == "crash":
            raise ZeroDivisionError("a fault")
        else:
            raise BadInput(f"the page asked for {do!r}, which this server has not")
