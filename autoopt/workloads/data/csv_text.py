"""A table as rows of text, however a program saved it: UTF-8 or UTF-16, commas, semicolons or tabs, spaces, quotes."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autoopt.errors import DataError
from autoopt.workloads.data.columns import composed

DELIMITERS = (",", ";", "\t", "|")
DECLARATION = "sep="
"""Excel may write its delimiter in a line of its own before the header, such as "sep=;"."""
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""The bytes that a text may begin with, and the encoding that they stand for; those of UTF-32 begin as UTF-16's."""
LOOKED_AT = 64
MOST_BYTES = 64_000_000
MOST_COLUMNS = 1000
MOST_FIELDS = 1_500_000
"""Of all lines together: about 200 MB. A line takes as much memory as `LINE_FIELDS` fields beside its own."""
LINE_FIELDS = 4


@dataclass(frozen=True)
class Rows:
    """The columns of a table, and its rows: the number of the line in the file, and the cell of every column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


def read_rows(path: Path, known: Callable[[str], bool] = lambda column: False) -> Rows:
    """The table in a text file; space around cells means nothing, accents have one form, empty rows are left out.

    The delimiter is the one with which the header has most columns that are `known`, then most columns. A column
    without a name is left out. Raises DataError for what is no text, no table, or has rows that do not fit the header.
    """
    text = _decoded(path)
    first, _, rest = text.partition("\n")
    lines_before = 0
    if first.strip().lower().startswith(DECLARATION):
        text, lines_before = rest, 1
    try:
        delimiter = max(DELIMITERS, key=lambda mark: _fit(next(_reader(text, mark), []), known))
        reader = _reader(text, delimiter)
        header = [cell.strip() for cell in next(reader, [])]
        lines = _few(path, reader, len(header))
        read = [(reader.line_num + lines_before, [cell.strip() for cell in row]) for row in lines]
    except csv.Error as error:
        raise DataError(f"{path} must be CSV text in UTF-8 or UTF-16: {error}") from error
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise DataError(f"{path} must have columns of different names, {', '.join(repeated)} is there twice")
    problems = [
        f"{path} line {number}: a line must have at most the {len(header)} cells of the header, it has {len(row)}: "
        "put quotation marks around a cell that holds the delimiter"
        for number, row in read
        if any(row[len(header) :])
    ]
    if problems:
        raise DataError(*problems[:3])
    kept = [place for place, name in enumerate(header) if name]
    rows = [
        (number, tuple(row[place] if place < len(row) else "" for place in kept)) for number, row in read if any(row)
    ]
    return Rows(tuple(header[place] for place in kept), tuple(rows))


def _few(path: Path, lines: Iterable[list[str]], columns: int) -> Iterator[list[str]]:
    """The lines of a table. Raises DataError for more columns, or fields in all, than fit into memory."""
    if columns > MOST_COLUMNS:
        raise DataError(f"{path} must have at most {MOST_COLUMNS} columns, it has {columns}")
    fields = 0
    for line in lines:
        fields += max(columns, len(line)) + LINE_FIELDS
        if fields > MOST_FIELDS:
            raise DataError(f"{path}: its lines and columns must come to at most {MOST_FIELDS} fields")
        yield line


def _reader(text: str, delimiter: str):  # type: ignore[no-untyped-def]  # the csv module does not name its readers' type
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)


def _fit(header: list[str], known: Callable[[str], bool]) -> tuple[int, int]:
    """How well a header was taken apart: known columns, then columns."""
    return sum(known(cell.strip()) for cell in header[:MOST_COLUMNS]), len(header)


def _decoded(path: Path) -> str:
    """The text of a file. Accents are one character each (NFC), as names of files are compared."""
    try:
        _check_file(path)
        data = path.read_bytes()
        return composed(data.decode(_encoding(data)))
    except OSError as error:
        raise DataError(f"{path} must be a table that can be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} must be CSV text in UTF-8 or UTF-16, it is not ({error.reason}): save it as CSV in UTF-8"
        ) from error


def _check_file(path: Path) -> None:
    """Raise DataError for a pipe, a device and a file that is larger than any table of cases."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path} must be a table in a file, it is a pipe, a device or a folder")
    if path.exists() and path.stat().st_size > MOST_BYTES:
        raise DataError(f"{path} must be a table of at most {MOST_BYTES / 1e6:g} MB")


def _encoding(data: bytes) -> str:
    """The encoding: by the mark at the beginning, else UTF-16 where every other byte is mostly zero, else UTF-8."""
    marked = next((name for mark, name in MARKS.items() if data.startswith(mark)), None)
    if marked is not None:
        return marked
    zero = [part.count(0) > len(part) // 2 for part in (data[:LOOKED_AT:2], data[1:LOOKED_AT:2])]
    return "utf-16-be" if zero == [True, False] else "utf-16-le" if zero == [False, True] else "utf-8"
