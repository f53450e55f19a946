"""A table of cases in the column style of GaNDLF: Channel_0, Channel_1, ... and Label or ValueToPredict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoopt.errors import DataError
from autoopt.workloads.contract import Task
from autoopt.workloads.data.cases import Found, Item, raise_problems, repeated_images
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.manifest import MANIFEST, Line, Manifest, file_below, read_manifest
from autoopt.workloads.data.readers import READERS, suffix_of

CHANNEL, LABEL, VALUE, SUBJECT = "Channel_", "Label", "ValueToPredict", "SubjectID"
LONGEST_HEAD = 1_000_000
"""Of the first line of a table, in bytes."""
MOST_DIGITS = 6
YES, NO = ("1", "1.0", "true"), ("0", "0.0", "false")
DESCRIPTION = f"a CSV with the columns {CHANNEL}0 and {LABEL}"


@dataclass(frozen=True)
class _Columns:
    """Which columns say what: the image files, the label, or in a multilabel task one column of 0 / 1 per label."""

    channels: tuple[str, ...]
    label: str
    multilabel: tuple[str, ...]


def fits(folder: Path, task: Task) -> bool:
    """Whether there is such a table."""
    return case_table(folder) is not None


def read(folder: Path, task: Task) -> Found:
    """The cases in the order of the lines. Raises DataError with everything that is wrong with columns and lines."""
    problems: list[str] = []
    path = case_table(folder)
    table = None if path is None else read_manifest(path, problems, columns=(f"{CHANNEL}0",))
    raise_problems(problems)
    assert table is not None
    columns = _columns(table, task)
    items = [item for line in table.lines if (item := _item(table, line, columns, task, problems)) is not None]
    raise_problems([*problems, *repeated_images(items)])
    names = tuple(name.removeprefix(f"{LABEL}_") for name in columns.multilabel)
    return Found(_unique(items), f"cases from the table {table.path.name}", names)


def case_table(folder: Path) -> Path | None:
    """The table of cases in a folder. Raises DataError where there are several and none is called manifest.csv."""
    tables = [path for path in sorted(folder.glob("*.csv")) if path.is_file() and _names_channels(path)]
    chosen = [path for path in tables if path.name == MANIFEST] or tables
    if len(chosen) > 1:
        names = ", ".join(path.name for path in tables)
        raise DataError(f"{folder} must hold one table of cases, it holds {names}: call the one to read {MANIFEST}")
    return chosen[0] if chosen else None


def names_files_in(folder: Path, parts: Sequence[str]) -> bool:
    """Whether the folder has a table of cases that names files in one of these folders."""
    table = case_table(folder)
    text = b"" if table is None else table.read_bytes()
    return any(f"{part}{slash}".encode() in text for part in parts for slash in "/\\")


def _columns(table: Manifest, task: Task) -> _Columns:
    channels = sorted((name for name in table.columns if _channel_number(name) >= 0), key=_channel_number)
    multilabel = [name for name in table.columns if name.startswith(f"{LABEL}_")] if task == "classification" else []
    label = VALUE if task == "classification" and VALUE in table.columns else LABEL
    if label not in table.columns and not multilabel:
        raise DataError(f"{table.path} must have the column {label} for a {task}, it has {', '.join(table.columns)}")
    return _Columns(tuple(channels), label, tuple(multilabel))


def _item(table: Manifest, line: Line, columns: _Columns, task: Task, problems: list[str]) -> Item | None:
    """The case of a line, None where something is wrong with it, which joins `problems`."""
    faults: list[str] = []
    name = line.values.get(SUBJECT) or line[f"{CHANNEL}0"]
    group, split = table.group_and_split(line, name, faults)
    images = [_source(table, line, channel, faults) for channel in columns.channels]
    target = _source(table, line, columns.label, faults) if task == "segmentation" else _class(line, columns, faults)
    problems += faults
    if faults or target is None:
        return None
    present = tuple(source for source in images if source is not None)
    tags = table.tags(line, SUBJECT, columns.label, *columns.channels, *columns.multilabel)
    return Item(name, group, split, present, target, tags, line.where)


def _source(table: Manifest, line: Line, column: str, problems: list[str]) -> Source | None:
    """The image file that a column names."""
    where = f"{line.where}, {column}"
    path = file_below(table.path.parent, line[column], where, problems)
    if path is not None and not suffix_of(path):
        problems.append(f"{where}: {line[column]!r} must have one of the endings {', '.join(READERS)}")
        return None
    return None if path is None else Source(path)


def _class(line: Line, columns: _Columns, problems: list[str]) -> str | tuple[int, ...]:
    """The class that a line names, or 0 / 1 for each label."""
    if not columns.multilabel:
        if not line[columns.label].strip():
            problems.append(f"{line.where}: {columns.label} must name the class, it is empty")
        return line[columns.label].strip()
    values = [line[name].strip().lower() for name in columns.multilabel]
    problems += [
        f"{line.where}: {name} must be 0 or 1, got {line[name]!r}"
        for name, value in zip(columns.multilabel, values, strict=True)
        if value not in YES + NO
    ]
    return tuple(int(value in YES) for value in values)


def _names_channels(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return f"{CHANNEL}0".encode() in stream.readline(LONGEST_HEAD)
    except OSError as error:
        raise DataError(f"{path} must be a table that can be read: {error.strerror}") from error


def _channel_number(name: str) -> int:
    """The number of a column of channels, -1 for any other column."""
    number = name.removeprefix(CHANNEL)
    known = name.startswith(CHANNEL) and number.isdecimal() and len(number) <= MOST_DIGITS
    return int(number) if known else -1


def _unique(items: Sequence[Item]) -> list[Item]:
    """Subjects with several lines get a number each, so that names differ."""
    counts: dict[str, int] = {}
    for item in items:
        counts[item.name] = counts.get(item.name, 0) + 1
    taken, unique = {name for name, count in counts.items() if count == 1}, []
    for item in items:
        name, number = item.name, 0
        while counts[item.name] > 1 and (name in taken or name == item.name):
            name, number = f"{item.name}-{number}", number + 1
        taken.add(name)
        unique.append(replace(item, name=name))
    return unique
