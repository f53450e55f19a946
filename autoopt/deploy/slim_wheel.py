"""What a machine that only measures or deploys must install: autoopt as a wheel, and the versions of what it needs."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from autoopt.core.store import write_atomic
from autoopt.errors import UsageError
from autoopt.inference.runtimes import REFERENCE, RUNTIMES, runtime

PACKAGE = Path(__file__).resolve().parents[1]
NAME = "autoopt"
LEFT_OUT = (".pyc", ".pyo")
SCRIPTS = {"autoopt": "autoopt.cli:main", "autoopt-keeper": "autoopt.measure.remote.keeper:main"}
"""The commands that the wheel installs: those of pyproject.toml."""
WHEEL = "Wheel-Version: 1.0\nGenerator: autoopt\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
STAMP = (1980, 1, 1, 0, 0, 0)
"""The time of all files, so that one version is one wheel, byte for byte."""
BASE = ("numpy", "psutil", "rich", "scipy", "typer")
"""Besides the runtimes; scipy is for pipelines that resample, or keep the largest part of a mask."""
REQUIREMENTS = "requirements.txt"


def write_wheel(folder: Path) -> Path:
    """Write this autoopt, as it is installed, to `folder` as a wheel; returns its path. See PEP 427."""
    found = importlib.metadata.distribution(NAME)
    info = f"{NAME}-{found.version}.dist-info"
    files = dict(_package_files())
    files[f"{info}/METADATA"] = (found.read_text("METADATA") or "").encode()
    scripts = [f"{name} = {place}" for name, place in SCRIPTS.items()]
    files[f"{info}/entry_points.txt"] = "\n".join(["[console_scripts]", *scripts, ""]).encode()
    files[f"{info}/WHEEL"] = WHEEL.encode()
    record = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in sorted(files.items())]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"{NAME}-{found.version}-py3-none-any.whl"
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, STAMP)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    write_atomic(path, whole.getvalue())
    return path


def requirements(runtimes: Sequence[str]) -> list[str]:
    """The lines of a requirements.txt: what a slim install with these runtimes needs, in the versions that are here.

    Raises UsageError where a runtime's library is not installed here.
    """
    lines = []
    for name in (*BASE, *map(_library, runtimes)):
        try:
            lines.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError as error:
            raise UsageError(
                f"--runtime must be one whose library is installed here, so that both have one version; {name} is not"
            ) from error
    return lines


def _library(name: str) -> str:
    """What pip calls the library of a runtime; that of the reference comes from an index of its own, and is large."""
    known = {each: runtime(each).DISTRIBUTION for each in RUNTIMES if each != REFERENCE}
    found = known.get(name)
    if found is None:
        names = [each for each, library in known.items() if library is not None]
        raise UsageError(f"--runtime must be one of {', '.join(names)}, got {name!r}")
    return found


def _package_files() -> Iterator[tuple[str, bytes]]:
    """Name in the wheel and content of every file of the package."""
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and path.suffix not in LEFT_OUT:
            yield f"{NAME}/{path.relative_to(PACKAGE).as_posix()}", path.read_bytes()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
