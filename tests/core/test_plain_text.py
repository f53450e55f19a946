"""JSON and YAML of somebody else are read in little time and memory, or refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.core.plain_text import MOST_VALUES, close_match, parse_json, parse_yaml, read_bounded, short


def test_what_is_written_once_may_be_used_twice() -> None:
    """An alias stands for its value, and two of them are no attack."""
    assert parse_yaml("a: &x [1, 2]\nb: *x\nc: *x\n")[0] == {"a": [1, 2], "b": [1, 2], "c": [1, 2]}


def test_aliases_count_as_often_as_they_are_used() -> None:
    """A few aliases of aliases that stand for more values than are allowed are refused before they are made."""
    lines = ["x0: &x0 [1, 1]", *(f"x{level}: &x{level} [*x{level - 1}, *x{level - 1}]" for level in range(1, 30))]
    with pytest.raises(ValueError, match=f"at most {MOST_VALUES} values"):
        parse_yaml("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [*x]", r"line 1: a value must not hold itself, \*x does"),
        ("[" * 1000 + "]" * 1000, "nested at most 60 deep"),
        ("a: !!int x", "a value is not what its tag says"),
    ],
)
def test_yaml_that_cannot_be_made_is_refused(text: str, message: str) -> None:
    """A value that holds itself, is nested too deeply or is not what its tag says is refused in words."""
    with pytest.raises(ValueError, match=message):
        parse_yaml(text)


def test_deep_json_is_refused() -> None:
    """Lists within lists beyond what Python follows are a ValueError as any other bad JSON."""
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000 + "]" * 100_000)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    """A file is read up to its limit and no further."""
    (tmp_path / "a").write_bytes(bytes(11))
    assert len(read_bounded(tmp_path / "a", 11)) == 11
    with pytest.raises(ValueError, match="more than 1e-05 MB"):
        read_bounded(tmp_path / "a", 10)


def test_messages_stay_short() -> None:
    """What a message quotes is cut, and a long word is compared by its beginning."""
    assert short("x" * 1000) == f"'{'x' * 99}..."
    assert (close_match("thread", ["threads"]), close_match("x" * 10**6, ["threads"])) == (
        " (did you mean threads?)",
        "",
    )
