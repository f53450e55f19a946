"""Tables as rows of text, however a program saved them."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.errors import DataError
from autoopt.workloads.data.columns import is_known
from autoopt.workloads.data.csv_text import read_rows

WANTED = (("name", "patient"), ((2, ("é 1", "p1")), (4, ("b", "p, 2"))))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(
    "text",
    [
        'name,patient\né 1,p1\n\nb,"p, 2"\n',
        'name, patient\r\ne\u0301 1 ,  p1\r\n,\r\nb, "p, 2"\r\n',
        "name;patient\né 1;p1\n;\nb;p, 2\n",
        "name\tpatient\né 1\tp1\n\nb\tp, 2\n",
        '"name" | "patient"\né 1|p1\n\nb|p, 2\n',
    ],
)
def test_one_table_however_it_was_saved(tmp_path: Path, text: str, encoding: str) -> None:
    """Encoding, delimiter, spaces, quotes, empty rows and forms of accents mean nothing; lines keep their numbers."""
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    found = read_rows(tmp_path / "t.csv", is_known)
    assert (found.columns, found.rows) == WANTED


def test_the_delimiter_gives_known_columns(tmp_path: Path) -> None:
    """The delimiter is the one that gives columns which mean something; Excel may say it in a line of its own."""
    (tmp_path / "t.csv").write_text("patient;name;age, in years, at scan\np1;a;3,5\n")
    assert read_rows(tmp_path / "t.csv", is_known).columns == ("patient", "name", "age, in years, at scan")
    (tmp_path / "t.csv").write_text("sep=;\nname;patient\na;p1\n")
    assert read_rows(tmp_path / "t.csv", is_known).rows == ((3, ("a", "p1")),)


def test_an_index_without_a_name_is_left_out(tmp_path: Path) -> None:
    """The first column that pandas writes has no name: it is none; a row may end early or with empty cells."""
    (tmp_path / "t.csv").write_text(",name,patient\n0,a,p1,,\n1,b\n")
    found = read_rows(tmp_path / "t.csv", is_known)
    assert (found.columns, [row for _, row in found.rows]) == (("name", "patient"), [("a", "p1"), ("b", "")])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"name\n\xff\xfe", r"must be CSV text in UTF-8 or UTF-16, it is not .*: save it as CSV in UTF-8"),
        (
            b"name,patient\na,p1\nb,Smith, J,p2\n",
            r"line 3: a line must have at most the 2 cells .*, it has 4: put quot",
        ),
        (b"name,patient,name\n", r"must have columns of different names, name is there twice"),
    ],
)
def test_what_is_no_table(tmp_path: Path, data: bytes, says: str) -> None:
    """Bytes that are no text, a row whose cells are shifted and two columns of one name are refused."""
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(DataError, match=says):
        read_rows(tmp_path / "t.csv", is_known)
