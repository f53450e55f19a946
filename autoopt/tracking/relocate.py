"""MLflow's database keeps whole paths; a home folder may be copied, moved and renamed all the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from autoopt.core.urls import sqlite_file

EXPERIMENT = "autoopt-"
"""The experiment of a workload is this and its name."""
_MODELS = (("logged_models", "artifact_location"), ("model_versions", "storage_location"))
"""Tables and columns that say where the files of registered models lie."""


def artifacts_uri(home: Path) -> str:
    """Where the files of runs lie in a home folder."""
    return (home / "artifacts").resolve().as_uri()


def relocate(uri: str, home: Path) -> bool:
    """Let the database of a home folder name the files beside it, where it names those of another folder.

    Without this a copy of a home would write into the original. A database elsewhere, and a server, are left alone.
    Returns whether anything was changed. Raises sqlite3.Error for a database that cannot be used.
    """
    file = sqlite_file(uri)
    if file is None or file.resolve() != (home / "mlflow.db").resolve() or not file.is_file():
        return False
    here, changed = artifacts_uri(home), False
    with closing(sqlite3.connect(file)) as database, database:
        found = database.execute(
            "SELECT experiment_id, artifact_location FROM experiments WHERE name LIKE ? AND artifact_location <> ?",
            (f"{EXPERIMENT}%", here),
        )
        for experiment, there in found.fetchall():
            database.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (here, experiment))
            database.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
                "WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
                (here, len(there) + 1, experiment, len(there) + 1, f"{there}/"),
            )
            for table, column in _MODELS:
                if database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                    database.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # noqa: S608
                        (here, len(there) + 1, len(there) + 1, f"{there}/"),
                    )
            changed = True
    return changed
