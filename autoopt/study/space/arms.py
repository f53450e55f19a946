"""The arms of a space: configurations with a name, which a search tries before its sampler is asked.

    arms:
      half the resolution, as int8:
        resolution: {factor: 2}
        quantize: {scheme: int8}
        runtime: {name: openvino}

What an arm does not say is as in the seeds: steps that it does not name are off, settings have their default or the
nearest that the space has, threads are the most. An arm may have values that the space does not vary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from autoopt.compress import STEPS, step
from autoopt.core.configuration import Scalar
from autoopt.core.plain_text import close_match, kind_of, short
from autoopt.inference.runtimes import EXACT, RUNTIMES, runtime
from autoopt.study.space.pipeline import PARAMETERS, PIPELINE
from autoopt.study.space.points import RUNTIME, Arm, Space
from autoopt.study.space.seeds import Seed, settings_on
from autoopt.study.space.values import dimension_of

ARMS = "arms"
MOST_ARMS = 200
LONGEST_NAME = 80

Problem = Callable[[str, str], None]
"""Is told a path in the file and the end of a sentence about what is wrong there."""


def arms(space: Space) -> tuple[Seed, ...]:
    """The arms as configurations, in the order of the file, no configuration twice."""
    found: dict[str, Seed] = {}
    for arm in _all(space):
        found.setdefault(arm.configuration.digest, arm)
    return tuple(found.values())


def named_arms(space: Space) -> dict[str, str]:
    """The digest of the configuration of every arm by its name, also of arms that are the same on this host."""
    return {arm.label: arm.configuration.digest for arm in _all(space)}


def _all(space: Space) -> Iterator[Seed]:
    for arm in space.arms:
        name = str(arm.settings.get(f"{RUNTIME}.name") or _first_runtime(space))
        precision = str(arm.settings.get(f"{RUNTIME}.precision") or EXACT)
        configuration = space.canonical({**settings_on(space, name, precision), **arm.settings})
        yield Seed(arm.name, configuration, space.raw_for(configuration))


def read_arms(section: Any, problem: Problem) -> Iterator[Arm]:
    """The arms of a space file; `problem` is told all that is wrong with them."""
    if section is None:
        return
    if not isinstance(section, Mapping):
        problem(ARMS, f"must be a mapping of names to configurations, got {kind_of(section)}")
        return
    if len(section) > MOST_ARMS:
        problem(ARMS, f"must be at most {MOST_ARMS}, got {len(section)}")
        return
    for name, sections in section.items():
        path = f"{ARMS}.{name}"
        if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME:
            problem(ARMS, f"must have names, texts of at most {LONGEST_NAME} characters, got {short(name)}")
        elif not isinstance(sections, Mapping) or not sections:
            problem(path, f"must be a mapping of sections ({_sections()}), got {kind_of(sections)}")
        else:
            yield Arm(name, dict(_settings(path, sections, problem)))


def _settings(path: str, sections: Mapping[Any, Any], problem: Problem) -> Iterator[tuple[str, Scalar]]:
    """The settings of one arm by dotted name."""
    for section, given in sections.items():
        if section not in (PIPELINE, *STEPS, RUNTIME):
            problem(
                f"{path}.{section}",
                f"is not a section, allowed are {_sections()}{close_match(str(section), (*STEPS, PIPELINE, RUNTIME))}",
            )
        elif not isinstance(given, Mapping):
            problem(f"{path}.{section}", f"must be a mapping of settings, got {kind_of(given)}")
        elif section == RUNTIME:
            yield from _runtime(path, given, problem)
        elif section == PIPELINE:
            yield from _values(f"{path}.{section}", section, given, PARAMETERS, problem)
        else:
            switch = step(section).SWITCH
            if given.get(switch) is None:
                problem(f"{path}.{section}", f"must say {switch}: without it the step is off, leave it out then")
            yield from _values(f"{path}.{section}", section, given, step(section).PARAMETERS, problem)


def _runtime(path: str, given: Mapping[Any, Any], problem: Problem) -> Iterator[tuple[str, Scalar]]:
    name = given.get("name")
    if name is not None and name not in tuple(RUNTIMES):
        hint = close_match(str(name), RUNTIMES)
        problem(f"{path}.{RUNTIME}.name", f"must be one of {', '.join(RUNTIMES)}, got {short(name)}{hint}")
        return
    if name is None and given:
        problem(f"{path}.{RUNTIME}", f"must say name, one of {', '.join(RUNTIMES)}")
        return
    yield f"{RUNTIME}.name", name
    own = {key: value for key, value in given.items() if key != "name"}
    yield from _values(f"{path}.{RUNTIME}", RUNTIME, own, runtime(str(name)).PARAMETERS, problem)


def _values(
    path: str, section: str, given: Mapping[Any, Any], parameters: Mapping[str, Any], problem: Problem
) -> Iterator[tuple[str, Scalar]]:
    for key, value in given.items():
        if key not in parameters:
            hint = close_match(str(key), parameters)
            problem(f"{path}.{key}", f"is not a setting of {section}, allowed are {', '.join(parameters)}{hint}")
        elif isinstance(value, list | Mapping):
            problem(f"{path}.{key}", f"must be one value ({parameters[key].describe()}), got {kind_of(value)}")
        else:
            dimension, problems = dimension_of(f"{section}.{key}", parameters[key], value)
            for _, text in problems:
                problem(f"{path}.{key}", text)
            if dimension is not None:
                yield dimension.name, value


def _first_runtime(space: Space) -> Scalar:
    dimension = space.dimension(f"{RUNTIME}.name")
    assert dimension is not None  # every space has runtimes
    return dimension.choices[0]


def _sections() -> str:
    return ", ".join((PIPELINE, *STEPS, RUNTIME))
