"""Text for MLflow's notes, which are Markdown: escaped, in code blocks, and signed by a digest."""

from __future__ import annotations

import re
from collections.abc import Mapping

from autoopt.core.configuration import digest

NOTE, SIGNED = "mlflow.note.content", "autoopt.note"
"""The tags of a note and of its digest: what a person wrote or changed since is left alone."""
LONGEST = 5000
"""Characters of a tag that are kept; older servers of MLflow refuse more."""
_BEFORE = ("### Pareto front of ",)
"""How notes begin that earlier versions wrote, without a digest."""


def plain(text: str) -> str:
    """The text as Markdown that shows it as it is: no link, no picture, no HTML, one line."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", line)


def block(text: str, lines: int) -> str:
    """The last `lines` lines of a text, half a note at most, as a block of code, whatever is in it."""
    kept = "\n".join(text.strip("\n").splitlines()[-lines:])[-LONGEST // 2 :]
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", kept) or [""]))
    return f"{fence}\n{kept}\n{fence}"


def shortened(text: str) -> str:
    """The text as long as a note may be, cut after a line."""
    return text if len(text) <= LONGEST else text[:LONGEST].rpartition("\n")[0] or text[:LONGEST]


def note_tags(text: str, before: Mapping[str, str]) -> dict[str, str]:
    """The tags of a note beside the tags that are there: none where a person wrote the one that is there."""
    found = before.get(NOTE, "")
    ours = not found or digest(found) == before.get(SIGNED) or found.startswith(_BEFORE)
    return {NOTE: text, SIGNED: digest(text)} if ours else {}
