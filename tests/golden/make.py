"""Make all golden files anew:

    python tests/golden/make.py              # all of them, within two minutes
    python tests/golden/make.py ablate paper # those of some commands

Of some commands alone, the networks that they look at are the kept ones, not trained anew; the
public names that are kept are those of the first version that promised them.

They are made by the command line, from fixed seeds and tiny networks, by one thread. Look at the
change with `git diff --stat tests/golden` and `git diff tests/golden`: texts are kept as they are,
numbers packed. A change that nobody wanted is a fault in the code, not in the files.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file

from golden.commands import COMMANDS, Command
from golden.keeping import keep, read_arrays, unpack
from golden.places import HERE, INTERRUPTED, KEPT, inside, interrupted, remove, run
from golden.surface import networks, options

INPUTS = KEPT / "inputs"


def make_all(names: list[str]) -> None:
    """Make the golden files of these commands, or all."""
    with tempfile.TemporaryDirectory() as place, inside(Path(place)):
        shutil.copy(HERE / "factory.py", "factory.py")
        if names:
            provide()
        for command in COMMANDS:
            if not names or command.name in names:
                make(command)
            if command.name == "train-other" and not names:
                remove(INPUTS)
                make_inputs(INPUTS)
                provide_inputs()
        surface = {
            "names": json.loads((KEPT / "surface.json").read_text(encoding="utf-8"))["names"],
            "options": options(),
            "networks": networks(),
        }
        text = json.dumps(surface, indent=1, ensure_ascii=False) + "\n"
        (KEPT / "surface.json").write_text(text, encoding="utf-8")
    for path in KEPT.rglob("*"):
        if path.is_file() and any(str(p).encode() in path.read_bytes() for p in (place, HERE)):
            raise SystemExit(f"{path} names a path of this machine")
    sizes = [path.stat().st_size for path in KEPT.rglob("*") if path.is_file()]
    print(f"{len(sizes)} files, {sum(sizes) / 1024:.0f} KiB")


def provide() -> None:
    """The kept networks, and what else commands read."""
    for name, out in (("train", "run"), ("train-other", "other")):
        unpack(KEPT / name, Path(out))
    provide_inputs()


def provide_inputs() -> None:
    for path in INPUTS.iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, path.name)


def make(command: Command) -> None:
    """Run it, and run it until it is interrupted; keep what both leave."""
    out = Path(command.out) if command.out else None
    if command.stops:
        remove(Path(command.out))
        with interrupted(command.stops):
            answer = run(command.words)
        assert answer.code == INTERRUPTED, answer
        case = KEPT / f"{command.name}-interrupted"
        remove(case)
        keeps = partial(command.keeps, interrupted=True)
        keep(case, {"code": answer.code}, out, keeps, command.packed)
    if out:
        remove(out)
    answer = run(command.words)
    if answer.code:
        raise SystemExit(f"{command.line}: exit code {answer.code}\n{answer.err}")
    case = KEPT / command.name
    remove(case)
    said = {"code": answer.code, "json": json.loads(answer.out)}
    keep(case, said, out, command.keeps, command.packed)
    print(command.name, flush=True)
    if command.name not in ("train", "train-other") and out:
        remove(out)


def make_inputs(folder: Path) -> None:
    """A network of a user's own, weights with stripes too fine for a stride of 4, photographs."""
    folder.mkdir(parents=True)
    import factory

    torch.manual_seed(0)
    state = {name: value.numpy() for name, value in factory.build().state_dict().items()}
    save_file(state, folder / "net.safetensors")
    weights = Path("other/weights.safetensors")
    tensors, _ = read_arrays(weights)
    stripes = np.hanning(11) * np.cos(np.arange(11) * 2.4)
    filters = tensors["conv1.weight"]
    filters[:] = 0.05 * np.broadcast_to(stripes, (11, 11))
    filters[1::2] = filters[1::2].swapaxes(2, 3)
    save_file(tensors, folder / "aliased.safetensors")
    dice = np.random.default_rng(0)
    for number in range(5):
        path = folder / "photos" / f"{'cats' if number % 2 else 'dogs'}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = dice.integers(0, 255, (3, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).resize((32 + number, 36), Image.Resampling.BICUBIC)
        picture.quantize(16).save(path)
    (folder / "photos" / "dogs" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")


if __name__ == "__main__":
    make_all(sys.argv[1:])
