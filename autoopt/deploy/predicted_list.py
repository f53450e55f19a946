"""What `autoopt predict` wrote into a folder, and by which bundle: predicted.json in it.

Only what is listed there may be replaced by a later call, so that no file of somebody else is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoopt.core.plain_text import parse_json, read_bounded
from autoopt.core.store import write_atomic
from autoopt.errors import UsageError

LIST = "predicted.json"
FORMAT, SCHEMA = "autoopt-predictions", 1
MOST_BYTES = 200_000_000
MOST_NAMED = 3


@dataclass(frozen=True)
class PredictedList:
    """By the path of an output below its folder the SHA-256 of bundle.json, and by that the model as files say it."""

    files: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)


def read_list(out: Path) -> PredictedList:
    """What was written into `out` before; nothing where there is no list. Raises UsageError for one that is broken."""
    path = out / LIST
    if not path.is_file():
        return PredictedList()
    try:
        found: Any = parse_json(read_bounded(path, MOST_BYTES))
        if (found["format"], found["schema"]) != (FORMAT, SCHEMA):
            raise ValueError("it is of another kind or version")
        return PredictedList(dict(found["files"]), dict(found["models"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error) or type(error).__name__
        raise UsageError(
            f"{path} must be the list of what was predicted before ({reason}): choose another -o"
        ) from error


def add_to_list(out: Path, names: Iterable[str], bundle: str, model: str) -> None:
    """Add files that the bundle with this digest writes; those that are not there any more are left out."""
    before = read_list(out)
    new = dict.fromkeys(names, bundle)
    files = {name: digest for name, digest in before.files.items() if (out / name).exists()} | new
    models = {digest: title for digest, title in before.models.items() if digest in files.values()} | {bundle: model}
    content = {"format": FORMAT, "schema": SCHEMA, "files": files, "models": models}
    write_atomic(out / LIST, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")


def check_replaceable(out: Path, names: Iterable[str]) -> None:
    """Raise UsageError where one of these files is there and not listed: it is somebody else's."""
    listed = read_list(out).files
    foreign = [name for name in names if name not in listed and (out / name).exists()]
    if foreign:
        more = f" and {len(foreign) - MOST_NAMED} more" if len(foreign) > MOST_NAMED else ""
        raise UsageError(
            f"only files that `autoopt predict` wrote may be replaced, {out} holds others of the same names "
            f"({', '.join(foreign[:MOST_NAMED])}{more}): choose another -o, or move them away"
        )
