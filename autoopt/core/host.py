"""The machine that measures, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from autoopt.core.configuration import digest


@dataclass(frozen=True)
class Host:
    """The machine that measures. Numbers never cross from one `fingerprint` to another silently.

    `cores` is how many this process may really use (affinity and cgroup quota), `memory_bytes` the
    physical memory or the cgroup limit, `isa` the instruction sets that decide speed, `versions`
    the libraries that decide what runs.
    """

    cpu: str
    arch: str
    cores: int
    memory_bytes: int
    isa: tuple[str, ...]
    system: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change when anything that decides speed changes."""
        return digest(asdict(self))[:12]
