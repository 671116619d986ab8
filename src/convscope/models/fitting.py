"""How the tensors of a file fill a network: under which names, and in which spelling.

People's names differ from the network's by a prefix (`module.`, `model.`, `backbone.` ...), by the
parts that wrappers put into them, and by how a weight is written that is computed from others
(weight norm, spectral norm). All tensors have to fit, with their shapes; which prefix it is follows
from that, not from a list. Where two parts of a file fit, nobody guesses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from convscope.models.module_tensors import state_of
from convscope.models.readings import Leaf, PickledState, Reading
from convscope.models.respelling import Computed, respelled

__all__ = ["Match", "Wanted", "matches", "unwrapped", "wanted_by"]

# put into names by DataParallel, torch.compile, FSDP, checkpointing, Lightning and Opacus
WRAPPERS = {
    *("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
    *("_forward_module", "_module"),
}
COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
"""Last parts of names that inference does not read: of batch norm, averaging and thop."""
TRIED = 6  # prefixes, the likeliest
ELSEWHERE = "\0"  # a prefix that no name has


@dataclass(frozen=True)
class Wanted:
    """What a network wants to be filled with.

    Attributes:
        shapes: name -> shape, of parameters and buffers.
        floating: names of those that hold floating-point numbers.
        twins: name -> names of the same parameter, where it is used twice (tied weights).
        free: names whose shape is the file's to say, as that of a head.
        spare: beginnings of names that only serve training, and are left out.
    """

    shapes: Mapping[str, tuple[int, ...]]
    floating: frozenset[str] = frozenset()
    twins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    free: frozenset[str] = frozenset()
    spare: tuple[str, ...] = ()


def wanted_by(module: nn.Module) -> Wanted:
    """What fills a module: its state dict's names and shapes."""
    state = state_of(module)
    same: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        same.setdefault(id(parameter), []).append(name)
    return Wanted(
        shapes={key: tuple(tensor.shape) for key, tensor in state.items()},
        floating=frozenset(k for k, t in state.items() if t.is_floating_point()),
        twins={name: tuple(names) for names in same.values() if len(names) > 1 for name in names},
    )


@dataclass(frozen=True)
class Match:
    """How one reading of a file fits what is wanted.

    Attributes:
        key: where the weights are in the file, as --weights-key takes it.
        found: the network's name -> what fills it.
        missing: names of the network that nothing fills.
        unexpected: names of the file that fill nothing.
        reshaped: names of the network that the file has with another shape.
        notes: what was done to make it fit, a few words each.
        origin: the class of the module, if it was pickled whole.
    """

    key: str
    found: Mapping[str, Leaf | Computed]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]
    notes: tuple[str, ...]
    origin: str | None = None

    @property
    def fits(self) -> bool:
        """Whether all that is wanted is there, and nothing else that belongs to it."""
        return not (self.missing or self.unexpected or self.reshaped)

    @property
    def nearness(self) -> tuple[int, int]:
        """How near it is: the greatest is the nearest."""
        return len(self.found) - len(self.reshaped), -len(self.unexpected)


def matches(readings: Mapping[str, Reading], wanted: Wanted, key: str | None) -> list[Match]:
    """How each reading of a file fits, under each likely prefix.

    Args:
        readings: of the file, by place.
        wanted: by the network.
        key: where in the file the weights are, if a user says so: a place, a prefix of the names,
            or both joined by a dot; "." is the file itself.
    """
    plain = {short: name for name, short in unwrapped(wanted.shapes).items()}
    found = []
    for place, reading in readings.items():
        names = unwrapped(reading)
        held = {names[name]: leaf for name, leaf in reading.items()}
        copies = _copies(set(held), set(plain))
        for affixes in _affixes(set(held), set(plain), _asked(place, key)):
            match = _match(place, held, affixes, wanted, (plain, copies))
            origin = reading.origin if isinstance(reading, PickledState) else None
            found.append(replace(match, origin=origin))
    return found


def _asked(place: str, key: str | None) -> str | None:
    """The prefix of names that a user's key asks for in a reading.

    None is any, "" is none; an impossible one where the key does not mean this reading.
    """
    if key is None or (key == place and place):
        return None
    key = "" if key == "." else key
    if not place or key.startswith(f"{place}."):
        rest = key[len(place) :].lstrip(".")
        parts = [part for part in rest.split(".") if part and part not in WRAPPERS]
        return "".join(f"{part}." for part in parts)
    return ELSEWHERE


def unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Name -> name without what wrappers put into it, where that leaves all of them apart."""
    given = list(names)
    short = {n: ".".join(part for part in n.split(".") if part not in WRAPPERS) for n in given}
    return short if len(set(short.values())) == len(given) else {name: name for name in given}


def _affixes(held: set[str], wanted: set[str], asked: str | None) -> Iterator[tuple[str, str]]:
    """Likely pairs of a prefix to take off the file's names and one to put on instead."""
    taken_off = _prefixes(held, wanted)
    if asked is None:
        yield "", ""
        yield from ((prefix, "") for prefix in taken_off)
        yield from (("", prefix) for prefix in _prefixes(wanted, held))
    elif not asked:
        yield "", ""
        yield from (("", prefix) for prefix in _prefixes(wanted, held))
    elif any(name.startswith(asked) for name in held):
        yield from ((prefix, "") for prefix in taken_off or [asked] if prefix.startswith(asked))


def _prefixes(longer: set[str], shorter: set[str]) -> list[str]:
    """What stands before names of one set in those of the other, the most frequent first."""
    count: Counter[str] = Counter()
    for name in longer:
        at = name.find(".")
        while at >= 0:
            if name[at + 1 :] in shorter:
                count[name[: at + 1]] += 1
            at = name.find(".", at + 1)
    return [prefix for prefix, _ in sorted(count.items(), key=lambda e: (-e[1], e[0]))][:TRIED]


def _copies(held: set[str], wanted: set[str]) -> tuple[str, ...]:
    """Prefixes under which a reading has all that is wanted, such as `ema.`"""
    needed = [name for name in wanted if name.rpartition(".")[2] not in COUNTERS]
    return tuple(p for p in _prefixes(held, wanted) if all(p + name in held for name in needed))


def _match(
    place: str,
    held: Reading,
    affixes: tuple[str, str],
    wanted: Wanted,
    known: tuple[Mapping[str, str], tuple[str, ...]],
) -> Match:
    """How a reading fits with one prefix taken off its names and another put on.

    Args:
        place: of the reading in its file.
        held: its tensors, by name.
        affixes: what is taken off, and what is put on.
        wanted: by the network.
        known: the network's names by those without wrappers, and prefixes of whole copies.
    """
    (off, on), (plain, copies) = affixes, known
    inside = {on + k.removeprefix(off): leaf for k, leaf in held.items() if k.startswith(off)}
    beside = [k for k in held if not k.startswith(off)]
    if not off:  # a copy, such as the moving average, is none of the network's own layers
        beside = [k for k in inside if copies and k.startswith(copies) and not on]
        inside = {k: leaf for k, leaf in inside.items() if k not in set(beside)}
    named, notes = respelled({plain.get(k, k): leaf for k, leaf in inside.items()}, wanted.shapes)
    for name in wanted.shapes:
        if name not in named and (twin := _first(wanted.twins.get(name, ()), named)):
            named[name] = named[twin]
            notes = (*notes, f"{name} is {twin}, as the network ties them")
    found = {name: named[name] for name in wanted.shapes if name in named}
    extra = [name for name in named if name not in wanted.shapes]
    spare = [name for name in extra if name.startswith(wanted.spare)] if wanted.spare else []
    extra = [name for name in extra if name not in spare]
    unexpected = [name for name in extra if name.rpartition(".")[2] not in COUNTERS]
    if len(unexpected) < len(extra):
        notes = (*notes, f"{len(extra) - len(unexpected)} counters left out")
    if spare:
        notes = (
            *notes,
            f"{len(spare)} tensors of auxiliary classifiers are left out: they only serve training",
        )
    if beside:
        notes = (f"{_few(beside)} beside them left out", *notes)
    key = ".".join(part for part in (place, off.rstrip(".")) if part)
    if key:
        notes = (f"read from {key!r} in the file", *notes)
    return Match(
        key=key or ".",
        found=found,
        # PyTorch before 0.4.1 did not write these counters, and inference does not read them
        missing=tuple(
            k for k in wanted.shapes if k not in found and not k.endswith("num_batches_tracked")
        ),
        unexpected=tuple(unexpected),
        reshaped=tuple(k for k, leaf in found.items() if _differs(k, leaf, wanted)),
        notes=notes,
    )


def _differs(name: str, leaf: Leaf | Computed, wanted: Wanted) -> bool:
    """Whether a tensor has another shape than the network's; how far a free one may differ is
    for the head that is made for it."""
    shape = None if leaf.shape is None else tuple(leaf.shape)
    if shape is None or shape == wanted.shapes[name]:
        return False  # one that cannot be read is refused later, by its kind
    return name not in wanted.free or len(shape) != len(wanted.shapes[name])


def _first(names: Iterable[str], held: Mapping[str, object]) -> str | None:
    return next((name for name in names if name in held), None)


def _few(names: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}"
