"""Variants of a network as a table, and the paper's Table 2."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from convscope.errors import BadOption
from convscope.experiments.ablation.equal_budget import planned
from convscope.experiments.ablation.variants import (
    TABLE2,
    Variant,
    Width,
    paper_row,
    parameters_of,
    read_variants,
    table2,
)
from convscope.models.architectures import ARCHITECTURES, build

ZFNET, SMALL = ARCHITECTURES["zfnet"], ARCHITECTURES["zfnet-small"]
REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("CONVSCOPE_DATA", REPOSITORY.parent / "shared" / "data"))
PAPER = DATA.parent / "paper.md"


def made(name: str, architecture=ZFNET):
    return next(row.variant for row in TABLE2 if row.variant.name == name).applied(architecture)


def test_a_row_says_what_is_left_out_and_how_wide_the_rest_is():
    variant = Variant.parse("all of it: -3 -4,2 6=512 7*0.5 5*4/3")
    assert variant.without == (2, 3, 4)
    assert variant.widths == (Width(6, 512), Width(7, Fraction(1, 2)), Width(5, Fraction(4, 3)))
    assert Variant.parse(f"all of it: {variant.changes}") == variant
    assert Variant.parse("-3 -4") == Variant("-3 -4", (3, 4))
    assert Variant.parse("none:") == Variant("none")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x: 3", "'3' is no change"),
        ("x: -3 +4", r"'\+4' is no change"),
        ("x: 6*0.5/0", "is no change"),
        ("x: -3 3=5", "layer 3 twice"),
        ("x: 6,6=5", "layer 6 twice"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_with_its_words(line: str, words: str):
    with pytest.raises(BadOption, match=words):
        Variant.parse(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x: -9", "layer 9"),
        ("x: -2", "layer 2"),  # it carries a pool
        ("x: 8=10", "no layer 8"),
        ("x: 6=0", "at least 1"),
        ("x: 3=0", "positive"),
    ],
)
def test_a_row_that_the_network_cannot_have_names_itself(line: str, words: str):
    with pytest.raises(BadOption, match=words) as caught:
        Variant.parse(line).applied(SMALL)
    assert "'x'" in str(caught.value)


def test_a_table_is_read_from_text_and_from_yaml_alike(tmp_path: Path):
    text = "# a table\nno middle: -3 -4   # both\n\nnarrow: 6,7*0.5\nalone: -7\n"
    (tmp_path / "t.txt").write_text(text)
    (tmp_path / "t.yaml").write_text("no middle: [-3, -4]\nnarrow: 6,7*0.5\nalone: -7\n")
    rows = read_variants(tmp_path / "t.txt")
    assert [row.name for row in rows] == ["no middle", "narrow", "alone"]
    assert read_variants(tmp_path / "t.yaml") == rows
    (tmp_path / "empty.yaml").write_text("- 3\n")
    for missing in ("empty.yaml", "nothing.txt"):
        with pytest.raises(BadOption, match=missing):
            read_variants(tmp_path / missing)


def test_the_rows_of_the_paper_have_the_paper_s_widths_in_zfnet():
    assert [d.units for d in made("layers 6,7 half as wide").dense] == [2048, 2048]
    assert [d.units for d in made("layers 6,7 twice as wide").dense] == [8192, 8192]
    widest = made("layers 3 to 7 wider")
    assert [c.maps for c in widest.convolutions] == [96, 256, 512, 1024, 512]
    assert [d.units for d in widest.dense] == [8192, 8192]
    assert [c.number for c in made("without layers 3,4,6,7").convolutions] == [1, 2, 5]
    assert made("without layers 3,4,6,7").dense == ()


def test_parameters_are_those_counted_by_hand():
    conv1, conv2 = 3 * 49 * 32 + 32, 32 * 25 * 64 + 64
    conv3, conv4, conv5 = 64 * 9 * 96 + 96, 96 * 9 * 96 + 96, 96 * 9 * 64 + 64
    pixels = 64 * 4 * 4  # of pool5: 72 → 34 → 17 → 17 → 8 → 8 → 4
    fc6, fc7, fc8 = pixels * 256 + 256, 256 * 256 + 256, 256 * 12 + 12
    bottom, top = conv1 + conv2, fc6 + fc7 + fc8
    assert parameters_of(SMALL) == bottom + conv3 + conv4 + conv5 + top
    narrow5 = 64 * 9 * 64 + 64
    assert parameters_of(made("without layers 3,4", SMALL)) == bottom + narrow5 + top
    last = pixels * 12 + 12
    assert parameters_of(made("without layers 3,4,6,7", SMALL)) == bottom + narrow5 + last
    half = pixels * 128 + 128 + 128 * 128 + 128 + 128 * 12 + 12
    whole = bottom + conv3 + conv4 + conv5
    assert parameters_of(made("layers 6,7 half as wide", SMALL)) == whole + half
    assert parameters_of(SMALL) == sum(p.numel() for p in build(SMALL, None).parameters())


def test_layers_of_different_widths_have_names_of_their_own():
    one, other = (Variant.parse(line).applied(SMALL) for line in ("a: 6=100", "b: 6=100 7=100"))
    assert [d.units for d in one.dense] == [100, 256]
    assert one.name == "zfnet-small units=6:100,7:256"
    assert other.name == "zfnet-small units=100"


def test_a_row_is_known_as_the_paper_s_by_what_it_makes_not_by_its_name():
    mine = Variant.parse("mine: 7=128 6*0.5").applied(SMALL)
    row = paper_row(SMALL, mine)
    assert row is not None and row.variant.name == "layers 6,7 half as wide"
    assert paper_row(SMALL, Variant.parse("x: 6=127 7=128").applied(SMALL)) is None


def test_rows_of_layers_that_the_network_lacks_are_left_out():
    short = replace(SMALL, convolutions=SMALL.convolutions[:2], dense=SMALL.dense[:1])
    assert [variant.name for variant in table2(short)] == ["none"]
    assert len(table2(SMALL)) == len(TABLE2) == 9


def test_the_same_network_twice_and_the_same_name_twice_are_refused():
    with pytest.raises(BadOption, match="'a' and 'b' are the same network"):
        planned(SMALL, [Variant.parse("a: 6,7=128"), Variant.parse("b: 6,7*0.5")])
    with pytest.raises(BadOption, match="'none' and 'b' are the same"):
        planned(SMALL, [Variant.parse("b: 3=96")])
    with pytest.raises(BadOption, match="called 'a'"):
        planned(SMALL, [Variant.parse("a: -3"), Variant.parse("a: -4")])
    assert [v.name for v, _ in planned(SMALL, [Variant.parse("a: -3")])] == ["none", "a"]


def test_the_column_beside_is_the_network_s_own_where_there_is_one():
    rows = {row.variant.name: row for row in TABLE2}
    assert rows["none"].beside("zfnet-small") == ("zfnet", (33.1, 38.4, 16.5))
    assert rows["none"].beside("alexnet-dense") == ("alexnet", (35.1, 40.5, 18.1))
    assert rows["without layer 7"].beside("zfnet-small")[0] == "alexnet"
    assert rows["layers 3,4,5 wider"].beside("alexnet")[0] == "zfnet"


@pytest.mark.real_data
@pytest.mark.skipif(not PAPER.is_file(), reason=f"no paper.md beside CONVSCOPE_DATA ({DATA})")
def test_the_paper_s_figures_are_those_of_the_paper():
    table = PAPER.read_text(encoding="utf-8").partition("Table 2, ablation")[2]
    lines = re.findall(r"^\| ([^|]+?) \|([^|]*)\|([^|]*)\|$", table, flags=re.MULTILINE)[1:10]
    assert [line[0] for line in lines[1:5]] == [row.variant.name for row in TABLE2[1:5]]
    assert [line[0] for line in lines[5:7]] == ["layers 6,7: 2048 units", "layers 6,7: 8192 units"]
    for (_, *columns), row in zip(lines, TABLE2, strict=True):
        read = [_figures(cell) for cell in columns]
        assert read == [row.alexnet, row.zfnet]


def _figures(cell: str) -> tuple[float, ...] | None:
    return tuple(map(float, cell.split("/"))) if cell.strip() else None
