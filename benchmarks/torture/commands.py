"""The searches that all kinds use: histo on a part of its demo data with the space `quick`, and homes to begin from."""

from __future__ import annotations

import contextlib
import csv
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from autoopt.core.records import TrialRecord
from autoopt.core.urls import sqlite_url
from autoopt.errors import AutooptError
from autoopt.study.storage import read_study
from autoopt.tracking.relocate import relocate
from autoopt.workloads.histo import DEMO_WEIGHTS, write_demo
from benchmarks.torture.judging import Seen, broken, ended_badly, look
from benchmarks.torture.searching import DidNotHold, Search
from benchmarks.torture.table import Setting

BUDGET = 6
"""Trials of a search that is let to its end: the three seeds and some that are quantized."""
BEGUN = 2
"""Trials of the study in the home folder with which most kinds begin."""
TAKEN = {"train": (4, 4), "val": (2, 2), "test": (2, 2)}
"""Patients, and images of each, by split: with all 191 images a trial takes minutes on a busy host."""


def arguments(data: Path, home: Path | str, budget: int = BUDGET) -> list[str]:
    """The arguments of a search of this data in this home folder."""
    words = {"--workload": "histo", "--space": "quick", "--data": data, "--weights": DEMO_WEIGHTS}
    return [str(word) for pair in {**words, "--budget": budget, "--home": home}.items() for word in pair]


def part_of_demo(folder: Path) -> Path:
    """A few images of the demo data of histo in `folder`, of two patients or more for each use."""
    write_demo(folder / "whole")
    part = folder / "part"
    for name in ("images", "masks"):
        (part / name).mkdir(parents=True)
    with (folder / "whole" / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    kept: list[dict[str, str]] = []
    for split, (patients, images) in TAKEN.items():
        of_split = [row for row in rows if row["split"] == split]
        for patient in list(dict.fromkeys(row["case"] for row in of_split))[:patients]:
            kept += [row for row in of_split if row["case"] == patient][:images]
    for row, name in product(kept, ("images", "masks")):
        shutil.copy(folder / "whole" / name / f"{row['name']}.png", part / name)
    with (part / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    return part


@contextlib.contextmanager
def prepared(moments: int, seed: int, keep: Path | None = None) -> Iterator[Setting]:
    """The setting: data, and a home folder made by a real search; `keep` is where they are looked for and left."""
    with contextlib.ExitStack() as held:
        folder = keep or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))
        data, home, ready = folder / "data" / "part", folder / "begun", folder / "ready"
        if not ready.exists():
            for leftover in (data.parent, home):
                shutil.rmtree(leftover, ignore_errors=True)
            part_of_demo(data.parent)
            search = Search(folder / "making", arguments(data, home, BEGUN))
            held.callback(search.close)
            ended = search.end()
            if ended.code != 0:
                raise DidNotHold(f"the search to begin with ended with {ended.code}: {ended.said}")
            ready.touch()
        yield Setting(data, home, moments, seed)


@dataclass(frozen=True)
class Begun:
    """A search that continues a study with its first trials, `before`, until it has `budget` trials.

    `storage` and `tracking` are the URLs of its databases.
    """

    search: Search
    home: Path
    before: tuple[TrialRecord, ...]
    storage: str
    tracking: str
    budget: int

    def goes_on(self, **allowed: Any) -> list[str]:
        """Run the same command again to its end; what does not hold then. `allowed`: see `judging.broken`."""
        problems = list(ended_badly(self.search.end(), codes=(0,)))
        try:
            return [*problems, *broken(self.look(), self.before, budget=self.budget, **allowed)]
        except AutooptError as error:
            return [*problems, f"the study cannot be read: {error}"]

    def look(self) -> Seen:
        """What is there now. Raises AutooptError where it cannot be read."""
        return look(self.search, self.home, storage=self.storage, tracking=self.tracking)


@contextlib.contextmanager
def begun(
    setting: Setting,
    *,
    name: str = "home",
    given: str | None = None,
    disks: Mapping[str, Path] | None = None,
    before: Sequence[str] = (),
    budget: int = BEGUN + 1,
) -> Iterator[Begun]:
    """A study that was begun, copied to a home folder of this `name` in a folder that is removed after the block.

    `given` is how the command names it, by default as a whole path. `disks` says where "study", "mlflow" and "tmp" lie,
    where that is not the home folder and the search's own temporary folder. `before`: see `Search`.
    """
    disks = disks or {}
    with setting.folder() as folder:
        home = folder / name
        home.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(setting.begun, home)
        relocate(sqlite_url(home / "mlflow.db"), home)  # a database elsewhere keeps its paths
        words, urls = arguments(setting.data, given or home, budget), {}
        for what, option in (("study", "--storage"), ("mlflow", "--tracking-uri")):
            file = home / f"{what}.db"
            if what in disks:
                file = Path(shutil.move(file, disks[what] / file.name))
                words += [option, sqlite_url(file)]
            urls[what] = sqlite_url(file)
        environment = {"TMPDIR": str(disks["tmp"])} if "tmp" in disks else {}
        search = Search(folder / "search", words, before=before, environment=environment)
        known = read_study(sqlite_url(setting.begun / "study.db"), None).records
        try:
            yield Begun(search, home, known, urls["study"], urls["mlflow"], budget)
        finally:
            search.close()
