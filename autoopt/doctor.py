"""`autoopt doctor`: can this host, these folders and these servers do what a search needs?

Loading a runtime and reaching a server may be slow or crash: they happen in a child process with a time limit, so the
answer always comes and names what is wrong. Run as a module, this file is that child.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from autoopt.core.host import Host
from autoopt.core.packages import SEARCH_EXTRA, how_to_install
from autoopt.core.process import Child, Handler, serve
from autoopt.core.store import Store
from autoopt.core.urls import sqlite_file, without_secrets
from autoopt.errors import AutooptError, TrialError, UsageError
from autoopt.inference.runtimes import RUNTIMES, runtime
from autoopt.inference.runtimes.shared import has_bf16, has_f16
from autoopt.measure.lock import lock_folder
from autoopt.measure.noise import load_noise
from autoopt.measure.peaks import load_peaks
from autoopt.measure.target import LocalTarget, Target
from autoopt.study.postgresql import is_postgresql, with_driver
from autoopt.study.prepare import LEAST_FREE_BYTES
from autoopt.study.request import default_storage
from autoopt.tracking import default_tracking_uri

LIBRARIES = ("torch", "nncf", "openvino", "onnxruntime", "onnx", "monai", "optuna", "mlflow", "numpy")
"""The libraries whose versions decide what a search does."""
OF_A_SEARCH = ("optuna", "nncf")
"""Where none of these is installed, nobody meant to search here."""
IMPORT_TIMEOUT_S = 120.0
"""For the first import of a library from a slow disk."""
SERVER_TIMEOUT_S = 40.0
"""For the import of a client library and one question to its server."""
ANSWER_TIMEOUT_S = 10
"""For the server alone, where its client can be told."""
LEAST_MEMORY_BYTES = 4_000_000_000
"""What the whole process tree of a search of the largest built-in workload may take."""
SERVER_VARIABLES = (
    "MLFLOW_TRACKING_",
    "PG",
    "SSL_CERT_",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)
"""Beginnings of the variables that say how a server is reached: the child that asks it needs them too."""
INSTRUCTIONS = {
    "bf16": ("bf16", "ne_convert"),
    "f16": ("fp16", "asimdhp"),
    "int8": ("int8", "vnni", "i8mm", "asimddp"),
}
"""Parts of the names of the instruction sets that calculate in a precision."""


@dataclass(frozen=True)
class Check:
    """One finding: `ok` is False for what stops a search, None for a remark."""

    name: str
    ok: bool | None
    detail: str


Ask = Callable[[Child, str, Mapping[str, str], float], str | None]
"""Asks a child to do one of `PROBES` within so many seconds; the answer is what is wrong, None when all is well."""
VersionOf = Callable[[str], str | None]
"""The version of a distribution, None where it is not installed."""


def ask(child: Child, probe: str, request: Mapping[str, str], timeout_s: float) -> str | None:
    """What a child found wrong, in one line; None when all is well. See `Ask`."""
    try:
        child.call(probe, request, stage=probe, timeout_s=timeout_s)
    except TrialError as error:
        return error.message
    except UsageError as error:
        return str(error)
    return None


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, or None. See `VersionOf`."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def checks(
    home: Path,
    storage: str | None = None,
    tracking_uri: str | None = None,
    *,
    target: Target | None = None,
    ask: Ask = ask,
    version_of: VersionOf = version_of,
) -> list[Check]:
    """Check the host that measures, the folder `home` and the two servers.

    `storage` and `tracking_uri` default to the SQLite files in `home`, `target` to this host. Raises nothing, and makes
    at most the folder of locks.
    """
    host = (target or LocalTarget()).host
    searches = any(version_of(name) is not None for name in OF_A_SEARCH)
    with Child("autoopt.doctor", environment=server_environment()) as child:
        return [
            _versions(version_of, searches),
            *_runtimes(host, child, ask, version_of, searches),
            *_precisions(host),
            _cores(host),
            _memory(host),
            *_calibration(home, host),
            _writable("home folder", home, hint="choose another with --home"),
            _disk(home),
            _store(home),
            *(_servers(home, storage, tracking_uri, child, ask) if searches else []),
            _locks(),
        ]


def _servers(home: Path, storage: str | None, tracking_uri: str | None, child: Child, ask: Ask) -> Iterator[Check]:
    """What only a search writes to."""
    url = storage or default_storage(home)
    stored = server_check("study storage", url, child, ask)
    yield stored
    if stored.ok and is_postgresql(with_driver(url)):
        yield connection_check(url, child)
    yield server_check("tracking", tracking_uri or default_tracking_uri(home), child, ask)


def _versions(version_of: VersionOf, searches: bool) -> Check:
    found = {name: version_of(name) for name in LIBRARIES}
    missing = [name for name, version in found.items() if version is None]
    told = [f"autoopt {version_of('autoopt') or 'from source'}", f"Python {platform.python_version()}"]
    told += [f"{name} {version}" for name, version in found.items() if version is not None]
    if not searches:
        slim = f"; this installation loads bundles and predicts, to search: pip install {SEARCH_EXTRA}"
        return Check("versions", None, ", ".join(told) + slim)
    lack = f"; missing: {', '.join(missing)}: pip install {SEARCH_EXTRA}" if missing else ""
    return Check("versions", not missing, ", ".join(told) + lack)


def _runtimes(host: Host, child: Child, ask: Ask, version_of: VersionOf, searches: bool) -> Iterator[Check]:
    """One check per runtime: installed, loads, and the precisions it has kernels for here.

    A search needs all of them, what only predicts needs one.
    """
    packages = [runtime(name).DISTRIBUTION for name in RUNTIMES]
    enough = not searches and any(version_of(package) is not None for package in packages if package is not None)
    for name in RUNTIMES:
        module = runtime(name)
        if module.DISTRIBUTION is None:
            continue
        version = version_of(module.DISTRIBUTION)
        label = f"runtime {name}"
        if version is None:
            text = f"{module.DISTRIBUTION} is not installed: run pip install {how_to_install(module.DISTRIBUTION)}"
            yield Check(label, None if enough else False, text)
            continue
        problem = ask(child, "import", {"module": name}, IMPORT_TIMEOUT_S)
        if problem is None:
            yield Check(label, True, f"{version}; kernels of its own for {', '.join(module.precisions(host))}")
        else:
            yield Check(label, False, f"{module.DISTRIBUTION} {version} does not load: {problem}")


def _precisions(host: Host) -> Iterator[Check]:
    """What the CPU calculates in itself; a precision without instructions works, but is not faster."""
    yield Check("CPU", None, f"{host.cpu}, {host.arch}: {', '.join(host.isa) or 'instruction sets unknown'}")
    yield Check("CPU f32", True, "always")
    found = {
        precision: ", ".join(name for name in host.isa if any(part in name for part in parts))
        for precision, parts in INSTRUCTIONS.items()
    }
    for precision, real in (("bf16", has_bf16(host)), ("f16", has_f16(host))):
        emulated = "no instructions: emulated, slower than f32, so no search tries it"
        yield Check(f"CPU {precision}", real or None, found[precision] if real else emulated)
    vectors = "no dot-product instructions: INT8 runs on plain vector instructions"
    yield Check("CPU int8", bool(found["int8"]) or None, found["int8"] or vectors)


def _cores(host: Host) -> Check:
    present = os.cpu_count() or host.cores
    limited = " (affinity or a container quota takes the rest)" if host.cores < present else ""
    return Check("cores", host.cores >= 1, f"{host.cores} usable of {present} present{limited}")


def _memory(host: Host) -> Check:
    import psutil

    free = int(psutil.virtual_memory().available)
    total = host.memory_bytes or free  # 0 where it cannot be read
    free = min(free, total)
    detail = f"{free / 1e9:.1f} GB available of {total / 1e9:.1f} GB"
    if free >= LEAST_MEMORY_BYTES:
        return Check("memory", True, detail)
    return Check("memory", None, f"{detail}; a search may need {LEAST_MEMORY_BYTES / 1e9:.0f} GB")


def _calibration(home: Path, host: Host) -> Iterator[Check]:
    """What `doctor --noise` found about this host, where it ran."""
    try:
        noise, peaks = load_noise(home, host), load_peaks(home, host, host.cores)
    except AutooptError as error:
        yield Check("noise", False, str(error))
        return
    if noise is None or peaks is None:
        yield Check(
            "noise", None, "not measured: every study does a short A/A test of its own; a longer one is --noise"
        )
        return
    yield Check("noise", True, f"trials are told apart from {noise.floor:.1%} on ({noise.processes} processes)")
    names = {"f32": "f32", "bf16": "bf16", "f16": "f16", "i8": "int8"}
    rates = [f"{names[name]} {rate / 1e9:.0f} Gop/s" for name in names if (rate := peaks.ops_per_s(name))]
    busy = f"; other programs took {peaks.foreign_share:.0%} of the cores" if (peaks.foreign_share or 0) > 0.1 else ""
    detail = f"{', '.join(rates)}, {peaks.bandwidth_bytes_per_s / 1e9:.0f} GB/s with {peaks.threads} threads{busy}"
    yield Check("peaks", True, detail)


def _writable(name: str, folder: Path, *, hint: str) -> Check:
    """Whether a file can be made in `folder`, or in the nearest parent that exists, where `folder` would be made."""
    place = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Check(name, False, f"{folder} must be a folder this user can write to ({error.strerror}): {hint}")
    return Check(name, True, str(folder) if place == folder else f"{folder} (made by the first search)")


def _disk(home: Path) -> Check:
    free = shutil.disk_usage(_nearest(home)).free
    enough = free >= LEAST_FREE_BYTES
    more = "" if enough else f"; a search needs {LEAST_FREE_BYTES / 1e6:.0f} MB: free some space or use another --home"
    return Check("disk", enough, f"{free / 1e9:.1f} GB free for {home}{more}")


def _store(home: Path) -> Check:
    root = home / "store"
    if not root.exists():
        return Check("store", None, f"{root} (made by the first search)")
    store, count, total = Store(root), 0, 0
    try:
        for artifact in store.artifacts():
            store.verify(artifact)
            count, total = count + 1, total + artifact.size_bytes
    except (AutooptError, OSError, ValueError, KeyError) as error:
        return Check("store", False, f"{root}: {error}")
    return Check("store", True, f"{root}: {count} artifacts, {total / 1e6:.0f} MB, every file as it was made")


def server_check(name: str, url: str, child: Child, ask: Ask = ask) -> Check:
    """Whether the study storage or the tracking server at `url` answers."""
    if (unmade := _unmade(name, url)) is not None:
        return unmade
    problem = ask(child, name, {"url": url}, SERVER_TIMEOUT_S)
    return Check(name, problem is None, without_secrets(problem or url))


def connection_check(url: str, child: Child) -> Check:
    """Whether the connection to a PostgreSQL server is encrypted, and who the server says we are."""
    try:
        told = child.call("connection", {"url": url}, stage="connection", timeout_s=SERVER_TIMEOUT_S)
    except (TrialError, UsageError) as error:
        return Check("storage connection", False, without_secrets(str(error)))
    warning = str(told["warning"])
    return Check("storage connection", None if warning else True, "; ".join(filter(None, (told["words"], warning))))


def _unmade(name: str, url: str) -> Check | None:
    """A check of the folder when `url` is a SQLite file that is not there yet: to open it would make it."""
    path = sqlite_file(url)
    if path is None or path.exists():
        return None
    folder = _writable(name, path.parent, hint="choose another")
    return folder if not folder.ok else Check(name, None, f"{path} (made by the first search)")


def _locks() -> Check:
    try:
        return _writable("lock folder", lock_folder(), hint="remove it or set TMPDIR")
    except AutooptError as error:
        return Check("lock folder", False, str(error))


def _probe_import(request: dict[str, str]) -> dict[str, str]:
    import importlib

    importlib.import_module(request["module"])
    return {}


def _probe_storage(request: dict[str, str]) -> dict[str, str]:
    from autoopt.study.storage import check_storage

    check_storage(request["url"])
    return {}


def _probe_connection(request: dict[str, str]) -> dict[str, str]:
    from autoopt.study.postgresql import connection_to

    found = connection_to(request["url"])
    return {"words": found.in_words, "warning": found.warning}


def _probe_tracking(request: dict[str, str]) -> dict[str, str]:
    from autoopt.tracking import check_tracking

    check_tracking(request["url"])
    return {}


PROBES: dict[str, Handler] = {
    "import": _probe_import,
    "study storage": _probe_storage,
    "connection": _probe_connection,
    "tracking": _probe_tracking,
}
"""What the child does, by name. Whatever it raises is what is wrong."""


def _nearest(folder: Path) -> Path:
    """`folder`, or the nearest parent that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def server_environment() -> dict[str, str]:
    """How the servers are reached, and limits of time: by default an absent server is tried for minutes."""
    limits = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(ANSWER_TIMEOUT_S),
        "PGCONNECT_TIMEOUT": str(ANSWER_TIMEOUT_S),
    }
    return {**{name: text for name, text in os.environ.items() if name.upper().startswith(SERVER_VARIABLES)}, **limits}


if __name__ == "__main__":
    serve(PROBES)
