"""The checkpoint of a scan: one file, written whole and moved into its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from convscope.errors import FolderInUse
from convscope.scan.engine import ScanState
from convscope.scan.observer import Observer
from convscope.store.atomic import replace_file
from convscope.store.results import ResultStore
from convscope.store.sealed import metadata_of, sealed
from convscope.text import error_words

__all__ = ["CheckpointFile", "checkpoint_in"]

HEADER = "mined"  # name of the metadata entry that holds the place reached


class CheckpointFile:
    """A file that keeps the observers' tensors and, in its header, the place reached.

    It is a `Commits` for `Scan.run`.

    Args:
        path: of the safetensors file; its folder is made when something is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, observers: Sequence[Observer]) -> ScanState | None:
        """Restore the observers to what `save` committed last.

        Args:
            observers: of the same kinds and in the same order as those that were saved.

        Returns:
            The place reached; None where nothing was saved yet.

        Raises:
            FolderInUse: the file cannot be read.
        """
        if not self.path.exists():
            return None
        try:
            content = self.path.read_bytes()
            seen = ScanState.model_validate_json(metadata_of(content)[HEADER])
            tensors = load(content)
            for observer in observers:
                own = (name for name in tensors if name.startswith(observer.key))
                observer.restore({name.removeprefix(observer.key): tensors[name] for name in own})
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            line = error_words(error)
            raise FolderInUse(
                f"{self.path} cannot be read ({line}); delete {self.path.parent.parent} to begin "
                "anew, or give another folder"
            ) from None
        return seen

    def save(self, seen: ScanState, observers: Sequence[Observer]) -> None:
        """Commit the observers' state and the place reached, together.

        Args:
            seen: the place reached.
            observers: whose state belongs to it; each has another `key`.
        """
        tensors = {
            f"{observer.key}{name}": tensor.contiguous()
            for observer in observers
            for name, tensor in observer.state().items()
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.path, sealed(save(tensors, {HEADER: seen.model_dump_json()})))

    def remove(self) -> None:
        """Delete the file: the scan is done, and its result is kept elsewhere."""
        self.path.unlink(missing_ok=True)


def checkpoint_in(results: ResultStore, name: str = "scan") -> CheckpointFile | None:
    """The checkpoint of a scan, beside the results of its study.

    Args:
        results: of the study.
        name: of the scan; another one for each scan of a study.

    Returns:
        The checkpoint; None where the results are not kept.
    """
    return (
        None if results.folder is None else CheckpointFile(results.folder / f"{name}.safetensors")
    )
