"""Outputs that are not what their pipeline takes them for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoopt.compress.output_check import check, remarks
from autoopt.errors import WorkloadError
from autoopt.workloads.contract import Origin, Workload
from tests import tiny

SHAPE = (1, 2, 8, 8)
LOGITS = np.random.default_rng(0).normal(scale=3, size=SHAPE)
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


def workload(output: str | None = None, source: str = "model:nets.py:build") -> Workload:
    """The tiny workload as it would come from somebody's model, with this option."""
    options = {} if output is None else {"output": output}
    return replace(tiny.workload(), origin=Origin(source, None, "home", options))


def test_logits_are_taken_as_such() -> None:
    """Nothing is said of ordinary logits."""
    check(workload(), {"noise": LOGITS})
    assert remarks(workload(), {"noise": LOGITS}) == []


def test_outputs_that_sum_to_one_are_probabilities() -> None:
    """They are refused where they would be taken for logits, unless somebody says that they are."""
    with pytest.raises(WorkloadError, match="sum to one as probabilities do: give --option output=probabilities"):
        check(workload(), {"noise": PROBABILITIES})
    with pytest.raises(WorkloadError, match="take the softmax or sigmoid at its end out of the network"):
        check(workload(source="file.py:function"), {"noise": PROBABILITIES})
    check(workload("logits"), {"noise": PROBABILITIES})


def test_outputs_between_zero_and_one_are_remarked() -> None:
    """Of a sigmoid it is not known: it is said, and not where the option was given."""
    answers = {"noise": 1 / (1 + np.exp(-LOGITS))}
    check(workload(), answers)
    assert (
        "are taken for logits; if they are probabilities, give --option output=probabilities"
        in (remarks(workload(), answers)[0])
    )
    assert remarks(workload("logits"), answers) == []


def test_probabilities_must_be_some() -> None:
    """Numbers outside 0 to 1 are no probabilities, whoever says so."""
    graph = replace(workload(), pipeline=replace(tiny.PIPELINE, output="probabilities"))
    check(graph, {"noise": PROBABILITIES})
    with pytest.raises(WorkloadError, match=r"must return probabilities from 0 to 1, it returned .* output=logits"):
        check(graph, {"noise": LOGITS})
