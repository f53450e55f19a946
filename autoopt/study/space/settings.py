"""All settings that a space file may have, as `autoopt spaces --settings` and docs/spaces.md list them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from autoopt.compress import STEPS, step
from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.inference.runtimes import RUNTIMES, has_network, runtime
from autoopt.study.space.pipeline import PARAMETERS, PIPELINE
from autoopt.study.space.points import RUNTIME


@dataclass(frozen=True)
class Setting:
    """One setting: its key, the sections of a space file that have it, and what it takes."""

    key: str
    sections: tuple[str, ...]
    parameter: Parameter


def all_settings() -> list[Setting]:
    """Every setting of the pipeline, the steps and the real runtimes; one that several sections share comes once."""
    found: list[Setting] = []
    places: dict[tuple[str, int], int] = {}
    for section, key, parameter in _settings():
        place = places.setdefault((key, id(parameter)), len(found))
        if place == len(found):
            found.append(Setting(key, (section,), parameter))
        else:
            found[place] = Setting(key, (*found[place].sections, section), parameter)
    return found


def as_markdown() -> str:
    """All settings as a Markdown table, with default, allowed values and meaning."""
    lines = ["| setting | default | values | means |", "| --- | --- | --- | --- |"]
    for setting in all_settings():
        parameter, first = setting.parameter, setting.sections[0]
        name = f"`{first}.{setting.key}`"
        if len(setting.sections) > 1:
            name = f"`{setting.key}` of {', '.join(f'`{section}`' for section in setting.sections)}"
        lines.append(f"| {name} | {_text(parameter.default)} | {parameter.describe()} | {_phrase(parameter.help)} |")
    return "\n".join(lines)


def runtime_choice(names: Iterable[str]) -> Parameter:
    """The setting `runtime.name`, which takes these names."""
    return Parameter("choice", "", "what executes the model; needed", allowed=tuple(names))


def runtime_settings(names: Iterable[str]) -> dict[str, Parameter]:
    """The settings of these runtimes besides the name; one that several have takes what at least one of them takes."""
    found: dict[str, Parameter] = {}
    for name in names:
        for key, parameter in runtime(name).PARAMETERS.items():
            found[key] = _union(found[key], parameter) if key in found else parameter
    return found


def _settings() -> Iterator[tuple[str, str, Parameter]]:
    """Section, key and parameter, in the order of a space file."""
    for key, parameter in PARAMETERS.items():
        yield PIPELINE, key, parameter
    for name in STEPS:
        for key, parameter in step(name).PARAMETERS.items():
            yield name, key, parameter
    names = [name for name in RUNTIMES if has_network(name)]
    yield RUNTIME, "name", runtime_choice(names)
    for key, parameter in runtime_settings(names).items():
        owners = [name for name in names if key in runtime(name).PARAMETERS]
        only = "" if owners == names else f"{', '.join(owners)}: "
        yield RUNTIME, key, replace(parameter, help=only + _phrase(parameter.help))


def _union(a: Parameter, b: Parameter) -> Parameter:
    """What at least one of two runtimes takes; canonicalisation gives each of them its own part."""
    low = None if a.low is None or b.low is None else min(a.low, b.low)
    high = None if a.high is None or b.high is None else max(a.high, b.high)
    allowed = tuple(dict.fromkeys((*a.allowed, *b.allowed)))
    return Parameter(a.kind, a.default, a.help, allowed, low, high, a.nullable or b.nullable)


def _phrase(help_text: str) -> str:
    """A help text without a full stop, and without a capital at its begin that is no name such as NNCF."""
    word = help_text.split()[0]
    start = help_text[0].lower() if word[1:].islower() else help_text[0]
    return start + help_text[1:].rstrip(".")


def _text(value: Scalar) -> str:
    """A default as a space file has it; nothing where there is none."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
