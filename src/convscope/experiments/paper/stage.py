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
    """What a stage gave.

    Attributes:
        result: The typed result, with `to_dict`.
        command: What does the stage alone.
        table: Our numbers beside the paper's.
        words: The findings, a sentence each.
        pages: (words, path in the stage's folder) of pages of their own.
    """

    result: Any
    command: str
    table: Table | None = None
    words: tuple[str, ...] = ()
    pages: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Stage:
    """One figure or table of the paper.

    Attributes:
        key: Its name, and that of its folder.
        title: Its title.
        where: Its place in the paper.
        work: Does it.
        lacks: Why these data do not allow it; "" where they do.
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
