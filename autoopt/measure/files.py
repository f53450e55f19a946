"""The files that parent and worker exchange: numbered arrays and an index, nothing pickled."""

from __future__ import annotations

import json
from pathlib import Path

INDEX = "index.json"


def case_ids(folder: Path) -> list[str]:
    """The ids of the packed cases in `folder`, in the order of their arrays."""
    ids: list[str] = json.loads((folder / INDEX).read_text())["ids"]
    return ids


def array_name(index: int) -> str:
    """The file name of array number `index`, of an image or of a prediction."""
    return f"{index:05d}.npy"
