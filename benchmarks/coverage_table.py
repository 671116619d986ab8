"""From the log of `coverage.py` to words and to docs/coverage.md."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

EXACT = 1e-8
"""Of float64 values, relative to the largest: what sums in another order may differ by."""

KINDS = ("CNN", "transformer or hybrid", "MLP")

Line = dict[str, Any]


def right(line: Line) -> bool:
    """Read, and all checks passed."""
    return bool(line.get("read")) and "failed" not in line and not wrong(line)


def wrong(line: Line) -> list[str]:
    """The checks that a network that was read did not pass."""
    checks = ("values", "projections", "occlusion")
    return [
        key
        for key in checks
        if not isinstance(line.get(key), (int, float)) or not line[key] <= EXACT
    ]


def refused_op(line: Line) -> str:
    """The operation, or the reason, for which a network was not read."""
    if "failed" in line:
        return str(line["failed"])
    text = str(line.get("refused", ""))
    found = re.match(
        r"operation (\S+)( in (?:layer '[^']*'|the network's own forward\(\)))? ", text
    )
    if not found:
        return text[:160]
    why = text[found.end() :].split(": Convscope refuses")[0]
    return f"`{found[1]}`" + ("" if why.startswith("is not in the op table") else f" {why}")


def in_words(line: Line) -> str:
    """One line for the screen."""
    name = f"{line['source']}:{line['family']}"
    if "failed" in line:
        return f"{name}: FAILED {line['failed']}"
    head = f"{name}: {line.get('member')} {line.get('kind')} {line.get('side')} px"
    if not line.get("read"):
        return f"{head} REFUSED {refused_op(line)} {line.get('outside')}"
    numbers = {key: line.get(key) for key in ("values", "projections", "occlusion")}
    return f"{head} {'exact' if not wrong(line) else 'WRONG'} {numbers} {line.get('seconds')} s"


def summary(lines: list[Line]) -> str:
    """How many families of each kind are read, and how many exactly."""
    rows = []
    for kind in KINDS:
        mine = [line for line in lines if line.get("kind") == kind]
        read = [line for line in mine if line.get("read")]
        exact = [line for line in read if right(line)]
        share = f"{len(read) / len(mine):.1%}" if mine else "-"
        rows.append(f"| {kind} | {len(mine)} | {len(read)} | {share} | {len(exact)} |")
    unknown = [line for line in lines if line.get("kind") not in KINDS]
    if unknown:
        rows.append(f"| not made | {len(unknown)} | 0 | - | 0 |")
    head = "| kind | families | read | share | exact |\n| --- | ---: | ---: | ---: | ---: |"
    return "\n".join([head, *rows])


def document(lines: list[Line], families: int) -> str:
    """docs/coverage.md.

    Args:
        lines: Of the log.
        families: How many there are.
    """
    lines = [line for line in lines if "read" in line or "failed" in line]
    left = families - len(lines)
    note = f"\n\n{left} of {families} families are not examined yet." if left > 0 else ""
    lines = sorted(lines, key=lambda line: (str(line.get("kind")), line["source"], line["family"]))
    reasons = Counter(refused_op(line) for line in lines if not line.get("read"))
    parts = [INTRODUCTION, summary(lines) + note, RULES]
    if reasons:
        rows = "\n".join(f"| {reason} | {count} |" for reason, count in reasons.most_common())
        parts.append(f"## What is refused\n\n| operation | families |\n| --- | ---: |\n{rows}")
    for kind in KINDS:
        rows = "\n".join(_row(line) for line in lines if line.get("kind") == kind)
        parts.append(f"## {HEADS[kind]}\n\n{HEAD}\n{rows}")
    others = [line for line in lines if line.get("kind") not in KINDS]
    if others:
        rows = "\n".join(_row(line) for line in others)
        parts.append(f"## Not examined\n\n{HEAD}\n{rows}")
    return "\n\n".join(part.strip() for part in parts) + "\n"


HEADS = {"CNN": "CNNs", "transformer or hybrid": "Transformers and hybrids", "MLP": "MLPs"}
HEAD = (
    "| family | smallest member | px | read | exact | worst cosine | refused |\n"
    "| --- | --- | ---: | --- | --- | ---: | --- |"
)


def _row(line: Line) -> str:
    read = bool(line.get("read"))
    cells = [
        f"{line['source']}: {line['family']}",
        line.get("member", ""),
        line.get("side", ""),
        "yes" if read else "no",
        ("yes" + "*" * bool(line.get("float32")) if right(line) else _wrong(line)) if read else "",
        _cosine(line) if read and "cosine" in line else "",
        "" if read else refused_op(line),
    ]
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def _wrong(line: Line) -> str:
    return f"no: {', '.join(wrong(line))}"


def _cosine(line: Line) -> str:
    gap = max(0.0, 1 - line["cosine"])
    return "1" if gap < 1e-15 else f"1 − {gap:.0e}"


INTRODUCTION = """
# Which networks are read

Written by `python benchmarks/coverage.py`, which opens every family of torchvision and timm: the
member with the fewest parameters, with random weights, at the smallest of 64, 96, 128 and 224
pixels that it takes. A family is the networks of one file and one first word. torchvision's
detectors, video, optical-flow and quantised networks are left out: they do not map one batch of
images to numbers.
"""

RULES = """
*Exact* means, in float64 and relative to the largest number, within 1e-8 of a second computation
that knows nothing of Convscope's graph: the module's own outputs; the projections of three units,
low, in the middle and on top, by autograd over the module run eagerly (of CNNs the gradient, and
the deconvnet with the derivatives of rectifiers replaced; of others the gradient); and incremental
occlusion against the whole network at every position. The worst cosine is that of the projections.

A network is a *transformer or hybrid* if it multiplies two matrices that it both computes from the
image, as attention does, softmax or linear; an *MLP* if it has no such product and one convolution
at most; else a *CNN*. Numbers that a fresh network leaves at zero or one are drawn at random, so
that no branch is checked against nothing. Where forward() itself asks for float32 (`.float()`) and
sums in another order differ by more than 1e-8 because of it, projections and occlusion are checked
with float64 there, and the outputs as they are; such a network is marked *.
"""
