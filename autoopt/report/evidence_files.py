"""What a report found out beyond the records, kept in the home folder: one file per study, trial and kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoopt.core.card import StudyCard
from autoopt.core.configuration import canonical_json, digest
from autoopt.core.plain_text import parse_json, read_bounded
from autoopt.core.records import TrialRecord
from autoopt.core.store import write_atomic
from autoopt.errors import StorageError

FOLDER = "evidence"
"""Where the files are, in the home folder."""
SCHEMA = 1
MOST_BYTES = 8_000_000


def evidence_file(home: Path, card: StudyCard, record: TrialRecord, kind: str, more: Mapping[str, Any]) -> Path:
    """The file of a kind of evidence; its name changes with the study, the trial, its artifact and `more`."""
    facts = {
        "schema": SCHEMA,
        "study": card.id,
        "identity": card.identity(),
        "configuration": record.configuration.digest,
        "artifacts": list(record.artifacts),
        "more": dict(more),
    }
    study = re.sub(r"[^A-Za-z0-9._-]", "_", card.name)[:60]
    return home / FOLDER / f"{study}-{record.number}-{kind}-{digest(facts)[:12]}.json"


def write_evidence(path: Path, value: Mapping[str, Any]) -> str:
    """Write a file whole or not at all; why it could not be written, else nothing: a report is worth more than it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, canonical_json(value).encode())
    except (OSError, StorageError) as error:
        return f"it could not be kept in {path.parent}: {error}"
    return ""


def read_evidence(path: Path) -> dict[str, Any] | None:
    """The content of a file; None where there is none, or one that cannot be read, which is then made again."""
    try:
        value = parse_json(read_bounded(path, MOST_BYTES))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
