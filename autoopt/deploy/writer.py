"""Write a bundle: copy the graph files, describe them in bundle.json, put the complete folder in its place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoopt.core.configuration import Scalar
from autoopt.core.store import Artifact, file_digest, write_atomic
from autoopt.deploy.layout import (
    CARD,
    FACTS,
    FORMAT,
    MODEL,
    OWN_KEYS,
    README,
    SCHEMA,
    SEAL,
    SIGNATURE,
    file_names,
    read_card,
)
from autoopt.deploy.readme import readme
from autoopt.deploy.replacing import Exchange, exchange_folders, put_in_place
from autoopt.errors import BundleError
from autoopt.inference.pipeline import Pipeline


def write_bundle(
    folder: Path,
    artifact: Artifact,
    settings: Mapping[str, Scalar],
    pipeline: Pipeline,
    labels: Sequence[str],
    facts: Mapping[str, Any],
    *,
    exchange: Exchange = exchange_folders,
) -> Path:
    """Write `artifact` and all it needs to `folder`, complete or not at all; returns the folder.

    `settings` are the canonical runtime settings with their `name`. `facts` is plain JSON that goes into bundle.json
    as it is; it must have the keys `FACTS`. A bundle that is there already is replaced in one step, by `exchange`
    where the system can. Raises BundleError for a folder that holds anything but a bundle, for a folder that cannot
    be written and for an artifact that was altered; ValueError for facts that lack a key or use one of `OWN_KEYS`.
    """
    clash = sorted(set(facts) & set(OWN_KEYS))
    missing = sorted(set(FACTS) - set(facts))
    if clash or missing:
        raise ValueError(f"facts must have {FACTS} and none of {OWN_KEYS}; missing {missing}, not allowed {clash}")
    card = {
        **facts,
        "schema": SCHEMA,
        "format": FORMAT,
        "runtime": dict(settings),
        "pipeline": pipeline.to_json(),
        "labels": list(labels),
    }
    with placing(folder, exchange) as temporary:
        _fill(temporary, artifact, card)
    return folder


@contextmanager
def placing(folder: Path, exchange: Exchange = exchange_folders) -> Iterator[Path]:
    """An empty folder to be filled in the block, which then takes the place of `folder`: complete, or not at all.

    Raises BundleError, before the block, for a folder that holds anything but a bundle, and where it cannot be written.
    """
    final = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would write through a link
    try:
        check_replaceable(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
        try:
            yield temporary
            os.chmod(temporary, 0o755)  # mkdtemp lets nobody else in
            put_in_place(temporary, final, exchange)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise BundleError(f"{folder} cannot be written ({error.strerror or error}): choose another folder") from error


def _fill(folder: Path, artifact: Artifact, card: Mapping[str, Any]) -> None:
    for name, expected in artifact.files.items():
        target = folder / MODEL / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.path / name, target)
        if file_digest(target) != expected["sha256"]:
            raise BundleError(f"{artifact.path / name} was altered since it was made: delete {artifact.path}")
    (folder / README).write_text(readme(card))
    names = [README, *(f"{MODEL}/{name}" for name in artifact.files)]
    files = {name: {"sha256": file_digest(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    data = json.dumps({**card, "files": files}, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"
    write_atomic(folder / CARD, data)
    write_atomic(folder / SEAL, f"{hashlib.sha256(data).hexdigest()}  {CARD}\n".encode())


def check_replaceable(folder: Path) -> None:
    """Raise BundleError unless `folder` is absent, empty, or a bundle with nothing else in it."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BundleError(f"{folder} must be a folder, it is a link or a file: choose another")
    found = file_names(folder, folder)
    if not found:
        return
    try:
        own = {CARD, SEAL, SIGNATURE, *read_card(folder)["files"]}
    except BundleError as error:
        raise BundleError(
            f"{folder} must be new, empty or an intact bundle ({error}): choose another folder"
        ) from error
    if found - own:
        strange = ", ".join(sorted(found - own)[:3])
        raise BundleError(f"{folder} holds more than a bundle ({strange}): choose another folder, or move that away")
