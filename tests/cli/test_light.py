"""The command line is there at once: no help waits for a library that computes."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "numpy", "scipy", "PIL", "matplotlib", "safetensors", "starlette", "jinja2")


def test_every_verb_is_declared_without_a_library_that_computes() -> None:
    script = f"import sys, convscope.cli; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"
