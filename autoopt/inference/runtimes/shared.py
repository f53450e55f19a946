"""What the runtimes have in common: their usual settings, the canonical form, the translation of refusals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.core.process import MEMORY_WORDS
from autoopt.errors import TrialError, Unsupported

PRECISION = Parameter(
    "choice", "f32", "Arithmetic of the float layers; one the host has no kernels for is f32.", ("f32", "bf16", "f16")
)
THREADS = Parameter("integer", 1, "Threads of one call; no more than the usable cores.", low=1)
STREAMS = Parameter("integer", 1, "Calls that may run side by side; no more than the threads.", low=1)

_X86_BF16 = frozenset({"avx512_bf16", "amx_bf16", "avx_ne_convert"})
_X86_F16 = frozenset({"avx512_fp16", "amx_fp16"})


def has_bf16(host: Host) -> bool:
    """Whether the host multiplies BF16 in hardware; emulated it is far slower than f32."""
    return bool(_X86_BF16 & set(host.isa)) or (_is_arm(host) and "bf16" in host.isa)


def has_f16(host: Host) -> bool:
    """Whether the host multiplies F16 in hardware."""
    return bool(_X86_F16 & set(host.isa)) or (_is_arm(host) and "asimdhp" in host.isa)


def canonical(
    settings: Mapping[str, Scalar], host: Host, parameters: Mapping[str, Parameter], precisions: tuple[str, ...]
) -> dict[str, Scalar]:
    """`settings` with the defaults filled in and everything without effect dropped or clipped.

    Keeps `name` where it is given. Threads are clipped to the host's cores, streams to the threads,
    a precision that is not in `precisions` becomes f32. Pure, idempotent.
    """
    result = {name: settings.get(name, parameter.default) for name, parameter in parameters.items()}
    if result.get("precision") not in precisions:
        result["precision"] = "f32"
    if "threads" in result:
        result["threads"] = min(whole(result["threads"]), max(host.cores, 1))
    if "streams" in result:
        result["streams"] = min(whole(result["streams"]), whole(result["threads"]))
    return {"name": settings["name"], **result} if "name" in settings else result


def whole(value: Scalar) -> int:
    """A setting that is a number, as a whole number of at least 1."""
    return max(1, int(value or 1))


@contextmanager
def refusals(library: str, folder: Path) -> Iterator[None]:
    """Turn whatever `library` raises while it loads the model in `folder` into Unsupported.

    Running out of memory is no refusal and passes as it is.
    """
    try:
        yield
    except (TrialError, MemoryError):
        raise
    except Exception as error:
        if any(word in str(error) for word in MEMORY_WORDS):
            raise
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        raise Unsupported(
            f"{library} must be able to load the model in {folder.name}, it refused with {type(error).__name__}: "
            f"{reason[:300]}; use another runtime or other settings"
        ) from error


def model_file(folder: Path, name: str) -> Path:
    """The file `name` in the artifact `folder`. Raises Unsupported when it is not there."""
    path = folder / name
    if not path.is_file():
        raise Unsupported(f"the artifact {folder.name} must hold {name}, it does not: it was made for another runtime")
    return path


def listing(kinds: Iterable[str]) -> str | None:
    """Kernel types as a sorted "name:count" list, or None when there are none."""
    counts = Counter(kinds)
    return ",".join(f"{kind}:{counts[kind]}" for kind in sorted(counts)) or None


def share(seconds: Iterable[tuple[float, bool]]) -> float | None:
    """The fraction of the time that is marked True, or None when no time was recorded."""
    pairs = list(seconds)
    total = sum(item for item, _ in pairs)
    return sum(item for item, marked in pairs if marked) / total if total > 0 else None


def _is_arm(host: Host) -> bool:
    return host.arch.lower() in ("aarch64", "arm64")
