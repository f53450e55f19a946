"""Errors as plain data: what may cross from a child process, and that nothing is forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from autoopt import errors
from autoopt.errors import CHILD_ERRORS, Crash, Numeric, StorageError, TrialError, Unsupported, UsageError


def subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    for item in kind.__subclasses__():
        if item.__module__ == errors.__name__:
            yield item
            yield from subclasses(item)


def test_every_error_is_in_the_table() -> None:
    """A new kind of usage or trial error that is not in the table would come out of a child as another one."""
    assert set(CHILD_ERRORS.values()) == {UsageError, *subclasses(UsageError), *subclasses(TrialError)}
    assert all(kind.__name__ == name for name, kind in CHILD_ERRORS.items())


@pytest.mark.parametrize("kind", CHILD_ERRORS.values())
def test_an_error_survives_json(kind: type[UsageError] | type[TrialError]) -> None:
    """JSON and back gives the same class and all that the error says."""
    error = kind("one", "two") if issubclass(kind, UsageError) else kind("one", stage="here", log_tail="last words")
    again = errors.from_json(json.loads(json.dumps(errors.to_json(error))))
    assert type(again) is kind
    assert {**vars(again), "problems": None} == {**vars(error), "problems": None}
    assert str(again) == str(error)


def test_a_class_that_is_not_in_the_table_is_its_nearest_base() -> None:
    """A class of its own, such as one of a user's workload, crosses as its base; a bare TrialError as a Crash."""

    class Blurred(Numeric):
        pass

    class Full(StorageError):
        pass

    for error, kind in ((Blurred("b"), Numeric), (Full("f"), StorageError), (TrialError("t"), Crash)):
        assert type(errors.from_json(errors.to_json(error))) is kind


def test_a_name_is_not_enough() -> None:
    """A class that only has the name of one in the table is not taken for it."""
    other = type("Unsupported", (Numeric,), {})
    assert type(errors.from_json(errors.to_json(other("x")))) is Numeric
    assert type(errors.from_json(errors.to_json(Unsupported("x")))) is Unsupported


@pytest.mark.parametrize(
    "value", [{}, {"kind": None}, {"kind": "SystemExit"}, {"kind": ["Crash"]}, {"kind": "__init__"}]
)
def test_a_name_that_is_not_in_the_table_is_a_crash(value: dict[str, object]) -> None:
    """Plain data that names no error of the table gives a crash, never another class."""
    assert type(errors.from_json(value)) is Crash
