"""Several processes that run one network: who is who, and what they tell each other.

    torchrun --nproc-per-node 2 -m convscope train ...

Every process holds the whole network and takes its share of the images. Process 0 alone writes and
speaks. When one fails, it says so in one line, and the others end in silence.
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
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from convscope.errors import BadOption, PeerFailed

__all__ = ["ALONE", "Ranks", "processes"]

PATIENCE = timedelta(hours=24)  # process 0 may be decoding ImageNet while the others wait
LINGERING_SECONDS = 5.0  # on a busy machine a process may take seconds to notice
FAILED = "convscope/failed"  # in the store that all processes see
LINE_CUT = ("Connection", "connection", "NCCL", "Gloo", "gloo")  # in errors of torch.distributed

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """Which process this is (`rank`, from 0), of how many; `local`: on its machine."""

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def share(self, chosen: Tensor) -> Tensor:
        """This process's part of a batch: every `count`-th, none twice."""
        return chosen[self.rank :: self.count]

    def deal(self, chosen: Sequence[int], size: int) -> list[list[Sequence[int]]]:
        """Rounds of batches, `size` images each: in every round, process r takes the r-th.

        They are the batches of a run by one process; the last round may not reach all.
        """
        cut = [chosen[at : at + size] for at in range(0, len(chosen), size)]
        return [cut[at : at + self.count] for at in range(0, len(cut), self.count)]

    def hand(self, dealt: Iterable[Sequence[Sequence[int]]]) -> list[int]:
        """The images that this process takes, in all rounds."""
        own = (shared[self.rank] for shared in dealt if self.rank < len(shared))
        return [image for batch in own for image in batch]

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def least(self, value: int, device: torch.device) -> int:
        """The smallest of all processes' numbers."""
        if self.count == 1:
            return value
        held = torch.tensor(value, device=device)
        dist.all_reduce(held, dist.ReduceOp.MIN)
        return int(held)

    def from_first(self, make: Callable[[], T]) -> T:
        """What process 0 makes, for all of them. It should be small, and picklable."""
        if self.count == 1:
            return make()
        held: list[Any] = [make() if self.first else None]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def gathered(self, value: T) -> list[T]:
        """What all processes have, in their order, in process 0; nothing in the others.

        It should be small, and picklable.
        """
        if self.count == 1:
            return [value]
        held: list[Any] | None = [None] * self.count if self.first else None
        dist.gather_object(value, held, dst=0)
        return held or []

    def tensors_from_first(self, tensors: list[Tensor]) -> None:
        """Overwrites the tensors of all processes with those of process 0."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def in_turn(self, make: Callable[[], T]) -> T:
        """`make` on the first process of each machine, then on the others, which find it done."""
        if self.count == 1:
            return make()
        made = make() if self.local == 0 else None
        dist.barrier()
        return make() if made is None else made


ALONE = Ranks()


@contextmanager
def processes(device: torch.device) -> Iterator[Ranks]:
    """The processes that torchrun started, joined; ALONE where it did not start this one.

    device : of the kind that each process computes on

    Raises  BadOption: more processes on a machine than GPUs.
            PeerFailed: another process failed, whatever happened in this one after that; or this
            one was told to end, as torchrun does when another one has.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    ranks = Ranks(*(int(os.environ.get(name, 0)) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    if ranks.count == 1:
        yield ALONE
        return
    store, _, _ = next(dist.rendezvous("env://", timeout=PATIENCE))
    try:
        with _ending_with_a_word(ranks):
            _join(device, ranks, store)
            yield ranks
    except BaseException as error:
        raise _told_apart(error, ranks, store) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _join(device: torch.device, ranks: Ranks, store: Any) -> None:
    if device.type == "cuda":
        if ranks.local >= torch.cuda.device_count():
            raise BadOption(
                f"process {ranks.local} of this machine finds no GPU of its own: "
                f"torchrun --nproc-per-node {torch.cuda.device_count()}, or --device cpu"
            )
        torch.cuda.set_device(ranks.local)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=dist.PrefixStore("convscope", store),
        rank=ranks.rank,
        world_size=ranks.count,
        timeout=PATIENCE,
    )


@contextmanager
def _ending_with_a_word(ranks: Ranks) -> Iterator[None]:
    """SIGTERM is an error like others, so that one of the processes says what to do."""

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


def _told_apart(error: BaseException, ranks: Ranks, store: Any) -> BaseException:
    """The same error in the process that failed first, PeerFailed in those that follow."""
    if isinstance(error, KeyboardInterrupt):
        return error
    try:
        with _silence():  # torch prints a stack where it finds no store
            first = store.add(FAILED, 1) == 1  # counted where all processes see it
            _outlast(ranks, store)
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


def _outlast(ranks: Ranks, store: Any) -> None:
    """Process 0 holds the store, where torchrun does not: let the others ask it before it ends."""
    if not ranks.first or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return
    until = time.monotonic() + LINGERING_SECONDS
    while store.add(FAILED, 0) < ranks.count and time.monotonic() < until:
        time.sleep(0.05)


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing reaches stderr, not from torch's own threads and layers either."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
