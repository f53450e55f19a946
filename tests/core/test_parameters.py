"""Parameters: what a setting takes and what it says of everything else."""

from __future__ import annotations

import math
from typing import Any

import pytest

from autoopt.core.parameters import Parameter
from autoopt.core.tables import Table

CHOICE = Parameter("choice", "a", "help", allowed=("a", "b"))
WHOLE = Parameter("integer", 1, "help", low=1, high=8)
NUMBER = Parameter("number", 0.5, "help", low=0.0)
FREE = Parameter("number", 0.5, "help")
FLAG = Parameter("flag", False, "help")
TEXT = Parameter("text", None, "help", nullable=True)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (CHOICE, "b"),
        (WHOLE, 1),
        (WHOLE, 8),
        (NUMBER, 0),
        (NUMBER, 1e9),
        (FREE, -3.5),
        (FLAG, True),
        (TEXT, "x"),
        (TEXT, None),
    ],
)
def test_good_values(parameter: Parameter, value: Any) -> None:
    """Allowed values, bounds included, are no problem."""
    assert parameter.problem(value) is None


@pytest.mark.parametrize(
    ("parameter", "value", "says"),
    [
        (CHOICE, "c", "must be one of a, b, got 'c'"),
        (CHOICE, None, "must be one of a, b, got null"),
        (Parameter("choice", 1, "help", allowed=(1, 2)), True, "must be one of 1, 2, got True"),
        (WHOLE, 0, "must be a whole number from 1 to 8, got 0"),
        (WHOLE, 9, "must be a whole number from 1 to 8, got 9"),
        (WHOLE, 2.0, "must be a whole number from 1 to 8, got 2.0"),
        (WHOLE, True, "must be a whole number from 1 to 8, got True"),
        (NUMBER, -1, "must be a number of at least 0, got -1"),
        (NUMBER, math.inf, "must be a number of at least 0, got inf"),
        (FREE, math.nan, "must be a number, got nan"),
        (NUMBER, "1", "must be a number of at least 0, got '1'"),
        (FLAG, 1, "must be true or false, got 1"),
        (TEXT, 3, "must be a text or null, got 3"),
    ],
)
def test_bad_values(parameter: Parameter, value: Any, says: str) -> None:
    """Everything else is told what must hold and what came; NaN and infinity are no numbers."""
    assert parameter.problem(value) == says


def test_a_choice_follows_its_table() -> None:
    """A setting whose values are the names of a table takes a name that is added to the table later."""
    table = Table("toy table", {"a": "json:loads"})
    choice = Parameter("choice", "a", "help", allowed=table.names)
    assert choice.problem("b") == "must be one of a, got 'b'"
    table["b"] = "json:dumps"
    assert choice.problem("b") is None and choice.read("b") == "b"
    assert list(choice.allowed) == ["a", "b"] and choice.allowed[1:] == ("b",)
