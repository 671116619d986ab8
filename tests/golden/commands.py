"""The commands whose results are kept, each tiny, in the order in which they are run.

They run in an empty folder that holds what they need: `run/` and `other/`, two trained networks,
`factory.py` and `net.safetensors`, a network of a user's own, `aliased.safetensors`, weights with
a fault that has a remedy, and `photos/`, of which one picture cannot be read.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from fnmatch import fnmatch


@dataclass(frozen=True)
class Command:
    """One command line.

    Attributes:
        name: The folder of `kept/` that its results are in.
        line: Its words.
        needs: Files and folders that it reads, of those named above.
        stops: A pattern of files. The interrupted one of this command was interrupted right after
            it had written the first of them; empty if none is kept.
        changed: Other options, and words that must be in the refusal to resume with them.
        listed: Patterns of files of which only the layout is kept, not the numbers.
        dropped: The same of the interrupted one: files that resuming it does not read.
        trains: Whether its numbers come from a training, where roundings add up.
        packed: Whether its texts are packed with its numbers, for there are many.
        slow: Whether it takes more than a few seconds.
    """

    name: str
    line: str
    needs: tuple[str, ...] = ("run",)
    stops: str = ""
    changed: tuple[str, str] = ("", "")
    listed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    trains: bool = False
    packed: bool = False
    slow: bool = False

    @property
    def words(self) -> list[str]:
        """As the shell would hand them over, a program's result asked for."""
        return [*shlex.split(self.line), "--json"]

    @property
    def out(self) -> str:
        """The file or folder that it writes; empty if it writes none."""
        words = self.words
        return words[words.index("--out") + 1] if "--out" in words else ""

    @property
    def verb(self) -> str:
        return self.words[0]

    @property
    def resume(self) -> list[str]:
        """What makes it go on; a demo does so by itself."""
        return [] if self.verb == "demo" else ["--resume"]

    def words_changed(self) -> list[str]:
        """With the other options in place of its own."""
        words, other = self.words, shlex.split(self.changed[0])
        for option, value in zip(other[::2], other[1::2], strict=True):
            if option in words:
                words[words.index(option) + 1] = value
            else:
                words += [option, value]
        return words

    def keeps(self, file: str, *, interrupted: bool = False) -> bool:
        """Whether a file itself is kept, and not its layout alone."""
        patterns = self.dropped if interrupted else self.listed
        return not any(fnmatch(file, pattern) for pattern in patterns)


MINE = "factory:build@net.safetensors --input 3x32x32"
LEARNING = "--batch-size 4 --learning-rate 0.005 --set dropout=0 --set radius=none"
SCRATCH = "--scratch zfnet-small --scratch-epochs 1"
TESTED = "--test-per-class 50"  # the default when the golden files were made

PAGE = ("*/best-*", "*strip.webp", "*page/lead.webp")  # cut by the page out of the atlas's

COMMANDS = (
    Command(
        "train",
        "train --arch zfnet-small --data scenes:train:96 --val scenes:val:24 --epochs 5 "
        f"{LEARNING} --set keep_epochs=0,1,5 --out run --workers 1",
        needs=(),
        stops="*run/state.safetensors",
        changed=("--learning-rate 0.5", "learning_rate"),
        trains=True,
    ),
    Command(
        "train-other",
        "train --arch alexnet-small --data scenes:train:96 --val scenes:val:24 --epochs 5 "
        f"{LEARNING} --set keep_epochs=5 --out other --workers 1",
        needs=(),
        changed=("--epochs 6", "epochs"),
        trains=True,
    ),
    Command("layers", "layers run:run"),
    Command("layers-mine", f"layers {MINE}", needs=("factory.py", "net.safetensors")),
    Command("project", "project run:run scenes:val:8#3 conv3/2 --out units.npz"),
    Command(
        "project-guided",
        "project run:run scenes:val:8#3 conv5/1 conv3/2@1,2 --rules guided --out units.png",
    ),
    Command(
        "saliency",
        "saliency run:run scenes:val:8#3 --method grad-cam --layer conv3 --target 2 --out cam.png",
    ),
    Command("features", "features run:run scenes:val:3 --layers conv1 --pooling max --out f.npz"),
    Command("check", "check run:run scenes:val:8#3 conv5/1 conv3/2@1,2 --shifts 4 --draws 2"),
    Command(
        "visualize",
        "visualize run:run conv3/1 class:2 --data scenes:val:8 --steps 3 --size 12 "
        "--out pictures.npz",
    ),
    Command(
        "curvature",
        "curvature run:run conv3/1 conv1/2 --steps 3 --samples 200 --directions 1 --out bends.png",
    ),
    Command(
        "invert",
        "invert run:run scenes:val:8#3 --layers conv1,fc6 --steps 3 --data scenes:val:8 "
        "--out inverted.png",
    ),
    Command(
        "remove-units",
        "remove-units run:run scenes:val:24 conv5/1 conv5/2 conv3/0 --out removal --workers 1",
        changed=("--to mean", "to"),
    ),
    Command(
        "sanity",
        "sanity run:run scenes:val:24 --count 4 --out sanity --workers 1",
        packed=True,
    ),
    Command(
        "pictures",
        "pictures run:run scenes:val:8 conv5/1 --steps 1 --out pictures --workers 1",
        listed=("*.npz",),
    ),
    Command(
        "compare",
        "compare run:run run:other scenes:val:24 --layers conv1 --draws 19 --out compared "
        "--workers 1",
        needs=("run", "other"),
        changed=("--least 0.7", "least"),
    ),
    Command(
        "adaptive",
        "adaptive scenes:train:4 --maps 2 --side 3 --size 16 --count 2 --epochs 1 --steps 2 "
        "--out learned",
        changed=("--weight 2", "weight"),
        packed=True,
    ),
    Command(
        "localize",
        "localize run:run scenes:val:24 --method grad-cam --count 1 --tune 1 --out found "
        "--workers 1",
        changed=("--count 2", "count"),
        packed=True,
    ),
    Command(
        "errors",
        "errors run:run scenes:val:48 --layers conv1 --draws 99 --shown 1 --out errors --workers 1",
        changed=("--draws 199", "draws"),
        listed=("*.webp", "*/pictures.npz", "*/map.npz"),
        trains=True,  # a classifier, of each part of the images
        packed=True,
    ),
    Command("occlude", "occlude run:run scenes:val:8#3 --size 9 --stride 9 --out maps.npz"),
    Command("occlude-figure", "occlude run:run scenes:val:8#3 --size 9 --stride 9 --out maps.png"),
    Command(
        "atlas",
        "atlas run:run scenes:val:24 --plain --layers conv1,conv5 --top 2 --batch-size 4 "
        "--out atlas --workers 1",
        stops="*work/state.safetensors",
        changed=("--top 3", "top"),
        listed=PAGE,
    ),
    Command(
        "atlas-mine",
        f"atlas {MINE} photos --preprocess unit --fit stretch --rules gradient --top 2 --plain "
        "--layers 0 "
        "--out atlas --workers 1",
        needs=("factory.py", "net.safetensors", "photos"),
        changed=("--rules guided", "rules"),
        listed=PAGE,
    ),
    Command(
        "evolve",
        "evolve run scenes:train:24 --layers conv1,conv3 --maps 2 --measured 2 --out evolution "
        "--workers 1",
        stops="*winners 1.json",
        changed=("--maps 3", "maps"),
    ),
    Command(
        "diagnose",
        "diagnose run:run --data scenes:val:24 --against run:other --out diagnosis --workers 1",
        needs=("run", "other"),
        stops="*scan.safetensors",
        changed=("--images 12", "images"),
    ),
    Command(
        "diagnose-weights",
        f"diagnose {MINE} --preprocess unit --out weights",
        needs=("factory.py", "net.safetensors"),
    ),
    Command(
        "diagnose-try",
        "diagnose alexnet-small@aliased.safetensors --data scenes:train:24 --val scenes:val:12 "
        "--try --seeds 2 --epochs 1 --out trial --workers 1",
        needs=("aliased.safetensors",),
        stops="*pieces/*.json",
        changed=("--epochs 2", "epochs"),
        listed=("runs/*.safetensors",),
        dropped=("*epoch-*",),
        trains=True,
        packed=True,
    ),
    Command(
        "sensitivity",
        "sensitivity run:run scenes:val:96 --count 2 --size 12 --stride 8 --out rows --workers 1",
        stops="*strongest.npz",
        changed=("--stride 6", "stride"),
    ),
    Command(
        "sensitivity-against",
        "sensitivity run:run scenes:val:96 "
        "--against zfnet-small@run/epoch-0005.safetensors --count 2 --size 12 --stride 12 "
        "--out both --workers 1",
        changed=("--size 10", "occluder"),
        listed=("*.npz",),
    ),
    Command(
        "invariance",
        "invariance run:run scenes:val:12 --count 2 --steps 2 --layers conv3,fc7 "
        "--out invariance --workers 1",
        stops="*picture 0.npz",
        changed=("--steps 3", "amounts"),
    ),
    Command(
        "correspond",
        "correspond run:run scenes:val:60 --count 3 --places 3 --out dogs --workers 1",
        stops="*picture 1.npz",
        changed=("--places 4", "places"),
    ),
    Command(
        "ensemble",
        "ensemble run other --data scenes:val:24 --out ensemble --workers 1",
        needs=("run", "other"),
        stops="*network 0.npz",
        changed=("--data scenes:val:12", "images"),
    ),
    Command(
        "ablate",
        "ablate --arch zfnet-small --data scenes:train:24 --val scenes:val:12 --seeds 2 "
        "--epochs 1 --variant 'narrow: 6,7*0.5' --out ablation --workers 1",
        needs=(),
        stops="*pieces/*.json",
        changed=("--epochs 2", "epochs"),
        listed=("runs/*.safetensors",),
        dropped=("*.safetensors",),
        trains=True,
        packed=True,
    ),
    Command(
        "transfer",
        f"transfer run:run scenes:transfer:48 --per-class 1,2 --folds 2 --layer fc7 {SCRATCH} "
        f"{TESTED} --out transfer --workers 1",
        stops="*fc7 softmax 2, fold 0.json",
        changed=("--folds 3", "folds"),
        trains=True,
    ),
    Command(
        "transfer-several",
        "transfer run:run scenes:multi:24 --folds 2 --layer fc7 --out several --workers 1",
        stops="*features*state.json",
        changed=("--pooling max", "pooling"),
    ),
    Command(
        "probe",
        f"probe run:run scenes:transfer:48 --layers fc6,fc7 --per-class 2 --folds 2 {TESTED} "
        "--out depth --workers 1",
        stops="*fc6 svm 2, fold 0.json",
        changed=("--folds 3", "folds"),
    ),
    Command(
        "demo",
        "demo --quick --out demo --workers 1",
        needs=(),
        stops="*atlas/work/state.safetensors",
        changed=("--seed 1", "another size or seed"),
        listed=("atlas/*", "*.safetensors"),
        dropped=("*epoch-*",),
        trains=True,
        slow=True,
    ),
    Command(
        "paper",
        "paper --quick --out paper --workers 1",
        needs=(),
        stops="*pieces/transfer.json",
        changed=("--seed 1", "seed"),
        listed=("*.safetensors", "*.npz", "*.npy", "*.webp"),
        dropped=(
            "[!t]*.safetensors",
            "training/[!z]*.safetensors",
            "training/zfnet-1/*",
            "table*.safetensors",
            "transfer/*",
            "*/result.json",
            "*.npz",
            "*.npy",
            "*.webp",
        ),
        trains=True,
        packed=True,
        slow=True,
    ),
)
