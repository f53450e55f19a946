"""How somebody's data folder is laid out: exactly one of the layouts in `LAYOUTS` must fit."""

from __future__ import annotations

from pathlib import Path

from autoopt.core.tables import Table
from autoopt.errors import DataError
from autoopt.workloads.contract import Task
from autoopt.workloads.data.cases import Found

LAYOUTS = Table(
    "layout of a data folder",
    {
        "a table": "autoopt.workloads.data.layouts.tables",
        "pairs": "autoopt.workloads.data.layouts.pairs",
        "class folders": "autoopt.workloads.data.layouts.classes",
        "npz files": "autoopt.workloads.data.layouts.archives",
    },
)
"""What messages call a layout, to its module. Such a module has `DESCRIPTION`, a few words on what it looks like,
`fits(folder: Path, task) -> bool` and `read(folder: Path, task) -> Found`, which raises DataError with everything that
is wrong with names and tables; headers and label maps are looked at afterwards."""

MOST_NAMES = 8


def find_items(folder: Path, task: Task) -> Found:
    """The cases in a folder, by the one layout that fits. Raises DataError with what was looked for and is there."""
    layouts = {name: LAYOUTS.load(name) for name in LAYOUTS}
    fitting = [name for name, layout in layouts.items() if layout.fits(folder, task)]
    if len(fitting) != 1:
        paths = [path.name for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        there = ", ".join(paths[:MOST_NAMES]) + (" ..." if len(paths) > MOST_NAMES else "") or "nothing"
        what = f"it fits {' and '.join(fitting)}, leave one of them in it" if fitting else f"it holds {there}"
        raise DataError(
            f"{folder} must have one layout that a {task} can be read from "
            f"({'; '.join(layout.DESCRIPTION for layout in layouts.values())}): {what}. See docs/workloads.md"
        )
    found: Found = layouts[fitting[0]].read(folder, task)
    return found
