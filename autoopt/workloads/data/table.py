"""Tables of cases: rows with a patient and a split, made into four disjoint splits; demo folders written whole."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from autoopt.core.configuration import digest
from autoopt.core.store import file_digest
from autoopt.errors import DataError, StorageError
from autoopt.workloads.contract import SPLITS, Case, SplitName, Splits
from autoopt.workloads.splitting import split_by_group

MANIFEST, DEMO = "manifest.csv", "demo.json"
FRACTIONS: dict[SplitName, float] = {"train": 0.70, "val": 0.15, "test": 0.15}
CALIBRATION_CASES = 64
CALIBRATION_SHARE = 0.25
MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Row:
    """One case of a table: `group` is the patient, `tags` are further columns."""

    name: str
    group: str
    split: SplitName
    tags: Mapping[str, str]


def read_table(path: Path, columns: Sequence[str]) -> tuple[list[dict[str, str]], list[str]]:
    """The lines of a CSV file with at least `columns`, and what is wrong with it; nothing is None in the lines."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            header = reader.fieldnames or []
            lines = [{key: value or "" for key, value in line.items() if key} for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return [], [f"{path} must be CSV text in UTF-8: {error}"]
    missing = [column for column in columns if column not in header]
    if missing:
        absent, there = ", ".join(missing), ", ".join(header) or "none"
        return [], [f"{path} must have the columns {', '.join(columns)}; {absent} missing, it has {there}"]
    return lines, []


def assign_splits(pairs: Sequence[tuple[str, str]]) -> dict[str, SplitName]:
    """Train, val or test (70 / 15 / 15) for every (name, group): whole groups in a fixed random order."""
    return split_by_group(pairs, FRACTIONS)


def finish_rows(source: Path, rows: Sequence[Row]) -> list[Row]:
    """The rows with a calibration split, taken from train where there is none.

    Whole groups of train are taken, in a fixed random order, until `CALIBRATION_CASES` or a quarter of it
    is reached; where train is one group, cases of it. Raises DataError for a group in two splits or an empty split.
    """
    rows = _with_calibration(rows)
    first: dict[str, SplitName] = {}
    problems = [
        f"{source}: {row.group!r} is in {first[row.group]} and, with {row.name}, in {row.split}: "
        "give all cases of a patient one split"
        for row in rows
        if not _may_share(first.setdefault(row.group, row.split), row.split)
    ]
    empty = [split for split in SPLITS if all(row.split != split for row in rows)]
    if empty:
        problems.append(
            f"{source} must have cases in train (at least two of them), val and test; none are in {', '.join(empty)}"
        )
    raise_problems(problems)
    return rows


def build_splits(rows: Sequence[Row], case: Callable[[Row], Case]) -> Splits:
    """The four splits of the rows' cases."""
    return Splits(*(tuple(case(row) for row in rows if row.split == split) for split in SPLITS))


def data_digest(folder: Path, rows: Sequence[Row], files: Callable[[Row], Sequence[Path]]) -> str:
    """What identifies the cases: their rows and the bytes of their `files`.

    A generator of demo data states the digest of its arrays in demo.json, because compressed files of the
    same content differ between versions of zlib. Raises DataError where that file cannot be read.
    """
    stated = folder / DEMO
    if stated.is_file():
        try:
            return str(json.loads(stated.read_text())["digest"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{stated} must be JSON with the digest of generated data: delete {folder}") from error
    digest_of = cache(file_digest)  # many cases may lie in one file
    total = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row.name):
        digests = [digest_of(path) for path in files(row)]
        total.update(digest([row.name, row.group, row.split, *digests]).encode())
    return total.hexdigest()


def raise_problems(problems: Sequence[str]) -> None:
    """Raise DataError with the first `MOST_PROBLEMS` problems and the number of the others; nothing without any."""
    if problems:
        more = len(problems) - MOST_PROBLEMS
        raise DataError(*problems[:MOST_PROBLEMS], *([f"... and {more} more"] if more > 0 else []))


def write_demo(folder: Path, generator: str, version: int, fill: Callable[[Path], str]) -> None:
    """Let `fill` write demo data and return the digest of its content; return at once when it is already there.

    The folder appears in one step, complete, with demo.json. Raises StorageError where it cannot be written.
    """
    if _complete(folder, generator, version):
        return
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        card = {"generator": generator, "version": version, "demo": True, "digest": fill(temporary)}
        (temporary / DEMO).write_text(json.dumps(card, indent=1) + "\n")
        os.chmod(temporary, 0o755)
        if folder.exists() and not _complete(folder, generator, version):
            os.rename(folder, temporary / "replaced")  # an older version, or a folder that never was finished
        try:
            os.rename(temporary, folder)
        except OSError:
            if not _complete(folder, generator, version):  # another process may have been first: its folder is as good
                raise
        shutil.rmtree(folder / "replaced", ignore_errors=True)
    except OSError as error:
        raise StorageError(
            f"the demo data needs a writable folder with 60 MB free: {folder} gave {error.strerror or error}"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _complete(folder: Path, generator: str, version: int) -> bool:
    try:
        card = json.loads((folder / DEMO).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and (card.get("generator"), card.get("version")) == (generator, version)


def _with_calibration(rows: Sequence[Row]) -> list[Row]:
    if any(row.split == "calibration" for row in rows):
        return list(rows)
    train = [row for row in rows if row.split == "train"]
    if len(train) < 2:
        return list(rows)
    # One patient in train: its own cases are all there is to calibrate on, and both splits are train data.
    by_case = len({row.group for row in train}) < 2
    pairs = [(row.name, row.name if by_case else row.group) for row in train]
    share = min(CALIBRATION_CASES / len(train), CALIBRATION_SHARE)
    chosen = split_by_group(pairs, {"calibration": share, "train": 1 - share})
    return [replace(row, split=chosen.get(row.name, row.split)) for row in rows]


def _may_share(one: SplitName, other: SplitName) -> bool:
    """Train and calibration are both training data: a patient in both leaks nothing."""
    return one == other or {one, other} == {"train", "calibration"}
