"""The layout of a bundle: which files it has, how they are digested, and when it is refused.

    model/          the graph files of one artifact
    bundle.json     runtime settings, pipeline, labels, numbers, host, digests; size and SHA-256 of every other file
    bundle.sha256   the SHA-256 of bundle.json
    README.txt      how to use it

The digests find damaged and mixed-up files. They are no signature: whoever can write the files can write the digests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from autoopt.core.store import file_digest
from autoopt.errors import BundleError
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.runtimes import RUNTIMES

FORMAT = "autoopt-bundle"
SCHEMA = 1
CARD, SEAL, README, MODEL = "bundle.json", "bundle.sha256", "README.txt", "model"
FACTS = ("workload", "demo")
"""The facts every bundle must have: the name of the workload, and whether its data is synthetic."""
OWN_KEYS = ("schema", "format", "runtime", "pipeline", "labels", "files")
"""The keys of bundle.json that the writer sets; facts may not use them."""
AGAIN = "pull the bundle again"


def read_card(folder: Path) -> dict[str, Any]:
    """Read bundle.json, and check it against its digest and the schema.

    Raises BundleError with the file or the key that is wrong, and what to do.
    """
    if not folder.is_dir():
        raise BundleError(f"a bundle must be a folder, {folder} is {'a file' if folder.exists() else 'not there'}")
    for name in (CARD, SEAL):
        check_regular_file(folder, name)
    data = (folder / CARD).read_bytes()
    sealed = (folder / SEAL).read_bytes().split()
    if not sealed or sealed[0] != hashlib.sha256(data).hexdigest().encode():
        raise BundleError(f"{folder / CARD} was altered since it was written: {AGAIN}")
    try:
        card = json.loads(data)
        form, schema = card["format"], card["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder / CARD} must be the card of a bundle, it is not: {AGAIN}") from error
    if form != FORMAT:
        raise BundleError(
            f"{folder / CARD} must have format {FORMAT!r}, it has {form!r}: choose the folder of a bundle"
        )
    if schema != SCHEMA:
        raise BundleError(f"{folder} has bundle schema {schema!r}, this version reads {SCHEMA}: {_other_version(card)}")
    pipeline_of(folder, card)
    settings, files = card.get("runtime"), card.get("files")
    listed = isinstance(files, dict) and all(isinstance(item, dict) for item in files.values())
    labelled = isinstance(card.get("labels"), list)
    if not isinstance(settings, dict) or settings.get("name") not in RUNTIMES or not listed or not labelled:
        raise BundleError(
            f"{folder / CARD} must name a runtime ({', '.join(RUNTIMES)}), the labels and the files: {AGAIN}"
        )
    return dict(card)


def pipeline_of(folder: Path, card: Mapping[str, Any]) -> Pipeline:
    """The pipeline in `card`. Raises BundleError naming what this version cannot use."""
    try:
        return Pipeline.from_json(card["pipeline"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"the pipeline in {folder / CARD} cannot be used ({error}): {_other_version(card)}"
        ) from error


def verify_files(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Check size and SHA-256 of every file that the card lists, and that model/ holds no other file.

    Raises BundleError naming the first file that is missing, altered, a link, outside the folder or not listed.
    """
    for name, expected in files.items():
        check_regular_file(folder, name)
        path = folder / name
        if path.stat().st_size != expected.get("bytes") or file_digest(path) != expected.get("sha256"):
            raise BundleError(f"{path} was altered since the bundle was written: {AGAIN}")
    # Some runtimes read files that lie beside the graph, so a file without a digest must not be there.
    for name in sorted(file_names(folder / MODEL, folder) - set(files)):
        raise BundleError(f"{folder / name} is not a file of this bundle: remove it")


def file_names(inside: Path, folder: Path) -> set[str]:
    """All files and links below `inside`, as POSIX paths relative to `folder`."""
    paths = (path for path in inside.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in paths}


def check_regular_file(folder: Path, name: str) -> None:
    """Raise BundleError unless `name` is a plain file inside `folder`, with no link on the way to it."""
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


def _other_version(card: Mapping[str, Any]) -> str:
    """What to do with a bundle that this version of autoopt cannot read."""
    versions = card.get("versions")
    version = versions.get("autoopt") if isinstance(versions, dict) else None
    writer = f"autoopt {version}, which wrote it" if version else "the version that wrote it"
    return f"pull it again with this version, or load it with {writer}"
