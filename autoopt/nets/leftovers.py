"""What interrupted trainings left in home/weights and nobody needs any more: checkpoints, and weights in part."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from autoopt.core.store import file_digest
from autoopt.errors import WeightsError
from autoopt.nets.checkpoint import SUFFIX, header_of
from autoopt.nets.weights import INTERRUPTED, WeightsInfo, read_info

AT_WORK_S = 24 * 3600.0
"""What was written so recently may belong to a training that runs: it writes its checkpoint after every epoch."""
ABANDONED_S = 30 * 24 * 3600.0
"""After this long nobody goes on with a training."""


def leftovers(folder: Path, needed: Collection[str]) -> list[Path]:
    """The checkpoints and interrupted weights in `folder` whose training is done, or that nobody continued for a month.

    `needed` are the SHA-256 of weights that a study was made with: they stay, and so do the best weights of a workload
    and its data. Files of others are left alone; nothing is removed.
    """
    now = time.time()
    found = {path: info for path in sorted(folder.glob("*.safetensors")) if (info := read_info(path)) is not None}
    ended = {path: info for path, info in found.items() if not info.recipe.get(INTERRUPTED)}
    removable = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        told = header_of(path).get("made_by")
        done = isinstance(told, dict) and any(
            _training(told) == _training(_as_made_by(info)) and other.stat().st_mtime >= path.stat().st_mtime
            for other, info in ended.items()
        )
        if told is not None and _is_old(path, now, done=done):
            removable.append(path)
    kept = {*ended, *_best(found)}
    for path, info in found.items():
        if path in kept or not _is_old(path, now, done=_same(info, ended)):
            continue
        if file_digest(path) not in needed:
            removable.append(path)
    return removable


def remove_leftovers(folder: Path, needed: Collection[str]) -> list[tuple[Path, int]]:
    """Remove the `leftovers` of `folder`; returns each with the bytes that it had. Raises WeightsError."""
    removed = []
    for path in leftovers(folder, needed):
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:  # another process was faster
            continue
        except OSError as error:
            raise WeightsError(f"{path} cannot be removed ({error.strerror}): remove it yourself") from error
        removed.append((path, size))
    return removed


def _is_old(path: Path, now: float, *, done: bool) -> bool:
    return path.stat().st_mtime < now - (AT_WORK_S if done else ABANDONED_S)


def _same(info: WeightsInfo, others: Mapping[Path, WeightsInfo]) -> bool:
    """Whether one of the others comes from the same training, done to its end."""
    return any(_training(_as_made_by(info)) == _training(_as_made_by(other)) for other in others.values())


def _as_made_by(info: WeightsInfo) -> dict[str, Any]:
    """What the header of weights says of their training, under the names of a checkpoint."""
    recipe = dict(info.recipe)
    own = {name: recipe.pop(name, None) for name in ("seed", "threads")}
    for name in ("steps", "of_steps", "half", INTERRUPTED):
        recipe.pop(name, None)
    return {"workload": info.workload, "data": info.data_digest, "recipe": recipe, **own}


def _training(made_by: Mapping[str, Any]) -> list[Any]:
    """What tells one training from another, as far as weights and checkpoints both say it."""
    return [made_by.get(name) for name in ("workload", "data", "recipe", "seed", "threads")]


def _best(found: Mapping[Path, WeightsInfo]) -> set[Path]:
    """The weights that a search may take of their workload and data: the best by each metric, the ended ones first."""
    best: dict[tuple[str, str, str], tuple[tuple[bool, float, float], Path]] = {}
    for path, info in found.items():
        for metric in info.val or {"": 0.0}:
            key = (info.workload, info.data_digest, metric)
            rank = (not info.recipe.get(INTERRUPTED), info.val.get(metric, 0.0), path.stat().st_mtime)
            best[key] = max(best.get(key, (rank, path)), (rank, path))
    return {path for _, path in best.values()}
