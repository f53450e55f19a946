"""A configuration as a value, and the one spelling of plain data as JSON that every identity hangs on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Scalar = str | int | float | bool | None


def canonical_json(value: Any) -> str:
    """The one spelling of `value` as JSON: sorted keys, no spaces, plain scalars.

    Integral floats are written as integers and numpy scalars as Python's, so equal values have
    equal text. Raises ValueError for NaN and infinity, which JSON does not have.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of `canonical_json(value)`, 64 hexadecimal digits (the identity idea is Ax's `Arm`)."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


class RuntimeSettings(Mapping[str, Scalar]):
    """The settings of the `runtime` section: a read-only mapping, with the common ones by name and type."""

    def __init__(self, settings: Mapping[str, Scalar]) -> None:
        self._settings = dict(settings)

    def __getitem__(self, key: str) -> Scalar:
        return self._settings[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)

    def __repr__(self) -> str:
        return f"RuntimeSettings({self._settings!r})"

    @property
    def name(self) -> str:
        """The runtime, a key of `RUNTIMES`; "" where the configuration names none."""
        return str(self.get("name") or "")

    @property
    def precision(self) -> str:
        """The arithmetic of float layers: "f32" (also where none is said), "bf16" or "f16"."""
        return str(self.get("precision") or "f32")

    @property
    def threads(self) -> int:
        """Threads of one call, at least 1."""
        return int(self.get("threads") or 1)


@dataclass(frozen=True)
class Configuration:
    """One point of a space: sections (`quantize`, `runtime`, ...) of plain scalars.

    A section that is None is a step switched off. `text` is the canonical JSON, so two equal
    configurations are equal as values and have one digest.
    """

    text: str

    @classmethod
    def of(cls, sections: Mapping[str, Mapping[str, Scalar] | None]) -> Configuration:
        """The configuration with these sections."""
        return cls(canonical_json(sections))

    def sections(self) -> dict[str, dict[str, Scalar] | None]:
        """All sections, as a fresh copy."""
        value: dict[str, dict[str, Scalar] | None] = json.loads(self.text)
        return value

    def section(self, name: str) -> dict[str, Scalar] | None:
        """The settings of one section, as a fresh copy; None when it is off or absent."""
        return self.sections().get(name)

    @property
    def runtime(self) -> RuntimeSettings:
        """What executes the configuration, and how: its `runtime` section."""
        return RuntimeSettings(self.section("runtime") or {})

    def flat(self) -> dict[str, Scalar]:
        """Dotted names to scalars; a step that is off is its bare name with None."""
        flat: dict[str, Scalar] = {}
        for name, settings in sorted(self.sections().items()):
            if settings is None:
                flat[name] = None
            else:
                flat.update({f"{name}.{key}": item for key, item in sorted(settings.items())})
        return flat

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __str__(self) -> str:
        return " ".join(f"{key}={'off' if item is None else item}" for key, item in self.flat().items())


def finite(value: float | None) -> float | None:
    """`value`, or None where it is NaN or infinite: JSON and MLflow have no such numbers."""
    return None if value is None or not math.isfinite(value) else value
