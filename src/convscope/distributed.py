"""Several processes that run one network: which one this is, and how they exchange values.

    torchrun --nproc-per-node 2 -m convscope train ...

Every process holds the whole network and takes its share of the images. Process 0 alone writes
files and prints. When one fails, it says so in one line, and the others end in silence.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from convscope.errors import BadOption, PeerFailed

__all__ = ["ALONE", "Ranks", "processes"]

PATIENCE = timedelta(hours=24)  # process 0 may be decoding ImageNet while the others wait
LINGERING_SECONDS = 5.0  # on a busy machine a process may take seconds to notice
FAILED = "convscope/failed"  # counter in the key-value store that all processes see
LINE_CUT = ("Connection", "connection", "NCCL", "Gloo", "gloo")  # in errors of torch.distributed

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """Which of several processes this is, and what they exchange.

    Attributes:
        rank: of this process, from 0.
        count: how many processes there are.
        local: rank of this process among those of its machine.

    Example:
        >>> Ranks(rank=1, count=2).hand(Ranks(rank=1, count=2).deal(range(8), size=2))
        [2, 3, 6, 7]
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this is process 0, which alone writes files and prints."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of a batch: every `count`-th element, none twice."""
        return batch[self.rank :: self.count]

    def deal(self, images: Sequence[int], size: int) -> list[list[Sequence[int]]]:
        """Cut images into batches and deal these to the processes in rounds.

        Args:
            images: their indices, in the order in which one process alone would take them.
            size: of a batch.

        Returns:
            The batches of each round; process r takes the r-th one. They are the batches of a run
            by one process; in the last round there may be fewer than processes.
        """
        cut = [images[at : at + size] for at in range(0, len(images), size)]
        return [cut[at : at + self.count] for at in range(0, len(cut), self.count)]

    def hand(self, rounds: Iterable[Sequence[Sequence[int]]]) -> list[int]:
        """The images that this process takes, in all rounds of `deal`."""
        own = (shared[self.rank] for shared in rounds if self.rank < len(shared))
        return [image for batch in own for image in batch]

    def total(self, values: Tensor) -> Tensor:
        """The sum of all processes' tensors, in each of them; the tensor itself is overwritten."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def least(self, value: int, device: torch.device) -> int:
        """The smallest of all processes' numbers, in each of them.

        Args:
            value: this process's number.
            device: that the processes compute on.
        """
        if self.count == 1:
            return value
        exchanged = torch.tensor(value, device=device)
        dist.all_reduce(exchanged, dist.ReduceOp.MIN)
        return int(exchanged)

    def from_first(self, make: Callable[[], T]) -> T:
        """Call a function in process 0, and give its result to all.

        Args:
            make: the function; its result is small, and picklable.
        """
        if self.count == 1:
            return make()
        exchanged: list[Any] = [make() if self.first else None]
        dist.broadcast_object_list(exchanged, src=0)
        return exchanged[0]

    def gathered(self, value: T) -> list[T]:
        """Collect the values of all processes in process 0.

        Args:
            value: this process's; small, and picklable.

        Returns:
            The values in the order of the processes in process 0; an empty list in the others.
        """
        if self.count == 1:
            return [value]
        exchanged: list[Any] | None = [None] * self.count if self.first else None
        dist.gather_object(value, exchanged, dst=0)
        return exchanged or []

    def tensors_from_first(self, tensors: list[Tensor]) -> None:
        """Overwrite the tensors of all processes with those of process 0."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def in_turn(self, make: Callable[[], T]) -> T:
        """Call a function in the first process of each machine, and then in the others.

        Args:
            make: the function; what the first process did, such as writing a file, the others find
                done.
        """
        if self.count == 1:
            return make()
        made = make() if self.local == 0 else None
        dist.barrier()
        return make() if made is None else made


ALONE = Ranks()

_ENDED: list[Any] = []
"""Groups that were left, kept for good: a group's end waits for its threads, which may wait for
Python's lock. The group itself lets the lock go; a DistributedDataParallel that is the last to hold
it does not, and hangs (github.com/pytorch/pytorch/issues/56297)."""


@contextmanager
def processes(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that torchrun started, for a `with` statement.

    Args:
        device: of the kind that each process computes on.

    Yields:
        Which process this is; ALONE where torchrun did not start it.

    Raises:
        BadOption: there are more processes on a machine than GPUs.
        PeerFailed: another process failed, whatever happened in this one after that; or this one
            was told to end, as torchrun does when another one has.

    Example:
        >>> with processes(torch.device("cpu")) as ranks:
        ...     write_atlas(model, images, "atlas", Search(), ranks=ranks)
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    ranks = Ranks(*(int(os.environ.get(name, 0)) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    if ranks.count == 1:
        yield ALONE
        return
    found = dist.rendezvous("env://", timeout=PATIENCE)  # type: ignore[attr-defined]
    store, _, _ = next(found)
    try:
        with _sigterm_as_error(ranks):
            _join(device, ranks, store)
            yield ranks
    except BaseException as error:
        raise _own_or_peers_error(error, ranks, store) from error
    finally:
        if dist.is_initialized():
            _ENDED.append(dist.group.WORLD)
            dist.destroy_process_group()


def _join(device: torch.device, ranks: Ranks, store: Any) -> None:
    if device.type == "cuda":
        if ranks.local >= torch.cuda.device_count():
            raise BadOption(
                f"process {ranks.local} of this machine finds no GPU of its own: "
                f"torchrun --nproc-per-node {torch.cuda.device_count()}, or --device cpu"
            )
        torch.cuda.set_device(ranks.local)
    with _quiet_stdout():
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=dist.PrefixStore("convscope", store),  # type: ignore[attr-defined]
            rank=ranks.rank,
            world_size=ranks.count,
            timeout=PATIENCE,
        )


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Keep stdout for results: Gloo of PyTorch 2.10 writes whom it is connected with to it."""
    if sys.stdout is None:  # it is closed
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def _sigterm_as_error(ranks: Ranks) -> Iterator[None]:
    """Turn SIGTERM into an error like others, so that one of the processes says what to do."""

    def end(*_: object) -> None:
        raise PeerFailed(
            f"process {ranks.rank} of {ranks.count} was told to end, as happens when another one "
            "was killed: start all again with --resume",
            said=False,
        )

    if threading.current_thread() is not threading.main_thread():  # it cannot listen
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _own_or_peers_error(error: BaseException, ranks: Ranks, store: Any) -> BaseException:
    """The error itself in the process that failed first, PeerFailed in those that follow."""
    if isinstance(error, KeyboardInterrupt):
        return error
    try:
        with _silence():  # torch prints a stack where it finds no store
            first = store.add(FAILED, 1) == 1  # counted where all processes see it
            _wait_for_others(ranks, store)
    except RuntimeError:  # the process that held the store is gone, and had no time for a word
        first = True
    if not first:
        return PeerFailed(f"process {ranks.rank} ended as another one failed", said=True)
    if isinstance(error, RuntimeError) and any(word in str(error) for word in LINE_CUT):
        return PeerFailed(
            f"process {ranks.rank} of {ranks.count} lost another one, which ended without a word "
            "(killed, or its machine is gone): start all again with --resume",
            said=False,
        )
    return error


def _wait_for_others(ranks: Ranks, store: Any) -> None:
    """Let the others ask process 0 before it ends, where it holds the store and not torchrun."""
    if not ranks.first or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return
    until = time.monotonic() + LINGERING_SECONDS
    while store.add(FAILED, 0) < ranks.count and time.monotonic() < until:
        time.sleep(0.05)


@contextmanager
def _silence() -> Iterator[None]:
    """Let nothing reach stderr, not from torch's own threads and libraries either."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
