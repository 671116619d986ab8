"""Write docs/cli.md, the reference of the command line, from what --help prints.

python docs/reference.py            write it
python docs/reference.py --check    exit with 1 if it is stale
"""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

# before typer is imported, which reads them then
PLAIN = {"TERMINAL_WIDTH": "96", "NO_COLOR": "1", "_TYPER_FORCE_DISABLE_TERMINAL": "1"}
TARGET = Path(__file__).with_name("cli.md")
INTRODUCTION = """\
# The command line

<!-- Written by `make docs` from what --help prints; edit the help texts in src/convscope/cli. -->

Results go to stdout, progress to stderr. Exit codes: 0 done, 1 failed, 2 bad input (one line on
stderr says what and the remedy), 130 interrupted, 143 told to end by SIGTERM. `python -m convscope`
is the same as `convscope`.
"""


def reference() -> str:
    """The whole page, Markdown."""
    os.environ.update(PLAIN)
    from convscope.cli.app import VERBS

    sections = [_section(()), *(_section((name,)) for name in VERBS)]
    return "\n".join([INTRODUCTION, *sections])


def _section(verb: tuple[str, ...]) -> str:
    title = " ".join(("convscope", *verb))
    return f"## {title}\n\n```text\n{_help(verb)}\n```\n"


def _help(verb: tuple[str, ...]) -> str:
    """What --help prints, 96 columns wide, without colour."""
    from convscope.cli.app import main

    with redirect_stdout(StringIO()) as said:
        main((*verb, "--help"))
    lines = said.getvalue().strip("\n").splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def main() -> int:
    text = reference()
    if "--check" in sys.argv[1:]:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET.name} is stale: run `make docs`", file=sys.stderr)
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
