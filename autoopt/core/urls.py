"""URLs: what may be secret is never shown in messages; those of SQLite files name the file whatever it is called."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

HIDDEN = "***"
SQLITE = "sqlite:///"
MOST_CHARACTERS = 10_000
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(\S+)")
_SETTING = re.compile(
    r"(?i)\b(pass(?:word|wd|phrase)?|pwd|token|secret|api_?key|access_?key)(\s*[=:]\s*)([^\s&,;'\"]+)"
)


def without_secrets(text: str) -> str:
    """`text` with what may be secret hidden: libraries quote whole URLs in their error messages.

    Of every URL that is all between `//` and the last `@` (a user alone may be a token, a password may hold any
    character) and every value of its query; elsewhere what follows words such as password= and token=. Of a longer text
    only the first `MOST_CHARACTERS` come back: a damaged storage makes libraries say megabytes.
    """
    text = text[:MOST_CHARACTERS]
    return _SETTING.sub(rf"\1\2{HIDDEN}", _URL.sub(_hidden, text))


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite file; SQLAlchemy takes what follows % for a code, and ? for the begin of settings."""
    return SQLITE + str(file).replace("%", "%25").replace("?", "%3F")


def sqlite_file(url: str) -> Path | None:
    """The file that a URL of SQLite names; None for other databases and for one in memory."""
    name = url.removeprefix(SQLITE).partition("?")[0]
    return Path(unquote(name)) if url.startswith(SQLITE) and ":memory:" not in name else None


def _hidden(found: re.Match[str]) -> str:
    scheme, rest = found.groups()
    if not rest.startswith("/"):  # else a file, which has no user
        user, at, place = rest.rpartition("@")
        rest = f"{HIDDEN}{at}{place}" if user or at else rest
    place, question, query = rest.partition("?")
    if question:
        query = re.sub(r"=[^&#\s'\")\]]*", f"={HIDDEN}", query) if "=" in query else HIDDEN
    return f"{scheme}{place}{question}{query}"
