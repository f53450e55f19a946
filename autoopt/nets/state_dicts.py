"""The one set of weights in a checkpoint that fits a network: which entry of the file it is, and under which prefix.

Trainings save more than weights, and wrappers put a word before every name: `module.` (DataParallel), `model.`
(Lightning), `_orig_mod.` (torch.compile). What fits is found by names and shapes alone; where several sets fit, nobody
is asked to guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, "torch.Tensor"]

DEPTH = 4
"""Entries within entries that are looked through: a trainer's state has its weights in the first or second."""
WRAPPERS = 3
"""Words that may stand before a name, such as `module._orig_mod.model.`."""
WORDS = (
    *("module", "model", "_model", "net", "network", "_orig_mod"),
    *("ema", "ema_model", "model_ema", "averaged_model", "student"),
)
"""What wrappers put before names. Beside a network called so a file may have other tensors, such as those of a loss."""
MOST_SETS = 1000
COUNTED = ("num_batches_tracked", "total_ops", "total_params")
"""What names of buffers end with that are no weights: counts of batches, and of the work of a layer (thop)."""
WHOLE = "."
"""The key of a file that is the state dict itself."""
MOST_NAMES, LONGEST_NAME = 3, 200


@dataclass(frozen=True)
class StateDict:
    """A set of weights in a file: `key` says where, as --weights-key takes it; `prefix` was taken off its names.

    `others` are tensors beside it under other prefixes, by their names.
    """

    key: str
    tensors: Tensors
    prefix: str = ""
    others: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """What a user should be told of how the weights were found; empty where they are taken as they stand."""
        if not self.prefix and not self.others:
            return ""
        words = "the weights are those of the file" if self.key == WHOLE else f"the weights are those of {self.key!r}"
        taken_off = f", {self.prefix!r} taken off their names" if self.prefix else ""
        beside = f"; left out beside them: {first(self.others)}" if self.others else ""
        return f"{words}{taken_off}{beside}"


def state_dicts(found: Any) -> list[StateDict]:
    """Every set of tensors by name in what a file holds, the outermost first, as it stands.

    Entries of a set that are no tensors, such as the number of an epoch, are passed over.
    """
    sets = [StateDict("/".join(path) or WHOLE, tensors) for path, tensors in _sets(found, (), set())]
    return sets[:MOST_SETS]


def ways(one: StateDict, wanted: Tensors) -> Iterator[StateDict]:
    """The set as it stands, then under other names: those below a wrapper, those with the network's own wrapper.

    `wanted` are the network's own weights by name. Counts that the network does not have are left out.
    """
    yield _without_counts(one, wanted)
    yield from _unwrapped(one, wanted, WRAPPERS)
    own = {name.partition(".")[0] for name in wanted}
    if len(own) == 1 and all("." in name for name in wanted):
        (word,) = own
        named = replace(one, tensors={f"{word}.{name}": item for name, item in one.tensors.items()})
        yield _without_counts(named, wanted)


def fitting(sets: Sequence[StateDict], wanted: Tensors, fits: Callable[[Tensors], bool]) -> list[StateDict]:
    """The sets that `fits` accepts, as they stand or else under other names; of equal ones the first."""
    found: list[StateDict] = []
    for one in sets:
        options = [item for item in ways(one, wanted) if fits(item.tensors)]
        plain = [item for item in options if not item.prefix]
        found += [item for item in plain or options if not any(_equal(item.tensors, other.tensors) for other in found)]
    return found


def _without_counts(one: StateDict, wanted: Tensors) -> StateDict:
    """The set without counts that the network does not have."""
    return replace(
        one, tensors={name: item for name, item in one.tensors.items() if name in wanted or not counted(name)}
    )


def counted(name: str) -> bool:
    """Whether a buffer of this name is a count and no weight."""
    return name.rpartition(".")[2] in COUNTED


def first(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - MOST_NAMES
    return ", ".join(name[:LONGEST_NAME] for name in names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _sets(found: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[tuple[tuple[str, ...], Tensors]]:
    import torch

    if id(found) in seen:  # what holds itself would never end
        return
    seen.add(id(found))
    if isinstance(found, list | tuple):
        found = {str(index): item for index, item in enumerate(found)}
    if not isinstance(found, Mapping):
        return
    tensors = {name: item for name, item in found.items() if isinstance(name, str) and isinstance(item, torch.Tensor)}
    if tensors:
        yield path, tensors
    if len(path) < DEPTH:
        for name, item in found.items():
            if isinstance(name, str):
                yield from _sets(item, (*path, name), seen)


def _unwrapped(one: StateDict, wanted: Tensors, more: int) -> Iterator[StateDict]:
    """The tensors below each first word of the names; where that leaves one word only, below the next as well."""
    words = dict.fromkeys(name.partition(".")[0] for name in one.tensors if "." in name)
    for word in words:
        below = {
            name.removeprefix(f"{word}."): item for name, item in one.tensors.items() if name.startswith(f"{word}.")
        }
        others = tuple(name for name in one.tensors if not name.startswith(f"{word}.") and not counted(name))
        if others and word not in WORDS:
            continue
        key = word if one.key == WHOLE else f"{one.key}/{word}"
        inner = StateDict(key if others else one.key, below, f"{one.prefix}{word}.", (*one.others, *others))
        yield _without_counts(inner, wanted)
        if more > 1:
            yield from _unwrapped(inner, wanted, more - 1)


def _equal(one: Tensors, other: Tensors) -> bool:
    import torch

    return one.keys() == other.keys() and all(
        item.dtype == other[name].dtype and torch.equal(item, other[name]) for name, item in one.items()
    )
