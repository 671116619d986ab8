"""Recipes as text: YAML with the source of every number beside it, and NAME=VALUE settings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from convscope.errors import BadOption
from convscope.text import error_words
from convscope.training.recipe import PAPER, REASONS, RECIPES, SOURCES, Recipe

__all__ = ["changed", "read_recipe", "recipe_text"]

OPTIONAL = ("radius", "dropout")  # numbers that may be none
NOTHING = ("none", "null", "~")


def recipe_text(recipe: Recipe) -> str:
    """Format a recipe as YAML, with the source of each number as a comment behind it.

    What differs from the nearest of the named recipes is marked as given.
    """
    base = min(RECIPES, key=lambda name: _changes(RECIPES[name], recipe))
    start, lines = RECIPES[base], []
    for name, value in recipe.to_dict().items():
        source = SOURCES[name]
        if value != getattr(PAPER, name):
            source = REASONS[base].get(name, "given")
        if value != getattr(start, name):
            source = "given"
        lines.append((f"{name}: {_word(value)}", source))
    width = max(len(line) for line, _ in lines)
    return "".join(f"{line.ljust(width)}  # {source}\n" for line, source in lines)


def read_recipe(path: str | os.PathLike[str], base: Recipe = PAPER) -> Recipe:
    """Read a recipe from a YAML file of the names and values that it changes.

    Args:
        path: The YAML file.
        base: The recipe that supplies all other values.

    Raises:
        BadOption: It is not such a file, or has an unknown name or a value outside its range.
    """
    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        words = error_words(error)
        raise BadOption(f"recipe {path} cannot be read ({words}): give a YAML file") from None
    if not isinstance(given, Mapping):
        raise BadOption(f"recipe {path} holds no names with values, such as 'epochs: 20'")
    try:
        return _with(base, {str(name): value for name, value in given.items()})
    except BadOption as error:
        raise BadOption(f"{path}: {error}") from None


def changed(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Return a recipe with some settings changed.

    Args:
        recipe: The recipe to start from.
        settings: NAME=VALUE each, such as `radius=none`, `drops=20,30`, `schedule=steps`.

    Raises:
        BadOption: There is an unknown name, or a value that the name does not take.

    Example:
        >>> changed(PAPER, ["epochs=20", "radius=none"]).epochs
        20
    """
    given = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise BadOption(f"--set {setting}: it is NAME=VALUE, such as --set radius=none")
        given[name.strip()] = value.strip()
    return _with(recipe, given)


def _changes(start: Recipe, recipe: Recipe) -> int:
    """Count the fields in which two recipes differ."""
    return sum(getattr(start, name) != getattr(recipe, name) for name in SOURCES)


def _with(recipe: Recipe, given: Mapping[str, Any]) -> Recipe:
    values = {}
    for name, value in given.items():
        if name not in SOURCES:
            near = get_close_matches(name, SOURCES, n=2) or list(SOURCES)
            raise BadOption(f"recipe: there is no {name!r}; there is {', '.join(near)}")
        values[name] = _value(name, value)
    return replace(recipe, **values)


def _value(name: str, value: Any) -> Any:
    """Convert a word, or a value out of YAML, to what the field of that name holds."""
    default = getattr(PAPER, name)
    word = str(value).strip().lower()
    if name in OPTIONAL:
        return None if value is None or word in NOTHING else _number(name, value, float)
    if isinstance(default, bool):
        if word not in ("true", "false", "yes", "no", "on", "off"):
            raise BadOption(f"recipe: {name} is {value!r}; it is true or false")
        return word in ("true", "yes", "on")
    if isinstance(default, StrEnum):
        kind = type(default)
        if word not in list(kind):
            raise BadOption(f"recipe: {name} is {value!r}; it is {', '.join(kind)}")
        return kind(word)
    if isinstance(default, tuple):
        parts = value if isinstance(value, list | tuple) else word.strip("[]()").split(",")
        return tuple(_number(name, part, int) for part in parts if str(part).strip())
    return _number(name, value, type(default))


def _number(name: str, value: Any, kind: type) -> Any:
    try:
        number = float(str(value))
        if kind is int and number != int(number):
            raise ValueError
        return kind(number)
    except (ValueError, OverflowError):
        wanted = "a whole number" if kind is int else "a number"
        raise BadOption(f"recipe: {name} is {value!r}; it is {wanted}") from None


def _word(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)
