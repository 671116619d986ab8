"""Scans by several processes that this one forks, so that torch is imported once for all.

    python tests/scan/scan_processes.py FOLDER WHAT:NAME=COUNT[:RANK@MOMENT] ...

WHAT is `observe`: each process writes what its observers know to FOLDER/NAME-RANK.safetensors; or
`read`: features are cached in FOLDER/NAME, and each process writes what it sees of them to
FOLDER/NAME-RANK.json. With the NAME `memory` nothing is cached, with `apart` only the first process
sees the cache. Process RANK kills itself: the first at its MOMENT-th call of os.fsync, another one
at its MOMENT-th batch. Prints the exit codes of each word's processes, JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from convscope.distributed import Ranks
from convscope.network.network import Network
from convscope.scan import engine, features
from convscope.scan.feature_cache import extract
from forks import die_at, forked
from scan.noise import LAYERS, noisy_model, noisy_network, observers_of, scan_of, states_of


def main() -> None:
    folder, *words = sys.argv[1:]
    torch.set_num_threads(1)
    engine.CHECKPOINT_SECONDS = 0.0
    network = noisy_network()
    for word in words:
        what, _, rest = word.partition(":")
        rest, _, death = rest.partition(":")
        name, _, count = rest.partition("=")
        dies, _, moment = death.partition("@")
        work = partial({"observe": observe, "read": read}[what], network, Path(folder), name)
        prepare = partial(_prepare, name, int(dies or -1), int(moment or 0))
        print(json.dumps(forked(int(count), work, prepare)), flush=True)


def observe(network: Network, folder: Path, name: str, ranks: Ranks) -> None:
    made = observers_of(network, first=ranks.first)
    scan_of(network, ranks=ranks).run(*made)
    save_file(states_of(made), folder / f"{name}-{ranks.rank}.safetensors")


def read(network: Network, folder: Path, name: str, ranks: Ranks) -> None:
    cache = None if name == "memory" else folder / name
    found = extract(noisy_model(), scan_of(network, ranks=ranks), LAYERS, cache=cache)
    seen = {
        layer: [
            hashlib.sha256(each.values.tobytes()).hexdigest(),
            [(skip.index, skip.name, skip.reason, skip.digest) for skip in each.skipped],
        ]
        for layer, each in found.items()
    }
    (folder / f"{name}-{ranks.rank}.json").write_text(json.dumps(seen))


def _prepare(name: str, dies: int, moment: int, rank: int) -> None:
    if name == "apart" and rank > 0:
        features._mapped = lambda *_: None
    if dies == rank == 0:
        os.fsync = die_at(moment, os.fsync)
    elif dies == rank:
        engine.forward_batch = die_at(moment, engine.forward_batch)


if __name__ == "__main__":
    main()
