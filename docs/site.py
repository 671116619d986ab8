"""Build the documentation site into site/, from mkdocs.yml.

Zensical fails on a broken link, a missing anchor and a missing page. This fails besides on what the
docstrings' reader complains of, and on anything that a page would fetch from elsewhere.

python docs/site.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SITE = ROOT / "site"
ZENSICAL = Path(sys.executable).with_name("zensical")
FROM_AFAR = "https://unpkg.com/iframe-worker/shim"  # what search over file:// would be done with
OURS = "assets/worker.js"
FETCHED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\ssrc=[\"']?(?:https?:)?//[^>]*>")
STYLED = re.compile(r"<link\b[^>]*\srel=[\"']?(?:stylesheet|preconnect|icon)[^>]*//[^>]*>")


def main() -> int:
    complaints = build() or [
        f"{page.relative_to(SITE)} would fetch {found}"
        for page in sorted(SITE.rglob("*.html"))
        for found in foreign(page)
    ]
    print(*complaints, sep="\n", file=sys.stderr)
    if not complaints:
        print(f"Open {SITE.relative_to(ROOT)}/index.html")
    return int(bool(complaints))


def build() -> list[str]:
    """What was said against the pages while they were built; empty if they are all there."""
    line = [ZENSICAL, "build", "--clean", "--strict", "--config-file", ROOT / "mkdocs.yml"]
    built = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    said = [line for line in (built.stdout + built.stderr).splitlines() if line.strip()]
    return said if built.returncode else [line for line in said if line.startswith("griffe:")]


def foreign(page: Path) -> list[str]:
    """What a page would fetch from elsewhere, once the search's worker is our own."""
    up = "../" * (len(page.relative_to(SITE).parts) - 1)
    html = page.read_text(encoding="utf-8").replace(FROM_AFAR, up + OURS)
    page.write_text(html, encoding="utf-8")
    return [*FETCHED.findall(html), *STYLED.findall(html)]


if __name__ == "__main__":
    sys.exit(main())
