"""The weights in an archive of `torch.export.save` (.pt2): bytes with a table in JSON; its program is not read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from autoopt.core.plain_text import parse_json

if TYPE_CHECKING:
    import torch

TABLE = "data/weights/"
SUFFIX = "_weights_config.json"
TYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64"}
TYPES |= {12: "bool", 13: "bfloat16"}
"""The numbers of torch._export.serde.schema.ScalarType and what torch calls them."""


def is_exported(path: Path) -> bool:
    """Whether a zip file is such an archive."""
    with zipfile.ZipFile(path) as archive:
        return any(_is_table(name) for name in archive.namelist())


def exported_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights by name. Raises ValueError for a table that does not fit its bytes, and for pickled weights."""
    with zipfile.ZipFile(path) as archive:
        table = next(name for name in archive.namelist() if _is_table(name))
        found = parse_json(archive.read(table))
        config = found.get("config") if isinstance(found, dict) else None
        if not isinstance(config, dict):
            raise ValueError(f"{table} must have a table called config")
        folder = PurePosixPath(table).parent
        return {str(name): _tensor(str(name), entry, archive, folder) for name, entry in config.items()}


def _is_table(name: str) -> bool:
    return name.partition("/")[2].startswith(TABLE) and name.endswith(SUFFIX)


def _tensor(name: str, entry: Any, archive: zipfile.ZipFile, folder: PurePosixPath) -> torch.Tensor:
    import torch

    if not isinstance(entry, Mapping) or entry.get("use_pickle"):
        raise ValueError(f"{name} must be plain numbers, it is an object")
    meta, file = entry.get("tensor_meta"), str(folder / str(entry.get("path_name")))
    if not isinstance(meta, Mapping) or file not in archive.namelist():
        raise ValueError(f"{name} must have a file and a shape")
    kind = TYPES.get(meta.get("dtype", 0))
    if kind is None:
        raise ValueError(f"{name} must be of a type of {', '.join(TYPES.values())}, it is number {meta.get('dtype')}")
    sizes, strides = (_whole(meta.get(key), name) for key in ("sizes", "strides"))
    (offset,) = _whole([meta.get("storage_offset", {"as_int": 0})], name)
    if not math.prod(sizes):
        return torch.empty(sizes, dtype=getattr(torch, kind))
    numbers = torch.frombuffer(bytearray(archive.read(file)), dtype=getattr(torch, kind))
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if last >= len(numbers):
        raise ValueError(f"{name} must lie within its file, which has {len(numbers)} numbers")
    return numbers.as_strided(sizes, strides, offset).clone()


def _whole(values: Any, name: str) -> list[int]:
    found = [item.get("as_int") for item in values or () if isinstance(item, Mapping)]
    whole = [item for item in found if isinstance(item, int) and item >= 0]
    if len(whole) != len(values or ()):
        raise ValueError(f"{name} must have whole numbers as sizes and strides")
    return whole
