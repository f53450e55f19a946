"""What this host does at best, measured: arithmetic by precision and memory bandwidth, kept per host.

It is the roof under which a model's latency is judged, see `macs.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from autoopt.core.configuration import canonical_json
from autoopt.core.host import Host
from autoopt.core.process import Child
from autoopt.core.store import write_atomic
from autoopt.errors import StorageError
from autoopt.inference.roofline import OPS_PER_MAC, Peaks
from autoopt.inference.runtimes.openvino import precisions
from autoopt.measure.host import current_host, usable_memory_bytes
from autoopt.measure.launcher import LOCK, LOCK_WAIT_S, THREAD_VARIABLES
from autoopt.measure.lock import host_lock

SCHEMA = 1
CHILD = "autoopt.measure.peaks_process"
STAGE = "peaks"
TIMEOUT_S = 120.0
"""For the first import from a slow disk; on a warm one it is a matter of five seconds."""
ROUNDS = 3
ROUND_S = 0.15
"""Seconds of one turn; what is tried takes turns, so that a busy moment of the host does not hit one alone."""
BEYOND_CACHE = 4
"""An array that is copied is so many times larger than the last-level cache."""
LEAST_ARRAY_BYTES, MOST_ARRAY_BYTES = 64 << 20, 512 << 20
LEAST_MEMORY_PART = 8
"""An array takes no more than this part of the memory."""
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def measure_peaks(threads: int, *, wait_s: float = LOCK_WAIT_S) -> Peaks:
    """The peaks of this host with so many threads, in a fresh process; a few seconds.

    Nothing else is measured meanwhile: waits up to `wait_s` for that. Raises TrialError or BusyError.
    """
    job = {
        "threads": threads,
        "precisions": [*precisions(current_host()), "i8"],
        "array_bytes": array_bytes(last_level_bytes(CACHES), usable_memory_bytes()),
        "rounds": ROUNDS,
        "round_s": ROUND_S,
    }
    with (
        host_lock(LOCK, timeout_s=wait_s),
        Child(CHILD, environment=dict.fromkeys(THREAD_VARIABLES, str(threads))) as child,
    ):
        reply = child.call(job, stage=STAGE, timeout_s=TIMEOUT_S)
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


def last_level_bytes(caches: Path) -> int | None:
    """The size of the last-level cache, from where the kernel lists the caches of a core; None where it does not."""
    texts = [path.read_text().strip() for path in caches.glob("index*/size")]
    sizes = [
        int(match[1]) * _UNITS.get(match[2], 1) for text in texts if (match := re.fullmatch(r"(\d+)([KMG]?)", text))
    ]
    return max(sizes, default=None)


def array_bytes(cache_bytes: int | None, memory_bytes: int) -> int:
    """How large an array that is copied must be to leave the cache, and may be to fit in the memory (0: unknown)."""
    wanted = max(LEAST_ARRAY_BYTES, min(MOST_ARRAY_BYTES, BEYOND_CACHE * (cache_bytes or 0)))
    return min(wanted, memory_bytes // LEAST_MEMORY_PART) if memory_bytes else wanted


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
