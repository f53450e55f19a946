"""Which layers of two profiles do the same work, whatever each runtime calls and fuses them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autoopt.inference.formats.names import SYNONYMS, WEIGHTED, is_counted
from autoopt.inference.runtimes.layers import Layer

_FAMILIES = {
    "Conv": ("conv", "fusedconv", "qlinearconv", "convinteger", "nhwcfusedconv"),
    "ConvTranspose": ("convtranspose", "deconvolution"),
    "Gemm": (
        "fullyconnected",
        "linear",
        "addmm",
        "qlinearmatmul",
        "matmulinteger",
        "qgemm",
        "fusedmatmul",
        "fusedgemm",
    ),
    "Concat": ("cat", "concatenation", "qlinearconcat"),
    "MaxPool": ("pooling",),
}
"""Operation, as ONNX calls it, to what else the runtimes call it, in lower case."""
_SAME_OPERATION = {
    **{name.lower(): names[0] for names in SYNONYMS for name in names},
    **{word: family for family, words in _FAMILIES.items() for word in words},
}
_ADDED_SUFFIXES = ("/WithoutBiases", "/duplicated", "_nchwc", "_quant")


@dataclass(frozen=True)
class Pair:
    """The same work in two trials: the layers of each that belong together; one of the two may be empty.

    What one trial fuses into one layer and the other one does not is one pair, so that their seconds compare.
    """

    mine: tuple[Layer, ...]
    theirs: tuple[Layer, ...]

    @property
    def matched(self) -> bool:
        """Whether both trials have layers for it."""
        return bool(self.mine and self.theirs)

    @property
    def mine_s(self) -> float:
        """Seconds in the trial that is explained."""
        return total_s(self.mine)

    @property
    def theirs_s(self) -> float:
        """Seconds in the trial that it is compared with."""
        return total_s(self.theirs)

    @property
    def name(self) -> str:
        """The name of its main layer; where one of the trials has a name that settings can use, that one."""
        names = [clean_name(main_layer(layers).name) for layers in (self.mine, self.theirs) if layers]
        return next((name for name in names if "/" in name), names[0])

    @property
    def family(self) -> str:
        """The operation of its main layer, as ONNX calls it."""
        return family(main_layer(self.mine or self.theirs).type)


def pair_layers(mine: Sequence[Layer], theirs: Sequence[Layer]) -> tuple[Pair, ...]:
    """The layers of two trials in pairs, in the order of the first trial; every layer is in one pair.

    Layers that share an original layer or a name belong together. The rest is paired by operation: where both trials
    have equally many layers of one operation, in order; the others stay alone.
    """
    layers = [*mine, *theirs]
    pairs = [
        Pair(
            tuple(layers[index] for index in group if index < len(mine)),
            tuple(layers[index] for index in group if index >= len(mine)),
        )
        for group in _linked([_keys(layer) for layer in layers])
    ]
    together = [pair for pair in pairs if pair.matched]
    alone = [[pair for pair in pairs if not pair.matched and pair.mine], [pair for pair in pairs if not pair.mine]]
    counts = [Counter(pair.family for pair in side) for side in alone]
    for name, count in counts[0].items():
        if counts[1][name] == count:
            here, there = ([pair for pair in side if pair.family == name] for side in alone)
            together += [Pair(one.mine, other.theirs) for one, other in zip(here, there, strict=True)]
            alone = [[pair for pair in side if pair.family != name] for side in alone]
    order = {id(layer): index for index, layer in enumerate(layers)}
    return tuple(sorted([*together, *alone[0], *alone[1]], key=lambda pair: order[id((pair.mine or pair.theirs)[0])]))


def family(kind: str) -> str:
    """The ONNX name of an operation, from the name that any library has for it; an unknown name stays as it is."""
    plain = re.sub(r"\dd$", "", kind.lower().replace("_", ""))
    return _SAME_OPERATION.get(plain, _SAME_OPERATION.get(kind.lower(), kind if "_" not in kind else plain))


def clean_name(name: str) -> str:
    """A layer's name without the suffixes that libraries append."""
    for suffix in _ADDED_SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def has_weights(layer: Layer) -> bool:
    """Whether the layer's operation has weights."""
    return family(layer.type) in WEIGHTED


def main_layer(layers: Sequence[Layer]) -> Layer:
    """The layer that names a fused group: of those with weights, else of all, the longest."""
    return max(layers, key=lambda layer: (has_weights(layer), layer.seconds))


def longest_first(layers: Iterable[Layer]) -> list[Layer]:
    """The layers by their seconds, longest first."""
    return sorted(layers, key=lambda layer: -layer.seconds)


def total_s(layers: Iterable[Layer]) -> float:
    """The seconds of all layers together."""
    return sum(layer.seconds for layer in layers)


def _linked(keys: Sequence[set[tuple[str, str]]]) -> list[list[int]]:
    """The indices of the sets in groups, in order: sets that share a key, directly or through others, are one group."""
    groups: list[tuple[set[tuple[str, str]], list[int]]] = []
    for index, own in enumerate(keys):
        touched = [group for group in groups if group[0] & own]
        groups = [group for group in groups if not group[0] & own]
        united = own.union(*(names for names, _ in touched))
        groups.append((united, sorted([index, *(item for _, items in touched for item in items)])))
    return [items for _, items in groups]


def _keys(layer: Layer) -> set[tuple[str, str]]:
    """What identifies a layer in any trial: module and operation of each original layer, in lower case."""
    keys = set()
    for name in (layer.name, *layer.origins):
        if not is_counted(name):
            module, _, operation = clean_name(name).rpartition("/")
            kind, dash, number = operation.partition("-")
            keys.add((module, f"{family(kind) if module else kind}{dash}{number}".lower()))
    return keys
