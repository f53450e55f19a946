"""The limits as arguments: what `search`, `plan` and `pull` take, what is wrong with them, and the limits they mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self, TypedDict

from autoopt.study.limits import (
    DROP,
    ERROR,
    LATENCY,
    LATENCY_BOUND,
    MEMORY,
    QUALITY,
    RELATIVE_DROP,
    SIZE,
    THROUGHPUT,
)

if TYPE_CHECKING:
    from autoopt.study.request import SearchRequest

PERCENT = "%"


class LimitFacts(TypedDict, total=False):
    """`LimitArguments` as keyword arguments, for editors and type checkers."""

    max_drop: float | str | None
    max_latency_s: float | None
    max_memory_bytes: int | None
    max_size_bytes: int | None
    min_quality: float | None
    min_throughput: float | None


@dataclass(frozen=True)
class LimitArguments:
    """The limits that somebody asks for; None where none is asked for.

    `max_drop` is a fraction in the primary metric's own unit, or text such as "4%" of the reference's value; see
    `limits` for a metric of which less is better.
    """

    max_drop: float | str | None = None
    max_latency_s: float | None = None
    max_memory_bytes: int | None = None
    max_size_bytes: int | None = None
    min_quality: float | None = None
    min_throughput: float | None = None

    @classmethod
    def of(cls, request: SearchRequest) -> Self:
        """Those of a request."""
        return cls(**{item.name: getattr(request, item.name) for item in fields(cls)})

    @property
    def given(self) -> frozenset[str]:
        """The names of those that are asked for."""
        return frozenset(item.name for item in fields(self) if getattr(self, item.name) is not None)

    def problems(self) -> list[str]:
        """What is wrong with the values, a sentence each."""
        found = []
        if self.max_drop is not None and read_drop(self.max_drop) is None:
            shown = self.max_drop if isinstance(self.max_drop, str) else f"{self.max_drop:g}"
            found.append(
                "--max-drop must be a fraction from 0 to 1, or a percentage of the reference's value from 0% to 100% "
                f"such as 4%, got {shown}"
            )
        if self.max_latency_s is not None and not 0 < self.max_latency_s < float("inf"):
            found.append(f"--max-latency must be longer than nothing, got {self.max_latency_s:g} s")
        for option, value in (("--max-memory", self.max_memory_bytes), ("--max-size", self.max_size_bytes)):
            if value is not None and not 0 < value < float("inf"):
                found.append(f"{option} must be more than nothing, got {value:g} bytes")
        if self.min_quality is not None and not math.isfinite(self.min_quality):
            found.append(f"--min-quality must be a value of the primary metric, got {self.min_quality:g}")
        if self.min_throughput is not None and not 0 < self.min_throughput < float("inf"):
            found.append(f"--min-throughput must be more than 0 calls per second, got {self.min_throughput:g}")
        return found

    def limits(self, *, less_is_better: bool = False) -> dict[str, float]:
        """The limits that they mean, by the name in `limits.LIMITS`.

        Of a primary metric of which less is better, which may have any unit, a fraction for a drop is a share of the
        reference's value too, and the least quality is the largest error. Raises ValueError where there are `problems`.
        """
        found: dict[str, float | None] = {
            LATENCY_BOUND: self.max_latency_s,
            MEMORY: self.max_memory_bytes,
            SIZE: self.max_size_bytes,
            ERROR if less_is_better else QUALITY: self.min_quality,
            THROUGHPUT: self.min_throughput,
        }
        if self.max_drop is not None:
            drop = read_drop(self.max_drop)
            if drop is None:
                raise ValueError(f"a drop is a fraction or a percentage, got {self.max_drop!r}")
            found[RELATIVE_DROP if less_is_better else drop[0]] = drop[1]
        return {name: float(value) for name, value in found.items() if value is not None}

    def over(self, limits: Mapping[str, float], *, less_is_better: bool = False) -> dict[str, float]:
        """The limits of a study with those that are given in the place of its own on the same thing."""
        own = self.limits(less_is_better=less_is_better)
        same = {DROP: "max_drop", RELATIVE_DROP: "max_drop", LATENCY: "max_latency_s", LATENCY_BOUND: "max_latency_s"}
        return {name: bound for name, bound in limits.items() if same.get(name) not in self.given} | own


def read_drop(value: float | str) -> tuple[str, float] | None:
    """The limit that a largest drop means and its bound, a fraction: `DROP`, or `RELATIVE_DROP` of a percentage.

    None for what is no fraction from 0 to 1.
    """
    text = str(value).strip()
    relative = text.endswith(PERCENT)
    try:
        bound = float(text.removesuffix(PERCENT)) / (100 if relative else 1)
    except ValueError:
        return None
    return (RELATIVE_DROP if relative else DROP, bound) if 0 <= bound <= 1 else None
