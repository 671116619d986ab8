"""Told to end, the program ends within a second, in one line, whatever it is at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

DEAF = """
import multiprocessing
import time
from convscope.ending import listen
listen()
lock = multiprocessing.get_context("spawn").Lock()  # Python's own helper removes it, in silence
words = "listening"
while True:
    try:
        if words:
            print(words, flush=True)
            words = ""
        time.sleep(60)
    except KeyboardInterrupt:
        pass  # as some imports do
"""
TOLD = {signal.SIGINT: ("interrupted", 130), signal.SIGTERM: ("told to end (SIGTERM)", 143)}


@pytest.mark.parametrize("number", TOLD)
def test_a_program_whose_main_thread_does_not_listen_ends_all_the_same(number):
    program = subprocess.Popen(
        [sys.executable, "-c", DEAF], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "listening\n"
    program.send_signal(number)
    words, code = TOLD[number]
    assert program.communicate(timeout=60)[1] == f"convscope: {words}\n"
    assert program.returncode == code


@pytest.mark.parametrize("number", TOLD)
@pytest.mark.parametrize("moment", [0.3, 4.0])  # in its imports, most likely; at its work
def test_a_verb_ends_in_one_line_at_any_moment(tmp_path, moment, number):
    command = ["train", "--arch", "zfnet-small", "--data", "scenes", "--out", str(tmp_path / "run")]
    ready = tmp_path / "ready"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "READY": str(ready)}
    start = (
        "import os, pathlib, runpy, sys; from convscope import ending; listen = ending.listen\n"
        "ending.listen = lambda: (listen(), pathlib.Path(os.environ['READY']).touch())\n"
        "sys.argv = ['convscope', *sys.argv[1:]]\n"
        "runpy.run_module('convscope', run_name='__main__', alter_sys=True)"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", start, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    while not ready.exists():
        time.sleep(0.01)
    time.sleep(moment)
    program.send_signal(number)
    words, code = TOLD[number]
    said = program.communicate(timeout=60)[1].splitlines()
    assert program.returncode == code
    assert [line for line in said if line.startswith("convscope: ")][-1] == f"convscope: {words}"
    assert not any("Traceback" in line for line in said)
