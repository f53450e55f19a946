"""What was tried of each kind and what held, and how it is printed."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

MOST_SHOWN = 160
"""Characters of what failed that the table shows; the JSON file has all of it."""


@dataclass(frozen=True)
class Tried:
    """One thing that was done to a search: what did not hold, nothing where all held; or why it could not be done."""

    name: str
    problems: tuple[str, ...] = ()
    skipped: str = ""


@dataclass(frozen=True)
class Setting:
    """What all kinds are given: the data, a home folder to begin with, how much to do, and a seed.

    `begun` has a study with its first trials. `folder` gives an empty folder for each search, which is removed after
    its block.
    """

    data: Path
    begun: Path
    moments: int
    seed: int

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """An empty folder; removed after the block."""
        with tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as name:
            yield Path(name)


Kind = Callable[[Setting], Iterable[Tried]]


def markdown(found: Mapping[str, Sequence[Tried]]) -> str:
    """The table: kind, how many were tried, how many held, what failed and what was skipped."""
    lines = ["| kind | tried | held | what failed |", "| --- | --- | --- | --- |"]
    for kind, tries in found.items():
        done = [item for item in tries if not item.skipped]
        words = [f"{item.name}: {'; '.join(item.problems)[:MOST_SHOWN]}" for item in done if item.problems]
        words += [f"skipped {item.name}: {item.skipped}" for item in tries if item.skipped]
        text = "<br>".join(words).replace("|", "/").replace("\n", " ") or "nothing"
        lines.append(f"| {kind} | {len(done)} | {sum(not item.problems for item in done)} | {text} |")
    return "\n".join(lines)


def violated(found: Mapping[str, Sequence[Tried]]) -> bool:
    """Whether anything did not hold."""
    return any(item.problems for tries in found.values() for item in tries)


def as_json(found: Mapping[str, Sequence[Tried]]) -> str:
    """All that was tried, with all that failed, as JSON."""
    return json.dumps({kind: [asdict(item) for item in tries] for kind, tries in found.items()}, indent=1) + "\n"
