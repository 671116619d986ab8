"""A stage of the paper's reproduction: one figure or table, and what it finds."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope.experiments.paper.plan import Table
from convscope.experiments.paper.run_context import RunContext
from convscope.training.recipe import Recipe

__all__ = ["Stage", "StageResult", "command", "recipe_words"]


@dataclass(frozen=True, eq=False)
class StageResult:
    """What a stage found.

    result : typed, with `to_dict`;   table : ours beside the paper's;   words : findings
    command : that does the stage alone;   pages : (words, path in the stage's folder)
    """

    result: Any
    command: str
    table: Table | None = None
    words: tuple[str, ...] = ()
    pages: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Stage:
    """One figure or table.

    key : also its folder;   where : in the paper
    work : does it;   lacks : why these data do not allow it, "" where they do
    """

    key: str
    title: str
    where: str
    work: Callable[[RunContext, Path], StageResult]
    lacks: Callable[[RunContext], str] = lambda context: ""


def recipe_words(recipe: Recipe, base: Recipe) -> tuple[str, ...]:
    """Options of `train` and `ablate` that make a recipe of the one they start from; no seed."""
    words = []
    for name, value in recipe.to_dict().items():
        if name != "seed" and value != getattr(base, name):
            said = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += ["--epochs", said] if name == "epochs" else ["--set", f"{name}={said}"]
    return tuple(words)


def command(*words: object, seed: int, out: str) -> str:
    """`convscope` and these words, as a shell reads them; the seed and the folder last."""
    said = ("convscope", *words, "--seed", seed, "--out", out)
    return " ".join(shlex.quote(str(word)) for word in said)
