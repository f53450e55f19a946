"""The large levers of a space, and which of their values had a trial."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autoopt.study.levers import Levers, has
from tests.worlds import space_of

TEXT = """
prune: {ratio: [null, 0.5], steps: [10, 20]}
factorize: {keep: {low: 0.8, high: 0.9, step: 0.01}}
runtime: {name: [openvino, onnxruntime], precision: f32, threads: [1, 2]}
"""


def test_levers_are_runtimes_and_the_switches_of_steps_on_the_network(tmp_path: Path) -> None:
    """Every runtime and every value of what switches a training; of a range its ends; no other setting."""
    assert set(Levers(space_of(tmp_path, TEXT)).left) == {
        ("runtime.name", "openvino"),
        ("runtime.name", "onnxruntime"),
        ("prune.ratio", None),
        ("prune.ratio", 0.5),
        ("factorize.keep", 0.8),
        ("factorize.keep", 0.9),
    }


def test_a_trial_takes_its_values_off(tmp_path: Path) -> None:
    """What a trial had is not left; points with a value can be drawn; a value that nothing new has can be given up."""
    space = space_of(tmp_path, TEXT)
    levers = Levers(space)
    drawn = [configuration for _, configuration in levers.draw(("prune.ratio", 0.5), np.random.default_rng(0))]
    assert drawn and all(has(configuration, ("prune.ratio", 0.5)) for configuration in drawn)
    assert all(space.raw_for(configuration) is not None for configuration in drawn[:5])
    levers.had(drawn[0])
    assert ("prune.ratio", 0.5) not in levers.left
    levers.give_up(("prune.ratio", None))
    assert not any(name == "prune.ratio" for name, _ in levers.left)


def test_a_space_without_a_choice_has_no_lever(tmp_path: Path) -> None:
    """Where runtime and network are given, nothing must be tried before an early end."""
    assert Levers(space_of(tmp_path)).left == ()
