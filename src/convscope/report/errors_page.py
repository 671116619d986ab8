"""A network's mistakes as a page: Mistakes -> index.html, doubts.csv and pairs.csv in a folder.

Images one by one, with their label, what was said, and what speaks against the label. No script: it
prints as it looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from convscope.atlas.sheets import encode_sheet
from convscope.experiments.mistakes.result import Doubt, Mistakes, Pair, TellingMap
from convscope.experiments.number_words import percent
from convscope.report.embedded_data import resource, template
from convscope.report.style import OTHER, color_of
from convscope.store.atomic import replace_file

__all__ = ["write_errors_page"]

OWN_FILES = ("tour.css", "errors.css")  # copied as they are
BESIDE = 3  # neighbours of an image
KEY = 24  # classes that the key of the map names
SIDE = 1000  # of the map, in its own units


@dataclass(frozen=True)
class CardPicture:
    """A picture's file and what it is called."""

    file: str
    words: str


@dataclass(frozen=True)
class Card:
    """An image or a pair, with what is said of it."""

    pictures: tuple[CardPicture, ...]
    beside: tuple[CardPicture, ...]
    title: str
    lines: tuple[str, ...]
    id: str = ""


def write_errors_page(found: Mistakes, folder: str | Path) -> Path:
    """Write the page and the lists into a folder, which may hold other things.

    Args:
        found: what was found.
        folder: of the study.

    Returns:
        The path of index.html.
    """
    shown = _Shown(found, Path(folder))
    (shown.folder / "page" / "pictures").mkdir(parents=True, exist_ok=True)
    for name in OWN_FILES:
        replace_file(shown.folder / "page" / name, resource(name))
    replace_file(shown.folder / "doubts.csv", found.doubts_csv().encode())
    replace_file(shown.folder / "pairs.csv", found.pairs_csv().encode())
    for index, pixels in found.pictures.items():
        encoded = encode_sheet(Image.fromarray(pixels), exact=False)
        replace_file(shown.folder / shown.file(index), encoded)
    doubts = [shown.doubt(each) for each in found.doubts if each.index in found.pictures]
    pairs = [shown.pair(each) for each in found.pairs if shown.has(each)]
    words = template("errors.html.j2").render(
        found=found,
        wrong=percent(found.wrong / max(1, found.images), 1),
        agreed=None if found.agreed is None else percent(found.agreed),
        noise=None if found.noise is None else percent(found.noise, 1),
        maps=[shown.map(each) for each in found.telling],
        dots=_dots(found),
        key=[(name, color_of(number)) for number, name in enumerate(found.classes)][:KEY],
        doubts=doubts[: len(found.doubts)],
        pairs=pairs,
    )
    index_file = shown.folder / "index.html"
    replace_file(index_file, words.encode())
    return index_file


@dataclass(frozen=True)
class Dot:
    """An image on the map, its place in the map's units."""

    x: int
    y: int
    color: str
    words: str
    wrong: bool
    doubt: int | None


def _dots(found: Mistakes) -> list[Dot]:
    """The map: right answers first, so that mistakes lie above them."""
    doubted = {each.index for each in found.doubts if each.index in found.pictures}
    colors = {name: color_of(number) for number, name in enumerate(found.classes)}
    dots = [
        Dot(
            round(SIDE * each.x), round(SIDE * each.y), colors.get(each.label, OTHER),
            f"{each.name}: {each.label or 'no label'}"
            + (f", taken for {each.predicted}" if each.wrong else ""),
            each.wrong, each.index if each.index in doubted else None,
        )
        for each in found.placed
    ]  # fmt: skip
    return sorted(dots, key=lambda dot: (dot.doubt is not None, dot.wrong))


@dataclass(frozen=True)
class _Shown:
    """What was found, and where its pictures are."""

    found: Mistakes
    folder: Path

    def file(self, index: int) -> str:
        """The file of a picture; those of the other set count below 0."""
        name = f"{index:06d}" if index >= 0 else f"other-{-1 - index:06d}"
        return f"page/pictures/{name}.webp"

    def has(self, pair: Pair) -> bool:
        """Whether a pair's pictures are there."""
        return {pair.index, self._other(pair)} <= set(self.found.pictures)

    def doubt(self, doubt: Doubt) -> Card:
        """An image whose label is in doubt, its nearest images beside it."""
        near = [index for index in doubt.neighbours if index in self.found.pictures][:BESIDE]
        return Card(
            (CardPicture(self.file(doubt.index), doubt.name),),
            self._row(near),
            f"{doubt.label} → {doubt.suggested}?",
            (
                f"{doubt.suggested} {percent(doubt.suggested_probability)}, {doubt.label} "
                f"{percent(doubt.probability)} by a probe that did not learn from it",
                f"{self.found.judge} says {doubt.predicted}; loss of the label {doubt.loss:.2f}",
                f"{percent(doubt.neighbours_agree)} of the {len(doubt.neighbours)} nearest images "
                f"are called {doubt.label}",
                doubt.name,
            ),
            f"image-{doubt.index}",
        )

    def pair(self, pair: Pair) -> Card:
        """Two images that are one picture, or look alike."""
        kind = "the same picture" if pair.correlation is not None else "alike to the network"
        if pair.mirrored:
            kind += ", mirrored"
        numbers = [] if pair.correlation is None else [f"correlation {pair.correlation:.3f}"]
        numbers += [] if pair.cosine is None else [f"cosine of the features {pair.cosine:.3f}"]
        where = f"the other is in {self.found.against}" if pair.across else ""
        labels = pair.label or "no label", pair.other_label or "no label"
        title = " and ".join(labels) if pair.conflicting else labels[0]
        pictures = (
            CardPicture(self.file(pair.index), pair.name),
            CardPicture(self.file(self._other(pair)), pair.other_name),
        )
        lines = (f"{kind}: {', '.join(numbers)}", where, f"{pair.name} · {pair.other_name}")
        return Card(pictures, (), title, tuple(line for line in lines if line))

    def map(self, each: TellingMap) -> Card:
        """A map that tells, with mistakes and right answers."""
        area = f"{each.area:.2f} ({each.low:.2f} to {each.high:.2f})"
        lines = [
            f"{'more' if each.more else 'less'} active in mistakes, which are taken for "
            f"{each.mistaken_for} most often; ROC area {area}, p {each.p_corrected:.3f}",
        ]
        if each.removal is not None:
            removal = each.removal
            lines.append(
                f"without it {removal.mended} of {removal.mistakes} mistakes come right and "
                f"{removal.broken} of {removal.right} right answers are lost: "
                + (
                    "more than without any other map that was tried"
                    if removal.confirmed
                    else "no more than without other maps, so it is not the reason by itself"
                )
            )
        return Card(
            self._row(each.in_mistakes), self._row(each.in_right),
            f"{each.label}: {each.unit}", tuple(lines),
        )  # fmt: skip

    def _other(self, pair: Pair) -> int:
        return -1 - pair.other if pair.across else pair.other

    def _row(self, indices: Sequence[int]) -> tuple[CardPicture, ...]:
        there = [index for index in indices if index in self.found.pictures]
        return tuple(CardPicture(self.file(index), f"image {index}") for index in there)
