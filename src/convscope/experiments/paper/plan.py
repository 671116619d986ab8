"""How much of everything the paper's reproduction does, and what each of its stages is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convscope.experiments.claims import Judgement
from convscope.record import Record

__all__ = ["FULL", "QUICK", "Budget", "PaperTable", "StageOutcome"]


@dataclass(frozen=True)
class Budget(Record):
    """How much of everything the reproduction of the paper does, in numbers.

    They hold for scenes; a folder of images gives as many as it has, but never more than `most`.

    Attributes:
        name: Of the budget.
        images: Images that the networks learn from.
        validation: Images that they are tested on.
        epochs: Of each training.
        kept: Epochs whose weights stay for Fig. 4.
        dropout: Of layers 6 and 7; None: the paper's. A training of few steps does not need it, and
            it would keep these layers from learning anything.
        seeds: Trainings of ZFNet and of AlexNet.
        wide: Trainings of ZFNet with wider layers 3, 4, 5.
        most: Images of a folder; None: all.
        folder_epochs: Epochs on a folder's images, in place of `epochs`.
        looked_at: Validation images of the atlas.
        evolved: Training images of Fig. 4.
        measured: Maps of each layer that are measured for Fig. 4.
        diagnosed: Validation images of Fig. 5.
        occluded: Images of Fig. 6.
        turned: Images of the invariance study.
        steps: Amounts of each motion of the invariance study.
        faces: Pictures with parts.
        places: Random places to compare parts with.
        ablated_epochs: Epochs of Table 2.
        ablated_seeds: Trainings of each row of Table 2.
        ablated_rows: Rows of Table 2, those that the claims speak of, besides the whole network;
            None: all.
        transferred: Images of other classes, for transfer.
        per_class: Images per class to learn from.
        folds: Random folds.
        tested: Test images per class.
        scratch_epochs: Epochs of the baseline that learns from scratch.
        several: Images with several objects.
        probed: Images per class of Table 7.
    """

    name: str
    images: int
    validation: int
    epochs: int
    kept: tuple[int, ...]
    dropout: float | None
    seeds: int
    wide: int
    most: int | None
    folder_epochs: int
    looked_at: int
    evolved: int
    measured: int
    diagnosed: int
    occluded: int
    turned: int
    steps: int
    faces: int
    places: int
    ablated_epochs: int
    ablated_seeds: int
    ablated_rows: tuple[str, ...] | None
    transferred: int
    per_class: tuple[int, ...]
    folds: int
    tested: int
    scratch_epochs: int
    several: int
    probed: int


FULL = Budget(
    name="full",
    images=6000,
    validation=1200,
    epochs=10,
    kept=(0, 1, 2, 3, 5, 7, 10),
    dropout=None,
    seeds=3,
    wide=3,
    most=None,
    folder_epochs=40,
    looked_at=1200,
    evolved=2400,
    measured=64,
    diagnosed=600,
    occluded=24,
    turned=16,
    steps=10,
    faces=24,
    places=24,
    ablated_epochs=10,
    ablated_seeds=3,
    ablated_rows=None,
    transferred=1000,
    per_class=(1, 2, 6, 15, 30, 60),
    folds=5,
    tested=30,
    scratch_epochs=40,
    several=1000,
    probed=30,
)

QUICK = Budget(
    name="quick",
    images=2400,
    validation=480,
    epochs=7,
    kept=(0, 1, 2, 3, 5, 7),
    dropout=0.0,
    seeds=3,
    wide=1,
    most=2400,
    folder_epochs=8,
    looked_at=360,
    evolved=360,
    measured=24,
    diagnosed=240,
    occluded=12,
    turned=12,
    steps=6,
    faces=12,
    places=16,
    ablated_epochs=5,
    ablated_seeds=3,
    ablated_rows=(
        "without layers 3,4",
        "without layers 6,7",
        "without layers 3,4,6,7",
        "layers 3,4,5 wider",
    ),
    transferred=500,
    per_class=(1, 6, 20),
    folds=3,
    tested=15,
    scratch_epochs=30,
    several=360,
    probed=15,
)


@dataclass(frozen=True)
class PaperTable(Record):
    """Our numbers beside the paper's.

    Attributes:
        head: The headings.
        rows: As many cells each as there are headings.
        note: A line below the table.

    Raises:
        ValueError: A row has another length.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.head):
                raise ValueError(f"{len(row)} cells {row} under {len(self.head)} headings")


@dataclass(frozen=True)
class StageOutcome(Record):
    """What came of a stage: all that the page says of it.

    Attributes:
        key: The stage.
        title: Its title.
        where: Its place in the paper.
        seconds: How long it took.
        command: What does the stage alone.
        judgements: What came of the claims, by the claim's key.
        table: Our numbers beside the paper's.
        pictures: Files in the stage's folder, with what they show.
        pages: (words, path below the run's folder) of pages of their own.
        words: The findings, a sentence each.
        reason: Why the stage was not run, or "".
        error: Why the stage failed, or "".
    """

    key: str
    title: str
    where: str
    seconds: float
    command: str
    judgements: Mapping[str, Judgement]
    table: PaperTable | None = None
    pictures: tuple[tuple[str, str], ...] = ()
    pages: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()
    reason: str = ""
    error: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StageOutcome:
        """The inverse of `to_dict`, after JSON."""
        told, table = values["judgements"], values["table"]
        return cls(
            **{
                **values,
                "judgements": {key: Judgement.from_dict(each) for key, each in told.items()},
                "table": None if table is None else _table(table),
                "pictures": _pairs(values["pictures"]),
                "pages": _pairs(values["pages"]),
                "words": tuple(values["words"]),
            }
        )


def _table(values: Mapping[str, Any]) -> PaperTable:
    return PaperTable(tuple(values["head"]), tuple(map(tuple, values["rows"])), values["note"])


def _pairs(values: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((first, second) for first, second in values)
