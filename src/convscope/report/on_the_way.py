"""What is drawn while a study runs: `Context.drawing` of the command line and of the verbs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convscope.experiments.study import Result

__all__ = ["DrawnOnTheWay"]


class DrawnOnTheWay:
    """Writes a study's page again and again, and the figures of its parts.

    Matplotlib is imported with the first of them: a study that refuses its options does not wait.
    """

    def page(self, result: Result, folder: Path) -> None:
        """Write the page of what there is so far, if results of this kind have one."""
        from convscope.report.drawing import write_result_page

        write_result_page(result, folder)

    def figures(self, part: str, found: Any, folder: Path) -> Sequence[tuple[str, str]]:
        """Draw a stage of the paper, as `draw_stage` does."""
        from convscope.report import paper_figures

        return paper_figures.draw_stage(part, found, folder)
