"""What `--show-recipe` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convscope.cli.screen import Screen
from convscope.experiments.options import Running

if TYPE_CHECKING:
    from convscope.training.recipe import Recipe

__all__ = ["show_recipe"]


def show_recipe(recipe: Recipe, running: Running) -> None:
    """Print a recipe: as YAML with the source of every number, or as JSON for a program."""
    from convscope.training.recipe_file import recipe_text

    screen = Screen(running.as_json)
    screen.say(recipe_text(recipe).rstrip())
    screen.result(recipe.to_dict())
