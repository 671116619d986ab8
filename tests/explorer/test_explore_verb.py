"""`convscope explore`: its first line, its end, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import convscope
from convscope.cli import main
from convscope.errors import BadModel, BadOption
from convscope.explorer import opening
from convscope.explorer.desk import open_desk
from explorer.serving_here import in_a_thread

HERE = Path(__file__).parent
MODEL = ("net_of_tests:build", "--input", "3x32x32", "--preprocess", "unit")
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1] / "src")])}
ADDRESS = r"http://127\.0\.0\.1:(\d+)/[\w-]{43}/"


class Running:
    """The verb in a process of its own, from its first line on.

    Attributes:
        process: It.
        said: What it has printed.
        address: That it printed.
    """

    def __init__(self, *options: str) -> None:
        words = [sys.executable, "-m", "convscope", "explore", *MODEL, "--no-browser", *options]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdout=pipe, stderr=pipe, env=ENV, text=True)
        assert self.process.stdout is not None
        last = "}" if "--json" in options else "device"
        self.said = ""
        while not self.said.splitlines()[-1:] or not self.said.splitlines()[-1].startswith(last):
            line = self.process.stdout.readline()
            assert line, self.process.communicate()
            self.said += line
        found = re.search(ADDRESS, self.said)
        assert found, self.said
        self.address = found[0]

    def ended_by(self, number: int) -> tuple[int, str]:
        """Its exit code, and its stderr, after a signal."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_the_first_line_is_the_address_and_ctrl_c_ends_everything() -> None:
    running = Running()
    try:
        assert running.said.splitlines()[:2] == [running.address, f"model    {MODEL[0]}"]
        with urllib.request.urlopen(running.address) as answer:
            assert b"<title>Convscope</title>" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(running.address[:-2] + "/")
        [worker] = children(running.process.pid)
        code, errors = running.ended_by(signal.SIGINT)
    finally:
        running.process.kill()
    assert (code, errors) == (130, "convscope: interrupted\n")
    for _ in range(300):  # it dies by itself, when it sees that its server is gone
        if not is_there(worker):
            break
        time.sleep(0.1)
    assert not is_there(worker)


def test_for_a_program_the_address_is_in_the_json_and_sigterm_ends_it_too() -> None:
    running = Running("--json")
    try:
        code, errors = running.ended_by(signal.SIGTERM)
    finally:
        running.process.kill()
    found = json.loads(running.said)
    assert found["address"] == running.address and found["model"] == MODEL[0]
    assert code == 143
    assert errors.splitlines()[0] == running.address
    assert errors.splitlines()[-1] == "convscope: told to end (SIGTERM)"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's process is a thread of this one, which has torch already."""
    start = in_a_thread(open_desk)
    monkeypatch.setattr("convscope.explorer.serving.start_process", start)
    monkeypatch.setattr(sys, "path", [str(HERE), *sys.path])


REFUSED = [
    (("resnet5",), "no model is called 'resnet5'"),
    ((*MODEL, "nowhere"), "nowhere"),
    ((*MODEL, "--atlas", "no-atlas"), "no-atlas"),
]


@pytest.mark.parametrize(("words", "expected"), REFUSED)
def test_what_cannot_be_opened_is_a_line_and_no_address(
    here: None, capfd: Any, words: tuple[str, ...], expected: str
) -> None:
    assert main(["explore", *words, "--no-browser"]) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert expected in said.err and len(said.err.splitlines()) == 1


def test_a_port_that_is_taken_is_refused_before_anything_is_opened(capfd: Any) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["explore", "zfnet", "--port", str(port), "--no-browser"]) == 2
    assert capfd.readouterr().err.startswith(f"convscope: --port {port}: ")


def test_a_missing_extra_is_one_line_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    def without(name: str) -> Any:
        return None if name in ("starlette", "websockets") else find_spec(name)

    monkeypatch.setattr(opening, "find_spec", without)
    assert main(["explore", "zfnet"]) == 2
    words = "convscope: convscope explore needs starlette, websockets: pip install"
    assert capfd.readouterr().err == f"{words} 'convscope[explore]'\n"
    with pytest.raises(BadOption, match="needs starlette, websockets"):
        convscope.explore("zfnet")


def test_the_help_imports_no_server() -> None:
    code = (
        "import sys; from convscope.cli import main; main(['explore', '--help']);"
        "print(sorted({'starlette', 'uvicorn', 'torch'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENV)
    assert said.stdout.splitlines()[-1] == "[]"


def test_the_function_raises_what_the_verb_says(here: None) -> None:
    with pytest.raises(BadModel, match="no model is called 'resnet5'"):
        convscope.explore("resnet5", open_browser=False)
