"""Cases as files: what a data folder holds, made into four splits, and what identifies it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path, PurePosixPath

from autoopt.core.configuration import digest
from autoopt.core.plain_text import parse_json
from autoopt.core.store import file_digest
from autoopt.errors import DataError
from autoopt.workloads.checks import first_problems
from autoopt.workloads.contract import SPLITS, Case, Sample, SplitName, Splits
from autoopt.workloads.data.columns import composed, ways_to_name
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.manifest import find_table, find_tables, lines_of_files, read_manifest
from autoopt.workloads.data.readers import files_of, name_of, patient_of
from autoopt.workloads.splitting import FRACTIONS, calibration_cases, may_share_a_group, split_by_group

DEMO = "demo.json"
"""In a folder of generated data: who made it, and the digest of its content."""
DRAWS = 100
"""So many random splits are drawn until one leaves out no label."""
TILE = re.compile(r"(?:.*/)?(?P<slide>[^/]+?) ?\[(?:[a-z]+=[0-9.]+,?)+\](?:\.[^/]*)?")
"""The name that QuPath gives a tile, such as "slide 3.svs [x=512,y=0,w=512,h=512]"."""


@dataclass(frozen=True)
class Item:
    """One case as files.

    `label` is the source of a label map, the name of a class, in a multilabel task 0 / 1 for each label, or all numbers
    that a regression may predict. `split` is
    None until somebody gives one. `where` names the line of the manifest in messages, "" where there is none.
    """

    name: str
    group: str
    split: SplitName | None
    images: tuple[Source, ...]
    label: Source | str | tuple[float, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    where: str = ""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Everything that is read of the case, the images first."""
        return (*self.images, self.label) if isinstance(self.label, Source) else self.images


@dataclass(frozen=True)
class Found:
    """The cases of a folder and, in a few words, how it was read.

    `label_names` are those of a multilabel task, or of the numbers of a regression; `named` says whether they come from
    the folder or were made up.
    `from_folders` says that the classes are names of folders, which many programs sort as text. `remarks` are sentences
    on what was understood without being asked. `map_labels` are the names of the values of label maps, where the folder
    says them, and `ignored` is the value in them that is not scored. With `draw_unseen` the cases without a split are
    drawn into val and test, and those in train are others. `regions` are names with the values of label maps that each
    of them covers: they are the labels of a multilabel task then. `gaps` are columns that hold numbers, but not in
    every line, so that no regression can predict them, with what is wrong.
    """

    items: list[Item]
    description: str
    label_names: tuple[str, ...] = ()
    named: bool = True
    from_folders: bool = False
    remarks: tuple[str, ...] = ()
    map_labels: tuple[str, ...] = ()
    ignored: int | None = None
    draw_unseen: bool = False
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    gaps: Mapping[str, str] = field(default_factory=dict)


Files = Mapping[str, tuple[Sequence[Source], Source | str | tuple[float, ...]]]
"""By the name of a case: its images and its label, as `Item` has them."""


def items_of(
    folder: Path,
    files: Files,
    problems: list[str],
    *,
    described: str,
    group: str | None = None,
    others: Collection[str] = (),
    remarks: list[str] | None = None,
) -> list[Item]:
    """The cases with these files, and what the table of the folder says of them, if it has one.

    In the order of the table, else of `files`. Where no column names the patient, every case is a patient of its own,
    but for tiles of one slide (`group_of`). What is wrong joins `problems`, what the user should know `remarks`.
    `group` is that of `read_manifest`, `described` and `others` those of `lines_of_files`.
    """
    remarks = [] if remarks is None else remarks
    try:
        path = find_table(folder)
    except DataError as error:
        problems += error.problems
        return []
    if path is None:
        items = [
            Item(name, group_of(name, images), None, tuple(images), label) for name, (images, label) in files.items()
        ]
        remarks += unknown_patients(folder, items)
        return items
    manifest = read_manifest(path, problems, group=group)
    if manifest is None:
        return []
    called = {name: _ways_to_name(folder, images) for name, (images, _) in files.items()}
    items = []
    for name, line in lines_of_files(manifest, called, problems, described=described, others=others).items():
        images, label = files[name]
        own = name if manifest.group else group_of(name, images)
        patient, split = manifest.group_and_split(line, own, problems)
        items.append(Item(name, patient, split, tuple(images), label, manifest.tags(line, *manifest.names), line.where))
    if group is None:
        patient = f"the patient is in its column {manifest.group}" if manifest.group else "no column names the patient"
        remarks.append(
            f"{path} was read: {patient}, {f'the split in {manifest.split}' if manifest.split else 'no split'}"
        )
    remarks += [] if manifest.group else unknown_patients(folder, items)
    remarks += [f"{other} is not read: {path.name} is" for other in find_tables(folder) if other != path]
    return items


def group_of(name: str, images: Sequence[Source] = ()) -> str:
    """What keeps a case with its like where no table names the patient.

    The patient that its first image tells (DICOM), or the slide of a tile, else the name itself.
    """
    tile = TILE.fullmatch(name)
    patient = patient_of(images[0]) if images else None
    return patient or (tile["slide"] if tile else name)


def unknown_patients(folder: Path, items: Sequence[Item]) -> list[str]:
    """What to say where no table names the patients: who told them, that tiles stay with their slide, or nobody."""
    told = [item for item in items if item.group not in (item.name, group_of(item.name))]
    if told:
        patients = len({item.group for item in told})
        here = f"{folder}: the patients are those that the files name (PatientID), {patients} in {len(told)} cases"
        items = [item for item in items if item not in told]
        return [here, *(unknown_patients(folder, items) if items else [])]
    if any(item.group != item.name for item in items):
        slides = len({item.group for item in items})
        return [f"{folder}: tiles of one slide, by their names, stay in one split: {slides} slides"]
    unknown = f"{folder}: nothing says which cases are of one patient, each counts as a patient of its own"
    return [f"{unknown}; where that is wrong, add manifest.csv with the columns name and patient"]


def _ways_to_name(folder: Path, images: Sequence[Source]) -> set[str]:
    """What a table may call the case with these files; one of many in an archive has its own name alone."""
    paths = {source.path for source in images if source.index is None and source.path.is_relative_to(folder)}
    return {
        way
        for path in paths
        for way in ways_to_name(PurePosixPath(composed(path.relative_to(folder).as_posix())), composed(name_of(path)))
    }


def split_items(
    folder: Path,
    items: Sequence[Item],
    problems_of: Callable[[Sequence[Item]], list[str]] = lambda items: [],
    *,
    by_class: bool = True,
    draw_val: bool = False,
    draw_unseen: bool = False,
) -> list[Item]:
    """The cases, each with a split, calibration included: those given, else random ones of whole patients.

    `problems_of` says what is wrong with a choice of splits, such as a label that is missing in one: random splits are
    drawn until nothing is. With `by_class` the cases of each class are split by themselves, where that can be. With
    `draw_val` val is drawn from train where only train and test are given, with `draw_unseen` val and test from cases
    without a split. Raises DataError for a patient in two splits and for a split without cases.
    """
    given = {item.split for item in items}
    if draw_unseen and None in given and given <= {None, "train", "calibration"}:
        return _with_judged(folder, items, problems_of)
    if draw_val and lacks_val(items):
        return _with_val(folder, items, problems_of)
    if None in given and len(given) > 1:
        missing = next(item for item in items if item.split is None)
        raise DataError(f"{missing.where or folder}: every case must have a split or none, {missing.name} has none")
    groups = len({item.group for item in items})
    if None in given and groups < 3:
        raise DataError(
            f"{folder} must have cases of at least three patients to be split into train, val and test, "
            f"it has {len(items)} of {groups}: add cases of other patients"
        )
    parts = [] if None not in given else _classes_apart(items) if by_class else [list(items)]
    return _drawn(folder, items, parts, FRACTIONS, problems_of)


def lacks_val(items: Sequence[Item]) -> bool:
    """Whether somebody gave splits, train and test among them, but no case is in val."""
    given = {item.split for item in items}
    return {"train", "test"} <= given and not given & {None, "val"}


def _with_val(folder: Path, items: Sequence[Item], problems_of: Callable[[Sequence[Item]], list[str]]) -> list[Item]:
    """The cases with a val split that is drawn from train, whole patients."""
    train = [replace(item, split=None) for item in items if item.split == "train"]
    groups = len({item.group for item in train})
    if groups < 3:
        raise DataError(
            f"{folder} must have cases of at least three patients in train, so that val can be drawn from them, it has "
            f"{groups}: give some cases the split val"
        )
    both = FRACTIONS["train"] + FRACTIONS["val"]
    shares: dict[SplitName, float] = {"train": FRACTIONS["train"] / both, "val": FRACTIONS["val"] / both}
    return _drawn(
        folder, [*train, *(item for item in items if item.split != "train")], _classes_apart(train), shares, problems_of
    )


def _with_judged(folder: Path, items: Sequence[Item], problems_of: Callable[[Sequence[Item]], list[str]]) -> list[Item]:
    """The cases with val and test, one half each of the cases without a split, whole patients."""
    unseen = [item for item in items if item.split is None]
    groups = len({item.group for item in unseen})
    if groups < 2:
        raise DataError(
            f"{folder} must have cases of at least two patients that the model has not seen, one for val and one for "
            f"test, it has {groups}: add some"
        )
    return _drawn(folder, items, [unseen], {"val": 0.5, "test": 0.5}, problems_of)


def _drawn(
    folder: Path,
    items: Sequence[Item],
    parts: Sequence[Sequence[Item]],
    shares: Mapping[SplitName, float],
    problems_of: Callable[[Sequence[Item]], list[str]],
) -> list[Item]:
    """The cases with the splits that they have; those of `parts` with random ones, drawn until nothing is wrong."""
    problems: list[str] = []
    for seed in range(DRAWS if parts else 1):
        drawn: dict[str, SplitName] = {}
        for part in parts:
            drawn |= split_by_group([(item.name, item.group) for item in part], shares, seed)
        chosen = [replace(item, split=item.split or drawn[item.name]) for item in items]
        chosen = _with_calibration(chosen)
        _check_splits(folder, chosen)
        again = problems_of(chosen)
        if not again:
            return chosen
        problems = problems or again
    raise DataError(*first_problems(problems))


def to_splits(items: Sequence[Item], read: Callable[[Item], Sample]) -> Splits:
    """The cases in their four splits, each read by `read` when it is needed."""

    def case(item: Item) -> Case:
        return Case(item.name, item.group, lambda: read(item), item.tags)

    return Splits(*(tuple(case(item) for item in items if item.split == split) for split in SPLITS))


def data_digest(folder: Path, items: Sequence[Item]) -> str:
    """What identifies the cases: names, patients, splits and the bytes of their files.

    A generator of demo data states the digest of its arrays in demo.json, because compressed files of the
    same content differ between versions of zlib. Raises DataError where that file cannot be read.
    """
    stated = folder / DEMO
    if stated.is_file():
        try:
            return str(parse_json(stated.read_text())["digest"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{stated} must be JSON with the digest of generated data: delete {folder}") from error
    digest_of = cache(_content_digest)  # many cases may lie in one file
    total = hashlib.sha256()
    for item in sorted(items, key=lambda item: item.name):
        digests = [digest_of(path) for path in sorted({source.path for source in item.sources})]
        total.update(digest([item.name, item.group, item.split, *digests]).encode())
    return total.hexdigest()


def repeated_images(items: Sequence[Item]) -> list[str]:
    """The cases whose images another case before them has, as sentences."""
    seen, problems = set[tuple[Source, ...]](), []
    for item in items:
        if item.images in seen:
            problems.append(f"{item.where}: {item.images[0].path.name} is there twice")
        seen.add(item.images)
    return problems


def check_folder(folder: Path) -> None:
    """Raise DataError unless the data folder is a folder."""
    if not folder.is_dir():
        raise DataError(f"the data folder must be a folder, {folder} is {'a file' if folder.exists() else 'not there'}")


def raise_problems(problems: Sequence[str]) -> None:
    """Raise DataError with the first problems and the number of the others; nothing without any."""
    if problems:
        raise DataError(*first_problems(list(problems)))


def _content_digest(path: Path) -> str:
    """The digest of a file; of an image in several, a folder or a header and its voxels, that of names and contents."""
    files = files_of(path)
    if files == [path]:
        return file_digest(path)
    path = path if path.is_dir() else path.parent
    return digest([[file.relative_to(path).as_posix(), file_digest(file)] for file in files])


def _classes_apart(items: Sequence[Item]) -> list[list[Item]]:
    """The cases of each class, so that no split lacks one; all together where a patient is in two or they are few."""
    classes: dict[object, list[Item]] = {}
    for item in items:
        classes.setdefault(item.label if isinstance(item.label, str) else None, []).append(item)
    groups = [{item.group for item in part} for part in classes.values()]
    mixed = sum(len(part) for part in groups) > len(set().union(*groups))
    return [list(items)] if mixed or min(len(part) for part in groups) < 3 else list(classes.values())


def _with_calibration(items: Sequence[Item]) -> list[Item]:
    """The cases with a calibration split, taken from train where nobody gave one; it takes no class as a whole."""
    if any(item.split == "calibration" for item in items):
        return list(items)
    train = [item for item in items if item.split == "train"]
    chosen = calibration_cases([(item.name, item.group) for item in train])
    left = {item.label for item in train if item.name not in chosen and isinstance(item.label, str)}
    spared = set(chosen)
    for item in train:
        if isinstance(item.label, str) and item.label not in left:
            spared -= {other.name for other in train if other.group == item.group}
            left.add(item.label)
    chosen = spared or chosen  # a split without cases would be worse: the class that train lacks is said
    return [
        replace(item, split="calibration") if item.split == "train" and item.name in chosen else item for item in items
    ]


def _check_splits(folder: Path, items: Sequence[Item]) -> None:
    first: dict[str, SplitName | None] = {}
    problems = []
    for item in items:
        before = first.setdefault(item.group, item.split)
        assert before is not None and item.split is not None
        if not may_share_a_group(before, item.split):
            problems.append(
                f"{folder}: {item.group!r} is in {before} and, with {item.name}, in {item.split}: "
                "give all cases of a patient one split"
            )
    empty = [split for split in SPLITS if all(item.split != split for item in items)]
    if empty:
        problems.append(
            f"{folder} must have cases in train (at least two of them), val and test; none are in {', '.join(empty)}"
        )
    raise_problems(problems)
