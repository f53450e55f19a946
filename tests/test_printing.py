"""Who writes to the terminal: printing elsewhere would disturb `--json`, and whoever calls autoopt from Python."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_layering import FILES, name_of, top

PRINTING = ("cli", "commands", "terminal", "progress", "endings")
"""The files that write what the commands show."""
OWN_COMMANDS = ("testing",)
"""`python -m autoopt.testing` is a command of its own and prints what it found."""
STREAMS = frozenset({"stdout", "stderr", "__stdout__", "__stderr__"})


def printing(tree: ast.AST) -> Iterator[str]:
    """What writes to the terminal: print, the streams of sys, echo of typer, consoles of rich without a file."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name("print" | "console_of" as name)):
                yield name
            case ast.Call(func=ast.Name("Console") | ast.Attribute(attr="Console"), keywords=keywords):
                if not any(keyword.arg == "file" for keyword in keywords):
                    yield "Console"
            case ast.Attribute(ast.Name("sys"), name) if name in STREAMS:
                yield f"sys.{name}"
            case ast.ImportFrom("sys", names):
                yield from (f"sys.{alias.name}" for alias in names if alias.name in STREAMS)
            case ast.Attribute(ast.Name("typer" | "click" as library), "echo" | "secho" as name):
                yield f"{library}.{name}"


@pytest.mark.parametrize(
    "path", [path for path in FILES if top(name_of(path)) not in (*PRINTING, *OWN_COMMANDS)], ids=name_of
)
def test_only_the_face_prints(path: Path) -> None:
    """Only the commands, terminal.py and progress.py write to the terminal, and the command of `autoopt.testing`."""
    assert set(printing(ast.parse(path.read_text()))) == set()


@pytest.mark.parametrize("name", PRINTING)
def test_the_face_is_seen_to_print(name: str) -> None:
    """The test above would notice what the files that print do."""
    files = [path for path in FILES if top(name_of(path)) == name]
    assert any(set(printing(ast.parse(path.read_text()))) for path in files)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("print('x')", {"print"}),
        ("sys.stdout.write('x')", {"sys.stdout"}),
        ("from sys import stderr", {"sys.stderr"}),
        ("typer.echo('x')", {"typer.echo"}),
        ("Console().print('x')", {"Console"}),
        ("rich.console.Console(stderr=True)", {"Console"}),
        ("Console(file=StringIO())", set()),
    ],
)
def test_every_way_to_print_is_found(line: str, found: set[str]) -> None:
    """A stream, echo and a console are found; a console that writes into a string is none."""
    assert set(printing(ast.parse(line))) == found
