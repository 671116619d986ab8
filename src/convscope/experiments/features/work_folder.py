"""The folder beside a file of features, where finished rows are kept until the file is written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from convscope.distributed import ALONE, Ranks
from convscope.errors import FolderInUse
from convscope.store.lock import LOCK, claimed

__all__ = ["rows_kept_beside"]


@contextmanager
def rows_kept_beside(
    out: Path | None, cache: Path | None, *, resume: bool, ranks: Ranks = ALONE
) -> Iterator[Path | None]:
    """Keep finished rows while a file of features is being made, and go on with them.

    Args:
        out: the file; None makes none.
        cache: a folder of the user's, which stays; None takes FILE.work, which goes when the
            `with` block has ended well.
        resume: go on with the rows of an earlier run.
        ranks: which process this is.

    Yields:
        The folder; None where neither a file nor a folder was given.

    Raises:
        FolderInUse: an earlier run was interrupted, and is not to be resumed; or another process
            is making the same file.
    """
    if cache is not None or out is None:
        yield cache
        return
    work = out.with_name(f"{out.name}.work")
    with claimed(work) if ranks.first else nullcontext():
        if ranks.first and not resume and any(entry.name != LOCK for entry in work.iterdir()):
            raise FolderInUse(
                f"{work} holds the rows of a run that was interrupted: go on with --resume, or "
                "remove it"
            )
        yield work
        if ranks.first:
            shutil.rmtree(work, ignore_errors=True)
