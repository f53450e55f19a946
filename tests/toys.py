"""Toy runtimes and a toy step behind the real names, so that the space is tested without any library."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace

from autoopt.compress import STEPS
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.inference.runtimes import RUNTIMES

THREADS = Parameter("integer", 1, "threads", low=1, high=64)


def precision(*names: str) -> Parameter:
    return Parameter("choice", "f32", "precision of float layers", allowed=names)


PARAMETERS: dict[str, dict[str, Parameter]] = {
    "torch": {"precision": precision("f32", "bf16"), "threads": THREADS},
    "openvino": {
        "precision": precision("f32", "bf16", "f16"),
        "threads": THREADS,
        "streams": Parameter("integer", 1, "parallel calls", low=1, high=8),
    },
    "fake": {
        "precision": precision("f32"),
        "threads": THREADS,
        "latency_ms": Parameter("number", 1.0, "what a call takes", low=0.0, high=1000.0),
        "failure": Parameter("text", None, "what goes wrong", nullable=True),
    },
}

FORMATS = {"torch": "torch", "openvino": "openvino", "fake": "fake"}

QUANTIZE: dict[str, Parameter] = {
    "scheme": Parameter("choice", "int8", "kind of integers", allowed=("int8",), nullable=True),
    "preset": Parameter("choice", "performance", "symmetric or not", allowed=("performance", "mixed")),
    "cases": Parameter("integer", 32, "calibration cases", low=1, high=512),
    "ratio": Parameter("number", 0.5, "a fraction", low=0.0, high=1.0),
    "smooth": Parameter("flag", False, "smoothing"),
    "ignored_layers": Parameter("text", None, "layers in float", nullable=True),
}


def canonical_quantize(
    settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host
) -> dict[str, Scalar] | None:
    """Torch does not quantize; `ratio` means something only where smoothing is on."""
    if settings["scheme"] is None or runtime["name"] == "torch":
        return None
    return {key: value for key, value in settings.items() if key != "ratio" or settings["smooth"]}


def toy_runtime(name: str) -> SimpleNamespace:
    def precisions(host: Host) -> tuple[str, ...]:
        return ("f32", "bf16") if "avx512_bf16" in host.isa and name != "fake" else ("f32",)

    def canonical(settings: Mapping[str, Scalar], host: Host) -> dict[str, Scalar]:
        own = {key: value for key, value in settings.items() if key in PARAMETERS[name]}
        own["threads"] = min(int(own["threads"] or 1), host.cores)
        if own["precision"] not in precisions(host):
            own["precision"] = "f32"
        if "streams" in own:
            own["streams"] = min(int(own["streams"] or 1), int(own["threads"]))
        return own

    return SimpleNamespace(
        FORMAT=FORMATS[name], PARAMETERS=PARAMETERS[name], precisions=precisions, canonical=canonical
    )


@contextmanager
def installed() -> Iterator[None]:
    """The toys in the two tables; afterwards these are as they were, in their order."""
    steps = {
        name: SimpleNamespace(SWITCH="off", PARAMETERS={}, canonical=lambda *settings: None, change=None)
        for name in STEPS
    }
    steps["quantize"] = SimpleNamespace(SWITCH="scheme", PARAMETERS=QUANTIZE, canonical=canonical_quantize, apply=None)
    toys = {**{name: toy_runtime(name) for name in PARAMETERS}, **steps}
    kept = dict(RUNTIMES), dict(STEPS)
    sys.modules.update({f"toy_{name}": toy for name, toy in toys.items()})  # type: ignore[misc]
    for table, names in ((RUNTIMES, PARAMETERS), (STEPS, steps)):
        _refill(table, {name: f"toy_{name}" for name in names})
    try:
        yield
    finally:
        for name in toys:
            del sys.modules[f"toy_{name}"]
        for table, before in zip((RUNTIMES, STEPS), kept, strict=True):
            _refill(table, before)


def _refill(table: dict[str, str], content: dict[str, str]) -> None:
    table.clear()
    table.update(content)
