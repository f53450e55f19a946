"""The one reader of tables of cases: CSV files that say of which patient and split each case is.

Columns are found whatever their case: the patient (`patient`, `group`, `subject`, `case`, also `patient_id`, ...) and
`split` (train, val, test or calibration, also training, valid, validation, testing). Columns that mean nothing here are
tags of the case.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autoopt.core.plain_text import short
from autoopt.workloads.contract import SplitName

MANIFEST = "manifest.csv"
NAME, SPLIT = "name", "split"
GROUPS = ("patient", "patientid", "group", "groupid", "subject", "subjectid", "case", "caseid")
"""Columns that name the patient, the first of them that is there counts; without `_` and in lower case."""
MOST_BYTES = 64_000_000
MOST_COLUMNS = 1000
MOST_FIELDS = 1_500_000
"""Of all lines together: about 200 MB. A line takes as much memory as `LINE_FIELDS` fields beside its own."""
LINE_FIELDS = 4
SPLIT_NAMES: Mapping[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "calibration": "calibration",
}


@dataclass(frozen=True)
class Line:
    """One line of a manifest; `where` names it in messages: "data/manifest.csv line 5"."""

    where: str
    values: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values[column]


@dataclass(frozen=True)
class Manifest:
    """A table of cases. `group` and `split` are the columns that were found to say that, None for none."""

    path: Path
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    group: str | None
    split: str | None

    def group_and_split(self, line: Line, name: str, problems: list[str]) -> tuple[str, SplitName | None]:
        """The patient and the split of a line; a case is a patient of its own where no column names one."""
        group = line[self.group].strip() if self.group else name
        if not group:
            problems.append(f"{line.where}: {self.group} must not be empty, it keeps a patient in one split")
        return group, split_named(line[self.split], line.where, problems) if self.split else None

    def tags(self, line: Line, *meant: str) -> dict[str, str]:
        """The values of the columns that are neither group nor split nor one of `meant`."""
        known = {self.group, self.split, *meant}
        return {column: value for column, value in line.values.items() if column not in known}


def read_manifest(
    path: Path, problems: list[str], *, columns: Sequence[str] = (NAME,), group: str | None = None
) -> Manifest | None:
    """The table in a CSV file with at least these columns; what is wrong with it joins `problems`, then it is None.

    `group` is what the column of the patient is usually called. Where it is given, a column that names the patient and
    one with the split must be there; a column of exactly that name counts before all others.
    """
    try:
        _check_file(path)
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            there = tuple(reader.fieldnames or ())
            values = [{key: value or "" for key, value in line.items() if key} for line in _few(reader, len(there))]
    except (OSError, ValueError, csv.Error) as error:
        problems.append(f"{path} must be CSV text in UTF-8: {error}")
        return None
    groups = group if group in there else group_column(there)
    split = split_column(there)
    missing = [column for column in columns if column not in there]
    needed = list(columns)
    if group is not None:
        needed += [group, SPLIT]
        missing += [name for name, found in ((group, groups), (SPLIT, split)) if found is None]
    if missing:
        absent, came = ", ".join(missing), ", ".join(there) or "none"
        problems.append(f"{path} must have the columns {', '.join(needed)}; {absent} missing, it has {came}")
        return None
    lines = tuple(Line(f"{path} line {number}", line) for number, line in enumerate(values, start=2))
    return Manifest(path, there, lines, groups, split)


def _check_file(path: Path) -> None:
    """Raise ValueError for a pipe, a device and a file that is larger than any table of cases."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    if path.exists() and path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES / 1e6:g} MB")


def _few(lines: Iterable[dict[str, str]], columns: int) -> Iterator[dict[str, str]]:
    """The lines of a table. Raises ValueError for more columns, or fields in all, than fit into memory."""
    if columns > MOST_COLUMNS:
        raise ValueError(f"it must have at most {MOST_COLUMNS} columns, it has {columns}")
    for number, line in enumerate(lines, start=1):
        if number * (columns + LINE_FIELDS) > MOST_FIELDS:
            raise ValueError(f"its lines and columns must come to at most {MOST_FIELDS} fields")
        yield line


def lines_of_files(
    manifest: Manifest, files: Collection[str], problems: list[str], *, described: str, others: Collection[str] = ()
) -> dict[str, Line]:
    """The line of every file by its name, in the order of the lines, from a table that must list every file once.

    What is wrong joins `problems`. `described` says which names are meant, such as "images/ without .png". `others` may
    be listed or not, such as an image whose mask is missing.
    """
    found: dict[str, Line] = {}
    for line in manifest.lines:
        name = line[NAME]
        if name in found:
            problems.append(f"{line.where}: name {short(name)} is there twice")
        elif name not in files and name not in others:
            problems.append(f"{line.where}: name must be that of a file in {described}, there is no {short(name)}")
        found.setdefault(name, line)
    if not manifest.lines:
        problems.append(f"{manifest.path} must list every file, it has no lines")
    else:
        problems += [
            f"{manifest.path} must list every file, {name} is missing" for name in sorted(set(files) - {*found})
        ]
    return {name: line for name, line in found.items() if name in files}


def file_below(folder: Path, text: str, where: str, problems: list[str]) -> Path | None:
    """The file or folder that a table names by its path below the table's folder; None where it is wrong: said."""
    pure = PurePosixPath(text.strip().replace("\\", "/"))
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or ":" in pure.parts[0]:
        problems.append(f"{where}: a file must be named by its path below the folder of the table, got {short(text)}")
        return None
    path = folder / pure
    try:
        there = path.exists()
    except (OSError, ValueError):  # too long for a name, or with a null character
        there = False
    if not there:
        problems.append(f"{where}: there is no file {short(text)}")
    return path if there else None


def group_column(columns: Iterable[str]) -> str | None:
    """The column that names the patient."""
    by_name = {column.lower().replace("_", "").strip(): column for column in columns}
    return next((by_name[name] for name in GROUPS if name in by_name), None)


def split_column(columns: Iterable[str]) -> str | None:
    """The column that names the split."""
    return next((column for column in columns if column.strip().lower() == SPLIT), None)


def split_named(text: str, where: str, problems: list[str]) -> SplitName | None:
    """The split that a text names, None for an empty one; another text joins `problems`."""
    split = SPLIT_NAMES.get(text.strip().lower())
    if split is None and text.strip():
        problems.append(f"{where}: split must be train, val, test or calibration, got {short(text)}")
    return split
