"""Whether a graph attends: a softmax weighs what a product of two activations then sums up, as in a transformer.

A softmax alone is none: many a convolutional network ends with one, or weighs its channels with one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autoopt.inference.formats.names import types_of

ATTENTION = frozenset({"ScaledDotProductAttention", "Attention", "MultiHeadAttention"})
"""Operations that are attention as a whole."""
PRODUCTS = frozenset({"Gemm", "Einsum"})
"""Products of matrices, as `types_of` calls them."""
WEIGHTED = frozenset({"Conv", "ConvTranspose"})


@dataclass(frozen=True)
class Operation:
    """One node of a graph: its operation in any format's word, the values it reads and those it makes, by name."""

    kind: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]


def attends(operations: Iterable[Operation], constants: Iterable[str] = ()) -> bool:
    """Whether a softmax reaches a product of two values that depend on the input, with no layer with weights between.

    `operations` are in the order in which they are computed; `constants` are values that none of them makes.
    """
    fixed, weighing = set(constants), set[str]()
    for item in operations:
        kind = types_of(item.kind)[0]
        if kind in ATTENTION:
            return True
        changing = [name for name in item.reads if name and name not in fixed]
        is_marked = any(name in weighing for name in changing)
        if not changing:
            fixed.update(item.makes)
        elif kind == "Softmax":
            weighing.update(item.makes)
        elif is_marked and kind in PRODUCTS and len(changing) > 1:
            return True
        elif is_marked and kind not in PRODUCTS | WEIGHTED:
            weighing.update(item.makes)
    return False
