"""What a step or a runtime says of its settings: the vocabulary a space file may use."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from autoopt.core.configuration import Scalar
from autoopt.core.plain_text import short

Kind = Literal["choice", "integer", "number", "flag", "text", "numbers"]
"""`numbers` is a text: numbers with commas between them."""
LARGEST_WHOLE = 2**53
"""Up to here every whole number is a float too."""


@dataclass(frozen=True)
class Parameter:
    """One setting: its kind, its allowed values, its default.

    `allowed` lists the values of a choice; `low` and `high` bound an integer or a number (inclusive).
    `nullable` permits None. `help` is one sentence for `autoopt spaces` and error messages.
    """

    kind: Kind
    default: Scalar
    help: str
    allowed: Sequence[Scalar] = ()
    low: float | None = None
    high: float | None = None
    nullable: bool = False

    def problem(self, value: Scalar) -> str | None:
        """What is wrong with `value`, as the end of a sentence, or None."""
        if value is None:
            return None if self.nullable else f"must be {self.describe()}, got null"
        good = {
            "choice": any(value == item and isinstance(value, bool) == isinstance(item, bool) for item in self.allowed),
            "integer": isinstance(value, int) and not isinstance(value, bool),
            "number": isinstance(value, int | float) and not isinstance(value, bool),
            "flag": isinstance(value, bool),
            "text": isinstance(value, str),
            "numbers": isinstance(value, str) and all(self._bounded(item) for item in numbers(value)),
        }[self.kind]
        if good and self.kind in ("integer", "number"):
            assert isinstance(value, int | float)
            good = self._bounded(value)
        return None if good else f"must be {self.describe()}, got {short(value)}"

    def _bounded(self, value: float) -> bool:
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        largest = LARGEST_WHOLE if self.kind == "integer" else sys.float_info.max
        return low <= value <= high and abs(value) <= largest

    def read(self, value: Scalar) -> Scalar:
        """`value` itself, or what a text from a command line means here. Raises ValueError as the end of a sentence."""
        if isinstance(value, str) and self.kind not in ("text", "numbers"):
            value = self._meant(value)
        problem = self.problem(value)
        if problem is not None:
            raise ValueError(problem)
        return value

    def _meant(self, text: str) -> Scalar:
        if self.nullable and text.lower() in ("null", "none"):
            return None
        if self.kind == "choice":
            return next((item for item in self.allowed if str(item) == text), text)
        if self.kind == "flag":
            return {"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), text)
        try:
            return int(text) if self.kind == "integer" else float(text)
        except ValueError:
            return text

    def describe(self) -> str:
        """The allowed values in words."""
        words = {
            "choice": "one of " + ", ".join(str(item) for item in self.allowed),
            "integer": "a whole number",
            "number": "a number",
            "flag": "true or false",
            "text": "a text",
            "numbers": "a text of numbers with commas between them, each",
        }[self.kind]
        if self.low is not None and self.high is not None:
            words += f" from {self.low:g} to {self.high:g}"
        elif self.low is not None:
            words += f" of at least {self.low:g}"
        return f"{words} or null" if self.nullable else words


def numbers(text: str) -> list[float]:
    """The numbers of a text such as "0.3, 0.5"; NaN for what is none."""
    found = []
    for part in text.split(","):
        try:
            found.append(float(part))
        except ValueError:
            found.append(math.nan)
    return found
