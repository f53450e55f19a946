"""Where a training stands, on disk, so that it goes on after an interrupt: safetensors with JSON in the header.

home/weights/NAME-KEY.checkpoint, where KEY is the digest of `made_by`: all that decides what the training computes.
What has another `made_by` is another training, which is never continued. Nothing in the file is executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.core.configuration import digest
from autoopt.core.store import LEFT_BEHIND_S, write_atomic
from autoopt.errors import WeightsError
from autoopt.nets.trainer import TrainerState
from autoopt.nets.weights import HEADER_KEY, LONGEST_HEADER_BYTES

if TYPE_CHECKING:
    import torch

SCHEMA = 1
SUFFIX = ".checkpoint"


class Checkpoint:
    """The one file of the training that `made_by` describes; `name` is that of its workload."""

    def __init__(self, folder: Path, name: str, made_by: Mapping[str, Any]) -> None:
        self._folder, self._name = folder, name
        self._made_by: dict[str, Any] = json.loads(json.dumps(made_by))  # as it will be read again
        self.path = folder / f"{name}-{digest(self._made_by)[:12]}{SUFFIX}"

    def write(self, state: TrainerState, facts: Mapping[str, Any]) -> None:
        """Replace the file in one step by `state` and `facts`, which are plain JSON. Raises StorageError."""
        from safetensors.torch import save

        # A copy of each: some networks have one weight under two names, which the format refuses to share.
        tensors = {name: value.detach().cpu().clone().contiguous() for name, value in state.tensors.items()}
        told = {
            "schema": SCHEMA,
            "name": self._name,
            "made_by": self._made_by,
            "rounds": state.rounds,
            "steps": state.steps,
            "best": state.best,
            "facts": facts,
        }
        header = {**told, "sha256": _digest(told, tensors)}
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, save(tensors, {HEADER_KEY: json.dumps(header, sort_keys=True)}))

    def read(self) -> tuple[TrainerState, dict[str, Any]] | None:
        """What `write` wrote last, None where there is nothing. Raises WeightsError for a damaged file."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            data = self.path.read_bytes()
            told = _header(data)
            tensors = load(data)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, struct.error, ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"the checkpoint {self.path} cannot be read") from error
        if told.pop("sha256", None) != _digest(told, tensors):
            raise WeightsError(f"the checkpoint {self.path} was altered")
        if told.get("schema") != SCHEMA or told.get("made_by") != self._made_by:
            return None
        return TrainerState(told["rounds"], told["steps"], told["best"], tensors), told["facts"]

    def others(self) -> dict[Path, list[str]]:
        """The checkpoints of other trainings of this workload, each with the names of what is different in `made_by`.

        Reads headers only.
        """
        found: dict[Path, list[str]] = {}
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            told = header_of(path)
            if path == self.path or told.get("name") != self._name or not isinstance(told.get("made_by"), dict):
                continue
            theirs = told["made_by"]
            names = sorted({*theirs, *self._made_by})
            found[path] = [name for name in names if theirs.get(name) != self._made_by.get(name)]
        return found

    def remove(self) -> None:
        """Remove the file, and what a write that was killed more than a day ago left half-made."""
        self.path.unlink(missing_ok=True)
        for left in self._folder.glob(f".*{SUFFIX}-*"):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                if left.stat().st_mtime < time.time() - LEFT_BEHIND_S:
                    left.unlink()


def header_of(path: Path) -> dict[str, Any]:
    """What the header of a checkpoint says: `name`, `made_by`, ...; empty for a file that is none."""
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
            return _header(start + stream.read(min(struct.unpack("<Q", start)[0], LONGEST_HEADER_BYTES)))
    except (OSError, struct.error, ValueError, KeyError, TypeError):
        return {}


def _header(data: bytes) -> dict[str, Any]:
    """Our part of the header. Raises struct.error, ValueError, KeyError or TypeError where it has none."""
    (length,) = struct.unpack("<Q", data[:8])
    told = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][HEADER_KEY])
    if not isinstance(told, dict):
        raise TypeError("no fields")
    return told


def _digest(told: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of all that a checkpoint says: the format itself does not notice a flipped bit."""
    import torch

    found = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
