"""What a user sees of the program before it does anything: options, names, networks in words."""

from __future__ import annotations

import os
import re
from typing import Any
from unittest import mock

import convscope
from golden.places import run
from golden.tiny import tiny


def options() -> dict[str, list[str]]:
    """Verb -> its arguments and options as `--help` shows them; "" is the program itself."""
    with mock.patch.dict(os.environ, COLUMNS="300", TERM="dumb", NO_COLOR="1"):
        program = run(["--help"]).out
        verbs = re.findall(r"^│ ([a-z][a-z-]*) {2,}", program, re.MULTILINE)
        return {"": _options(program)} | {
            verb: _options(run([verb, "--help"]).out) for verb in verbs
        }


def _options(text: str) -> list[str]:
    usage = re.search(r"Usage: convscope (?:[a-z][a-z-]* )?(.*)", text)
    assert usage, text
    panels = "\n".join(line for line in text.splitlines() if line.startswith("│"))
    names = re.findall(r"^│[ *]+(--?[a-z][a-z-]*)(?:,? +(-[a-z]))?", panels, re.MULTILINE)
    given = [word.strip("{}[].") for word in usage[1].split() if word != "[OPTIONS]"]
    return sorted({name for pair in names for name in pair if name} | set(filter(None, given)))


def networks() -> dict[str, Any]:
    """Model -> `print(network)`, and what it answers to a grey image; `run` and `factory` are here.
    """  # fmt: skip
    import torch

    found = {}
    with tiny():
        for spec, more in {
            "run:run": {},
            "factory:build@net.safetensors": {"input": "3x32x32", "preprocess": "unit"},
            "alexnet": {},
        }.items():
            model = convscope.open_model(spec, **more)
            network = convscope.open_network(model.module, model.input_shape)
            image = torch.linspace(-1, 1, 3 * model.input_shape[1] * model.input_shape[2])
            with torch.no_grad():
                scores = model.module(image.view(1, *model.input_shape))
            found[spec] = {
                "print": str(network).splitlines(),
                "scores": [float(score) for score in scores[0, :12]],
            }
    return found
