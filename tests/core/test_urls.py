"""URLs in messages."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import example, given
from hypothesis import strategies as st

from autoopt.core.urls import sqlite_file, sqlite_url, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://***@host/db"),
        ("cannot reach http://me:s3cr:et@host:80/x, tried twice", "cannot reach http://***@host:80/x, tried twice"),
        ("a://u:p@h and b://v:q@h", "a://***@h and b://***@h"),
        ("postgresql+psycopg://me:a/b@c?d@host/db", "postgresql+psycopg://***@host/db"),
        ("https://token@host/db", "https://***@host/db"),
        ("https://:token@host", "https://***@host"),
        ("postgresql://host/db?password=secret&sslmode=require", "postgresql://host/db?password=***&sslmode=***"),
        ("https://host/?token", "https://host/?***"),
        ("'HTTP://U:P@HOST/'", "'HTTP://***@HOST/'"),
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
        ("sqlite:///file?key=secret", "sqlite:///file?key=***"),
        ("http://host:5000/path", "http://host:5000/path"),
        ("connection to host=h password=secret failed", "connection to host=h password=*** failed"),
        ("no URL at all, me@home", "no URL at all, me@home"),
    ],
)
def test_secrets_are_not_shown(text: str, shown: str) -> None:
    """What may be secret in a text is hidden; host, port, path and all else stay."""
    assert without_secrets(text) == shown


SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=12)


@given(SECRET, st.sampled_from(["http", "https", "postgresql", "postgresql+psycopg", "mysql", "mssql+pyodbc"]))
def test_no_form_of_a_secret_is_shown(drawn: str, scheme: str) -> None:
    """Wherever a URL carries a secret, of whatever characters, it is not in what is shown."""
    secret = f"Zq{drawn}qZ"
    encoded = "".join(f"%{ord(letter):02X}" for letter in secret)
    plain = "".join(letter for letter in secret if letter.isalnum())
    texts = [f"{scheme}://me:{secret}@host/db", f"{scheme}://{secret}@host", f"{scheme}://:{secret}@host:1/db"]
    texts += [f"{scheme}://{part}@host/db?password={part}&token={part}" for part in (plain, encoded)]
    for text in texts:
        shown = without_secrets(f"it failed: {text} cannot be reached")
        assert not any(item in shown for item in (secret, encoded, plain)) and "cannot be reached" in shown


@example(name="100%20 %s")
@example(name="a?b=c")
@given(name=st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1))
def test_a_file_of_any_name_has_a_url_of_its_own(name: str) -> None:
    """SQLAlchemy opens the file that was meant, whatever signs are in its path, and so do we."""
    file = Path("/homes") / name / "study.db"
    assert sqlalchemy.make_url(sqlite_url(file)).database == str(file)
    assert sqlite_file(sqlite_url(file)) == file


def test_settings_of_a_url_are_no_part_of_the_file() -> None:
    """What follows the question mark is left out; other databases, and one in memory, are no file."""
    assert sqlite_file("sqlite:////x/study.db?timeout=5") == Path("/x/study.db")
    assert sqlite_file("sqlite:///:memory:") is sqlite_file("postgresql://h/db") is None
