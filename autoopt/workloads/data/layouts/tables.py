"""A table of cases that names images and labels: in the columns of GaNDLF (Channel_0, Label), or other usual ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from autoopt.errors import DataError
from autoopt.workloads.contract import Task
from autoopt.workloads.data.cases import Found, Item, group_of, raise_problems, repeated_images, unknown_patients
from autoopt.workloads.data.columns import (
    CLASSES,
    GROUPS,
    MASKS,
    MULTILABEL,
    SPLITS,
    SUBJECTS,
    all_of,
    channels_of,
    composed,
    first_of,
    is_known,
    labels_of,
    ways_to_name,
)
from autoopt.workloads.data.csv_text import Rows, read_rows
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.layouts.class_folders import holds_classes
from autoopt.workloads.data.manifest import Line, Manifest, file_below, find_table, image_column, read_manifest
from autoopt.workloads.data.numbers import as_number
from autoopt.workloads.data.readers import known_kinds, name_of, suffix_of

YES, NO = ("1", "1.0", "true"), ("0", "0.0", "false")
DESCRIPTION = "a CSV with the columns Channel_0 and Label"


@dataclass(frozen=True)
class _Columns:
    """Which columns say what: the image files, the label, or in a multilabel task one column of 0 / 1 per label.

    `numbers` are the columns that hold only numbers, of which a regression predicts some, `gaps` those that do in most
    lines, with what is wrong.
    """

    channels: tuple[str, ...]
    label: str
    multilabel: tuple[str, ...]
    subject: str | None
    numbers: tuple[str, ...] = ()
    gaps: Mapping[str, str] = field(default_factory=dict)


def fits(folder: Path, task: Task) -> bool:
    """Whether there is such a table."""
    return case_table(folder, task) is not None


def read(folder: Path, task: Task) -> Found:
    """The cases in the order of the lines. Raises DataError with everything that is wrong with columns and lines."""
    problems: list[str] = []
    path = case_table(folder, task)
    table = None if path is None else read_manifest(path, problems, columns=())
    raise_problems(problems)
    assert table is not None
    columns = _columns(table, task)
    files = _Files(folder)
    items = [item for line in table.lines if (item := _item(table, line, columns, task, files, problems)) is not None]
    raise_problems([*problems, *repeated_images(items)])
    names = columns.numbers or tuple(name[len(MULTILABEL) :] for name in columns.multilabel)
    known = table.group or any(item.group not in (item.name, group_of(item.name)) for item in items)
    unnamed = f"{table.path}: no column names the patient, each image counts as one of its own"
    remarks = tuple(unknown_patients(folder, items)) if known and not table.group else () if known else (unnamed,)
    return Found(_unique(items), f"cases from the table {table.path.name}", names, remarks=remarks, gaps=columns.gaps)


def case_table(folder: Path, task: Task) -> Path | None:
    """The table of a folder if it names both the images and their labels; None for one that describes other files.

    A table with the columns Channel_0, ... always does. Others do where an image and its label are named and no folders
    of classes, or of images and masks, have them. Raises DataError as `find_table`, and for a table that is no text.
    """
    path = find_table(folder)
    rows = None if path is None else read_rows(path, is_known)
    if rows is None or channels_of(rows.columns):
        return path
    image = image_column(rows.columns)
    if task == "regression":
        cells = [dict(zip(rows.columns, row, strict=False)) for _, row in rows.rows]
        return path if image is not None and _number_columns(rows.columns, cells, (image,)) else None
    label = _label(rows.columns, task)
    if image is None or label is None:
        return None
    if task == "classification":
        return None if holds_classes(folder) else path
    masks = [row[rows.columns.index(label)] for _, row in rows.rows[:1]]
    return path if masks and file_below(folder, masks[0], "", []) is not None else None


def names_files_in(folder: Path, parts: Sequence[str], task: Task) -> bool:
    """Whether the folder has a table of cases that names files in one of these folders."""
    path = case_table(folder, task)
    rows = Rows((), ()) if path is None else read_rows(path, is_known)
    begins = tuple(f"{part}/" for part in parts)
    return any(cell.replace("\\", "/").removeprefix("./").startswith(begins) for _, row in rows.rows for cell in row)


def _label(columns: Sequence[str], task: Task) -> str | None:
    """The column of the label, or the first of several labels."""
    found = first_of(CLASSES if task == "classification" else MASKS, columns)
    return found or next(iter(labels_of(columns) if task == "classification" else ()), None)


def _number_columns(
    columns: Sequence[str], cells: Sequence[Mapping[str, str]], others: Sequence[str]
) -> tuple[str, ...]:
    """The columns whose cells are all finite numbers, without those that say something else."""
    named = {*others, *all_of((*GROUPS, *SPLITS), columns)}
    free = [name for name in columns if name not in named]
    return tuple(name for name in free if all(as_number(row.get(name, "")) is not None for row in cells))


def _gaps(table: Manifest, others: Sequence[str]) -> dict[str, str]:
    """The columns where most lines have a number, but not all, and what is wrong in the first of the others."""
    named, gaps = {*others, *all_of((*GROUPS, *SPLITS), table.columns)}, {}
    for name in (column for column in table.columns if column not in named):
        wrong = [line for line in table.lines if as_number(line.values.get(name, "")) is None]
        if wrong and 2 * len(wrong) < len(table.lines):
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            came = repr(wrong[0].values[name]) if wrong[0].values.get(name, "").strip() else "nothing"
            gaps[name] = f"{wrong[0].where}: {name} must be a finite number to be predicted, got {came}{more}"
    return gaps


def _columns(table: Manifest, task: Task) -> _Columns:
    if task == "regression":
        return _columns_of_numbers(table)
    multilabel = labels_of(table.columns) if task == "classification" else ()
    label = first_of(CLASSES if task == "classification" else MASKS, table.columns)
    if label is None and not multilabel:
        raise DataError(f"{table.path} must have the column Label for a {task}, it has {', '.join(table.columns)}")
    image = image_column(table.columns)
    channels = channels_of(table.columns) or ((image,) if image else ())
    return _Columns(channels, label or "", multilabel, first_of(SUBJECTS, table.columns))


def _columns_of_numbers(table: Manifest) -> _Columns:
    """The columns of a regression. Raises DataError where none holds numbers alone."""
    image = image_column(table.columns)
    channels = channels_of(table.columns) or ((image,) if image else ())
    numbers = _number_columns(table.columns, [line.values for line in table.lines], channels)
    if not numbers:
        raise DataError(
            f"{table.path} must have a column with a number in every cell for a regression, it has "
            f"{', '.join(table.columns)}"
        )
    gaps = _gaps(table, (*channels, *numbers))
    return _Columns(channels, "", (), first_of(SUBJECTS, table.columns), numbers, gaps)


class _Files:
    """The images below a folder, by what a table may call them; they are listed when first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, set[Path]] | None = None

    def called(self, text: str) -> set[Path]:
        """The files that have this name, without the folders above them; with or without the ending."""
        if self._known is None:
            self._known = {}
            for path in sorted(self._folder.rglob("*")):
                if suffix_of(path) and not path.name.startswith("."):
                    for way in ways_to_name(PurePosixPath(composed(path.name)), composed(name_of(path))):
                        self._known.setdefault(way, set()).add(path)
        return self._known.get(text, set())


def _item(
    table: Manifest, line: Line, columns: _Columns, task: Task, files: _Files, problems: list[str]
) -> Item | None:
    """The case of a line, None where something is wrong with it, which joins `problems`."""
    faults: list[str] = []
    name = (line.values.get(columns.subject) if columns.subject else "") or line[columns.channels[0]]
    images = [_source(table, line, channel, files, faults) for channel in columns.channels]
    if task == "segmentation":
        target: Source | str | tuple[float, ...] | None = _source(table, line, columns.label, files, faults)
    elif task == "regression":
        target = tuple(float(line[name]) for name in columns.numbers)
    else:
        target = _class(line, columns, faults)
    present = tuple(source for source in images if source is not None)
    group, split = table.group_and_split(line, name if table.group else group_of(name, present), faults)
    problems += faults
    if faults or target is None:
        return None
    meant = [name for name in (columns.subject, columns.label, *columns.channels, *columns.multilabel) if name]
    meant += columns.numbers
    return Item(name, group, split, present, target, table.tags(line, *meant), line.where)


def _source(table: Manifest, line: Line, column: str, files: _Files, problems: list[str]) -> Source | None:
    """The image file that a column names, by its path below the table, or by its name where that is the only one."""
    where, text = f"{line.where}, {column}", line[column]
    faults: list[str] = []
    path = file_below(table.path.parent, text, where, faults)
    if path is None and text and "/" not in text and "\\" not in text:
        found = sorted(files.called(text))
        if len(found) > 1:
            some = ", ".join(file.relative_to(table.path.parent).as_posix() for file in found[:3])
            problems.append(f"{where}: {text!r} must be one file, it may be {some}: write its path")
            return None
        path = found[0] if found else None
    if path is None:
        problems += faults
    elif not suffix_of(path):
        problems.append(f"{where}: {text!r} must have one of the endings {known_kinds()}")
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
