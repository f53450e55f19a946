"""What the columns of a table of cases are called: patient, split, image, label. Case, space, `_` and `-` do not count.

A name that is not here means nothing to this program: its column is a tag of the case.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from autoopt.core.plain_text import short
from autoopt.workloads.contract import SplitName

NAME, SPLIT = "name", "split"
GROUPS = (
    *("patient", "patientid", "patientnumber", "patientname", "patientcode", "group", "groupid"),
    *("subject", "subjectid", "participant", "participantid", "case", "caseid", "pid", "mrn"),
    *("lesion", "lesionid", "slide", "slideid"),
)
"""Columns that name the patient, or whatever else must be in one split; the first of them that is there counts."""
SPLITS = ("split", "datasplit", "subset", "partition", "set")
"""Columns that name the split. All but the first count only where their cells name splits."""
SPLIT_NAMES: Mapping[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "calibration": "calibration",
}
NAMES = (
    *("name", "filename", "file", "filepath", "image", "imagename", "imageid", "imagefile", "imagefilename"),
    *("imagepath", "imageindex", "img", "imgname", "imgid", "imgpath", "path", "tile", "tilename", "id"),
)
"""Columns that name the image, as a path or by its name alone."""
MASKS = ("label", "mask", "segmentation", "seg", "groundtruth", "annotation", "labelpath", "maskpath", "maskfile")
"""Columns that name the label map of a segmentation."""
CLASSES = ("valuetopredict", "label", "class", "classname", "classid", "labelname", "target", "diagnosis", "category")
"""Columns that name the class of a classification."""
SUBJECTS = ("subjectid", "subject")
"""Columns whose cells are the names of the cases of GaNDLF's tables."""
CHANNEL = re.compile(r"(?:channel|modality|image|img)([0-9]{1,4})")
MULTILABEL = "label_"


def plain(column: str) -> str:
    """The name of a column in small letters and digits alone: "Patient ID", "patient_id" and "PatientID" are one."""
    return "".join(letter for letter in column.casefold() if letter.isalnum())


def composed(text: str) -> str:
    """The text with accents in one form (NFC), in which names are compared: a disk may keep them in another."""
    return unicodedata.normalize("NFC", text)


def first_of(names: Iterable[str], columns: Iterable[str]) -> str | None:
    """The column that has the first of these plain names, None where none has one."""
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(plain(column), column)
    return next((by_name[name] for name in names if name in by_name), None)


def all_of(names: Iterable[str], columns: Iterable[str]) -> tuple[str, ...]:
    """All columns that have one of these plain names, in the order of the names."""
    there = list(columns)
    return tuple(column for name in names for column in there if plain(column) == name)


def channels_of(columns: Iterable[str]) -> tuple[str, ...]:
    """The columns that name the image file of each channel, in order: Channel_0, Modality_1, ... as GaNDLF has them."""
    found = {column: CHANNEL.fullmatch(plain(column)) for column in columns}
    return tuple(sorted((name for name, match in found.items() if match), key=lambda name: int(found[name][1])))  # type: ignore[index]


def labels_of(columns: Iterable[str]) -> tuple[str, ...]:
    """The columns of a multilabel table, Label_NAME, that say 0 or 1 for each label."""
    return tuple(
        column for column in columns if column.lower().startswith(MULTILABEL) and plain(column) not in MASKS + CLASSES
    )


def is_known(column: str) -> bool:
    """Whether a column of this name means something here."""
    known = plain(column) in {*GROUPS, *SPLITS, *NAMES, *MASKS, *CLASSES}
    return known or bool(channels_of([column])) or bool(labels_of([column]))


def split_named(text: str, where: str, problems: list[str]) -> SplitName | None:
    """The split that a text names, None for an empty one; another text joins `problems`."""
    split = SPLIT_NAMES.get(text.strip().lower())
    if split is None and text.strip():
        problems.append(f"{where}: split must be train, val, test or calibration, got {short(text)}")
    return split


def ways_to_name(path: PurePosixPath, name: str) -> set[str]:
    """What a table may call a file below the data folder: its path or its file name, each also without the ending.

    `name` is the name of the file without its ending.
    """
    return {path.as_posix(), path.name, name, (path.parent / name).as_posix()}
