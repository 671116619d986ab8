"""An extension of griffe, which reads the docstrings for the site: our sections by its names.

Our docstrings have one `Example:` each; griffe knows `Examples:`, and would take the other for a
note, its `>>>` for a quotation. Where no `>>>` begins the example, it is code all the same.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^( *)Examples?:\n((?:\1 +.*\n?|\n)+)", flags=re.MULTILINE)


class Examples(griffe.Extension):
    """Examples are shown as Python, whether they are sessions or plain lines."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(_as_code, obj.docstring.value)


def _as_code(found: re.Match[str]) -> str:
    margin, lines = found.groups()
    if ">>>" in lines:
        return f"{margin}Examples:\n{lines}"
    inner = f"{margin}    "
    return f"{margin}Examples:\n{inner}```python\n{lines.rstrip()}\n{inner}```\n\n"
