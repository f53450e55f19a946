"""The searches that all kinds use: the demo search of histo with the space `quick`, and home folders to begin from."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.torture.searching import DidNotHold, Search
from benchmarks.torture.table import Setting

BUDGET = 6
"""Trials of a search that is let to its end: the three seeds and some that are quantized."""
BEGUN = 2
"""Trials of the study in the home folder with which most kinds begin."""


def arguments(home: Path | str, budget: int = BUDGET) -> list[str]:
    """The arguments of a search in this home folder."""
    return ["--workload", "histo", "--space", "quick", "--budget", str(budget), "--home", str(home)]


@contextlib.contextmanager
def prepared(moments: int, seed: int, keep: Path | None = None) -> Iterator[Setting]:
    """The setting, with both home folders made by real searches; `keep` is where they are looked for and left."""
    with contextlib.ExitStack() as held:
        folder = keep or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))
        fresh, begun = folder / "fresh", folder / "begun"
        if not (begun / "ready").exists():
            shutil.rmtree(begun, ignore_errors=True)
            search = Search(folder / "making", arguments(begun, BEGUN))
            held.callback(search.close)
            ended = search.end()
            if ended.code not in (0, 3):
                raise DidNotHold(f"the search to begin with ended with {ended.code}: {ended.said}")
            (begun / "ready").touch()
        if not fresh.exists():
            shutil.copytree(begun / "demo", fresh / "demo")
        yield Setting(fresh, begun, moments, seed)
