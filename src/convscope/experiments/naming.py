"""Classes and units by the words that a person has for them."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from convscope.errors import BadOption
from convscope.text import is_number

if TYPE_CHECKING:
    from convscope.experiments.session import Session

__all__ = ["find_class"]


def find_class(words: str, session: Session, option: str = "--target") -> int:
    """The index of a class, or of a value, that is given by its index or its name.

    Args:
        words: the index, or any of the names that commas separate in the class's name.
        session: the network and its class names.
        option: what is said in front of a complaint.

    Raises:
        BadOption: no such class; the nearest names are offered.
    """
    from convscope.methods.targets import choices

    what, count = choices(session.network)
    if is_number(words):
        if int(words) < count:
            return int(words)
        raise BadOption(f"{option} {words}: the network has {what} 0 to {count - 1}")
    classes = session.model.classes
    if classes is None:
        raise BadOption(
            f"{option} {words!r}: this model's {what} have no names; give an index, "
            f"0 to {count - 1}, or name them with --classes FILE"
        )
    known = {
        name.strip().lower(): index
        for index in reversed(range(len(classes)))
        for name in (classes[index], *classes[index].split(","))
        if name.strip()
    }
    if words.strip().lower() not in known:
        near = difflib.get_close_matches(words.lower(), known, n=3, cutoff=0.5)
        some = f"a name, such as {', '.join(classes[:3])}, or an index, 0 to {count - 1}"
        hint = f"did you mean {', '.join(near)}?" if near else f"give {some}"
        raise BadOption(f"{option} {words!r}: no such class; {hint}")
    return known[words.strip().lower()]
