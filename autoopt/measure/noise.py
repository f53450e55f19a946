"""The noise of a host: how far measurements of one and the same model differ there, kept per host fingerprint."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoopt.core.configuration import canonical_json
from autoopt.core.host import Host
from autoopt.core.store import write_atomic
from autoopt.errors import StorageError
from autoopt.measure.peaks import kept_peaks

SCHEMA = 1


@dataclass(frozen=True)
class Noise:
    """The outcome of an A/A test with so many fresh `processes` of one model.

    `sigma` is the standard deviation of log latency between processes, beyond what their own samples explain. Two
    trials must differ by the fraction `floor` to be told apart. `estimators` are the root-mean-square false
    differences of some estimators, by name; `quantile` is that of the best one.
    """

    sigma: float
    floor: float
    processes: int
    estimators: dict[str, float]
    quantile: float = 0.25


def noise_path(home: Path, host: Host) -> Path:
    """The file of a host's noise in the home folder."""
    return home / "hosts" / f"{host.fingerprint}-noise.json"


def load_noise(home: Path, host: Host) -> Noise | None:
    """The kept noise of `host`, or None. Raises StorageError for a file that cannot be read."""
    path = noise_path(home, host)
    try:
        found = json.loads(path.read_bytes())
        if found.pop("schema") != SCHEMA:
            raise StorageError(
                f"{path} is of another version of autoopt: delete it and run autoopt doctor --noise again"
            )
        return Noise(**found)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path} was damaged: delete it and run autoopt doctor --noise again") from error


def keep_noise(home: Path, host: Host, noise: Noise) -> None:
    """Keep the noise of `host`. Raises StorageError."""
    path = noise_path(home, host)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, canonical_json({"schema": SCHEMA, **asdict(noise)}).encode())


def calibration(home: Path, host: Host) -> dict[str, Any]:
    """What is kept of `host`, as a study card holds it: `sigma`, `quantile`, `peaks` by number of threads.

    Raises StorageError.
    """
    noise, peaks = load_noise(home, host), kept_peaks(home, host)
    found: dict[str, Any] = {} if noise is None else {"sigma": noise.sigma, "quantile": noise.quantile}
    return {**found, "peaks": {str(item.threads): asdict(item) for item in peaks}} if peaks else found
