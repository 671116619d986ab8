"""Hostile weights and metadata: none runs code, ends in a traceback, or takes memory."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from campaign import mutations
from campaign.row import Row
from convscope.errors import ConvscopeError
from convscope.models.architectures import ARCHITECTURES, build
from convscope.models.weights import FORMAT, load_weights, read_weights, write_weights
from convscope.models.zoo import open_model
from models.forms import FILES, PICKLED, Small, drawn, write_form
from models.test_hostile_weights import ATTACKS, HOSTILE


def fuzzed(seed: int, folder: Path) -> str | None:
    """A file of any form that people write, with some of its bytes changed."""
    dice, path = random.Random(seed), folder / "w.pt"
    form = dice.choice([*PICKLED, *FILES])
    write_form(form, path)
    what = [form]
    for _ in range(dice.choice((1, 1, 3))):
        what.append(mutations.mutate(path, dice))
    return _opened(path, ", ".join(what))


def attacked(seed: int, folder: Path) -> str | None:
    """A pickle that calls something, in any form and place, and with some bytes changed."""
    dice, path, witness = random.Random(seed), folder / "w.pt", folder / "ran"
    name = dice.choice(list(ATTACKS))
    bomb, state = ATTACKS[name](witness), drawn().state_dict()
    where = dice.choice(
        [bomb, {"state_dict": state, "x": bomb}, {**state, "fc.weight": bomb}, [bomb]]
    )
    torch.save(where, path, _use_new_zipfile_serialization=bool(dice.randrange(2)))
    if dice.randrange(2):
        mutations.mutate(path, dice)
    wrong = _opened(path, name)
    return f"{name} ran" if witness.exists() else wrong


def _opened(path: Path, what: str) -> str | None:
    try:
        load_weights(Small(), read_weights(path), name="small")
    except ConvscopeError as error:
        line = str(error)
        return None if "\n" not in line and len(line) < 4000 else f"{what}: {line[:200]!r}"
    except Exception as error:
        error.add_note(what)
        raise
    return None


@cache
def _tensors() -> dict[str, torch.Tensor]:
    return build(ARCHITECTURES["zfnet-small"].with_classes(2)).state_dict()


def metadata(seed: int, folder: Path) -> str | None:
    """Metadata of ours that say something else: values swapped, missing, or of another kind."""
    dice, path = random.Random(seed), folder / "w.safetensors"
    about: dict[str, Any] = {
        "architecture": json.dumps(ARCHITECTURES["zfnet-small"].with_classes(2).to_dict()),
        "preprocess": json.dumps({"shape": [3, 72, 72], "scaling": "unit", "fit": "crop"}),
        "classes": json.dumps(["cat", "dog"]),
    }
    if seed % 5 == 0:
        key, value = HOSTILE[dice.choice(list(HOSTILE))]
        about[key] = value
    else:
        key = dice.choice(list(about))
        about[key] = mutations.change_json(about[key].encode(), dice).decode()
    write_weights(path, _tensors(), {"format": FORMAT, **about})
    if dice.randrange(4) == 0:
        path.write_bytes(mutations.change_header(path.read_bytes(), dice))
    try:
        model = open_model(dice.choice([f"zfnet-small@{path}", str(path)]))
    except ConvscopeError as error:
        line = str(error)
        return None if "\n" not in line else f"{about[key][:200]}: {line[:200]!r}"
    except Exception as error:
        error.add_note(about[key][:300])
        raise
    weight = next(iter(model.module.state_dict().values()))
    there = [
        torch.equal(weight, tensor)
        for tensor in _tensors().values()
        if tensor.shape == weight.shape
    ]
    return None if any(there) else f"{about[key][:200]}: other weights were loaded"


def relabelled(seed: int, folder: Path) -> str | None:
    """A safetensors file whose header calls its tensors, types or places something else."""
    dice, path = random.Random(seed), folder / "w.safetensors"
    state = drawn().state_dict()
    save_file(state, path)
    path.write_bytes(mutations.change_header(path.read_bytes(), dice))
    return _opened(path, "relabelled")


MUST = "none runs, one line, no traceback"
ROWS = [
    Row("weights", "weights of every form, fuzzed", MUST, 1500, fuzzed, memory=600, least=8),
    Row("pickles", "pickles that call something, fuzzed", MUST, 500, attacked, memory=600, least=8),
    Row(
        "metadata",
        "metadata of weights, fuzzed",
        MUST,
        500,
        metadata,
        _tensors,
        memory=900,
        least=4,
    ),
    Row("headers", "headers of weights, fuzzed", MUST, 500, relabelled, memory=600, least=8),
]
