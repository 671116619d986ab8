"""CustomScaling files: what they mean, and which mistakes are noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from convscope.errors import BadOption
from convscope.images.scaling import RECIPES, CustomScaling, Order, read_recipe_file


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_a_recipe_file_says_scale_mean_std_and_order(tmp_path: Path) -> None:
    text = "scale: 255\nmean: [104, 117, 123]\nstd: [58, 57, 57]\norder: BGR\n"
    expected = CustomScaling(255.0, (104.0, 117.0, 123.0), (58.0, 57.0, 57.0), Order.BGR)
    assert read_recipe_file(written(tmp_path, text)).scaling == expected


def test_only_scale_must_be_there(tmp_path: Path) -> None:
    assert read_recipe_file(written(tmp_path, "scale: 1\n")).scaling == CustomScaling()


@pytest.mark.parametrize("name", RECIPES)
def test_the_named_recipes_go_through_a_record(name: str) -> None:
    assert CustomScaling.from_dict(RECIPES[name].to_dict()) == RECIPES[name]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mean: [0, 0, 0]", "no scale: a recipe has the keys scale, mean, std, order"),
        ("scale: 1\nmeen: [0, 0, 0]", "unknown meen"),
        ("scale: 0", "the value of a white pixel, such as 255 or 1"),
        ("scale: yes", "scale True: not a number"),
        ("scale: 1\nmean: []", "a number for each channel, or one for all"),
        ("scale: 1\nmean: [a, b, c]", "mean 'a': not a number"),
        ("scale: 1\nmean: [0.5, 0.5]\nstd: [1, 1, 1]", "not as many"),
        ("scale: 255\norder: BGR\nmean: [1, 2]", "order BGR is for 3 channels, not 2"),
        ("scale: 1\nstd: [1, 0, 1]", "each must be above 0"),
        ("scale: 1\nstd: [1, .inf, 1]", "must be finite"),
        ("scale: 1\norder: GRB", "order GRB: it is RGB or BGR"),
        ("scale: 1\nmean: [104, 117, 123]", "outside pixels 0..1: use scale: 255"),
        ("scale: 255\nmean: [0.485, 0.456, 0.406]", "belong to pixels 0..1, not 0..255: use scale"),
        ("scale: 255\nstd: [0.2, 0.2, 0.2]", "use scale: 1"),
        ("- 1\n- 2", "not a table of scale, mean, std, order"),
        ("", "not a table"),
        ("scale: [1", "not YAML"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadOption, match=rf"mine\.yaml: .*{words}") as caught:
        read_recipe_file(written(tmp_path, text))
    assert "\n" not in str(caught.value)
