"""Write a bundle: copy the graph files, describe them in bundle.json, put the complete folder in its place; sign it."""

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

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.store import Artifact, file_digest, write_atomic
from autoopt.deploy.goldens import array_bytes
from autoopt.deploy.layout import (
    CARD,
    FACTS,
    FORMAT,
    MODEL,
    MODEL_CARD,
    OWN_KEYS,
    README,
    SCHEMA,
    SEAL,
    SIGNATURE,
    check_no_link,
    file_names,
    read_card,
    verify_files,
)
from autoopt.deploy.model_card import model_card
from autoopt.deploy.readme import readme
from autoopt.deploy.replacing import Exchange, exchange_folders, put_in_place
from autoopt.deploy.self_test import SelfTest
from autoopt.deploy.signing import signature_of
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
    self_test: SelfTest | None = None,
    exchange: Exchange = exchange_folders,
) -> Path:
    """Write `artifact` and all it needs to `folder`, complete or not at all; returns the folder.

    `settings` are the canonical runtime settings with their `name`. `facts` is plain JSON that goes into bundle.json
    as it is; it must have the keys `FACTS`. With `self_test` the bundle can test itself. A bundle that is there already
    is replaced in one step, by `exchange` where the system can. Raises BundleError for a folder that holds anything but
    a bundle, for a folder that cannot be written and for an artifact that was altered; ValueError for facts that lack a
    key or use one of `OWN_KEYS`.
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
        **({} if self_test is None else {"self_test": dict(self_test.facts)}),
    }
    with placing(folder, exchange) as temporary:
        _fill(temporary, artifact, card, {} if self_test is None else self_test.arrays)
    return folder


@contextmanager
def placing(folder: Path, exchange: Exchange = exchange_folders) -> Iterator[Path]:
    """An empty folder to be filled in the block, which then takes the place of `folder`: complete, or not at all.

    Raises BundleError, before the block, for a folder that holds anything but a bundle, and where it cannot be written.
    """
    final = _absolute(folder)
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


def sign_bundle(folder: Path, key: Path) -> Path:
    """Write the signature of the bundle in `folder` by the private key in the file `key`; returns its file.

    Every file is verified first. Raises BundleError for a bundle that was altered, UsageError where `key` is none.
    """
    card = read_card(folder)
    verify_files(folder, card["files"])
    signature = signature_of((folder / CARD).read_bytes(), key)
    check_no_link(folder / SIGNATURE)
    try:
        write_atomic(folder / SIGNATURE, signature)
    except OSError as error:
        raise BundleError(
            f"{folder} cannot be written ({error.strerror or error}): copy it to another folder"
        ) from error
    return folder / SIGNATURE


def _fill(folder: Path, artifact: Artifact, card: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    for name, expected in artifact.files.items():
        target = folder / MODEL / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.path / name, target)
        if file_digest(target) != expected["sha256"]:
            raise BundleError(f"{artifact.path / name} was altered since it was made: delete {artifact.path}")
    for name, array in arrays.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(array_bytes(array))
    (folder / README).write_text(readme(card))
    (folder / MODEL_CARD).write_text(model_card(card))
    names = [README, MODEL_CARD, *(f"{MODEL}/{name}" for name in artifact.files), *arrays]
    files = {name: {"sha256": file_digest(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    data = json.dumps({**card, "files": files}, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"
    write_atomic(folder / CARD, data)
    write_atomic(folder / SEAL, f"{hashlib.sha256(data).hexdigest()}  {CARD}\n".encode())


def _absolute(folder: Path) -> Path:
    return Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would write through a link


def check_replaceable(folder: Path) -> None:
    """Raise BundleError unless `folder` is absent, empty, or a bundle with nothing else in it."""
    folder = _absolute(folder)
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
