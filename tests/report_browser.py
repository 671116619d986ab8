"""How the tests of pages start a browser: without a window, without a word to any server."""

import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--window-size=1440,900 --virtual-time-budget=6000 --dump-dom"
)


def browse(index: Path, place: str, profile: Path) -> str:
    """The page's HTML after the scripts have run."""
    command = [str(CHROMIUM), *QUIET.split(), f"--user-data-dir={profile}"]
    address = f"file://{index}{place}"
    done = subprocess.run([*command, address], capture_output=True, timeout=120, check=True)
    return done.stdout.decode()
