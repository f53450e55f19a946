"""One executed layer of a model, as a runtime's profiler reports it, and its time over several calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from autoopt.core import stats

PRECISIONS = ("i8", "bf16", "f16", "f32")
"""The precisions of kernels, narrowest first; a layer of unknown precision has "" instead."""


@dataclass(frozen=True)
class Layer:
    """One executed layer.

    `name` is its name in the artifact (or in the runtime, for inserted layers), `type` its operation and `kernel` the
    executed kernel type, in the library's words. `precision` is one of `PRECISIONS` or "". `seconds` is its time in
    one call. A `conversion` changes layout or number format and does no work of the network. `origins` are the layers
    of the artifact that were fused into it, where the library reports them.
    """

    name: str
    type: str
    kernel: str
    precision: str
    seconds: float
    conversion: bool = False
    origins: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Layer:
        """The layer that `to_json` wrote."""
        return cls(**{**value, "origins": tuple(value.get("origins", ()))})


def over_calls(calls: Iterable[Sequence[Layer]], quantile: float = 0.25) -> list[Layer]:
    """The layers of several calls as one list, each with the given quantile of its seconds.

    They keep the order of the first call. Layers of one name in one call are told apart by their order.
    """
    first: dict[tuple[str, int], Layer] = {}
    seconds: dict[tuple[str, int], list[float]] = {}
    for layers in calls:
        seen: dict[str, int] = {}
        for layer in layers:
            key = (layer.name, seen.get(layer.name, 0))
            seen[layer.name] = key[1] + 1
            first.setdefault(key, layer)
            seconds.setdefault(key, []).append(layer.seconds)
    return [replace(layer, seconds=stats.quantile(seconds[key], quantile)) for key, layer in first.items()]


def precision_of(words: Iterable[str]) -> str:
    """The precision of the first of `words` that names one, such as u8, int8 or float16; "" where none does."""
    return next((_PRECISION_WORDS[word] for word in words if word in _PRECISION_WORDS), "")


_PRECISION_WORDS = {
    **dict.fromkeys(("i8", "u8", "int8", "uint8"), "i8"),
    **dict.fromkeys(("bf16", "bfloat16"), "bf16"),
    **dict.fromkeys(("f16", "float16"), "f16"),
    **dict.fromkeys(("f32", "float32", "float"), "f32"),
}
