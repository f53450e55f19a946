"""Tables of what can be extended: a name, and the module (or the attribute of one) that it stands for.

One line in a table is all that a program of its own needs to add: child processes are told the lines that were added,
since they would otherwise know the tables of this package only.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

VARIABLE = "AUTOOPT_TABLES"
"""The environment variable that tells a child process which lines were added: JSON, by table."""

_tables: dict[str, Table] = {}


class Table(dict[str, str]):
    """Names to "package.module" or "package.module:attribute", imported only when asked for.

    `title` tells tables apart, and what the lines are in messages, such as "runtime".
    """

    def __init__(self, title: str, lines: Mapping[str, str]) -> None:
        added: Mapping[str, str] = json.loads(os.environ.get(VARIABLE, "{}")).get(title, {})
        super().__init__({**lines, **added})
        self.title = title
        self._shipped = dict(lines)
        _tables[title] = self

    @property
    def names(self) -> Sequence[str]:
        """The names as a sequence that follows the table: a line added later is in it."""
        return _Names(self)

    def load(self, name: str) -> Any:
        """What `name` stands for. Raises KeyError, naming what the table has, for a name that it does not have."""
        if name not in self:
            raise KeyError(f"no {self.title} is called {name!r}: there are {', '.join(self)}")
        module, _, attribute = self[name].partition(":")
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found

    def added(self) -> dict[str, str]:
        """The lines that this package did not ship."""
        return {name: line for name, line in self.items() if self._shipped.get(name) != line}


class _Names(Sequence[str]):
    def __init__(self, table: Mapping[str, str]) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: Any) -> Any:
        return tuple(self._table)[index]

    def __repr__(self) -> str:
        return repr(tuple(self._table))


def added_lines() -> dict[str, str]:
    """The environment variable that gives a child process the lines added here; empty where there are none."""
    added = {title: lines for title, table in _tables.items() if (lines := table.added())}
    return {VARIABLE: json.dumps(added)} if added else {}
