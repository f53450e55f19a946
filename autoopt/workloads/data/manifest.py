"""The one reader of tables of cases: files that say of which patient and split each case is.

A table is CSV text as any program saves it (`csv_text`), and its columns are found by their usual names (`columns`):
the patient, the split, the image. Columns that mean nothing here are tags of the case.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autoopt.core.plain_text import short
from autoopt.errors import DataError
from autoopt.workloads.contract import SplitName
from autoopt.workloads.data.columns import (
    GROUPS,
    NAME,
    NAMES,
    SPLIT,
    SPLIT_NAMES,
    SPLITS,
    all_of,
    composed,
    first_of,
    is_known,
    plain,
    split_named,
)
from autoopt.workloads.data.csv_text import read_rows

MANIFEST = "manifest.csv"
TABLES = (".csv", ".tsv")
SHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
"""Endings of spreadsheets: a table in one of them is refused, not passed over."""


@dataclass(frozen=True)
class Line:
    """One line of a manifest; `where` names it in messages: "data/manifest.csv line 5"."""

    where: str
    values: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values[column]


@dataclass(frozen=True)
class Manifest:
    """A table of cases. `group` and `split` are the columns that were found to say that, None for none.

    `names` are the columns that may name the image, the most usual first.
    """

    path: Path
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    group: str | None
    split: str | None
    names: tuple[str, ...] = ()

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


def find_tables(folder: Path) -> list[Path]:
    """The tables of cases that lie in a folder, spreadsheets too, sorted by name; hidden files are left out."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in TABLES + SHEETS and not path.name.startswith((".", "~$")) and not path.is_dir()
    ]


def find_table(folder: Path) -> Path | None:
    """The table of cases of a folder: the one called manifest.csv, or the only one; None where there is none.

    Raises DataError where there are several, and for a spreadsheet: a table that lies there is never passed over.
    """
    tables = find_tables(folder)
    chosen = [path for path in tables if path.name.lower() == MANIFEST] or tables
    if len(chosen) > 1:
        names = ", ".join(path.name for path in tables)
        raise DataError(
            f"{folder} must hold one table of cases, it holds {names}: call the one to read {MANIFEST}, or move the "
            "others elsewhere"
        )
    if chosen and chosen[0].suffix.lower() in SHEETS:
        raise DataError(f"{chosen[0]} must be CSV text, it is a spreadsheet: save it as {MANIFEST}, or move it away")
    return chosen[0] if chosen else None


def stray_tables(folder: Path, inner: Iterable[Path]) -> list[str]:
    """The tables that lie in folders of images, where they are not read, as sentences."""
    return [
        f"{path} is a table among images, where it is not read: move it to {folder} and let it name the images by "
        "their paths below that, or move it elsewhere"
        for part in inner
        for path in find_tables(part)
    ]


def read_manifest(
    path: Path, problems: list[str], *, columns: Sequence[str] = (NAME,), group: str | None = None
) -> Manifest | None:
    """The table in a CSV file with at least these columns; what is wrong with it joins `problems`, then it is None.

    `columns` may be written in any case, with spaces or not; lines have them as they are given here. `NAME` stands for
    any column that names the image. `group` is what the column of the patient is usually called. Where it is given, a
    column that names the patient and one with the split must be there; a column of that name counts before all others.
    """
    try:
        read = read_rows(path, is_known)
    except DataError as error:
        problems += error.problems
        return None
    wanted = {plain(name): name for name in (*columns, *([group] if group else []))}
    there = tuple(wanted.get(plain(column), column) for column in read.columns)
    if len(set(there)) < len(there):
        there = read.columns  # two columns whose names differ in their case alone: each keeps its own
    groups = group if group in there else group_column(there)
    values = [dict(zip(there, row, strict=True)) for _, row in read.rows]
    split = split_column(there, values)
    names = tuple(dict.fromkeys([*all_of(NAMES, there), *([groups] if groups else [])]))
    missing = [column for column in columns if column not in there and not (column == NAME and names)]
    needed = list(columns)
    if group is not None:
        needed += [group, SPLIT]
        missing += [name for name, found in ((group, groups), (SPLIT, split)) if found is None]
    if missing:
        absent, came = ", ".join(missing), ", ".join(read.columns) or "none"
        problems.append(f"{path} must have the columns {', '.join(needed)}; {absent} missing, it has {came}")
        return None
    lines = tuple(Line(f"{path} line {number}", line) for (number, _), line in zip(read.rows, values, strict=True))
    return Manifest(path, there, lines, groups, split, names)


def lines_of_files(
    manifest: Manifest,
    files: Mapping[str, Collection[str]],
    problems: list[str],
    *,
    described: str,
    others: Collection[str] = (),
) -> dict[str, Line]:
    """The line of every file by its name, in the order of the lines, from a table that must list every file once.

    `files` has, by the name of a case, what else the table may call it. The column that names most files counts. What
    is wrong joins `problems`. `described` says which names are meant, such as "images/ without .png". `others` may be
    listed or not, such as an image whose mask is missing.
    """
    if not manifest.lines:
        problems.append(f"{manifest.path} must list every file, it has no lines")
        return {}
    known = _known(files)
    extra = {composed(name) for name in others}
    meant = {column: [_meant(line[column], known) for line in manifest.lines] for column in manifest.names}
    column = max(meant, key=lambda name: sum(bool(found) for found in meant[name]))
    found: dict[str, Line] = {}
    for line, names in zip(manifest.lines, meant[column], strict=True):
        text = line[column]
        if len(names) > 1:
            some = ", ".join(sorted(names)[:3])
            problems.append(
                f"{line.where}: {column} {short(text)} must name one file, it may be {some}: write its path"
            )
        elif not names and text not in extra:
            problems.append(f"{line.where}: {column} must be that of a file in {described}, there is no {short(text)}")
        elif names and (name := min(names)) in found:
            problems.append(f"{line.where}: {column} {short(text)} is there twice")
        elif names:
            found[name] = line
    problems += [f"{manifest.path} must list every file, {name} is missing" for name in sorted(set(files) - {*found})]
    return found


def _known(files: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """What a table may call a file, to the names of the cases that it may mean; the very name of a case means it."""
    known: dict[str, set[str]] = {}
    for name, others in files.items():
        for other in others:
            known.setdefault(other, set()).add(name)
    return known | {name: {name} for name in files}


def _meant(text: str, known: Mapping[str, set[str]]) -> set[str]:
    """The cases that a cell names: by the whole of its path, or by the end of it where it begins further up."""
    parts = text.replace("\\", "/").removeprefix("./").split("/")
    ends = ("/".join(parts[start:]) for start in range(0 if ".." in parts else len(parts)))
    return next((known[end] for end in ends if end in known), set())


def file_below(folder: Path, text: str, where: str, problems: list[str]) -> Path | None:
    """The file or folder that a table names by its path below the table's folder; None where it is wrong: said."""
    pure = PurePosixPath(text.strip().replace("\\", "/"))
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or ":" in pure.parts[0]:
        problems.append(f"{where}: a file must be named by its path below the folder of the table, got {short(text)}")
        return None
    path = next(_existing(folder, pure.parts), None)
    if path is None:
        problems.append(f"{where}: there is no file {short(text)}")
    return path


def _existing(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """The paths that there are of this name, whatever the form in which the disk keeps its accents."""
    path = folder.joinpath(*parts)
    try:
        if path.exists():
            yield path
            return
        inner = [item for item in folder.iterdir() if composed(item.name) == parts[0]]
    except (OSError, ValueError):  # too long for a name, with a null character, or below a file
        return
    for item in inner:
        if len(parts) == 1:
            yield item
        else:
            yield from _existing(item, parts[1:])


def image_column(columns: Iterable[str]) -> str | None:
    """The column that names the image."""
    return first_of(NAMES, columns)


def group_column(columns: Iterable[str]) -> str | None:
    """The column that names the patient."""
    return first_of(GROUPS, columns)


def split_column(columns: Sequence[str], lines: Sequence[Mapping[str, str]] = ()) -> str | None:
    """The column that names the split: `split`, or one of the other usual names whose cells all name splits."""
    for column in all_of(SPLITS, columns):
        cells = {line[column].lower() for line in lines} - {""}
        if plain(column) == SPLIT or (cells and cells <= set(SPLIT_NAMES)):
            return column
    return None
