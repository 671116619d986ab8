"""Docstrings that a documentation generator can read, and whose examples work."""

import ast
import doctest
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

import convscope

SOURCE = Path(convscope.__file__).parent
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.parent.name != "ops")
OLD_GRAMMAR = re.compile(r"[\w)] : |(Raises|Source|Returns|Yields)  |[;.]   \w")
"""`name : what it is;   other : ...` and `Raises  Error`, which no generator understands."""

RUN = [
    "experiments.ablation.variants",
    "experiments.diagnosis.diagnosis",
    "experiments.number_words",
    "geometry.box",
    "geometry.window",
    "images.classes",
    "images.listing",
    "images.preprocess",
    "images.subsets",
    "methods.classes",
    "methods.dependence",
    "methods.numbers",
    "methods.occluder",
    "methods.occlusion",
    "methods.project",
    "methods.rules",
    "methods.scores",
    "methods.sweep",
    "network.feature_layers",
    "network.graph",
    "network.legend",
    "network.network",
    "network.trace",
    "network.unit",
    "record",
    "scenes.render",
    "store.differences",
    "text",
    "training.recipe",
    "training.recipe_file",
]
"""Modules whose examples need nothing but a small network and an image, and no time."""


@cache
def documented(path: Path) -> list[ast.Module | ast.ClassDef | ast.FunctionDef]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', 1)}"


def test_docstrings_are_in_google_style() -> None:
    private = [
        place(path, node)
        for path in MODULES
        for node in documented(path)
        if OLD_GRAMMAR.search(ast.get_docstring(node) or "")
    ]
    assert not private


def described(text: str, section: str) -> list[str]:
    """The names that a section of a docstring describes."""
    block = re.search(rf"^{section}:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
    return re.findall(r"^    \*{0,2}(\w+):", block[1], re.MULTILINE) if block else []


def test_described_arguments_exist() -> None:
    wrong = []
    for path in MODULES:
        for node in documented(path):
            if isinstance(node, ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                known = {a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)}
                wrong += [
                    f"{place(path, node)}: {node.name} has no {name}"
                    for name in described(text, "Args")
                    if name not in known
                ]
    assert not wrong


@pytest.fixture(scope="module")
def names() -> dict[str, object]:
    """What the examples take as given: a small module, its network, an image and a trace."""
    torch.manual_seed(0)
    module = nn.Sequential()
    module.add_module("conv1", nn.Conv2d(3, 4, 3, padding=1))
    module.add_module("relu1", nn.ReLU())
    module.add_module("pool", nn.MaxPool2d(2))
    module.add_module("conv2", nn.Conv2d(4, 8, 3, padding=1))
    module.add_module("relu2", nn.ReLU())
    module.add_module("global_pool", nn.AdaptiveAvgPool2d(1))
    module.add_module("flatten", nn.Flatten())
    module.add_module("classifier", nn.Linear(8, 2))
    network = convscope.open_network(module, (3, 32, 32))
    image = torch.randn(3, 32, 32)
    return {
        "convscope": convscope,
        "torch": torch,
        "module": module,
        "network": network,
        "image": image,
        "trace": network.trace(image),
    }


def test_public_names_have_an_example() -> None:
    public = {name: getattr(convscope, name) for name in convscope.__all__}
    # these names are a package's and a module's, which are callable
    public |= {"atlas": convscope.verbs.atlas, "errors": convscope.verbs.find_errors}
    explained = {
        name: thing.__doc__ or ""
        for name, thing in public.items()
        if not isinstance(thing, convscope.Rules)
    }
    assert not [name for name, text in explained.items() if "Example:" not in text]


@pytest.mark.parametrize("module", RUN)
def test_examples_say_what_happens(module: str, names: dict[str, object]) -> None:
    failed, tried = doctest.testmod(
        import_module(f"convscope.{module}"), extraglobs=names, optionflags=doctest.ELLIPSIS
    )
    assert tried and not failed
