"""A table of cases in the column style of GaNDLF: Channel_0, Channel_1, ... and Label or ValueToPredict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from autoopt.errors import DataError
from autoopt.workloads.contract import Task
from autoopt.workloads.data.layouts.items import MANIFEST, SUFFIXES, Columns, Found, Item, Source, suffix_of
from autoopt.workloads.data.table import raise_problems, read_table

CHANNEL, LABEL, VALUE, SUBJECT = "Channel_", "Label", "ValueToPredict", "SubjectID"
YES, NO = ("1", "1.0", "true"), ("0", "0.0", "false")


def case_table(folder: Path) -> Path | None:
    """The table of cases in a folder. Raises DataError where there are several and none is called manifest.csv."""
    tables = [path for path in sorted(folder.glob("*.csv")) if _names_channels(path)]
    chosen = [path for path in tables if path.name == MANIFEST] or tables
    if len(chosen) > 1:
        names = ", ".join(path.name for path in tables)
        raise DataError(f"{folder} must hold one table of cases, it holds {names}: call the one to read {MANIFEST}")
    return chosen[0] if chosen else None


def read_case_table(path: Path, task: Task) -> Found:
    """The cases of a table. Raises DataError with everything that is wrong with its columns and lines."""
    lines, problems = read_table(path, (f"{CHANNEL}0",))
    raise_problems(problems)
    names = list(lines[0]) if lines else []
    channels = sorted((name for name in names if _channel_number(name) >= 0), key=_channel_number)
    multilabel = [name for name in names if name.startswith(f"{LABEL}_")] if task == "classification" else []
    label = VALUE if task == "classification" and VALUE in names else LABEL
    if label not in names and not multilabel:
        raise DataError(f"{path} must have the column {label} for a {task}, it has {', '.join(names) or 'no lines'}")
    columns = Columns.of(names)
    special = {*channels, *multilabel, label, columns.split}
    items = []
    for number, line in enumerate(lines, start=2):
        where = f"{path} line {number}"
        found: list[str] = []
        name = line.get(SUBJECT) or line[f"{CHANNEL}0"]
        group, split = columns.read(line, name, where, found)
        images = [_inside(path.parent, line[channel], f"{where}, {channel}", found) for channel in channels]
        target = _target(path.parent, line, label, multilabel, task, where, found)
        problems += found
        if target is not None and not found:
            tags = {key: value for key, value in line.items() if key not in special}
            present = tuple(source for source in images if source is not None)
            items.append(Item(name, group, split, present, target, tags))
    raise_problems([*problems, *_repeated(path, items)])
    return Found(
        _unique(items), f"cases from the table {path.name}", tuple(n.removeprefix(f"{LABEL}_") for n in multilabel)
    )


def _names_channels(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return f"{CHANNEL}0".encode() in stream.readline()
    except OSError as error:
        raise DataError(f"{path} must be a table that can be read: {error.strerror}") from error


def _channel_number(name: str) -> int:
    """The number of a column of channels, -1 for any other column."""
    number = name.removeprefix(CHANNEL)
    return int(number) if name.startswith(CHANNEL) and number.isdecimal() else -1


def _target(
    folder: Path,
    line: Mapping[str, str],
    label: str,
    multilabel: Sequence[str],
    task: Task,
    where: str,
    problems: list[str],
) -> Source | str | tuple[int, ...] | None:
    if task == "segmentation":
        return _inside(folder, line[label], f"{where}, {label}", problems)
    if not multilabel:
        if not line[label].strip():
            problems.append(f"{where}: {label} must name the class, it is empty")
        return line[label].strip()
    values = [line[name].strip().lower() for name in multilabel]
    problems += [
        f"{where}: {name} must be 0 or 1, got {line[name]!r}"
        for name, value in zip(multilabel, values, strict=True)
        if value not in YES + NO
    ]
    return tuple(int(value in YES) for value in values)


def _inside(folder: Path, text: str, where: str, problems: list[str]) -> Source | None:
    """The file that a table names, which must lie below its folder."""
    pure = PurePosixPath(text.strip().replace("\\", "/"))
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or ":" in pure.parts[0]:
        problems.append(f"{where}: a file must be named by its path below the folder of the table, got {text!r}")
        return None
    path = folder / pure
    try:
        there = path.is_file()
    except (OSError, ValueError):  # too long for a name, or with a null character
        there = False
    if not there:
        problems.append(f"{where}: there is no file {text!r}")
        return None
    if not suffix_of(path):
        problems.append(f"{where}: {text!r} must be one of {', '.join(SUFFIXES)}")
        return None
    return Source(path)


def _repeated(path: Path, items: Sequence[Item]) -> list[str]:
    seen, problems = set[tuple[Source, ...]](), []
    for item in items:
        if item.images in seen:
            problems.append(f"{path}: {item.images[0].path.name} is there twice")
        seen.add(item.images)
    return problems


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
