"""Short names of configurations, for tables and runs."""

from __future__ import annotations

from collections.abc import Mapping

from autoopt.compress import net_steps, step
from autoopt.core.configuration import Configuration, Scalar

_DESCRIBED = {
    "quantize": (
        "scheme",
        "tool",
        "preset",
        "activations",
        "range_estimator",
        "bias_correction",
        "calibration_cases",
        "ignored_layers",
        "keep_float",
        "qat_steps",
    )
}
"""The settings a short name tells, by section; those of other sections are all told."""
_DERIVED = ("rungs", "training_precision")
"""Settings of network steps that follow from others, or from the host."""
_UNITS = {
    "keep_float": "float groups",
    "calibration_cases": "cases",
    "bias_correction": "bias",
    "threads": "threads",
    "streams": "streams",
}


def describe(configuration: Configuration) -> str:
    """A short name of a configuration for tables and run names: runtime, steps, then the runtime's settings."""
    sections = configuration.sections()
    runtime: dict[str, Scalar] = sections.pop("runtime", None) or {}
    words = [str(runtime.pop("name", "?"))]
    for name, settings in sorted(sections.items()):
        if settings is not None and name in net_steps():
            words += _net_words(name, settings)
        elif settings is not None:
            known = _DESCRIBED.get(name, tuple(settings))
            words += [_word(key, settings.get(key)) for key in known]
    words += [_word(key, item) for key, item in sorted(runtime.items())]
    return " ".join(word for word in words if word)


def _net_words(name: str, settings: Mapping[str, Scalar]) -> list[str]:
    """A step that changes the network, by its aim and what differs from the defaults."""
    module = step(name)
    others = {key: value for key, value in settings.items() if key != module.SWITCH and key not in _DERIVED}
    told = [f"{key}={value}" for key, value in others.items() if value != module.PARAMETERS[key].default]
    return [f"{name} {settings[module.SWITCH]}", *sorted(told)]


def _word(key: str, value: Scalar) -> str:
    if value is None or (key, value) in (("range_estimator", "default"), ("spinning", True), ("streams", 1)):
        return ""
    if isinstance(value, bool):
        return f"{key}={str(value).lower()}"
    if key in _UNITS:
        unit = _UNITS[key].removesuffix("s") if value == 1 else _UNITS[key]
        return f"{value} {unit}" if isinstance(value, int | float) else f"{value}-{unit}"
    return str(value) if isinstance(value, str) else f"{key}={value}"
