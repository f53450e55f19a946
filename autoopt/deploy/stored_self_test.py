"""The self-test of a bundle as it is stored: read with care, since a bundle may come from anybody."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core.plain_text import short
from autoopt.core.stats import LogRatio
from autoopt.deploy.goldens import Golden, read_array
from autoopt.deploy.layout import AGAIN, CARD
from autoopt.deploy.self_test import FOLDER
from autoopt.errors import BundleError
from autoopt.measure.probe import MOST_REPEATS

MOST_GOLDENS = 16
MOST_PROCESSES = 1000


@dataclass(frozen=True)
class StoredGolden:
    """A golden input with its sampled output and its answer there, and how far off both may be."""

    golden: Golden
    output: np.ndarray
    answer: np.ndarray
    output_tolerance: Mapping[str, float]
    answer_tolerance: Mapping[str, float]


@dataclass(frozen=True)
class Stored:
    """What a bundle holds to test itself; empty where an earlier version wrote it.

    `ratio` is the time of a call over that of the probe with the version `probe`, repeated `repeats` times, None where
    it was not timed; `band` the slowdowns that its noise explains; `sigma` the noise between processes, and
    `foreign_share` what other programs took of the processor, `model_s` the time of a call by the clock.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    goldens: tuple[StoredGolden, ...] = ()
    ratio: LogRatio | None = None
    band: tuple[float, float] = (1.0, 1.0)
    sigma: float = 0.0
    probe: int = 0
    repeats: int = 1
    foreign_share: float = 0.0
    model_s: float | None = None


def stored_self_test(folder: Path, card: Mapping[str, Any]) -> Stored:
    """The self-test of the verified bundle in `folder`. Raises BundleError for one that makes no sense."""
    facts = card.get("self_test")
    if facts is None:
        return Stored()
    try:
        items = facts["goldens"]
        if not isinstance(items, list) or len(items) > MOST_GOLDENS:
            raise ValueError(f"goldens must be a list of at most {MOST_GOLDENS}")
        found = tuple(_golden(folder, card["files"], item) for item in items)
        latency = facts.get("latency")
        if latency is None:
            return Stored(facts, found)
        values = tuple(map(_finite, latency["log_ratios"][:MOST_PROCESSES]))
        ratio = _positive(latency["ratio"])
        low, high = (_positive(end) / ratio for end in latency["band"])
        return Stored(
            facts,
            found,
            LogRatio(math.log(ratio), abs(_finite(latency["error"])), values),
            (low, high),
            abs(_finite(latency["sigma"])),
            int(latency["probe"]),
            max(1, min(MOST_REPEATS, int(latency["repeats"]))),
            min(1.0, abs(_finite(latency.get("foreign_share") or 0.0))),
            1e-3 * _positive(latency["model_ms"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {short(str(error))}"
        raise BundleError(f"the self-test in {folder / CARD} cannot be used ({reason}): {AGAIN}") from error


def _golden(folder: Path, files: Mapping[str, Any], item: Mapping[str, Any]) -> StoredGolden:
    name = item["name"]
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"the name of a golden input must be a plain word, got {short(name)}")
    arrays = []
    for part in ("", "-output", "-answer"):
        file = f"{FOLDER}/{name}{part}.npy"
        if file not in files:  # only what is listed was verified
            raise ValueError(f"{file} must be among the files of the bundle")
        arrays.append(read_array(folder / file))
    affine = None if item["affine"] is None else np.asarray(item["affine"], np.float64)
    if affine is not None and (affine.shape != (4, 4) or not np.isfinite(affine).all()):
        raise ValueError("an affine must be four by four finite numbers")
    tolerances = [{str(key): _finite(value) for key, value in item[part].items()} for part in ("output", "answer")]
    return StoredGolden(Golden(name, arrays[0], affine), arrays[1], arrays[2], *tolerances)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"a finite number is needed, got {short(value)}")
    return float(value)


def _positive(value: Any) -> float:
    number = _finite(value)
    if not 1e-12 < number < 1e12:
        raise ValueError(f"a number above 0 is needed, got {short(value)}")
    return number
