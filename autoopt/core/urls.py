"""URLs of servers in messages."""

from __future__ import annotations

import re


def without_password(text: str) -> str:
    """`text` with the password removed from every URL in it: libraries quote whole URLs in their error messages."""
    return re.sub(r"(?<=://)([^/@:\s]*):[^/@\s]*@", r"\1@", text)
