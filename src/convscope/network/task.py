"""What the numbers that a network returns are meant as: not to be seen in its graph."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Task"]


class Task(StrEnum):
    """How a network's answer is read; `methods.classes` has the rules."""

    AUTO = "auto"
    """As its end says: a softmax or a sigmoid makes probabilities; one number is the log-odds of
    two classes; several are scores, of which a softmax makes probabilities."""
    CLASSIFY = "classify"
    """One class of several: a softmax over the scores, unless they are probabilities already."""
    MULTILABEL = "multilabel"
    """Each class by itself: a sigmoid for each score, unless they are probabilities already."""
    REGRESS = "regress"
    """Values, such as an age, a depth or an embedding: no probabilities are made of them."""
