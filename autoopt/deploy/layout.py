"""The layout of a bundle: which files it has, how they are digested, and when it is refused.

    model/          the graph files of one artifact
    bundle.json     runtime settings, pipeline, labels, numbers, host, digests; size and SHA-256 of every other file
    bundle.sha256   the SHA-256 of bundle.json
    bundle.sig      a signature of bundle.json, where somebody signed it
    README.txt      how to use it
    MODEL_CARD.md   what is known of the model
    self_test/      golden inputs and their answers

The digests find damaged and mixed-up files. They are no signature: whoever can write the files can write the digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from autoopt.core.plain_text import parse_json, read_bounded, short
from autoopt.core.store import file_digest
from autoopt.deploy.signing import check_signature
from autoopt.errors import BundleError
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.runtimes import RUNTIMES

FORMAT = "autoopt-bundle"
SCHEMA = 1
CARD, SEAL, README, MODEL = "bundle.json", "bundle.sha256", "README.txt", "model"
SIGNATURE, MODEL_CARD = "bundle.sig", "MODEL_CARD.md"
"""A signature of bundle.json, which alone may lie beside it without being listed; and what people read of the model."""
FACTS = ("workload", "demo")
"""The facts every bundle must have: the name of the workload, and whether its data is synthetic."""
OWN_KEYS = ("schema", "format", "runtime", "pipeline", "labels", "files", "self_test")
"""The keys of bundle.json that the writer sets; facts may not use them."""
MOST_CARD_BYTES = 2_000_000
MOST_SEAL_BYTES = 1000
MOST_NAME = 1000
"""Of the path of a file in a bundle, in characters."""
MOST_VERSION, MOST_REASON = 40, 1000
"""What a message quotes of a card, in characters."""
AGAIN = "pull the bundle again"


def read_card(folder: Path, verify: Path | None = None) -> dict[str, Any]:
    """Read bundle.json, and check its digest, its schema and, with the public key in `verify`, its signature.

    Raises BundleError with the file or the key that is wrong, and what to do; UsageError for a file that is no key.
    """
    data = _sealed(folder)
    if verify is not None:
        check_no_link(folder / SIGNATURE)
        check_signature(data, folder / SIGNATURE, verify)
    return _checked(folder, data)


def _sealed(folder: Path) -> bytes:
    """The content of bundle.json, which fits its digest."""
    if not folder.is_dir():
        raise BundleError(f"a bundle must be a folder, {folder} is {'a file' if folder.exists() else 'not there'}")
    for name in (CARD, SEAL):
        check_regular_file(folder, name)
    try:
        data = read_bounded(folder / CARD, MOST_CARD_BYTES)
        sealed = read_bounded(folder / SEAL, MOST_SEAL_BYTES).split()
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder / CARD} and {SEAL} must be files of a bundle: {error}: {AGAIN}") from error
    if not sealed or sealed[0] != hashlib.sha256(data).hexdigest().encode():
        raise BundleError(f"{folder / CARD} was altered since it was written: {AGAIN}")
    return data


def _checked(folder: Path, data: bytes) -> dict[str, Any]:
    """The card in the content of bundle.json. Raises BundleError where this version cannot use it."""
    try:
        card = parse_json(data)
        form, schema = card["format"], card["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder / CARD} must be the card of a bundle, it is not: {AGAIN}") from error
    if form != FORMAT:
        raise BundleError(
            f"{folder / CARD} must have format {FORMAT!r}, it has {short(form)}: choose the folder of a bundle"
        )
    if schema != SCHEMA:
        raise BundleError(
            f"{folder} has bundle schema {short(schema)}, this version reads {SCHEMA}: {_other_version(card)}"
        )
    pipeline = pipeline_of(folder, card)
    settings, files, labels = card.get("runtime"), card.get("files"), card.get("labels")
    listed = isinstance(files, dict) and all(isinstance(item, dict) for item in files.values())
    runtime = settings.get("name") if isinstance(settings, dict) else None
    labelled = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    if not isinstance(runtime, str) or runtime not in RUNTIMES or not listed or not labelled:
        raise BundleError(
            f"{folder / CARD} must name a runtime ({', '.join(RUNTIMES)}), the labels and the files: {AGAIN}"
        )
    if len(card["labels"]) != pipeline.classes:
        raise BundleError(
            f"{folder / CARD} must have a label for each of the {pipeline.classes} classes, it has "
            f"{len(card['labels'])}: {AGAIN}"
        )
    return dict(card)


def pipeline_of(folder: Path, card: Mapping[str, Any]) -> Pipeline:
    """The pipeline in `card`. Raises BundleError naming what this version cannot use."""
    try:
        return Pipeline.from_json(card["pipeline"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise BundleError(
            f"the pipeline in {folder / CARD} cannot be used ({str(error)[:MOST_REASON]}): {_other_version(card)}"
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
    check_no_link(folder / MODEL)
    # Some runtimes read files that lie beside the graph, so a file without a digest must not be there.
    for name in sorted(file_names(folder / MODEL, folder) - set(files)):
        raise BundleError(f"{folder / name} is not a file of this bundle: remove it")


def file_names(inside: Path, folder: Path) -> set[str]:
    """All files and links below `inside`, as POSIX paths relative to `folder`."""
    paths = (path for path in inside.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in paths}


def check_name(name: str, where: Path | str) -> None:
    """Raise BundleError for the name of a file that could lead out of the folder of a bundle.

    `where` is what names it, for the message.
    """
    pure = PurePosixPath(name[:MOST_NAME])
    if (
        not name
        or len(name) > MOST_NAME
        or not name.isprintable()
        or pure.is_absolute()
        or ".." in pure.parts
        or "\\" in name
        or ":" in name
        or "\0" in name
    ):
        raise BundleError(f"a bundle's files must lie inside it, {where} names {short(name)}: do not use it")


def check_regular_file(folder: Path, name: str) -> None:
    """Raise BundleError unless `name` is a plain file inside `folder`, with no link on the way to it."""
    check_name(name, folder / CARD)
    pure = PurePosixPath(name)
    path = folder
    for part in pure.parts:
        path = path / part
        check_no_link(path)
    try:
        there = path.is_file()
    except OSError:  # too long for a name
        there = False
    if not there:
        raise BundleError(f"{path} is missing: {AGAIN}")


def check_no_link(path: Path) -> None:
    """Raise BundleError where a part of a bundle is a link."""
    try:
        linked = path.is_symlink()
    except OSError:  # too long for a name
        linked = False
    if linked:
        raise BundleError(f"{path} is a link, a bundle must hold plain files: do not use it")


def _other_version(card: Mapping[str, Any]) -> str:
    """What to do with a bundle that this version of autoopt cannot read."""
    versions = card.get("versions")
    version = versions.get("autoopt") if isinstance(versions, dict) else None
    writer = f"autoopt {str(version)[:MOST_VERSION]}, which wrote it" if version else "the version that wrote it"
    return f"pull it again with this version, or load it with {writer}"
