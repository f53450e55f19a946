"""Weights on disk: safetensors named by digest, with what made them in the header; PyTorch files are only read."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.core.configuration import canonical_json, digest
from autoopt.core.plain_text import parse_json, short
from autoopt.core.store import file_digest, write_atomic
from autoopt.errors import WeightsError
from autoopt.measure.quality import primary_sign
from autoopt.nets.state_dicts import WHOLE, StateDict, Tensors, counted, first, fitting, state_dicts, ways
from autoopt.nets.weights_file import read_file
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

SCHEMA = 1
HEADER_KEY = "autoopt"
"""The one entry of the header that has all our fields: the format does not keep the order of several entries, which
the digest needs."""
LONGEST_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format."""
MOST_KEYS = 10
INTERRUPTED = "interrupted"
"""The entry of a recipe that says that the weights are the best before an interrupt, not the end of a training."""


@dataclass(frozen=True)
class WeightsInfo:
    """What the header of our own weights says: workload, data, recipe, and scores on val and test by metric."""

    workload: str
    data_digest: str
    recipe: Mapping[str, Any]
    demo: bool = False
    val: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)


def left_out(recipe: Mapping[str, Any]) -> str:
    """What was left out of the recipe that weights were trained by, as a clause; empty where nothing was."""
    steps, of_steps = recipe.get("steps"), recipe.get("of_steps")
    if not isinstance(steps, int) or not isinstance(of_steps, int):
        return ""
    if recipe.get(INTERRUPTED):
        return f"they are the best of a training that was interrupted after {steps} of {of_steps} steps"
    return f"they were trained for {steps} of {of_steps} steps, the time was up" if steps < of_steps else ""


def remark_on(path: Path) -> str:
    """What the header of weights says was left out of their training; empty for weights that say nothing of it."""
    info = read_info(path)
    return "" if info is None else left_out(info.recipe)


def save_weights(model: torch.nn.Module, folder: Path, info: WeightsInfo, *, half: bool = False) -> Path:
    """Write the model's weights to `folder` atomically and return the path, whose name has the digest of the file.

    With `half`, tensors of two or more dimensions are stored as float16. Equal weights and info make equal files.
    """
    import torch
    from safetensors.torch import save

    # A copy of each: some networks have one weight under two names, which the format refuses to share.
    tensors = {
        name: (value.to(torch.float16) if half and _is_halved(value) else value).detach().cpu().clone().contiguous()
        for name, value in model.state_dict().items()
    }
    data = save(tensors, {HEADER_KEY: canonical_json({"schema": SCHEMA, **asdict(info)})})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{info.workload}-{hashlib.sha256(data).hexdigest()[:12]}.safetensors"
    write_atomic(path, data)
    return path


def round_to_half(model: torch.nn.Module) -> None:
    """Round in place what `save_weights(half=True)` stores as float16, so that scores are those of the file."""
    import torch

    with torch.no_grad():
        for value in model.state_dict().values():
            if _is_halved(value):
                value.copy_(value.to(torch.float16).to(value.dtype))


def find_weights(workload: Workload, home: Path) -> Path | None:
    """The workload's own weights, else the best on val (then the newest) of those trained for this workload and data.

    Those of an interrupted training count only where there are no others. None where there are none. Reads headers
    only and needs no torch; files that are not ours are skipped.
    """
    if workload.weights is not None:
        return workload.weights
    fitting: list[tuple[bool, float, float, Path]] = []
    for path in sorted((home / "weights").glob("*.safetensors")):
        info = read_info(path)
        if info is not None and info.workload == workload.name and info.data_digest == workload.data_digest:
            ended, score = not info.recipe.get(INTERRUPTED), _worth(workload, info.val)
            fitting.append((ended, score, path.stat().st_mtime, path))
    return max(fitting)[-1] if fitting else None


def _worth(workload: Workload, val: Mapping[str, float]) -> float:
    """The primary metric among the scores of a file, more being better; where it was not scored the least there is."""
    value = val.get(workload.metrics[0])
    return -math.inf if value is None else primary_sign(workload) * value


def read_info(path: Path) -> WeightsInfo | None:
    """The header of one of our weights files, or None for any other file."""
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = parse_json(stream.read(min(length, LONGEST_HEADER_BYTES)))
            fields = parse_json(header["__metadata__"][HEADER_KEY])
        if fields.pop("schema", None) != SCHEMA:
            return None
        info = WeightsInfo(**fields)
        scores = [*info.val.values(), *info.test.values()]
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError):
        return None
    plain = all(isinstance(score, int | float) and math.isfinite(score) for score in scores)
    named = isinstance(info.workload, str) and isinstance(info.data_digest, str)
    return info if plain and named and isinstance(info.recipe, dict) else None


def weights_digest(path: Path, key: str | None = None) -> str:
    """SHA-256 of the weights file, or of it and the entry that is meant. Raises WeightsError when it cannot be read."""
    try:
        return file_digest(path) if key is None else digest([file_digest(path), key])
    except OSError as error:
        raise WeightsError(f"the weights file {path} must be readable: {error.strerror}") from error


def load_weights(model: torch.nn.Module, path: Path, key: str | None = None, *, entry: str = "") -> str:
    """Load the weights of `path` into the model, in the model's dtypes; what is to be said of how they were found.

    Of a file that holds more, such as the checkpoint of a training, the one set of tensors that fits is taken, or the
    one with this `key`: see `state_dicts`; `entry` is the file that is meant in a zip file. Nothing in the file is
    executed. Raises WeightsError naming what is missing, unexpected or of another shape.
    """
    sets, wanted = state_dicts(read_file(path, entry)), model.state_dict()
    if not sets:
        raise WeightsError(f"the weights {path} must hold tensors by name, they hold none")
    if key is not None:
        sets = _with_key(sets, wanted, key, path)
    fits = fitting(sets, wanted, lambda tensors: not _count(tensors, wanted))
    if not fits:
        raise WeightsError(_no_fit(sets, wanted, path))
    if len(fits) > 1:
        names = ", ".join(one.key for one in fits)
        raise WeightsError(f"the file {path} has several weights that fit: choose one of {names} with --weights-key")
    (one,) = fits
    model.load_state_dict({name: one.tensors.get(name, value) for name, value in wanted.items()})
    return f"{path}: {one.remark}" if one.remark else ""


def _with_key(sets: Sequence[StateDict], wanted: Tensors, key: str, path: Path) -> list[StateDict]:
    """The sets of the entry `key` of a file. Raises WeightsError where it has none."""
    found = [one for item in sets for one in ways(item, wanted) if one.key == key]
    if not found:
        keys = ", ".join(short(one.key) for one in sets[:MOST_KEYS])
        raise WeightsError(f"--weights-key must name an entry with tensors of {path}, such as {keys}; got {short(key)}")
    return found


def _no_fit(sets: Sequence[StateDict], wanted: Tensors, path: Path) -> str:
    """What keeps the nearest set of a file from being the weights of the network."""
    nearest = min((one for item in sets for one in ways(item, wanted)), key=lambda one: _count(one.tensors, wanted))
    where = f" (those of {short(nearest.key)}, the nearest)" if nearest.prefix or nearest.key != WHOLE else ""
    faults = [f"{len(names)} {what}: {first(names)}" for what, names in _faults(nearest.tensors, wanted) if names]
    return (
        f"the weights {path}{where} must fit the model, they do not: {'; '.join(faults)}. "
        "Name the file that was trained for this workload with --weights"
    )


def _count(found: Tensors, wanted: Tensors) -> int:
    return sum(len(names) for _, names in _faults(found, wanted))


def _faults(found: Tensors, wanted: Tensors) -> list[tuple[str, list[str]]]:
    """What keeps tensors from being the weights of a network, by kind: the names of the tensors."""
    both = [name for name in wanted if name in found]
    return [
        # Counts of batches seen are not weights; old checkpoints lack them.
        ("missing", [name for name in wanted if name not in found and not counted(name)]),
        ("unexpected", [name for name in found if name not in wanted]),
        (
            "of another shape",
            [
                f"{name} {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}"
                for name in both
                if found[name].shape != wanted[name].shape
            ],
        ),
        ("of another kind", [name for name in both if not _fits_kind(found[name], wanted[name])]),
    ]


def _fits_kind(value: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether a tensor holds its numbers one by one, and as many parts to each as the one whose place it takes."""
    import torch

    dense = value.layout is torch.strided and not value.is_quantized and value.device.type == "cpu"
    return dense and value.is_complex() == wanted.is_complex()


def _is_halved(value: torch.Tensor) -> bool:
    return value.is_floating_point() and value.ndim >= 2
