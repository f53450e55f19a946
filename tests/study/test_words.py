"""Configurations in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoopt.core.configuration import Configuration, Scalar
from autoopt.inference.runtimes import RUNTIMES, runtime_initials, runtime_title
from autoopt.study.space import load_space, seeds, shipped_spaces
from autoopt.study.words import LONGEST_NAME, differing, in_words, row_name
from autoopt.testing.example import ARM_HOST, NEW_HOST, OLD_HOST
from tests.report.page.planted import planted_study

OPENVINO: dict[str, Scalar] = {"name": "openvino", "precision": "f32", "threads": 2}
HOSTS = (OLD_HOST, NEW_HOST, ARM_HOST)
SPACES = [load_space(name, host) for name in shipped_spaces() for host in HOSTS]


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"quantize": None, "runtime": {**OPENVINO, "threads": 1}}, "FP32, 1 thread on OpenVINO"),
        (
            {
                "resolution": {"factor": 2, "steps": 240},
                "prune": {"ratio": 0.65, "rungs": "0.5,0.65", "criterion": "l1"},
                "quantize": {"scheme": "int8", "calibration_cases": 64, "weight_bits": 7},
                "runtime": {**OPENVINO, "streams": 1},
            },
            "half resolution, 65 % of channels pruned, INT8, 2 threads on OpenVINO",
        ),
        (
            {
                "factorize": {"keep": 0.9, "by": "energy", "method": "tucker"},
                "recover": {"steps": 400, "qat": True},
                "quantize": {
                    "scheme": "int8",
                    "tool": "onnxruntime",
                    "activations": "s8",
                    "calibration_cases": 1,
                    "keep_float": 2,
                    "ignored_layers": "end:first,end:last",
                },
                "runtime": {"name": "onnxruntime", "precision": "bf16", "threads": 2, "spinning": False},
            },
            (
                "low rank (90 % of the energy), trained 400 steps (quantization-aware training), "
                "INT8 (by ONNX Runtime, 1 case, signed activations, 2 layer groups in float, first and last layers in "
                "float), BF16 elsewhere, "
                "no spinning, 2 threads on ONNX Runtime"
            ),
        ),
        (
            {
                "ensemble": {"members": 1},
                "recover": {"steps": 10, "unit": "epochs"},
                "pipeline": {"mirror": "none", "overlap": 0.2},
                "quantize": {"scheme": "int4-weights"},
                "runtime": {**OPENVINO, "streams": 2},
            },
            (
                "1 network of the ensemble, trained 10 epochs, INT4 weights only, overlap 0.2, no mirrors, 2 streams, "
                "2 threads on OpenVINO"
            ),
        ),
        (
            {
                "control": {"network": "one-layer", "steps": 200},
                "runtime": {"name": "torch", "precision": "f32", "threads": 2},
            },
            "one layer instead of the network, FP32, 2 threads on PyTorch",
        ),
        (
            {"factorize": {"keep": 0.5, "by": "ratio", "method": "cp"}, "runtime": OPENVINO},
            "low rank (50 % of the ranks, CP), FP32, 2 threads on OpenVINO",
        ),
        ({"mine": {"b": 1, "a": True}, "runtime": {"name": "gone"}}, "mine (a true, b 1), FP32 on gone"),
    ],
)
def test_a_configuration_is_said_as_a_person_says_it(sections: dict[str, dict[str, Scalar] | None], words: str) -> None:
    """First the network, then the numbers, then where it runs; defaults and what every trial shares are not said."""
    assert in_words(Configuration.of(sections)) == words


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), quantized=st.booleans())
def test_two_points_of_a_shipped_space_have_different_words(seed: int, quantized: bool) -> None:
    """Of a space as it is shipped no two configurations are said alike, in whatever one setting they differ."""
    for space in SPACES:
        raw = space.random(np.random.default_rng(seed))
        if quantized:
            raw |= {"quantize.scheme": "int8"}
        points = {space.canonical(raw)}
        for dimension in space.dimensions:
            points |= {space.canonical({**raw, dimension.name: value}) for value in dimension.choices}
        words = {point: in_words(point) for point in points}
        assert len(set(words.values())) == len(points), sorted(words.values())


def test_a_fine_setting_is_said_where_trials_differ_in_it() -> None:
    """Length of a training and the like are said of trials only that differ in it."""
    first, second = (
        Configuration.of({"prune": {"ratio": 0.5, "steps": steps, "rungs": "0.5"}, "runtime": OPENVINO})
        for steps in (120, 480)
    )
    assert in_words(first) == in_words(second)
    assert differing([first, second]) == {"prune.steps"} and differing([first, first]) == frozenset()
    said = [in_words(item, fine=differing([first, second])) for item in (first, second)]
    assert said[0] == "50 % of channels pruned (steps 120), FP32, 2 threads on OpenVINO" and said[0] != said[1]


def test_the_names_of_rows_are_short_and_differ() -> None:
    """The name of a trial fits MLflow's table, and no two trials of a study have one name."""
    records = planted_study(60).records
    names = [row_name(record) for record in records]
    assert max(map(len, names)) <= LONGEST_NAME and len(set(names)) == len(names)
    assert names[0] == "#000 torch f32"
    made = Configuration.of(
        {
            "resolution": {"factor": 2},
            "prune": {"ratio": 0.75},
            "factorize": {"keep": 0.9},
            "quantize": {"scheme": "int8"},
            "runtime": {**OPENVINO, "threads": 4},
        }
    )
    arm = replace(records[9], number=1047, configuration=made, label="half the resolution and channels, int8")
    assert row_name(replace(arm, number=47)) == "#047 OV INT8 r2 p75 4t"
    assert row_name(arm) == "#1047 OV INT8 r2 4t"


def test_every_runtime_has_a_title_and_initials() -> None:
    """Two runtimes are never called alike."""
    assert len({runtime_title(name) for name in RUNTIMES}) == len({runtime_initials(name) for name in RUNTIMES})
    assert runtime_title("openvino") == "OpenVINO" and runtime_title("gone") == "gone"


def test_seeds_are_told_apart() -> None:
    """The seeds of the default space have different words, too."""
    space = load_space("default", NEW_HOST)
    words = [in_words(seed.configuration) for seed in seeds(space)]
    assert len(set(words)) == len(words) > 3
