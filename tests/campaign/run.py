"""The campaign: attacks on the program, many times each, from seeds.

    python tests/campaign/run.py                        every row at its whole count: hours
    python tests/campaign/run.py --share 0.1            every row at a tenth of it
    python tests/campaign/run.py atlas weights --count 50 --seed 7
    python tests/campaign/run.py --list

It prints each failure with the words that try it again, then a table in Markdown. It exits with 1
where something failed.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from campaign.row import Row, markdown, run_row, today

MODULES = (
    "stores", "weights", "images", "networks", "interruptions", "doors",
)  # fmt: skip


def rows() -> dict[str, Row]:
    """Every row, by its name."""
    return {row.name: row for name in MODULES for row in import_module(f"campaign.{name}").ROWS}


def main() -> int:
    asked = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    asked.add_argument("rows", nargs="*", help="names of rows; default: all")
    asked.add_argument("--count", type=int, help="trials of each row; default: the row's own")
    asked.add_argument("--share", type=float, default=1.0, help="of the rows' own counts")
    asked.add_argument(
        "--seconds", type=float, default=math.inf, help="after which a row ends, whatever its count"
    )
    asked.add_argument("--seed", type=int, default=0, help="of the first trial; then the next ones")
    asked.add_argument("--short", action="store_true", help="the first trials, as the tests do")
    asked.add_argument("--list", action="store_true", help="print the rows, and end")
    words = asked.parse_args()
    there = rows()
    unknown = [name for name in words.rows if name not in there]
    if unknown:
        asked.error(f"no row {unknown[0]!r}: there are {', '.join(there)}")
    chosen = [there[name] for name in words.rows or there]
    if words.short:
        chosen = [row for row in chosen if row.least]
    if words.list:
        for row in chosen:
            print(f"{row.name:14s} {row.count:6,}  {row.attack}: {row.must}")
        return 0
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    outcomes = []
    for row in chosen:
        count = row.least if words.short else words.count or max(1, round(row.count * words.share))
        print(
            f"{row.name}: seeds {words.seed} to {words.seed + count - 1}",
            file=sys.stderr,
            flush=True,
        )
        outcomes.append(run_row(row, count, words.seed, seconds=words.seconds, progress=True))
    print(f"\n{today()}, seed {words.seed}\n\n{markdown(outcomes)}")
    return int(any(outcome.failures for outcome in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
