"""The listing is the architecture: a file imports only its own floor and the floors below."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import convscope

SOURCE = Path(convscope.__file__).parent
FLOORS = (
    "version", "errors", "display", "progress", "record", "text", "ending", "geometry", "stats",
    "store", "scenes", "images", "distributed", "execution", "network", "models", "scan",
    "methods", "atlas", "live", "training", "experiments", "report", "explorer", "cli",
)  # fmt: skip
DOORS = (
    "__init__.py",
    "__main__.py",
    "verbs.py",
    "verbs_of_data.py",
    "verbs_of_studies.py",
    "microscope.py",
)  # above all floors
FILES = sorted(SOURCE.rglob("*.py"))


def modules_imported(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """(line, dotted module below convscope) of every import, whatever its indentation.

    package : the dotted parts of the package that the file lies in
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] == "convscope":
                yield node.lineno, name.partition(".")[2]


def upward_imports(source: str, path: Path) -> list[str]:
    """What a file at `path` (below src/convscope) imports from a floor above its own."""
    floor = FLOORS.index(path.parts[0].removesuffix(".py"))
    package = ("convscope", *path.parts[:-1])
    return [
        f"{path}:{line} imports {name}"
        for line, name in modules_imported(ast.parse(source), package)
        if name.partition(".")[0] not in FLOORS[: floor + 1]
    ]


def test_no_two_files_import_each_other_not_by_a_type_or_later_either():
    parts = {file: file.relative_to(SOURCE).with_suffix("").parts for file in FILES}
    named = {".".join(where): where for where in parts.values() if where[-1] != "__init__"}
    imports = {
        ".".join(where): {
            module
            for _, name in modules_imported(ast.parse(file.read_text()), ("convscope", *where[:-1]))
            for module in (name, name.rpartition(".")[0])
            if module in named
        }
        for file, where in parts.items()
        if ".".join(where) in named
    }
    assert imports["cli.occlude"] >= {"cli.contrast", "cli.outputs"}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names them


def test_every_file_belongs_to_a_floor():
    tops = {file.relative_to(SOURCE).parts[0].removesuffix(".py") for file in FILES}
    assert tops - {door.removesuffix(".py") for door in DOORS} <= set(FLOORS)


@pytest.mark.parametrize("floor", FLOORS)
def test_no_file_imports_from_a_floor_above(floor: str):
    paths = [file.relative_to(SOURCE) for file in FILES]
    mine = [path for path in paths if path.parts[0].removesuffix(".py") == floor]
    found = [line for path in mine for line in upward_imports((SOURCE / path).read_text(), path)]
    assert not found, "\n".join(found)


SHARED = sorted(file.stem for file in (SOURCE / "experiments").glob("*.py"))
EXPERIMENTS = sorted(
    folder.parent.name for folder in (SOURCE / "experiments").glob("*/__init__.py")
)


BUILT_ON = {
    "adaptive": ("transfer",),
    "localization": ("transfer",),
    "mistakes": ("features", "removal", "transfer"),
}
"""An experiment whose question is put by others': what it takes of them."""


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if name != "paper"])
def test_no_experiment_imports_another(experiment: str):
    """But `paper`, which runs them all, and what is built on others."""
    known = (*SHARED, experiment, *BUILT_ON.get(experiment, ()))
    for file in sorted((SOURCE / "experiments" / experiment).glob("*.py")):
        for line, name in modules_imported(ast.parse(file.read_text()), ("convscope",)):
            floor, _, rest = name.partition(".")
            allowed = floor != "experiments" or rest.partition(".")[0] in known
            assert allowed, f"{file.name}:{line} imports {name}"


@pytest.mark.parametrize(
    "module", [name for name in SHARED if name not in ("__init__", "registry")]
)
def test_what_experiments_share_knows_none_of_them(module: str):
    source = (SOURCE / "experiments" / f"{module}.py").read_text()
    for line, name in modules_imported(ast.parse(source), ("convscope",)):
        floor, _, rest = name.partition(".")
        assert floor != "experiments" or rest.partition(".")[0] in SHARED, (line, name)


@pytest.mark.parametrize(
    "line",
    [
        "from ..methods.rules import Rules",
        "from .. import methods",
        "from convscope.methods import rules",
        "import convscope.methods.rules as rules",
        "def f():\n    from ..cli.app import main",
        "if TYPE_CHECKING:\n    from ..atlas import store",
        "from convscope import project",
        "from convscope import open_network",
    ],
)
def test_an_upward_import_is_found_wherever_it_stands(line: str):
    assert upward_imports(line, Path("network/graph.py"))


@pytest.mark.parametrize(
    "line",
    [
        "from ..errors import BadInput",
        "from .. import errors, geometry",
        "from . import trace",
        "from .ops.pooling import unpool",
        "from convscope.images.preprocess import Preprocess",
        "from convscope.version import __version__",
        "import torch, convscopes",
    ],
)
def test_an_import_of_the_own_floor_or_one_below_passes(line: str):
    assert not upward_imports(line, Path("network/graph.py"))


def test_a_file_in_a_folder_of_its_floor_is_on_that_floor():
    assert not upward_imports(
        "from ...geometry.window import Window", Path("network/ops/pooling.py")
    )
    assert upward_imports("from ...methods.rules import Rules", Path("network/ops/pooling.py"))


def test_importing_convscope_imports_nothing_heavy():
    code = (
        "import sys, convscope\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'PIL', 'pydantic', 'jinja2', 'torchvision',\n"
        " 'scipy', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_the_public_names_are_sorted_and_exist():
    assert convscope.__all__ == sorted(convscope.__all__)
    assert len(set(convscope.__all__)) == len(convscope.__all__)
    assert {*convscope.__all__, "__version__"} == set(dir(convscope))
    for name in convscope.__all__:
        assert getattr(convscope, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'convscope' has no attribute 'projct'"):
        convscope.projct  # noqa: B018


def test_every_public_name_has_a_home_and_is_known_to_type_checkers():
    tree = ast.parse(Path(convscope.__file__).read_text())
    typed = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
    assert typed == {*convscope.__all__, "__version__"}
