"""Work that comes in items, such as one image under many occluders: shared, kept, gone on with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from convscope.network.ranks import ALONE, Ranks
from convscope.progress import Progress, silent
from convscope.store.results import Arrays, Record, ResultStore

__all__ = ["for_each", "made_together", "open_results"]

Result = TypeVar("Result", Record, Arrays)


def for_each(
    names: Sequence[str],
    make: Callable[[int], Result],
    results: ResultStore,
    keep: Callable[[str, Callable[[], Result]], Result],
    *,
    ranks: Ranks = ALONE,
    progress: Progress | None = None,
    what: str = "images",
    spread: bool = True,
) -> list[Result]:
    """The result of every item: read if it is there, else made, by several processes in turn.

    Args:
        names: of the items, each another one.
        make: the result of the item of that number; small, and picklable.
        results: where results are. Only the first process reads and writes there.
        keep: `results.record` or `results.arrays`.
        ranks: process r of n makes the results r, r + n, ... of those that are not there.
        progress: called with (what, items done, items in all).
        what: is counted, for `progress`.
        spread: every process gets the results. Large ones stay in the first, which makes something
            small of them.

    Returns:
        The results in the order of `names`; where they are not spread, nothing in the other
        processes.

    Example:
        >>> for_each(["a", "b"], measure, results, results.arrays, ranks=ranks)
    """
    tell = progress or silent
    missing = ranks.from_first(
        lambda: [number for number, name in enumerate(names) if not results.has(name)]
    )
    done = len(names) - len(missing)
    tell(what, done, len(names))
    made: dict[int, Result] = {}
    for start in range(0, len(missing), ranks.count):
        shared = missing[start : start + ranks.count]
        mine = make(shared[ranks.rank]) if ranks.rank < len(shared) else None
        for number, result in zip(shared, ranks.gathered(mine), strict=False):
            assert result is not None
            made[number] = keep(names[number], lambda: result)  # noqa: B023 - called at once
        done += len(shared)
        tell(what, done, len(names))

    def there(number: int) -> Result:
        """Read, not made: where nothing is kept, nothing was there."""
        return made[number] if number in made else keep(names[number], lambda: make(number))

    def whole() -> list[Result]:
        return [there(number) for number in range(len(names))]

    if spread:
        return ranks.from_first(whole)
    return whole() if ranks.first else []


def made_together(
    name: str,
    make: Callable[[], Result],
    results: ResultStore,
    keep: Callable[[str, Callable[[], Result]], Result],
    *,
    ranks: Ranks = ALONE,
) -> Result:
    """A result that all processes make together, such as by a `Scan`: read if it is there.

    Args:
        name: of the result.
        make: called in every process or in none; it is whole in the first process.
        results: where results are. Only the first process reads and writes there.
        keep: `results.record` or `results.arrays`.
        ranks: the processes.

    Returns:
        The result, in every process.
    """
    made = None if ranks.from_first(lambda: results.has(name)) else make()

    def whole() -> Result:
        return keep(name, lambda: make() if made is None else made)

    return ranks.from_first(whole)


@contextmanager
def open_results(
    folder: str | os.PathLike[str] | None,
    settings: Mapping[str, Any],
    *,
    resume: bool = False,
    ranks: Ranks = ALONE,
) -> Iterator[ResultStore]:
    """A `ResultStore` that the first of several processes holds; the others keep nothing.

    Args:
        folder, settings, resume: as `ResultStore` has them.
        ranks: which process this is.

    Raises:
        FolderInUse: as `ResultStore`, in the first process.
    """
    with ResultStore(folder if ranks.first else None, settings, resume=resume) as results:
        yield results
