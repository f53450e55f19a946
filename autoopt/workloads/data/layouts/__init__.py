"""What the files of a data folder are, found by looking: the layouts that `dataset.py` names."""

from __future__ import annotations

from pathlib import Path

from autoopt.errors import DataError
from autoopt.workloads.contract import Task
from autoopt.workloads.data.layouts.archives import read_archives
from autoopt.workloads.data.layouts.folders import IMAGES, MASKS, has_classes, has_pairs, read_classes, read_pairs
from autoopt.workloads.data.layouts.items import Found
from autoopt.workloads.data.layouts.tables import CHANNEL, LABEL, case_table, read_case_table

MOST_NAMES = 8


def find_items(folder: Path, task: Task) -> Found:
    """The cases in a folder, by the one layout that fits. Raises DataError with what was looked for and is there.

    The files that a table names lie in folders of any name: those are no layout beside it.
    """
    table = case_table(folder)
    archives = [path for path in sorted(folder.glob("*.npz")) if not path.name.startswith(".")]
    fitting = {
        "a table": table is not None,
        "pairs": has_pairs(folder) and not (table and _names_files_below(table, (IMAGES, MASKS))),
        "class folders": task == "classification" and table is None and has_classes(folder),
        "npz files": bool(archives),
    }
    names = [name for name, fits in fitting.items() if fits]
    if len(names) != 1:
        paths = [path.name for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        there = ", ".join(paths[:MOST_NAMES]) + (" ..." if len(paths) > MOST_NAMES else "") or "nothing"
        what = f"it fits {' and '.join(names)}, leave one of them in it" if names else f"it holds {there}"
        raise DataError(
            f"{folder} must have one layout that a {task} can be read from (a CSV with the columns {CHANNEL}0 and "
            f"{LABEL}; {IMAGES}/ and {MASKS}/; a folder per class; npz files with image and label): {what}. "
            "See docs/workloads.md"
        )
    if table is not None:
        return read_case_table(table, task)
    if fitting["pairs"]:
        return read_pairs(folder, task)
    return read_classes(folder) if fitting["class folders"] else read_archives(folder, archives, task)


def _names_files_below(table: Path, folders: tuple[str, ...]) -> bool:
    text = table.read_bytes()
    return any(f"{folder}{slash}".encode() in text for folder in folders for slash in "/\\")
