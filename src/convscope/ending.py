"""How the program ends when it is told to, by SIGINT (Ctrl-C) or SIGTERM: in a second and a line.

A signal raises `Told` in the main thread, as Ctrl-C always does in Python. That alone is not
enough: the main thread may stand in a long operation of PyTorch, or in an import that swallows the
error. So a second thread, which the system wakes at once, waits a moment and then ends the process
itself. That is safe: what is kept is kept so that a kill -9 loses nothing (store/atomic.py).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

__all__ = ["Told", "leave", "listen", "signal_words", "told_by"]

QUIET = "ignore::UserWarning:multiprocessing.resource_tracker"
"""What a pool of processes leaves when the program ends at once, Python's own helper removes; it
would say so, in its own process, after our line."""
PATIENCE = 0.6  # seconds that the main thread has to end by itself
WORDS: dict[int, str] = {signal.SIGINT: "interrupted", signal.SIGTERM: "told to end (SIGTERM)"}

_told: list[int] = []
_once = threading.Lock()


class Told(KeyboardInterrupt):
    """The process was told to end."""


def told_by() -> int | None:
    """Which signal told this process to end, or None."""
    return _told[0] if _told else None


def listen() -> None:
    """End within a second on SIGINT and SIGTERM from now on. For the main thread of a program."""
    sys.warnoptions.append(QUIET)
    for number in WORDS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _raise)
    ours, systems = socket.socketpair()
    systems.setblocking(False)
    signal.set_wakeup_fd(systems.fileno(), warn_on_full_buffer=False)
    watching = threading.Thread(target=_watch, args=(ours, systems), name="ending", daemon=True)
    watching.start()


def _raise(number: int, _: FrameType | None) -> NoReturn:
    _told.append(number)
    raise Told


def _watch(ours: socket.socket, _: socket.socket) -> None:
    """Wait for a signal, and then for the main thread; the other end must live as long."""
    while True:
        for number in ours.recv(16):
            if number in WORDS and signal.getsignal(number) is _raise:
                time.sleep(PATIENCE)
                leave(number)


def leave(number: int, said: bool = False) -> NoReturn:
    """End the process at once, with the signal's line and exit code: 130 or 143.

    Args:
        number: The signal.
        said: Its line has been printed.
    """
    if _once.acquire(blocking=False) and not said:
        line = f"convscope: {signal_words(number)}\n"
        os.write(2, line.encode())  # no lock that is held elsewhere
    if threading.current_thread() is threading.main_thread():
        sys.stdout.flush()  # where nobody reads, the other thread ends it all the same
    helping = sys.modules.get("multiprocessing")
    for process in helping.active_children() if helping else ():
        process.kill()  # they would wait for work for ever
    os._exit(128 + number)


def signal_words(number: int | None) -> str:
    """What to say of a signal; that of Ctrl-C where there was none."""
    return WORDS.get(number or signal.SIGINT, "told to end")
