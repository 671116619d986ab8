"""Findings of a diagnosis that an atlas's page links to its units: diagnosis.json in its folder.

`convscope diagnose` writes them, `convscope atlas --diagnosis DIR` takes them in.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from convscope.atlas.manifest import StoredRecord
from convscope.atlas.store import Atlas
from convscope.errors import BadInput
from convscope.store.atomic import replace_file

__all__ = ["StoredFinding", "findings_of_study", "read_findings", "write_findings"]

FINDINGS = "diagnosis.json"
RESULT = "result.json"  # of a study


class StoredFinding(StoredRecord):
    """One finding of a diagnosis.

    Attributes:
        layer: its name.
        kind: what was found.
        severity: fault or note.
        units: the feature maps concerned.
        words: the finding, a sentence.
        remedies: what to do, by the names of the diagnosis.
    """

    layer: str
    kind: str
    severity: str
    units: tuple[int, ...]
    words: str
    remedies: tuple[str, ...] = ()


Findings = dict[str, tuple[StoredFinding, ...]]
"""What was found in networks, by the SHA-256 of their weights."""

_LIST = TypeAdapter(tuple[StoredFinding, ...])


def findings_of_study(folder: Path) -> Findings:
    """Read what a diagnosis found.

    Args:
        folder: that `convscope diagnose --out` wrote.

    Raises:
        BadInput: it holds no finished diagnosis.
    """
    try:
        networks = json.loads((folder / RESULT).read_bytes())["networks"]
        several = networks.values() if isinstance(networks, dict) else networks
        return {one["weights_sha256"]: _LIST.validate_python(one["findings"]) for one in several}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise BadInput(
            f"{folder} holds no finished diagnosis; make one with `convscope diagnose --out DIR`"
        ) from None


def write_findings(atlas: Atlas, findings: Findings) -> None:
    """Keep the findings about an atlas's network, also those of layers that it does not hold.

    Raises:
        BadInput: the diagnosis is of other weights.
    """
    weights = atlas.manifest.model.weights_sha256
    if weights not in findings:
        raise BadInput(f"the diagnosis is of other weights than the atlas in {atlas.folder}")
    replace_file(atlas.folder / FINDINGS, _LIST.dump_json(findings[weights], indent=1))


def read_findings(atlas: Atlas) -> tuple[StoredFinding, ...] | None:
    """The findings that an atlas was given; None without a diagnosis.

    Raises:
        BadInput: the file is damaged.
    """
    path = atlas.folder / FINDINGS
    if not path.is_file():
        return None
    try:
        return _LIST.validate_json(path.read_bytes())
    except ValidationError:
        raise BadInput(f"{path} is damaged; give the atlas its diagnosis again") from None
