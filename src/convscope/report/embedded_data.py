"""What every page is made of: a template, files that are copied, and data as scripts.

A page that was opened by double-click may not fetch, so its numbers come as scripts of one call.
Names are data: templates escape them, scripts hold them as JSON that can end no script.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

__all__ = ["call", "lean", "resource", "template"]

WHOLE_LINES = re.compile(r"^\s*(//.*|/\*[\s\S]*?\*/)\s*$", re.MULTILINE)
"""Comments that begin and end a line."""
LOOSE = re.compile(r'("[^"]*")|/\*[\s\S]*?\*/|\s*([{};,])\s*|(?<=[\w-])(:) +')
"""Of a style sheet: strings, which stay, comments, and signs with blanks around them."""


def call(function: str, *arguments: Any) -> bytes:
    """A script of one call. ASCII only, and nothing that could end or open an HTML element."""
    texts = [json.dumps(one, separators=(",", ":"), allow_nan=False) for one in arguments]
    script = f"convscope.{function}({','.join(texts)});\n"
    for character in "<>&":
        script = script.replace(character, f"\\u{ord(character):04x}")
    return script.encode("ascii")


def resource(name: str) -> bytes:
    """A file of report/page/."""
    return (files("convscope.report") / "page" / name).read_bytes()


def lean(name: str) -> bytes:
    """A script or style sheet of report/page/, without indentation and comments of whole lines.

    A style sheet has no comments and no blanks that only its reader needs, either.
    """
    text = WHOLE_LINES.sub("", resource(name).decode())
    if name.endswith(".css"):
        text = LOOSE.sub(lambda found: "".join(filter(None, found.groups())), text)
    return _unindented(text).encode()


def _unindented(text: str) -> str:
    """A template, a script or a style sheet without indentation and empty lines."""
    return "".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip())


def template(name: str) -> Template:
    """A template of report/page/: it escapes what it is given, and misses nothing in silence."""
    environment = Environment(
        loader=FunctionLoader(lambda name: _unindented(resource(name).decode())),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
