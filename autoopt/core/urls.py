"""URLs in messages: what may be secret in them is never shown."""

from __future__ import annotations

import re

HIDDEN = "***"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(\S+)")
_SETTING = re.compile(
    r"(?i)\b(pass(?:word|wd|phrase)?|pwd|token|secret|api_?key|access_?key)(\s*[=:]\s*)([^\s&,;'\"]+)"
)


def without_secrets(text: str) -> str:
    """`text` with what may be secret hidden: libraries quote whole URLs in their error messages.

    Of every URL that is all between `//` and the last `@` (a user alone may be a token, a password may hold any
    character) and every value of its query; elsewhere what follows words such as password= and token=.
    """
    return _SETTING.sub(rf"\1\2{HIDDEN}", _URL.sub(_hidden, text))


def _hidden(found: re.Match[str]) -> str:
    scheme, rest = found.groups()
    if not rest.startswith("/"):  # else a file, which has no user
        user, at, place = rest.rpartition("@")
        rest = f"{HIDDEN}{at}{place}" if user or at else rest
    place, question, query = rest.partition("?")
    if question:
        query = re.sub(r"=[^&#\s'\")\]]*", f"={HIDDEN}", query) if "=" in query else HIDDEN
    return f"{scheme}{place}{question}{query}"
