"""Install a wheel into an empty environment, outside of this folder, and use it as its user will.

    python tests/package/check_wheel.py dist/convscope-*.whl --python python3.12

It needs nothing but the standard library. Each step says what it found; the first that fails ends
it with exit code 1. `--python` may be given several times; `--constraints` pins what pip installs;
`--no-demo` leaves out the demo, which takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src/convscope"
EXPLORER = ("starlette", "uvicorn", "websockets")
SECONDS = 1800  # the longest that one command may take


class Failed(Exception):
    """A step found something else than it should."""


@dataclass(frozen=True)
class Place:
    """An environment with the wheel, and an empty folder to work in.

    Attributes:
        python: the environment's interpreter.
        folder: where commands run; it is their HOME, too.
    """

    python: Path
    folder: Path

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command: `convscope ...`, or another program of the environment."""
        home = str(self.folder)
        return subprocess.Popen(
            [str(self.python.parent / words[0]), *words[1:]],
            cwd=self.folder,
            env={"PATH": os.defpath, "HOME": home, "MPLCONFIGDIR": home, "LANG": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def answer(self, *words: str, code: int = 0) -> str:
        """What a command prints on stdout, or on stderr where it should fail.

        Raises:
            Failed: its exit code is another one, or it takes too long.
        """
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Failed(f"{' '.join(words)}: not done after {SECONDS} s") from None
        if process.returncode != code:
            raise Failed(f"{' '.join(words)}: exit code {process.returncode}\n{out}{err}")
        return err if code else out


def environment(folder: Path, interpreter: str) -> Place:
    """A new environment of that interpreter, with pip and nothing else."""
    subprocess.run([interpreter, "-m", "venv", str(folder / "env")], check=True)
    work = folder / "work"
    work.mkdir()
    return Place(folder / "env/bin/python", work)


def install(place: Place, packages: Sequence[str]) -> None:
    """Let pip install packages, as it is set up here: its index, proxy, certificates and cache.

    Raises:
        Failed: it does not.
    """
    words = [str(place.python), "-m", "pip", "install", "--quiet", *packages]
    done = subprocess.run(words, cwd=place.folder, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"pip install {' '.join(packages)}:\n{done.stdout}{done.stderr}")


def missing_files(wheel: Path, source: Path = SOURCE) -> list[str]:
    """The files of the package that the wheel lacks, data files above all."""
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    there = (path for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sorted({path.relative_to(source.parent).as_posix() for path in there} - held)


def check_files(wheel: Path) -> str:
    if missing := missing_files(wheel):
        raise Failed(f"the wheel lacks {', '.join(missing)}")
    return "all files of the package"


def check_program(place: Place, wheel: Path) -> str:
    """The program and the module answer, from the wheel and not from this folder."""
    version = wheel.name.split("-")[1]
    told = place.answer("convscope", "--version").split()[-1]
    where = place.answer("python", "-c", "import convscope; print(convscope.__file__)").strip()
    if told != version or not where.startswith(str(place.python.parents[1])):
        raise Failed(f"convscope --version says {told}, of {where}; the wheel is {version}")
    return f"convscope {told}"


def check_layers(place: Place) -> str:
    told = json.loads(place.answer("convscope", "layers", "zfnet-small", "--json"))
    names = [layer["name"] for layer in told]
    if "conv5" not in names:
        raise Failed(f"layers of zfnet-small: {names}")
    return f"{len(names)} layers of zfnet-small"


def check_atlas(place: Place) -> str:
    """An atlas with its page: scripts and styles are data files of the package."""
    words = ("zfnet-small", "scenes:val:6", "--layers", "conv1", "--plain", "--out", "atlas")
    place.answer("convscope", "atlas", *words)
    return check_page(place.folder / "atlas")


def check_page(folder: Path, *, scripted: bool = True) -> str:
    """A page has all files that it names, and its script if it needs one."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    named = re.findall(r'<(?:script|link|img)[^>]* (?:src|href)="([^":#]+)"', page)
    if lost := sorted(name for name in named if not (folder / name).is_file()):
        raise Failed(f"{folder.name}/index.html names {', '.join(lost)}, which is not there")
    if scripted and "<script" not in page:
        raise Failed(f"{folder.name}/index.html lacks its script")
    return f"{folder.name}/index.html and {len(named)} files that it names"


def check_demo(place: Place) -> str:
    place.answer("convscope", "demo", "--quick", "--out", "demo")
    first = check_page(place.folder / "demo", scripted=False)
    return f"{first}, {check_page(place.folder / 'demo' / 'atlas')}"


def has_explorer(place: Place) -> bool:
    lines = place.answer("python", "-m", "pip", "list", "--format", "json")
    return {*EXPLORER} <= {package["name"].lower() for package in json.loads(lines)}


def check_explorer(place: Place) -> str:
    """It serves its page; without its libraries it says what to install."""
    words = ("convscope", "explore", "zfnet-small", "--port", "0", "--no-browser")
    if not has_explorer(place):
        told = place.answer(*words, code=2)
        if "pip install 'convscope[explore]'" not in told or "Traceback" in told:
            raise Failed(f"explore without its libraries says {told}")
        return "explore says what it needs"
    process = place.start(*words)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(address, timeout=60) as answer:
            page = answer.read()
    except ValueError:  # no address
        process.kill()
        raise Failed(f"explore: {process.communicate()[1]}") from None
    finally:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    if b"<script" not in page:
        raise Failed(f"explore serves {page[:200]!r}")
    return f"explore serves its page, {len(page) // 1024} KB"


def check(place: Place, wheel: Path, demo: bool = True) -> None:
    """All steps, a line each.

    Raises:
        Failed: one of them found something else than it should.
    """
    steps = [
        lambda: check_files(wheel),
        lambda: check_program(place, wheel),
        lambda: check_layers(place),
        lambda: check_atlas(place),
        lambda: check_explorer(place),
    ]
    if demo:
        steps.append(lambda: check_demo(place))
    for step in steps:
        print("   ", step(), flush=True)


def check_in(interpreter: str, wheel: Path, packages: Sequence[str], demo: bool) -> None:
    """The same in a new environment with these packages, which pip takes from its index."""
    with tempfile.TemporaryDirectory() as folder:
        place = environment(Path(folder), interpreter)
        print(place.answer("python", "--version").strip(), flush=True)
        install(place, packages)
        check(place, wheel, demo)


def main() -> int:
    about = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    about.add_argument("wheel", type=Path)
    about.add_argument("--python", action="append", default=[], help="an interpreter")
    about.add_argument("-c", "--constraints", type=Path, help="a file for pip's -c")
    about.add_argument("--extras", default="", help="extras of the package: explore,zoo")
    about.add_argument("--no-demo", action="store_true")
    asked = about.parse_args()
    wheel = asked.wheel.resolve()
    packages = [f"{wheel}[{asked.extras}]" if asked.extras else str(wheel)]
    if asked.constraints:
        packages += ["-c", str(asked.constraints.resolve())]
    try:
        for interpreter in asked.python or [sys.executable]:
            check_in(interpreter, wheel, packages, not asked.no_demo)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
