"""How the tests of pages start a browser: without a window, without a word to any server."""

import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--virtual-time-budget=6000 --dump-dom"
)
NO_SCRIPTS = "default-src 'none'; style-src"  # of a page that has none
ITS_OWN = NO_SCRIPTS.replace(";", "; script-src 'self' file:;")
START = '<script src="page/data.js"'  # of a page that has scripts: it starts with its numbers


def browse(index: Path, place: str, profile: Path, width: int = 1440) -> str:
    """The page's HTML after the scripts have run."""
    command = [str(CHROMIUM), *QUIET.split(), f"--user-data-dir={profile}"]
    address = f"file://{index}{place}"
    done = subprocess.run(
        [*command, f"--window-size={width},900", address],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout.decode()


def probed(page: Path, script: str, place: str, folder: Path, width: int = 1440) -> list[str]:
    """The words that a script leaves in `document.documentElement.dataset.probe`.

    page : the folder of a page, which is copied;   folder : for the copy and the browser
    """
    shutil.copytree(page, folder / "probed")
    index = folder / "probed" / "index.html"
    (folder / "probed" / "page" / "probe.js").write_text(script)
    text = index.read_text().replace(NO_SCRIPTS, ITS_OWN)
    before = START if START in text else "</head>"
    tag = '<script src="page/probe.js" defer></script>'
    index.write_text(text.replace(before, tag + before))
    found = re.search(r'data-probe="([^"]*)"', browse(index, place, folder / "profile", width))
    assert found, "the script did not run to its end"
    return found[1].replace("&amp;", "&").split(" ")
