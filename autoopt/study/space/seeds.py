"""The seeds: the configurations tried before the search, because all others are compared with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from autoopt.compress import STEPS, step
from autoopt.core.configuration import Configuration, Scalar
from autoopt.inference.runtimes import EXACT, REFERENCE, REFERENCE_LABEL, RUNTIMES, has_network, runtime
from autoopt.study.space.pipeline import PARAMETERS as PIPELINE_PARAMETERS
from autoopt.study.space.pipeline import PIPELINE
from autoopt.study.space.points import RUNTIME, Space

QUANTIZE, SCHEME = "quantize", "int8"


@dataclass(frozen=True)
class Seed:
    """A configuration to try first; `raw` is a point of the space that means it, None where the space lacks it."""

    label: str
    configuration: Configuration
    raw: Mapping[str, Scalar] | None


def seeds(space: Space) -> tuple[Seed, ...]:
    """The seeds of a space, in the order they are tried, no configuration twice.

    First the reference, even where the space leaves its runtime out; then for every runtime of the space, in the order
    of `RUNTIMES`, its own f32, its bf16 and f16 where this host and the space have them, and plain int8 where the space
    quantizes. Threads are the most that the space allows. A space of stand-ins alone, and one for a finished graph that
    the reference's runtime cannot execute, has no such reference: the first f32 takes its place.
    """
    names = _runtimes(space)
    found: dict[str, Seed] = {}
    candidates = _candidates(space, names)
    if any(map(has_network, names)) and REFERENCE not in space.without:
        reference = (REFERENCE_LABEL, settings_on(space, REFERENCE, EXACT))
        candidates = iter([reference, *candidates])
    for label, settings in candidates:
        configuration = space.canonical(settings)
        if configuration.digest not in found:
            found[configuration.digest] = Seed(label, configuration, space.raw_for(configuration))
    return tuple(found.values())


def _candidates(space: Space, names: list[str]) -> Iterator[tuple[str, dict[str, Scalar]]]:
    precisions = _values(space, f"{RUNTIME}.precision")
    schemes = _values(space, f"{QUANTIZE}.{step(QUANTIZE).SWITCH}")
    for name in names:
        real = runtime(name).precisions(space.host)
        yield f"{name} {EXACT}", settings_on(space, name, EXACT)
        for precision in precisions:
            if precision != EXACT and precision in real:
                yield f"{name} {precision}", settings_on(space, name, str(precision))
        if SCHEME in schemes:
            plain = settings_on(space, name, EXACT, quantize=True)
            if space.canonical(plain).section(QUANTIZE) is not None:
                yield f"{name} {SCHEME}", plain


def _runtimes(space: Space) -> list[str]:
    return sorted((str(name) for name in _values(space, f"{RUNTIME}.name")), key=list(RUNTIMES).index)


def settings_on(space: Space, name: str, precision: str, *, quantize: bool = False) -> dict[str, Scalar]:
    """The workload as it is on the runtime `name`: defaults or the nearest that there are, and the most threads."""
    known: dict[str, Scalar] = {"name": name, "precision": precision, "threads": _most_threads(space)}
    point: dict[str, Scalar] = {}
    for dimension in space.dimensions:
        if dimension.section == RUNTIME:
            parameter = runtime(name).PARAMETERS.get(dimension.key)
            wanted = parameter.default if parameter is not None else None
        else:
            parameters = PIPELINE_PARAMETERS if dimension.section == PIPELINE else step(dimension.section).PARAMETERS
            wanted = parameters[dimension.key].default
        # Everything is compared with the workload as it is, also where the space has only other pipelines.
        point[dimension.name] = wanted if dimension.section == PIPELINE else dimension.nearest(wanted)
    # A seed may lie outside the space, so these are not the nearest but the very values.
    parameters = runtime(name).PARAMETERS
    for key, parameter in parameters.items():
        point.setdefault(f"{RUNTIME}.{key}", parameter.default)
    point |= {f"{RUNTIME}.{key}": value for key, value in known.items() if key == "name" or key in parameters}
    for step_name in STEPS:
        point[f"{step_name}.{step(step_name).SWITCH}"] = SCHEME if quantize and step_name == QUANTIZE else None
    return point


def _most_threads(space: Space) -> int:
    dimension = space.dimension(f"{RUNTIME}.threads")
    if dimension is None:
        return space.host.cores
    if not dimension.choices:
        return int(dimension.high or space.host.cores)
    numbers = [value for value in dimension.choices if isinstance(value, int) and not isinstance(value, bool)]
    return max(numbers, default=space.host.cores)


def _values(space: Space, name: str) -> tuple[Scalar, ...]:
    dimension = space.dimension(name)
    return () if dimension is None else tuple(dimension.choices)
