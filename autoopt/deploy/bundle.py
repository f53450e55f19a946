"""What deployment gets: a folder with a graph, how to run it, what surrounds it, its numbers, digests of all files.

    model/          the graph files of one artifact
    bundle.json     runtime settings, pipeline, labels, numbers, host, digests, and every other file with its SHA-256
    bundle.sha256   the SHA-256 of bundle.json
    README.txt      how to use it

Loading needs numpy and the one runtime. The digests find damage and mixed-up files; they are no signature.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.store import Artifact, file_digest, write_atomic
from autoopt.errors import BundleError, TrialError
from autoopt.inference.pipeline import Pipeline, predict
from autoopt.inference.runtimes import RUNTIMES, runtime
from autoopt.inference.runtimes.base import Session

FORMAT = "autoopt-bundle"
SCHEMA = 1
CARD, SEAL, README, MODEL = "bundle.json", "bundle.sha256", "README.txt", "model"
FACTS = ("workload", "demo")
"""The facts every bundle must have: the name of the workload, and whether its data is synthetic."""
AGAIN = "pull the bundle again"
_OWN = ("schema", "format", "runtime", "pipeline", "labels", "files")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def write_bundle(
    folder: Path,
    artifact: Artifact,
    settings: Mapping[str, Scalar],
    pipeline: Pipeline,
    labels: Sequence[str],
    facts: Mapping[str, Any],
) -> Path:
    """Write `artifact` and all it needs to `folder`, complete or not at all; returns the folder.

    `settings` are the canonical runtime settings with their `name`; `facts` is plain JSON that goes into
    bundle.json as it is and has at least `FACTS`. A bundle that is there is replaced in one step. Raises
    BundleError for a folder that holds anything else, and for an artifact that was altered.
    """
    clash = sorted(set(facts) & set(_OWN))
    missing = sorted(set(FACTS) - set(facts))
    if clash or missing:
        raise ValueError(f"facts must have {FACTS} and none of {_OWN}; missing {missing}, not allowed {clash}")
    final = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would write through a link
    try:
        _check_replaceable(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
        try:
            _fill(temporary, artifact, {**facts, **_own_part(settings, pipeline, labels)})
            os.chmod(temporary, 0o755)  # mkdtemp lets nobody else in
            _put_in_place(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise BundleError(f"{folder} cannot be written ({error.strerror or error}): choose another folder") from error
    return folder


def load(folder: Path) -> Predictor:
    """The model of the bundle in `folder`, every file verified, ready to predict; nothing is unpickled.

    Raises BundleError naming the file that is missing, altered or not where it belongs, or the package
    that is not installed.
    """
    card = read_card(folder)
    _verify_files(folder, card["files"])
    settings = dict(card["runtime"])
    name = str(settings.pop("name"))
    executes = runtime(name)
    try:
        session = executes.open(folder / MODEL, settings)
    except (ImportError, TrialError) as error:
        if _is_import_error(error):
            package = executes.DISTRIBUTION or name
            needs = f"{folder} needs {name}, which cannot be imported ({error})"
            raise BundleError(f"{needs}: pip install {package}") from error
        raise BundleError(f"{folder} cannot be opened on this machine: {error}") from error
    return Predictor(card, _pipeline(folder, card), session)


class Predictor:
    """A loaded bundle. Use it as a context manager, or call `close`."""

    def __init__(self, card: Mapping[str, Any], pipeline: Pipeline, session: Session) -> None:
        self._card = card
        self._session: Session | None = session
        self.pipeline = pipeline

    @property
    def info(self) -> Mapping[str, Any]:
        """All of bundle.json: labels, runtime settings, numbers, host, digests."""
        return MappingProxyType(dict(self._card))

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the label map's values or of the probabilities."""
        return tuple(self._card["labels"])

    def predict(self, image: np.ndarray, affine: np.ndarray | None = None) -> np.ndarray:
        """The answer for one image (*spatial, channels), of any size.

        `affine` is (4, 4), voxel index to RAS+ millimetres as in NIfTI, needed where the pipeline orients or
        resamples. Segmentation: a uint8 label map of the image's spatial shape; several labels at once: 0 or 1,
        (*spatial, labels). Classification: float32 probabilities (classes,). Raises ValueError for an image
        that does not fit the pipeline.
        """
        if self._session is None:
            raise BundleError("the predictor was closed: load the bundle again")
        return predict(self.pipeline, self._session.run, image, affine)

    def close(self) -> None:
        """Release the model; closing twice is fine."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def read_card(folder: Path) -> dict[str, Any]:
    """bundle.json, checked against its digest and its schema. Raises BundleError."""
    if not folder.is_dir():
        raise BundleError(f"a bundle must be a folder, {folder} is {'a file' if folder.exists() else 'not there'}")
    for name in (CARD, SEAL):
        _check_regular(folder, name)
    data = (folder / CARD).read_bytes()
    sealed = (folder / SEAL).read_bytes().split()
    if not sealed or sealed[0] != hashlib.sha256(data).hexdigest().encode():
        raise BundleError(f"{folder / CARD} was altered since it was written: {AGAIN}")
    try:
        card = json.loads(data)
        is_ours = card["format"] == FORMAT
        schema = card["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder / CARD} must be the card of a bundle, it is not: {AGAIN}") from error
    if not is_ours or schema != SCHEMA:
        raise BundleError(f"{folder} has bundle schema {schema!r}, this version reads {SCHEMA}: {AGAIN}")
    _pipeline(folder, card)
    settings, files = card.get("runtime"), card.get("files")
    listed = isinstance(files, dict) and all(isinstance(item, dict) for item in files.values())
    labelled = isinstance(card.get("labels"), list)
    if not isinstance(settings, dict) or settings.get("name") not in RUNTIMES or not listed or not labelled:
        raise BundleError(f"{folder / CARD} must name a runtime ({', '.join(RUNTIMES)}), the labels and the files")
    return dict(card)


def _pipeline(folder: Path, card: Mapping[str, Any]) -> Pipeline:
    try:
        return Pipeline.from_json(card["pipeline"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"the pipeline in {folder / CARD} cannot be used: {error}") from error


def _verify_files(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    for name, expected in files.items():
        _check_regular(folder, name)
        path = folder / name
        if path.stat().st_size != expected.get("bytes") or file_digest(path) != expected.get("sha256"):
            raise BundleError(f"{path} was altered since the bundle was written: {AGAIN}")
    # A file beside the graph is picked up by some runtimes although nobody vouches for it.
    for name in sorted(_file_names(folder / MODEL, folder) - set(files)):
        raise BundleError(f"{folder / name} is not a file of this bundle: remove it")


def _file_names(inside: Path, folder: Path) -> set[str]:
    """All files and links below `inside`, relative to `folder`."""
    paths = (path for path in inside.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in paths}


def _check_regular(folder: Path, name: str) -> None:
    """Raise BundleError unless `name` is a plain file inside `folder`, with no link on the way."""
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts or "\\" in name or ":" in name or "\0" in name:
        raise BundleError(f"a bundle's files must lie inside it, {folder / CARD} names {name!r}: do not use it")
    path = folder
    for part in pure.parts:
        path = path / part
        if path.is_symlink():
            raise BundleError(f"{path} is a link, a bundle must hold plain files: do not use it")
    if not path.is_file():
        raise BundleError(f"{path} is missing: {AGAIN}")


def _is_import_error(error: BaseException | None) -> bool:
    """Whether a library that is not installed is behind `error`."""
    while error is not None:
        if isinstance(error, ImportError):
            return True
        error = error.__cause__
    return False


def _own_part(settings: Mapping[str, Scalar], pipeline: Pipeline, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "format": FORMAT,
        "runtime": dict(settings),
        "pipeline": pipeline.to_json(),
        "labels": list(labels),
    }


def _fill(folder: Path, artifact: Artifact, card: Mapping[str, Any]) -> None:
    for name, expected in artifact.files.items():
        target = folder / MODEL / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.path / name, target)
        if file_digest(target) != expected["sha256"]:
            raise BundleError(f"{artifact.path / name} was altered since it was made: delete {artifact.path}")
    (folder / README).write_text(_readme(card))
    names = [README, *(f"{MODEL}/{name}" for name in artifact.files)]
    files = {name: {"sha256": file_digest(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    data = json.dumps({**card, "files": files}, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"
    write_atomic(folder / CARD, data)
    write_atomic(folder / SEAL, f"{hashlib.sha256(data).hexdigest()}  {CARD}\n".encode())


def _readme(card: Mapping[str, Any]) -> str:
    name = str(card["runtime"]["name"])
    pipeline = Pipeline.from_json(card["pipeline"])
    packages = ["numpy", *(["scipy"] if pipeline.needs_scipy else []), runtime(name).DISTRIBUTION or name]
    call = "predict(image, affine)" if pipeline.needs_affine else "predict(image)        "
    demo = "DEMO: made from synthetic data. Not for patients.\n" if card["demo"] else ""
    return (
        f"{demo}A {card['pipeline']['task']} model of the workload {card['workload']}, made by autoopt.\n"
        f"1. pip install autoopt, or only {' and '.join(packages)} beside its source\n"
        "2. predictor = autoopt.load('this folder')     # every file is verified first\n"
        f"3. answer = predictor.{call}   # image: {_image_text(pipeline)}\n"
        f"4. classes: {', '.join(f'{index} {label}' for index, label in enumerate(card['labels']))}\n"
        "5. numbers, host, settings and digests are in bundle.json; the numbers hold for that host only\n"
    )


def _image_text(pipeline: Pipeline) -> str:
    sizes = {1: "length", 2: "height, width", 3: "three sizes as stored"}.get(pipeline.dimensions, "*sizes")
    sizes = "slices, height, width" if pipeline.sliced else sizes
    affine = "; affine: (4, 4), voxel to RAS+ mm" if pipeline.needs_affine else ""
    shape = f"array ({sizes}, {pipeline.channels} channel{'s' if pipeline.channels != 1 else ''})"
    pixels = " of whole numbers from 0 to 255" if pipeline.takes_pixels else ""
    size = "any size"
    if pipeline.gives_labels:
        size = f"covered by tiles of {'x'.join(map(str, pipeline.tile))} that do not overlap"
    return f"{shape}{pixels}, {size}{affine}"


def _check_replaceable(folder: Path) -> None:
    """Raise BundleError unless `folder` is absent, empty, or a bundle with nothing else in it."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BundleError(f"{folder} must be a folder, it is a link or a file: choose another")
    found = _file_names(folder, folder)
    if not found:
        return
    try:
        own = {CARD, SEAL, *read_card(folder)["files"]}
    except BundleError as error:
        raise BundleError(
            f"{folder} must be new, empty or an intact bundle ({error}): choose another folder"
        ) from error
    if found - own:
        strange = ", ".join(sorted(found - own)[:3])
        raise BundleError(f"{folder} holds more than a bundle ({strange}): choose another folder, or move that away")


def _put_in_place(temporary: Path, final: Path) -> None:
    if final.exists() and any(final.iterdir()):
        if _exchanged(temporary, final):
            return
        aside = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
        try:
            os.rename(final, aside / "old")
            try:
                os.rename(temporary, final)
            except OSError:
                os.rename(aside / "old", final)
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    else:
        os.rename(temporary, final)


def _exchanged(one: Path, other: Path) -> bool:
    """Swap two folders in one step, so that a reader finds the old or the new one; False where the system cannot."""
    if sys.platform != "linux":
        return False
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return swap is not None and swap(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
