"""A stage of the paper's reproduction: one figure or table, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope.experiments.paper.plan import PaperTable
from convscope.experiments.paper.run_context import RunContext

__all__ = ["Stage", "StageResult"]


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
    table: PaperTable | None = None
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
