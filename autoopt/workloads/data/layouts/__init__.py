"""How somebody's data folder is laid out: exactly one of the layouts in `LAYOUTS` must fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from autoopt.core.tables import Table
from autoopt.errors import DataError
from autoopt.workloads.contract import Task
from autoopt.workloads.data.cases import Found, Item
from autoopt.workloads.data.columns import is_known
from autoopt.workloads.data.csv_text import read_rows
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.layouts.several_files import hint, read_several
from autoopt.workloads.data.manifest import find_table
from autoopt.workloads.data.readers import of_series, on_grid

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


def find_items(folder: Path, task: Task, suffixes: Sequence[str] = (), series: str | None = None) -> Found:
    """The cases in a folder, by the one layout that fits; with `suffixes` each case has a file for each of them.

    `series` chooses among those of a folder of DICOM files. Raises DataError with what was looked for and is there.
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
    items = [_with_series(item, series) for item in found.items]
    if series is not None and not any(source.key == series for item in items for source in item.images):
        raise DataError(
            f"{folder} must hold folders of DICOM files to choose a series, it holds none: leave series out"
        )
    return replace(found, items=items)


def _with_series(item: Item, series: str | None) -> Item:
    """The case with its label map laid on its first image, where the map does not say a grid of its own."""
    images = tuple(of_series(source, series) for source in item.images)
    label = on_grid(item.label, images[0]) if isinstance(item.label, Source) else item.label
    return replace(item, images=images, label=label)


def _what_the_table_lacks(folder: Path, task: Task) -> str:
    """What the table of a folder without another layout would have to name itself, as the end of a sentence."""
    path = find_table(folder)
    if path is None:
        return ""
    wanted = {
        "segmentation": "Label with the file of the label map",
        "classification": "Label with the class",
        "regression": "another with a number in every line",
    }
    came = ", ".join(read_rows(path, is_known).columns) or "none"
    return (
        f" ({path.name} alone would need the columns Channel_0 with the file of the image and "
        f"{wanted[task]}, it has {came})"
    )
