"""How somebody's data folder is laid out: exactly one of the layouts in `LAYOUTS` must fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoopt.core.tables import Table
from autoopt.errors import DataError
from autoopt.workloads.contract import Task
from autoopt.workloads.data.cases import Found
from autoopt.workloads.data.columns import is_known
from autoopt.workloads.data.csv_text import read_rows
from autoopt.workloads.data.layouts.several_files import hint, read_several
from autoopt.workloads.data.manifest import find_table

LAYOUTS = Table(
    "layout of a data folder",
    {
        "a table": "autoopt.workloads.data.layouts.tables",
        "pairs": "autoopt.workloads.data.layouts.pairs",
        "masks beside images": "autoopt.workloads.data.layouts.beside",
        "class folders": "autoopt.workloads.data.layouts.classes",
        "npz files": "autoopt.workloads.data.layouts.archives",
        "nnU-Net": "autoopt.workloads.data.layouts.nnunet",
    },
)
"""What messages call a layout, to its module. Such a module has `DESCRIPTION`, a few words on what it looks like,
`fits(folder: Path, task) -> bool` and `read(folder: Path, task) -> Found`, which raises DataError with everything that
is wrong with names and tables; headers and label maps are looked at afterwards."""

MOST_NAMES = 8


def find_items(folder: Path, task: Task, suffixes: Sequence[str] = ()) -> Found:
    """The cases in a folder, by the one layout that fits; with `suffixes` each case has a file for each of them.

    Raises DataError with what was looked for and is there.
    """
    if suffixes:
        return read_several(folder, task, suffixes)
    layouts = {name: LAYOUTS.load(name) for name in LAYOUTS}
    fitting = [name for name, layout in layouts.items() if layout.fits(folder, task)]
    if len(fitting) != 1:
        paths = [path.name for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        there = ", ".join(paths[:MOST_NAMES]) + (" ..." if len(paths) > MOST_NAMES else "") or "nothing"
        what = f"it fits {' and '.join(fitting)}, leave one of them in it" if fitting else f"it holds {there}"
        what += "" if fitting else _what_the_table_lacks(folder, task)
        what += hint(folder) if not fitting and task == "segmentation" else ""
        raise DataError(
            f"{folder} must have one layout that a {task} can be read from "
            f"({'; '.join(layout.DESCRIPTION for layout in layouts.values())}): {what}. See docs/workloads.md"
        )
    found: Found = layouts[fitting[0]].read(folder, task)
    return found


def _what_the_table_lacks(folder: Path, task: Task) -> str:
    """What the table of a folder without another layout would have to name itself, as the end of a sentence."""
    path = find_table(folder)
    if path is None:
        return ""
    needs = f"Label with {'the file of the label map' if task == 'segmentation' else 'the class'}"
    came = ", ".join(read_rows(path, is_known).columns) or "none"
    return (
        f" ({path.name} alone would need the columns Channel_0 with the file of the image and {needs}, it has {came})"
    )
