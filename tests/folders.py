"""What lies in a folder, to be compared with what lies in another."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def content(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, the time spent left out of the manifest."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.name == "manifest.json":
            manifest = json.loads(data)
            kept = {k: v for k, v in manifest.items() if not k.startswith("seconds")}
            data = json.dumps(kept).encode()
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(data).hexdigest()
    return found
