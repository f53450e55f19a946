"""What is said when no trial keeps the limits."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.records import Status
from autoopt.deploy.nothing_fits import nothing_fits
from autoopt.deploy.pick import choose
from autoopt.errors import NothingFits
from autoopt.study.limit_arguments import LimitArguments
from autoopt.study.limits import LATENCY_BOUND
from autoopt.study.result import StudyResult
from tests.deploy.studies import CARD, FAILED, STUDY, record


def test_the_limit_that_binds_is_named() -> None:
    """When nothing fits, the binding limit, what loosening it lets in, and the nearest members are named."""
    with pytest.raises(NothingFits) as raised:
        choose(STUDY, max_latency_s=0.005, max_drop=0.01)
    text = str(raised.value)

    assert "no trial of s keeps drop <= 0.01 and p25 latency (upper bound) <= 5 ms" in text
    assert "drop binds, with --max-drop 0.201 #4 fits; or p25 latency (upper bound) binds, with" in text
    assert "with --max-latency 10.6ms #2 fits" in text  # 10 ms, in one process that has the noise of 3 %
    nearest = text.partition("Nearest:\n")[2].splitlines()
    assert [line.split()[0] for line in nearest] == ["#2", "#3", "#1"]
    speedups = "10.00x PyTorch f32, 5.00x OpenVINO f32, 0.20x the best float trial"
    assert f"p25 10 ms, {speedups}, dice_macro 0.8950, drop +0.0050, 2.00 MB" in nearest[0]
    assert nearest[0].endswith("misses p25 latency (upper bound) by 5.51 ms")
    assert nearest[1].endswith("misses drop by 0.0200 and p25 latency (upper bound) by 4.46 ms")
    assert raised.value.exit_code == 3


def test_a_guard_that_binds_is_advised_as_its_option() -> None:
    """A guard of the study is loosened with --guard, rounded up like the others."""
    study = StudyResult(replace(CARD, limits={"latency_s": 0.060, "worst_decile": 0.0}), STUDY.records[2:])
    before = replace(STUDY.records[0], label="torch f32")
    study = replace(study, records=(before, *study.records))

    text = nothing_fits(study)

    assert "keeps p25 latency <= 60 ms and worst_decile <= 0" in text
    assert "worst_decile binds, with --guard worst_decile=0.00501 #2 fits" in text


@pytest.mark.parametrize("drop", ["drop", "relative_drop"])
def test_a_limit_of_zero_still_orders_the_nearest(drop: str) -> None:
    """A drop limit of zero or 0 % is compared with a small number, so that the nearest trial still loses least."""
    study = StudyResult(
        replace(CARD, limits={drop: 0.0, "latency_s": 0.020}),
        (record(0, 0.100, 0.900, origin="seed", label="torch f32"), *STUDY.records[2:5]),
    )

    lines = nothing_fits(study).partition("Nearest:\n")[2].splitlines()

    assert [line.split()[0] for line in lines] == ["#0", "#2", "#3"]


def test_a_limit_that_is_just_kept_is_no_miss() -> None:
    """A trial exactly on one limit misses the other one only."""
    with pytest.raises(NothingFits) as raised:
        choose(STUDY, max_latency_s=0.0022, max_drop=0.01)

    (line,) = [line for line in str(raised.value).splitlines() if line.startswith("  #4 ")]
    assert line.endswith("; misses drop by 0.1900")


@given(st.floats(1e-4, 0.2), st.floats(0, 0.2))
def test_the_advice_is_true(max_latency_s: float, max_drop: float) -> None:
    """Whatever the limits: either a member keeps them, or every advised option lets the named trial in."""
    try:
        picked = choose(STUDY, max_latency_s=max_latency_s, max_drop=max_drop).record
    except NothingFits as error:
        advice = re.findall(r"with --max-(drop|latency) ([\d.e-]+)(?:ms)? #(\d+) fits", str(error))
        assert advice
        for name, value, number in advice:
            latency_s = float(value) / 1e3 if name == "latency" else max_latency_s
            drop = float(value) if name == "drop" else max_drop
            limits = {LATENCY_BOUND: latency_s, "drop": drop}
            found = StudyResult(replace(CARD, limits=limits), STUDY.records).by_number(int(number))
            assert found is not None and found.status is Status.COMPLETE
    else:
        assert STUDY.headline(picked)["drop"] <= max_drop
        assert STUDY.headline(picked)["latency_p25_ms"] <= max_latency_s * 1e3


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({"max_memory_bytes": 50_000_000}, "peak memory binds, with --max-memory 101MB #0 fits"),
        ({"max_size_bytes": 900_000}, "size binds, with --max-size 2.01MB #2 fits"),
        ({"min_quality": 0.95}, "quality (lower bound) binds, with --min-quality 0.899 #0 fits"),
        ({"max_drop": "0.1%", "max_size_bytes": 3_000_000}, "drop (relative) binds, with --max-drop 0.556% #2 fits"),
    ],
)
def test_every_limit_is_advised_as_its_option(given: dict[str, Any], advice: str) -> None:
    """Whatever limit binds, the option that lets the nearest trial in is written as it is typed, and it is true."""
    with pytest.raises(NothingFits) as raised:
        choose(STUDY, **given)
    assert advice in str(raised.value)
    text, number = re.findall(r"with --\w+-\w+ (\S+) #(\d+) fits", str(raised.value))[0]
    name = next(iter(given))
    value: Any = text if text.endswith("%") else float(text.removesuffix("MB")) * (1e6 if "MB" in text else 1)
    within = replace(CARD, limits=LimitArguments(**{**given, name: value}).over(CARD.limits))
    found = StudyResult(within, STUDY.records).by_number(int(number))
    assert found is not None and found.status is Status.COMPLETE


def test_the_nearest_trial_of_each_limit_is_named_where_one_alone_lets_none_in() -> None:
    """Where each trial misses two limits, loosening one is no way out: the trial nearest to each limit is named."""
    with pytest.raises(NothingFits) as raised:
        choose(STUDY, max_latency_s=0.001, max_size_bytes=1, min_quality=0.95)
    text = str(raised.value)
    assert "loosening one limit alone lets none in\nNearest by each limit:" in text
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["#0", "#4"]


def test_a_study_without_measured_trials_has_nothing() -> None:
    """A study in which every trial failed, and one without trials, have nothing to pick."""
    for records in ((FAILED,), ()):
        with pytest.raises(
            NothingFits, match=f"no measured trial to pick: {len(records)} of its {len(records)} failed"
        ):
            choose(StudyResult(replace(CARD, limits={}), records))
