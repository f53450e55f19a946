"""Cases as files: what every layout gives, and the columns that say of which patient and split a case is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autoopt.workloads.contract import SPLITS, SplitName

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
VOLUMES = (".nii.gz", ".nii")
ARRAYS = (".npy",)
SUFFIXES = (*PICTURES, *VOLUMES, *ARRAYS)
MANIFEST = "manifest.csv"
GROUPS = ("patient", "patientid", "group", "groupid", "subject", "subjectid", "case", "caseid")
"""Columns that name what must not be split, the first of them that is there; in any case, `patient_id` too."""
SPLIT_NAMES: Mapping[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "calibration": "calibration",
}


@dataclass(frozen=True)
class Source:
    """Where an array lies: a file, for npz its `key`, and where many cases are in one array the `index`."""

    path: Path
    key: str | None = None
    index: int | None = None

    def __str__(self) -> str:
        member = "" if self.key is None else f" ({self.key})"
        return f"{self.path}{member}" if self.index is None else f"{self.path}{member} case {self.index}"


@dataclass(frozen=True)
class Item:
    """One case. `label` is the source of a label map, a class, or 0 / 1 for each of several labels."""

    name: str
    group: str
    split: SplitName | None
    images: tuple[Source, ...]
    label: Source | str | tuple[int, ...]
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[Source, ...]:
        """All that is read of the case, the images first."""
        return (*self.images, self.label) if isinstance(self.label, Source) else self.images


@dataclass(frozen=True)
class Found:
    """The cases of a folder and, in a few words, how it was read.

    `names` are those of several labels at once; `named` says whether the folder named them itself.
    """

    items: list[Item]
    description: str
    names: tuple[str, ...] = ()
    named: bool = True


def suffix_of(path: Path) -> str:
    """The ending that tells the format, in lower case; .nii.gz is one. Empty for a file that is no image."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def images_in(folder: Path) -> list[Path]:
    """The files that may be images, sorted; hidden ones, such as those of a file manager, are none."""
    return [path for path in sorted(folder.iterdir()) if suffix_of(path) and not path.name.startswith(".")]


def group_column(columns: Iterable[str]) -> str | None:
    """The column that names the patient."""
    by_name = {column.lower().replace("_", "").strip(): column for column in columns}
    return next((by_name[name] for name in GROUPS if name in by_name), None)


def split_column(columns: Iterable[str]) -> str | None:
    """The column that names the split."""
    return next((column for column in columns if column.strip().lower() == "split"), None)


def split_named(text: str, where: str, problems: list[str]) -> SplitName | None:
    """The split that a text names, None for an empty one; what else it is joins `problems`."""
    split = SPLIT_NAMES.get(text.strip().lower())
    if split is None and text.strip():
        problems.append(f"{where}: split must be one of {', '.join(SPLITS)}, got {text!r}")
    return split


@dataclass(frozen=True)
class Columns:
    """Which columns of a table say what; read once for all of its lines."""

    group: str | None
    split: str | None

    @classmethod
    def of(cls, names: Sequence[str]) -> Columns:
        """Found among the names of a table's columns."""
        return cls(group_column(names), split_column(names))

    def read(self, line: Mapping[str, str], name: str, where: str, problems: list[str]) -> tuple[str, SplitName | None]:
        """Group and split of a line; without such a column the case is a group of its own."""
        group = line[self.group].strip() if self.group else name
        if not group:
            problems.append(f"{where}: {self.group} must not be empty, it keeps a patient in one split")
        return group, split_named(line[self.split], where, problems) if self.split else None
