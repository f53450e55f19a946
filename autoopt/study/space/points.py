"""A space and its points.

A raw point gives every dimension a value; its canonical form is the configuration that remains when
everything without effect on this host is dropped. Many raw points share one canonical form.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from autoopt.compress import graph_steps, net_steps, step
from autoopt.core.configuration import Configuration, Scalar, canonical_json
from autoopt.core.host import Host
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.runtimes import runtime
from autoopt.study.space.dimension import Dimension
from autoopt.study.space.pipeline import PIPELINE
from autoopt.study.space.pipeline import canonical as canonical_pipeline
from autoopt.workloads.contract import Latency

TEXT_SCHEMA = 1
RUNTIME = "runtime"
ENUMERATION_LIMIT = 200_000
"""Raw points that may be looked at: some seconds. Beyond it a count is a lower bound."""
_SAMPLES = 4000

Settings = Mapping[str, Scalar]
_Part = tuple[dict[str, Scalar], Mapping[str, Scalar] | None]
_Canonical = Callable[[Settings], Mapping[str, Scalar] | None]


@dataclass(frozen=True)
class Count:
    """How many canonical points a space has: `n` of them, or at least `n` where not `exact`."""

    n: int
    exact: bool


@dataclass(frozen=True)
class Arm:
    """A configuration with a name that is tried before any sampler is asked: its settings by dotted name."""

    name: str
    settings: Settings

    def has_step(self, name: str) -> bool:
        """Whether it says something of the step called so."""
        return any(key.partition(".")[0] == name for key in self.settings)


@dataclass(frozen=True)
class Space:
    """What may vary, on this host. Every setting of every step and of the named runtimes is a dimension.

    Two spaces with one `text` are the same space, whatever their files are called and say in words.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    host: Host
    description: str = ""
    pipeline: Pipeline | None = None
    """The workload's own, which a `pipeline` section changes."""
    without: tuple[str, ...] = ()
    """The runtimes that this workload cannot have."""
    image: np.ndarray | None = field(default=None, compare=False, repr=False)
    """One of the workload's, where it decides what the graph can do of the pipeline."""
    shipped: bool = False
    """Whether it came with autoopt: then what a network refuses is left out of it, not an error."""
    arms: tuple[Arm, ...] = ()
    """No part of what the space is: the same points are tried, some of them first."""
    has_network: bool = False
    """Whether the workload has a network of torch, in whose place a control can be put."""

    @cached_property
    def text(self) -> str:
        """The canonical JSON of the expanded space: its identity."""
        return canonical_json({"schema": TEXT_SCHEMA, "dimensions": {d.name: d.describe() for d in self.dimensions}})

    @cached_property
    def fixed(self) -> dict[str, Scalar]:
        """The values that do not vary, by dotted name."""
        return {dimension.name: dimension.choices[0] for dimension in self.dimensions if dimension.fixed}

    @property
    def raw_size(self) -> float:
        """The number of raw points: a whole number, or infinity."""
        return math.prod(dimension.size for dimension in self.dimensions)

    def timed(self, latency: Latency) -> Latency:
        """What a study of this space times where its workload says `latency`.

        Where a call may do what is else done around it, calls alone are no comparison: then it is a whole tile.
        """
        dimension = self.dimension(f"{PIPELINE}.in_graph")
        inside = [] if dimension is None else [{dimension.key: value} for value in dimension.choices]
        moved = any("in_graph" in (canonical_pipeline(item, self.pipeline, self.image) or {}) for item in inside)
        return "tile" if moved and latency == "call" else latency

    def without_values(self, refused: Mapping[str, Container[Scalar]]) -> Space:
        """The space without some choices of dimensions, by dotted name, and without the arms that have them.

        At least one choice of each dimension must be left.
        """
        return replace(
            self,
            arms=tuple(
                arm for arm in self.arms if not any(arm.settings.get(name) in refused[name] for name in refused)
            ),
            dimensions=tuple(
                replace(item, choices=tuple(value for value in item.choices if value not in refused[item.name]))
                if item.name in refused
                else item
                for item in self.dimensions
            ),
        )

    def dimension(self, name: str) -> Dimension | None:
        """The dimension with this dotted name."""
        return self._by_name.get(name)

    def canonical(self, raw: Settings) -> Configuration:
        """The configuration that the raw point means on this host. What does not vary may be left out.

        A value need not be in the space: a seed may lie outside. Raises KeyError when a setting is missing.
        """
        sections: dict[str, dict[str, Scalar]] = {}
        for name, value in {**self.fixed, **raw}.items():
            section, _, key = name.partition(".")
            dimension = self._by_name.get(name)
            sections.setdefault(section, {})[key] = value if dimension is None else dimension.snap(value)
        executed = self._canonical_runtime(sections[RUNTIME])
        steps = {name: self._canonical_step(name, executed)(sections.get(name, {})) for name in self._sections}
        return self._configuration({**steps, RUNTIME: executed})

    def points(self, limit: int | None = None) -> Iterator[tuple[dict[str, Scalar], Configuration]]:
        """Every canonical point once, with the first raw point that means it; at most `limit`.

        The order is that of the file's choices, the same on every call. Of a continuous range only
        an even grid is seen.
        """
        return itertools.islice(self._points(), limit)

    def count(self, limit: int = ENUMERATION_LIMIT) -> Count:
        """The number of canonical points; a lower bound when more than `limit` raw points had to be looked at."""
        if not any(dimension.continuous for dimension in self.dimensions):
            total, looked_at = 0, self._section_size(RUNTIME)
            per_runtime = sum(self._section_size(name) for name in self._sections)
            if looked_at + per_runtime <= limit:
                runtimes = self._runtimes
                if looked_at + per_runtime * len(runtimes) <= limit:
                    for executed in runtimes:
                        total += math.prod(
                            sum(1 for _ in self._unique_of_step(name, executed)) for name in self._sections
                        )
                    return Count(total, exact=True)
        rng = np.random.default_rng(0)
        return Count(len({self.canonical(self.random(rng)).text for _ in range(min(limit, _SAMPLES))}), exact=False)

    def random(self, rng: np.random.Generator) -> dict[str, Scalar]:
        """A random raw point, every dimension on its own."""
        return {dimension.name: dimension.draw(rng) for dimension in self.dimensions}

    def raw_for(self, configuration: Configuration) -> dict[str, Scalar] | None:
        """A raw point that means `configuration`, or None when it is not in this space."""
        executed = configuration.section(RUNTIME)
        if executed is None or not set(configuration.sections()) <= {*self._sections, RUNTIME}:
            return None
        raw = self._find(RUNTIME, executed, self._canonical_runtime)
        for name in self._sections:
            part = self._find(name, configuration.section(name), self._canonical_step(name, executed))
            if raw is None or part is None:
                return None
            raw |= part
        return raw

    def _points(self) -> Iterator[tuple[dict[str, Scalar], Configuration]]:
        # Settings of one section have no effect on another's but through the canonical runtime, so
        # each section is made unique by itself: a sum of products instead of one huge product.
        for runtime_raw, executed in self._unique(RUNTIME, self._canonical_runtime):
            for raw, sections in self._combinations(self._sections, executed or {}):
                yield {**runtime_raw, **raw}, self._configuration({**sections, RUNTIME: executed})

    def _combinations(
        self, steps: tuple[str, ...], executed: Settings
    ) -> Iterator[tuple[dict[str, Scalar], dict[str, Settings | None]]]:
        if not steps:
            yield {}, {}
            return
        for raw, settings in self._unique_of_step(steps[0], executed):
            for other_raw, others in self._combinations(steps[1:], executed):
                yield {**raw, **other_raw}, {steps[0]: settings, **others}

    @cached_property
    def _runtimes(self) -> list[Settings]:
        return [settings or {} for _, settings in self._unique(RUNTIME, self._canonical_runtime)]

    @cached_property
    def _step_tables(self) -> dict[str, list[_Part]]:
        return {}

    def _unique_of_step(self, name: str, executed: Settings) -> Iterable[_Part]:
        parts = self._unique(name, self._canonical_step(name, executed))
        if self._section_size(name) > ENUMERATION_LIMIT:
            return parts
        key = canonical_json([name, executed])
        if key not in self._step_tables:
            self._step_tables[key] = list(parts)
        return self._step_tables[key]

    def _unique(self, section: str, canonical: _Canonical) -> Iterator[_Part]:
        dimensions = self._of(section)
        seen: set[str] = set()
        for values in _product([dimension.values() for dimension in dimensions]):
            settings = canonical({d.key: value for d, value in zip(dimensions, values, strict=True)})
            text = canonical_json(settings)
            if text not in seen:
                seen.add(text)
                yield {d.name: value for d, value in zip(dimensions, values, strict=True)}, settings

    def _find(self, section: str, wanted: Settings | None, canonical: _Canonical) -> dict[str, Scalar] | None:
        """A raw part of `section` that means `wanted`: its own values first, then every other one."""
        dimensions = self._of(section)
        text = canonical_json(wanted)
        given = wanted or {}
        own = {d.key: given[d.key] for d in dimensions if d.key in given and d.has(given[d.key])}
        likely = [[own[d.key]] if d.key in own else d.values() for d in dimensions]
        everything = [[own[d.key]] if d.continuous and d.key in own else d.values() for d in dimensions]
        for candidates in (likely, everything):
            for values in itertools.islice(_product(candidates), ENUMERATION_LIMIT):
                settings = {d.key: value for d, value in zip(dimensions, values, strict=True)}
                if canonical_json(canonical(settings)) == text:
                    return {d.name: settings[d.key] for d in dimensions}
        return None

    def _canonical_runtime(self, settings: Settings) -> dict[str, Scalar]:
        name = str(settings["name"])
        return {**runtime(name).canonical(settings, self.host), "name": name}

    def _canonical_step(self, name: str, executed: Settings) -> _Canonical:
        if name == PIPELINE:
            return lambda settings: canonical_pipeline(settings, self.pipeline, self.image)
        return lambda settings: step(name).canonical(settings, executed, self.host)

    def _of(self, section: str) -> tuple[Dimension, ...]:
        return self._by_section.get(section, ())

    @cached_property
    def _sections(self) -> tuple[str, ...]:
        """What comes before the runtime, in the order of the way of the data."""
        return (PIPELINE, *net_steps(), *self._graph_steps)

    @cached_property
    def _graph_steps(self) -> tuple[str, ...]:
        return tuple(graph_steps())

    def _configuration(self, sections: Mapping[str, Settings | None]) -> Configuration:
        """A graph step that is off says so; a pipeline and a network that are the workload's own need no word."""
        said = {name: item for name, item in sections.items() if item is not None or name in self._graph_steps}
        return Configuration.of(said)

    @cached_property
    def _by_name(self) -> dict[str, Dimension]:
        return {dimension.name: dimension for dimension in self.dimensions}

    @cached_property
    def _by_section(self) -> dict[str, tuple[Dimension, ...]]:
        names = {dimension.section for dimension in self.dimensions}
        return {name: tuple(d for d in self.dimensions if d.section == name) for name in names}

    def _section_size(self, section: str) -> float:
        return math.prod(dimension.size for dimension in self._of(section))


def _product(pools: Sequence[Sequence[Scalar]]) -> Iterator[tuple[Scalar, ...]]:
    """`itertools.product` without a copy of the pools: a range may have millions of values."""
    if not pools:
        yield ()
        return
    for head in pools[0]:
        for rest in _product(pools[1:]):
            yield (head, *rest)
