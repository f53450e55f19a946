"""The large levers of a space: the runtimes, and what switches the steps that change the network."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from autoopt.compress import net_steps, step
from autoopt.core.configuration import Configuration, Scalar
from autoopt.study.space import Dimension, Space
from autoopt.study.space.points import RUNTIME

Lever = tuple[str, Scalar]
"""A dotted name and one of its values."""
DRAWS = 200
_RUNTIME = f"{RUNTIME}.name"


class Levers:
    """Which values of the large levers of a space had a trial: no search may end without one of each.

    Of a range only the ends count. A value that always means another one on this host is no value.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._left = dict.fromkeys(_values(space))

    @property
    def left(self) -> tuple[Lever, ...]:
        """The values that had no trial."""
        return tuple(self._left)

    def had(self, configuration: Configuration) -> None:
        """A trial of this configuration has ended."""
        for lever in [item for item in self._left if has(configuration, item)]:
            del self._left[lever]

    def give_up(self, lever: Lever) -> None:
        """No new configuration with this value can be found."""
        self._left.pop(lever, None)

    def draw(self, lever: Lever, rng: np.random.Generator) -> Iterator[tuple[dict[str, Scalar], Configuration]]:
        """Random points of the space with this value."""
        name, value = lever
        for _ in range(DRAWS):
            raw = {**self._space.random(rng), name: value}
            configuration = self._space.canonical(raw)
            if has(configuration, lever):
                yield raw, configuration


def has(configuration: Configuration, lever: Lever) -> bool:
    """Whether a configuration has this value; a step that is off has None."""
    name, value = lever
    return configuration.flat().get(name) == value


def _values(space: Space) -> Iterator[Lever]:
    runtimes = space.dimension(_RUNTIME)
    names = [_RUNTIME, *(f"{name}.{step(name).SWITCH}" for name in net_steps())]
    varying = [item for item in map(space.dimension, names) if item is not None and not item.fixed]
    if runtimes is None or not varying:
        return
    base: Mapping[str, Scalar] = next(raw for raw, _ in space.points(1))
    for dimension in varying:
        for value, executed in itertools.product(_ends(dimension), runtimes.values()):
            raw = {**base, _RUNTIME: executed, dimension.name: value}  # some runtimes execute no changed network
            yield dimension.name, space.canonical(raw).flat().get(dimension.name)


def _ends(dimension: Dimension) -> tuple[Scalar, ...]:
    values = dimension.values()
    return dimension.choices or (values[0], values[len(values) - 1])
