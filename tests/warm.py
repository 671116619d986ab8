"""Python in processes of its own that need not import torch first: that takes four seconds.

`run` and `start` stand for `subprocess.run` and `subprocess.Popen`. A process that has imported
torch, and what else ours needs of others, waits; it forks for each call, and the fork reads the
environment, goes to the folder, and runs the script, module or code as Python would. Nothing of
ours and no torchvision is imported before, so PYTHONPATH decides which ones are.

    warm.run("-m", "convscope", "layers", "zfnet", cwd=folder).stdout
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO

EARLY = (
    "jinja2", "matplotlib.figure", "matplotlib.backends.backend_agg", "numpy", "PIL.Image",
    "pydantic", "rich.console", "safetensors.torch", "scipy.stats", "torch", "torch._dynamo",
    "torch.distributed", "typer", "yaml",
)  # fmt: skip
LONGEST = 600  # seconds: one that hangs is killed, with all that it started


class Started:
    """A process that runs.

    Attributes:
        pid: Its number.
        stdin: To be written to.
        stdout: To be read.
        stderr: To be read.
    """

    def __init__(self, words: list[str], cwd: Path, env: dict[str, str]) -> None:
        given, written, said = os.pipe(), os.pipe(), os.pipe()
        self._end, other = socket.socketpair()
        theirs = [given[0], written[1], said[1], other.fileno()]
        request = json.dumps({"words": words, "cwd": str(cwd), "env": env}).encode()
        socket.send_fds(_server(), [len(request).to_bytes(8, "big")], theirs)
        _server().sendall(request)
        for descriptor in theirs[:3]:
            os.close(descriptor)
        other.close()
        self.pid = int.from_bytes(self._end.recv(8, socket.MSG_WAITALL), "big")
        self.stdin: IO[str] = os.fdopen(given[1], "w")
        self.stdout: IO[str] = os.fdopen(written[0])
        self.stderr: IO[str] = os.fdopen(said[0])

    def communicate(self) -> tuple[str, str]:
        """(all of stdout, all of stderr) until its end."""
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(self.stderr.read()))
        reader.start()
        self.stdin.close()
        words = self.stdout.read()
        reader.join()
        self.stdout.close()
        self.stderr.close()
        return words, errors[0]

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        with suppress(BlockingIOError):
            return int(self._end.recv(16, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        return None

    def wait(self) -> int:
        """Its exit code, once it has ended; negative the signal that killed it."""
        with self._end:
            return int(self._end.recv(16))


def start(*words: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Started:
    """A process of Python with these words, which another one can be started beside."""
    return Started([*map(str, words)], cwd or Path.cwd(), env or dict(os.environ))


def run(
    *words: object, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What a process of Python with these words said, and its exit code."""
    process = start(*words, cwd=cwd, env=env)
    said = process.communicate()
    return subprocess.CompletedProcess(list(words), process.wait(), *said)


_servers: list[tuple[socket.socket, subprocess.Popen[bytes]]] = []


def _server() -> socket.socket:
    """The way to this process's own server, which ends with it."""
    if not _servers:
        ours, theirs = socket.socketpair()
        command = [sys.executable, __file__, str(theirs.fileno())]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}  # it has no threads that a fork would lose
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=env)
        theirs.close()
        _servers.append((ours, process))
    return _servers[0][0]


def stop() -> None:
    """End the server, if there is one, when all that it started has ended."""
    for ours, process in _servers:
        ours.close()
        process.wait()
    _servers.clear()


# ---- the process that waits ---------------------------------------------------------------------


def main() -> None:
    for name in EARLY:
        import_module(name)
    import torch

    torch.export.export(torch.nn.Conv2d(3, 1, 1), (torch.zeros(2, 3, 4, 4),))  # imports the rest
    gc.collect()
    gc.freeze()
    asked = socket.socket(fileno=int(sys.argv[1]))
    while True:
        head, descriptors, _, _ = socket.recv_fds(asked, 8, 4)
        if not head:
            break
        _reap(os.WNOHANG)
        request = json.loads(asked.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
        if not os.fork():
            asked.close()
            _keep(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
    _reap(0)


def _reap(how: int) -> None:
    """Wait for those that have ended, or for all: their time is counted as this process's."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, how)[0]:
            pass


def _keep(request: dict[str, object], descriptors: list[int]) -> None:
    """Run in a process of its own, and say how it ended to the one that asked."""
    *theirs, end = descriptors
    child = os.fork()
    if not child:
        os.setsid()
        for number, descriptor in enumerate(theirs):
            os.dup2(descriptor, number)
        for descriptor in descriptors:
            os.close(descriptor)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
        become(request)
    os.write(end, child.to_bytes(8, "big"))
    for descriptor in theirs:
        os.close(descriptor)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(child, signal.SIGKILL))
    signal.alarm(LONGEST)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.write(end, str(code).encode())
    os._exit(0)


def become(request: dict[str, object]) -> None:
    """Do what Python does with these words, to the end.

    Args:
        request: "words" after that of Python, the folder "cwd", and the environment "env".
    """
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[arg-type]
    what, *words = request["words"]  # type: ignore[misc]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    here = str(Path(what).parent) if what.endswith(".py") else str(Path.cwd())
    sys.path[:0] = [here, *map(os.path.abspath, paths)]
    code = 0
    try:
        if what == "-c":
            sys.argv = ["-c", *words[1:]]
            exec(compile(words[0], "<string>", "exec"), {"__name__": "__main__"})
        elif what == "-m":
            sys.argv = words
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [what, *words]
            runpy.run_path(what, run_name="__main__")
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            sys.stderr.write(error.code + "\n")
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
