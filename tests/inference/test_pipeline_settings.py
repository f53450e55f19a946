"""A pipeline as JSON and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from autoopt.inference.pipeline import Pipeline
from autoopt.inference.pipeline_settings import ADDED
from tests.inference.pipelines import FLAT


def test_survives_json() -> None:
    """A pipeline is plain data: JSON and back gives an equal one."""
    assert Pipeline.from_json(json.loads(json.dumps(FLAT.to_json()))) == FLAT
    assert FLAT.input_shape == (1, 3, 8, 6)


def test_younger_fields_leave_no_trace() -> None:
    """A pipeline that uses no younger field has the text, and so the digests, that it always had."""
    assert not set(ADDED) & set(FLAT.to_json())
    other = replace(FLAT, transposed=True, windows="stride", padding="zero", restore="labels", connectivity=2)
    assert Pipeline.from_json(json.loads(json.dumps(other.to_json()))) == other
    inside = replace(FLAT, in_graph="input")
    assert Pipeline.from_json(json.loads(json.dumps(inside.to_json()))) == inside
    assert (inside.input_shape, inside.output_shape) == ((1, 8, 6, 3), (1, 2, 8, 6))
    assert replace(FLAT, in_graph="both").output_shape == (1, 8, 6)


def test_another_schema_is_refused() -> None:
    """A pipeline written by a newer version is not guessed at."""
    with pytest.raises(ValueError, match="schema 2 is needed, this one has 99"):
        Pipeline.from_json({**FLAT.to_json(), "schema": 99})


def test_a_pipeline_of_schema_1_is_read() -> None:
    """What an earlier version wrote had fewer fields: those that came later have the value that they had then."""
    first = {
        "schema": 1,
        "task": "segmentation",
        "classes": 2,
        "channels": 3,
        "tile": [8, 6],
        "overlap": 0.25,
        "scale": 255.0,
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.2, 0.1],
    }
    assert Pipeline.from_json(first) == FLAT


def test_a_field_of_a_newer_version_is_not_dropped() -> None:
    """A field that this version does not know is an error, never left out in silence."""
    with pytest.raises(TypeError, match="gaussian"):
        Pipeline.from_json({**FLAT.to_json(), "gaussian": True})
