"""The control of a study: one layer in the place of the network, which shows how far from the floor a front is."""

from __future__ import annotations

from autoopt.compress import step
from autoopt.core.configuration import Scalar
from autoopt.inference.runtimes import BASELINE, EXACT, RUNTIMES
from autoopt.study.space.points import RUNTIME, Space
from autoopt.study.space.seeds import Seed, settings_on

STEP, ONE_LAYER, LABEL = "control", "one-layer", "one layer"
LEAST_BUDGET = 13
"""Fewer trials have none to spare for a control: up to eight are seeds, and the shipped spaces have four arms."""
SECONDS = 60.0
"""What its training may take: it is small, but the network that it learns from need not be."""


def control(space: Space, budget: int) -> Seed | None:
    """The control of a study of `budget` trials; None for few trials, and where there is no network to replace."""
    if not space.has_network or budget < LEAST_BUDGET:
        return None
    dimension = space.dimension(f"{RUNTIME}.name")
    names = () if dimension is None else dimension.choices
    name = BASELINE if BASELINE in names else min(map(str, names), key=list(RUNTIMES).index)
    parameters = step(STEP).PARAMETERS
    settings: dict[str, Scalar] = {f"{STEP}.{key}": parameter.default for key, parameter in parameters.items()}
    switched = {**settings, f"{STEP}.{step(STEP).SWITCH}": ONE_LAYER, f"{STEP}.seconds": SECONDS}
    configuration = space.canonical({**settings_on(space, name, EXACT), **switched})
    return None if configuration.section(STEP) is None else Seed(LABEL, configuration, None)
