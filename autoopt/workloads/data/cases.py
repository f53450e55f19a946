"""Cases as files: what a data folder holds, made into four splits, and what identifies it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from autoopt.core.configuration import digest
from autoopt.core.plain_text import parse_json
from autoopt.core.store import file_digest
from autoopt.errors import DataError
from autoopt.workloads.checks import first_problems
from autoopt.workloads.contract import SPLITS, Case, Sample, SplitName, Splits
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.manifest import MANIFEST, NAME, lines_of_files, read_manifest
from autoopt.workloads.splitting import calibration_cases, may_share_a_group, split_by_group

DEMO = "demo.json"
"""In a folder of generated data: who made it, and the digest of its content."""
DRAWS = 100
"""So many random splits are drawn until one leaves out no label."""


@dataclass(frozen=True)
class Item:
    """One case as files.

    `label` is the source of a label map, the name of a class, or in a multilabel task 0 / 1 for each label. `split` is
    None until somebody gives one. `where` names the line of the manifest in messages, "" where there is none.
    """

    name: str
    group: str
    split: SplitName | None
    images: tuple[Source, ...]
    label: Source | str | tuple[int, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    where: str = ""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Everything that is read of the case, the images first."""
        return (*self.images, self.label) if isinstance(self.label, Source) else self.images


@dataclass(frozen=True)
class Found:
    """The cases of a folder and, in a few words, how it was read.

    `label_names` are those of a multilabel task; `named` says whether they come from the folder or were made up.
    """

    items: list[Item]
    description: str
    label_names: tuple[str, ...] = ()
    named: bool = True


Files = Mapping[str, tuple[Sequence[Source], Source | str | tuple[int, ...]]]
"""By the name of a case: its images and its label, as `Item` has them."""


def items_of(
    folder: Path,
    files: Files,
    problems: list[str],
    *,
    described: str,
    group: str | None = None,
    others: Collection[str] = (),
) -> list[Item]:
    """The cases with these files, and what manifest.csv says of them, if the folder has one.

    In the order of the manifest, else of `files`; without a manifest every case is a patient of its own. What is wrong
    joins `problems`. `group` is that of `read_manifest`, `described` and `others` those of `lines_of_files`.
    """
    path = folder / MANIFEST
    if not path.exists():
        return [Item(name, name, None, tuple(images), label) for name, (images, label) in files.items()]
    manifest = read_manifest(path, problems, group=group)
    if manifest is None:
        return []
    items = []
    for name, line in lines_of_files(manifest, files, problems, described=described, others=others).items():
        patient, split = manifest.group_and_split(line, name, problems)
        images, label = files[name]
        items.append(Item(name, patient, split, tuple(images), label, manifest.tags(line, NAME), line.where))
    return items


def split_items(
    folder: Path,
    items: Sequence[Item],
    problems_of: Callable[[Sequence[Item]], list[str]] = lambda items: [],
    *,
    by_class: bool = True,
) -> list[Item]:
    """The cases, each with a split, calibration included: those given, else random ones of whole patients.

    `problems_of` says what is wrong with a choice of splits, such as a label that is missing in one: random splits are
    drawn until nothing is. With `by_class` the cases of each class are split by themselves, where that can be. Raises
    DataError for a patient in two splits and for a split without cases.
    """
    given = {item.split for item in items}
    if None in given and len(given) > 1:
        missing = next(item for item in items if item.split is None)
        raise DataError(f"{missing.where or folder}: every case must have a split or none, {missing.name} has none")
    groups = len({item.group for item in items})
    if None in given and groups < 3:
        raise DataError(
            f"{folder} must have cases of at least three patients to be split into train, val and test, "
            f"it has {len(items)} of {groups}: add cases of other patients"
        )
    problems: list[str] = []
    parts = [] if None not in given else _classes_apart(items) if by_class else [list(items)]
    for seed in range(DRAWS if parts else 1):
        drawn: dict[str, SplitName] = {}
        for part in parts:
            drawn |= split_by_group([(item.name, item.group) for item in part], seed=seed)
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
    """The digest of a file, or of the names and contents of all files in a folder that is one image."""
    if not path.is_dir():
        return file_digest(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
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
    """The cases with a calibration split, taken from train where nobody gave one."""
    if any(item.split == "calibration" for item in items):
        return list(items)
    chosen = calibration_cases([(item.name, item.group) for item in items if item.split == "train"])
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
