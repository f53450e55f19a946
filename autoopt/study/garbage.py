"""Making room in a home folder: artifacts that no study needs, and what killed processes and trainings left."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from autoopt.core.scratch import remove_left_behind
from autoopt.core.store import Artifact, Store
from autoopt.nets.leftovers import remove_leftovers
from autoopt.study.only_writer import only_writer
from autoopt.study.result import StudyResult
from autoopt.study.storage import all_studies


@dataclass(frozen=True)
class Collected:
    """What a collection removed: artifacts, temporary folders and files, and what interrupted trainings left.

    `trainings` are checkpoints and weights with their bytes; `kept_bytes` are left in the store.
    """

    artifacts: tuple[Artifact, ...]
    left_behind: tuple[Path, ...]
    kept_bytes: int
    trainings: tuple[tuple[Path, int], ...] = ()

    @property
    def freed_bytes(self) -> int:
        """The bytes of the artifacts."""
        return sum(artifact.size_bytes for artifact in self.artifacts)

    @property
    def training_bytes(self) -> int:
        """The bytes of what interrupted trainings left."""
        return sum(size for _, size in self.trainings)


def collect(home: Path, storage_url: str, *, most_bytes: int = 0) -> Collected:
    """Remove the artifacts that no study needs, longest unused first, until the store holds at most `most_bytes`.

    A study needs its front, its references, what these were made from, and what is still to be scored on test; the rest
    is made again when it is asked for. What interrupted trainings left goes as `nets.leftovers` says. Raises BusyError
    while one of the studies is searched, StorageError when the storage cannot be read.
    """
    store = Store(home / "store")
    with ExitStack() as held:
        studies = all_studies(storage_url)
        for study in studies:
            held.enter_context(only_writer(storage_url, study.card.name))
        keep = _with_parents(store, {key for study in studies for key in needed(study)})
        removed = store.collect(keep, most_bytes, in_use_s=0.0)
        trainings = remove_leftovers(home / "weights", {study.card.weights_digest for study in studies})
        return Collected(tuple(removed), tuple(clean(home)), store.size_bytes(), tuple(trainings))


def needed(study: StudyResult) -> Iterator[str]:
    """The keys of the artifacts that a study needs: those of the front, of the references, of what is unconfirmed."""
    for record in (study.reference, study.openvino_f32, *study.front, *study.unconfirmed):
        if record is not None:
            yield from record.artifacts


def clean(home: Path) -> list[Path]:
    """Remove what killed processes left in a home folder and in the system's temporary folder."""
    folders = [Path(tempfile.gettempdir()), home, home / "demo", home / "weights", *(home / "store").glob("[!.]*")]
    return [path for folder in folders for path in remove_left_behind(folder)]


def _with_parents(store: Store, keys: set[str]) -> set[str]:
    """The keys, and those of what the artifacts were made from."""
    parents = {artifact.key: artifact.made_by.get("parent") for artifact in store.artifacts()}
    found: set[str] = set()
    following = list(keys)
    while following:
        key = following.pop()
        if key not in found:
            found.add(key)
            parent = parents.get(key)
            following += [parent] if parent else []
    return found
