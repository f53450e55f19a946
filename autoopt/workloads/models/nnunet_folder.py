"""A model that nnU-Net v2 trained, as it lies on disk: its folder, that of its data set, or the zip of its export."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from autoopt.core.plain_text import MOST_BYTES, short
from autoopt.errors import WorkloadError
from autoopt.workloads.data.nnunet_labels import DATASET, DatasetFacts, parse_dataset
from autoopt.workloads.models.nnunet_checkpoint import CheckpointFacts, read_facts
from autoopt.workloads.models.nnunet_plans import PLANS, Plans, read_plans

CHECKPOINTS = {"final": "checkpoint_final.pth", "best": "checkpoint_best.pth"}
FOLD = re.compile(r"fold_(\d{1,3}|all)")
ALL = "all"
"""The fold that was trained on every case."""
DEEPEST = 2
"""Folders below that of a data set, or of all results, in which a model is looked for."""
MOST_FILES = 100_000
MOST_PACKED = 100
"""A file that is so many times smaller in the zip was made to fill memory."""
MOST_NAMES = 8


@dataclass(frozen=True)
class Place:
    """Files of one folder: on disk, or `inside` a zip file."""

    path: Path
    inside: str | None = None

    def __str__(self) -> str:
        return f"{self.path}" if self.inside is None else f"{self.path} ({self.inside or 'its top'})"

    def name(self, file: str) -> str:
        """What messages call a file of the folder."""
        return f"{self.path / file}" if self.inside is None else f"{self.path} ({self.entry(file)})"

    def entry(self, file: str) -> str:
        """The name of a file in the zip; "" where there is none."""
        return "" if self.inside is None else str(PurePosixPath(self.inside, file))

    def file(self, file: str) -> Path:
        """The file on disk that holds it: the zip file where there is one."""
        return self.path / file if self.inside is None else self.path

    def read(self, file: str, most_bytes: int | None = None) -> bytes:
        """The content of a file. Raises WorkloadError naming it."""
        with self.open(file, most_bytes) as stream:
            data = stream.read() if most_bytes is None else stream.read(most_bytes + 1)
        if most_bytes is not None and len(data) > most_bytes:
            raise WorkloadError(f"{self.name(file)} must have at most {most_bytes / 1e6:g} MB, it has more")
        return data

    def open(self, file: str, most_bytes: int | None = None) -> IO[bytes]:
        """The file, to be read from; of a zip file at most so many bytes and one more. Raises WorkloadError."""
        try:
            if self.inside is not None:
                return io.BytesIO(read_entry(self.path, self.entry(file), most_bytes))
            if not (self.path / file).resolve().is_relative_to(self.path.resolve()):
                raise ValueError("it is a link that leads out of its folder, copy the file there")
            return (self.path / file).open("rb")
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            raise WorkloadError(f"{self.name(file)} must be readable: {str(error)[:200]}") from error


@dataclass(frozen=True)
class Trained:
    """A trained model: what its files say, and its `folds` in order. `checkpoint` is the name of their files."""

    place: Place
    plans: Plans
    dataset: DatasetFacts
    folds: tuple[str, ...]
    checkpoint: str
    trainer: str
    mirrored: tuple[int, ...]

    def weights(self, fold: str) -> tuple[Path, str]:
        """The file with the weights of a fold, and its entry where that is a zip file."""
        file = f"fold_{fold}/{self.checkpoint}"
        return self.place.file(file), self.place.entry(file)


def read_entry(path: Path, entry: str, most_bytes: int | None = None) -> bytes:
    """The content of one file in a zip file. Raises ValueError for one that is packed beyond reason."""
    with zipfile.ZipFile(path) as archive:
        item = archive.getinfo(entry)
        if item.file_size > MOST_PACKED * max(item.compress_size, 1000):
            raise ValueError(f"it unpacks to {item.file_size / 1e6:.0f} MB, {MOST_PACKED} times what it is")
        with archive.open(item) as stream:
            return stream.read() if most_bytes is None else stream.read(most_bytes + 1)


def find_models(path: Path) -> dict[str, Place]:
    """The trained models in a folder or zip file, by name, such as "nnUNetTrainer__nnUNetPlans__3d_fullres".

    A model is a folder with plans.json, dataset.json and fold_*. Empty where there is none.
    """
    if path.is_file():
        return _in_zip(path)
    found: dict[str, Place] = {}
    layer = [path]
    for _ in range(DEEPEST + 1):
        found |= {_called(path, folder): Place(folder) for folder in layer if _is_model(_names(folder))}
        if found:
            return found
        layer = [inner for folder in layer for inner in _folders_in(folder)]
    return found


def read_trained(path: Path, configuration: str | None, folds: str | None, checkpoint: str = "final") -> Trained:
    """The model at `path`; `configuration` tells several apart, `folds` is such as "0,1" or "all".

    Without `folds` all that are there count, numbered ones before `all`. Raises WorkloadError, or WeightsError for a
    checkpoint that is none.
    """
    place = _chosen(path, find_models(path), configuration)
    file = CHECKPOINTS[checkpoint]
    chosen = _folds(place, folds, file)
    facts: dict[str, CheckpointFacts] = {}
    for fold in chosen:
        with place.open(f"fold_{fold}/{file}") as stream:
            facts[fold] = read_facts(stream, place.name(f"fold_{fold}/{file}"))
    first = facts[chosen[0]]
    for fold, own in facts.items():
        if (own.configuration, own.trainer) != (first.configuration, first.trainer):
            raise WorkloadError(
                f"all folds of {place} must be of one configuration and trainer, fold {chosen[0]} is of "
                f"{first.configuration}, {first.trainer}, fold {fold} of {own.configuration}, {own.trainer}"
            )
    dataset = parse_dataset(place.read(DATASET, MOST_BYTES), place.name(DATASET))
    plans = read_plans(
        place.read(PLANS, MOST_BYTES), place.name(PLANS), first.configuration, len(dataset.channels), first.trainer
    )
    wrong = [axis for axis in first.mirrored if axis >= plans.dimensions]
    if wrong:
        raise WorkloadError(f"{place} must mirror axes that a {plans.dimensions}D network has, got {wrong}")
    return Trained(place, plans, dataset, chosen, file, first.trainer, first.mirrored)


def _chosen(path: Path, models: dict[str, Place], configuration: str | None) -> Place:
    if configuration is not None:
        models = {name: item for name, item in models.items() if configuration in (name, name.rpartition("__")[2])}
        if not models:
            there = ", ".join(list(find_models(path))[:MOST_NAMES])
            raise WorkloadError(
                f"--option configuration must name a model in {path}, {there}; got {short(configuration)}"
            )
    if not models:
        raise WorkloadError(
            f"{path} holds no model of nnU-Net: give the folder that has plans.json, dataset.json and fold_0, or "
            "the zip file of nnUNetv2_export_model_to_zip"
        )
    if len(models) != 1:
        names = ", ".join(list(models)[:MOST_NAMES])
        raise WorkloadError(f"{path} holds {len(models)} models: choose one of {names} with --option configuration=")
    return next(iter(models.values()))


def _folds(place: Place, asked: str | None, file: str) -> tuple[str, ...]:
    """The folds that are asked for, else all that are there."""
    there = _files(place)
    folds = [
        match[1] for name in there if (match := FOLD.fullmatch(name.partition("/")[0])) and name.endswith(f"/{file}")
    ]
    known = sorted(set(folds), key=lambda fold: (fold == ALL, fold.zfill(3)))
    if not known:
        raise WorkloadError(f"{place} must hold fold_*/{file}, it holds none: choose --option checkpoint=")
    if asked is None:
        return tuple(fold for fold in known if fold != ALL) or (ALL,)
    wanted = tuple(dict.fromkeys(part.strip() for part in asked.split(",") if part.strip()))
    missing = [fold for fold in wanted if fold not in known]
    if missing or not wanted:
        raise WorkloadError(
            f"--option folds must be out of {', '.join(known)}, which have a {file} in {place}; got {short(asked)}"
        )
    return wanted


def _files(place: Place) -> list[str]:
    """The names of the files of folds, below the folder of the model."""
    if place.inside is None:
        folders = [item for item in place.path.iterdir() if FOLD.fullmatch(item.name) and item.is_dir()]
        return [f"{item.name}/{file}" for item in folders for file in CHECKPOINTS.values() if (item / file).is_file()]
    start = f"{place.inside}/" if place.inside else ""
    return [name.removeprefix(start) for name in _entries(place.path) if name.startswith(start)]


def _in_zip(path: Path) -> dict[str, Place]:
    files: dict[str, set[str]] = {}
    for name in _entries(path):
        parts = PurePosixPath(name).parts
        for depth in range(len(parts)):
            files.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
    return {
        folder.rpartition("/")[2] or path.stem: Place(path, folder)
        for folder, names in files.items()
        if _is_model(names)
    }


def _entries(path: Path) -> Sequence[str]:
    """The names of the files in a zip file that stay within it."""
    if not zipfile.is_zipfile(path):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()[:MOST_FILES]
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return []
    return [name for name in names if not name.startswith("/") and ".." not in name.split("/") and "\\" not in name]


def _is_model(names: set[str]) -> bool:
    return {PLANS, DATASET} <= names and any(FOLD.fullmatch(name) for name in names)


def _called(path: Path, folder: Path) -> str:
    return folder.relative_to(path).as_posix() if folder != path else folder.resolve().name


def _folders_in(folder: Path) -> list[Path]:
    inner = [folder / name for name in sorted(_names(folder)) if not name.startswith(".")]
    return [path for path in inner if path.is_dir() and not path.is_symlink()]


def _names(folder: Path) -> set[str]:
    try:
        return {item.name for item in folder.iterdir()}
    except OSError:
        return set()
