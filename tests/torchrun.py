"""torchrun, whose processes are forks of its own, so that torch is imported once for all.

    python tests/torchrun.py --standalone --nproc-per-node 2 -m convscope train ...

Everything else is PyTorch's: who is told which rank, what is watched, how they are ended.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from subprocess import TimeoutExpired

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.subprocess_handler import SubprocessHandler

import warm


class Forked:
    """What torchrun asks of a `subprocess.Popen`.

    Attributes:
        pid: Of the process.
    """

    def __init__(self, words: tuple[str, ...], env: dict[str, str]) -> None:
        self._code: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            os.setsid()
            for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                signal.signal(each, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _, *words = (word for word in words if word != "-u")  # Python's own
            warm.become({"words": words, "cwd": str(Path.cwd()), "env": env})

    def poll(self) -> int | None:
        if self._code is None and (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            self._code = os.waitstatus_to_exitcode(ended[1])
        return self._code

    def wait(self, timeout: float) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise TimeoutExpired("torchrun's process", timeout)
            time.sleep(0.01)
        return code


if __name__ == "__main__":
    SubprocessHandler._popen = lambda _, words, env: Forked(words, env)  # type: ignore[method-assign]
    run.main()
