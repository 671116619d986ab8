"""Lists and numbers out of options, columns out of values."""

from __future__ import annotations

import pytest

from convscope.errors import BadOption
from convscope.text import is_number, printable, split_integers, split_names, table


def test_names_stand_between_commas():
    assert split_names(" conv1, conv5,", "--layers") == ("conv1", "conv5")
    assert split_names('"a,b", c', "--layers") == ("a,b", "c")


@pytest.mark.parametrize("words", ["", ",", " , ", "\n?", "a" * 200_000 + ",b"])
def test_a_list_without_a_name_is_refused_with_its_option(words):
    with pytest.raises(BadOption, match=r"^--layers .* names nothing"):
        split_names(words, "--layers")


def test_numbers_stand_between_commas_and_keep_their_order():
    assert split_integers("15, 1,5", "--per-class") == (15, 1, 5)
    assert split_integers("0,8", "--epochs", least=0) == (0, 8)


@pytest.mark.parametrize("words", ["", "few", "1,2.5", "-1", "0", "1" * 5000])
def test_what_is_no_number_or_too_small_is_refused_with_its_option(words):
    with pytest.raises(BadOption, match=r"^--per-class .* whole numbers, 1 at least"):
        split_integers(words, "--per-class")


def test_a_number_is_one_that_can_be_counted_to():
    assert is_number("007") and is_number("5", 5) and not is_number("6", 5)
    assert not any(map(is_number, ("", "-1", "1.0", "²", "1" * 5000)))


def test_columns_are_as_wide_as_their_widest_cell():
    head, rows = ("layer", "maps"), (("conv1", 96), ("features.10", 8))
    assert table(head, rows) == [
        "layer        maps",
        "conv1          96",
        "features.10     8",
    ]
    assert table(head, rows, left=True) == [
        "layer        maps",
        "conv1        96",
        "features.10  8",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("café 猫 7×7", "café 猫 7×7"),
        ("\x1b]0;owned\x07\x9b31m", "\\x1b]0;owned\\x07\\x9b31m"),
        ("exe\u202egnp.cat", "exe\\u202egnp.cat"),  # what follows would run from right to left
        ("p <\xa00.001, Screenshot 9.41\u202fAM.png", "p <\xa00.001, Screenshot 9.41\u202fAM.png"),
        ("a\rb\nc\u2028d\udcff", "a\\rb\\nc\\u2028d\\udcff"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
    assert printable("one\ntwo\x1b", keep="\n") == "one\ntwo\\x1b"
