"""The best that a host can do, measured: arithmetic by precision and memory bandwidth, kept in a file per host.

It is the roof under which the latency of a model is judged: see `inference/roofline.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from autoopt.core.configuration import canonical_json
from autoopt.core.host import Host
from autoopt.core.store import write_atomic
from autoopt.errors import StorageError
from autoopt.inference.roofline import OPS_PER_MAC, Peaks
from autoopt.inference.runtimes.openvino import precisions
from autoopt.measure.target import LONGEST_WAIT_S, Target

SCHEMA = 1
CHILD = "autoopt.measure.peaks_process"
STAGE = "peaks"
TIMEOUT_S = 120.0
"""For the first import from a slow disk; on a warm one it is a matter of five seconds."""


def measure_peaks(
    target: Target,
    threads: int,
    *,
    tried: Sequence[str] | None = None,
    rounds: int = 3,
    round_s: float = 0.15,
    memory_part: int = 8,
    wait_s: float = LONGEST_WAIT_S,
) -> Peaks:
    """The peaks of `target` with so many threads, in a fresh process; a few seconds.

    `tried` are the precisions of float arithmetic, by default those that the target has kernels for. Each gets `rounds`
    turns of `round_s` seconds, so that a busy moment does not slow one alone. An array that is copied takes at most the
    `memory_part`-th part of the memory. Nothing else is measured meanwhile: waits up to `wait_s` for that. Raises
    TrialError or BusyError.
    """
    request = {
        "threads": threads,
        "precisions": [*(precisions(target.host) if tried is None else tried), "i8"],
        "memory_part": memory_part,
        "rounds": rounds,
        "round_s": round_s,
    }
    with target.exclusive(wait_s=wait_s), target.worker(CHILD, threads=threads) as child:
        reply = child.call("peaks", request, stage=STAGE, timeout_s=TIMEOUT_S)
    ops = {name: OPS_PER_MAC * macs for name, macs in reply["macs_per_s"].items()}
    return Peaks(
        f32_flops_per_s=ops["f32"],
        bf16_flops_per_s=ops.get("bf16"),
        f16_flops_per_s=ops.get("f16"),
        int8_ops_per_s=ops.get("i8"),
        bandwidth_bytes_per_s=reply["bytes_per_s"],
        threads=threads,
        foreign_share=reply["foreign_share"],
    )


def peaks_path(home: Path, host: Host) -> Path:
    """The file of a host's peaks in the home folder."""
    return home / "hosts" / f"{host.fingerprint}-peaks.json"


def load_peaks(home: Path, host: Host, threads: int) -> Peaks | None:
    """The kept peaks of `host` with so many threads, or None. Raises StorageError for a file that cannot be read."""
    return next((peaks for peaks in _kept(peaks_path(home, host)) if peaks.threads == threads), None)


def kept_peaks(home: Path, host: Host) -> Sequence[Peaks]:
    """All kept peaks of `host`, by number of threads. Raises StorageError for a file that cannot be read."""
    return _kept(peaks_path(home, host))


def keep_peaks(home: Path, host: Host, peaks: Peaks) -> None:
    """Keep the peaks of `host`, beside those with other numbers of threads. Raises StorageError."""
    path = peaks_path(home, host)
    path.parent.mkdir(parents=True, exist_ok=True)
    others = [item for item in _kept(path) if item.threads != peaks.threads]
    kept = sorted([*others, peaks], key=lambda item: item.threads)
    write_atomic(path, canonical_json({"schema": SCHEMA, "peaks": [asdict(item) for item in kept]}).encode())


def _kept(path: Path) -> Sequence[Peaks]:
    try:
        found = json.loads(path.read_bytes())
        if found["schema"] != SCHEMA:
            raise StorageError(f"{path} has peaks of schema {found['schema']}, this version reads {SCHEMA}: delete it")
        return [Peaks(**item) for item in found["peaks"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path} was damaged: delete it and run the command again") from error
