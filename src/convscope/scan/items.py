"""Work that comes in items, such as one image under many occluders.

Items are shared by several processes, their results are kept, and an interrupted run goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from convscope.distributed import ALONE, Ranks
from convscope.execution import ONE_PROCESS, Execution
from convscope.progress import silent
from convscope.store.results import Arrays, Record, ResultStore

__all__ = ["for_each", "made_together", "open_results"]

Result = TypeVar("Result", Record, Arrays)


def for_each(
    names: Sequence[str],
    make: Callable[[int], Result],
    results: ResultStore,
    keep: Callable[[str, Callable[[], Result]], Result],
    how: Execution = ONE_PROCESS,
    *,
    spread: bool = True,
) -> list[Result]:
    """Get the result of every item: read it if it is there, else make it, on all processes.

    Args:
        names: of the items, all different.
        make: makes the result of the item of a number; small, and picklable.
        results: where results are kept. Only the first process reads and writes there.
        keep: `results.record` or `results.arrays`.
        how: process r of n makes the results r, r + n, ... of those that are not there; its
            progress is told of images.
        spread: give the results to every process. Large ones may stay in the first one, which makes
            something small of them.

    Returns:
        The results in the order of `names`; an empty list in the other processes where they are
        not spread.

    Example:
        >>> for_each(["a", "b"], measure, results, results.arrays, Execution(ranks=ranks))
    """
    ranks, tell = how.ranks, how.progress or silent
    missing = ranks.from_first(
        lambda: [number for number, name in enumerate(names) if not results.has(name)]
    )
    done = len(names) - len(missing)
    tell("images", done, len(names))
    made: dict[int, Result] = {}
    for start in range(0, len(missing), ranks.count):
        shared = missing[start : start + ranks.count]
        own = make(shared[ranks.rank]) if ranks.rank < len(shared) else None
        for number, result in zip(shared, ranks.gathered(own), strict=False):
            assert result is not None
            made[number] = keep(names[number], lambda: result)  # noqa: B023 - called at once
        done += len(shared)
        tell("images", done, len(names))

    def result_of(number: int) -> Result:
        """One item's result: made just now, or else read."""
        return made[number] if number in made else keep(names[number], lambda: make(number))

    def all_results() -> list[Result]:
        return [result_of(number) for number in range(len(names))]

    if spread:
        return ranks.from_first(all_results)
    return all_results() if ranks.first else []


def made_together(
    name: str,
    make: Callable[[], Result],
    results: ResultStore,
    keep: Callable[[str, Callable[[], Result]], Result],
    *,
    ranks: Ranks = ALONE,
) -> Result:
    """Get a result that all processes make together, such as by a `Scan`; read it if it is there.

    Args:
        name: of the result.
        make: makes the result, whole in the first process; it is called in every process or in
            none.
        results: where results are kept. Only the first process reads and writes there.
        keep: `results.record` or `results.arrays`.
        ranks: which process this is.

    Returns:
        The result, in every process.
    """
    made = None if ranks.from_first(lambda: results.has(name)) else make()

    def kept_or_read() -> Result:
        return keep(name, lambda: make() if made is None else made)

    return ranks.from_first(kept_or_read)


@contextmanager
def open_results(
    folder: str | os.PathLike[str] | None,
    settings: Mapping[str, Any],
    *,
    resume: bool = False,
    ranks: Ranks = ALONE,
) -> Iterator[ResultStore]:
    """Open a `ResultStore` that the first of several processes holds; the others keep nothing.

    Args:
        folder: of the results; None keeps nothing.
        settings: JSON-able: everything that the results depend on.
        resume: go on with results of the same settings.
        ranks: which process this is.

    Yields:
        The store.

    Raises:
        FolderInUse: in the first process: the folder holds something else, is in use, or was not
            to be resumed.
    """
    with ResultStore(folder if ranks.first else None, settings, resume=resume) as results:
        yield results
