"""Limits and policies answered from the tags of a registry, without the study."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.records import TrialRecord
from autoopt.deploy.choose_registered import choose_registered
from autoopt.deploy.pick import choose
from autoopt.deploy.policies import PICKS
from autoopt.deploy.registered import CONTENT, DEMO, HOST, NUMBERS_TAG, TRIAL, Registered, content, tags_of
from autoopt.errors import NothingFits, TrackingError, UsageError
from autoopt.study.limit_arguments import LimitArguments
from autoopt.study.result import StudyResult
from tests.deploy.studies import CARD, STUDY, record

NONE = LimitArguments()
REAL = replace(STUDY, card=replace(CARD, demo=False))


def registered(result: StudyResult, first: int = 1, **changed: str) -> list[Registered]:
    """The versions of a front, as `register` tags them, numbered from `first`."""
    return [
        Registered.of("autoopt-tiny", first + index, {**tags_of(result, one, "5ea1" * 16), **changed}, "models:/m-1")
        for index, one in enumerate(result.front)
    ]


def trial_of(one: Registered) -> int:
    return int(one.tags[TRIAL])


@pytest.mark.parametrize("pick", [None, *PICKS])
@pytest.mark.parametrize(
    "asked", [{}, {"max_latency_s": 0.02}, {"max_drop": 0.01}, {"max_drop": "2%"}, {"max_size_bytes": 3_000_000}]
)
def test_the_registry_answers_as_the_study_does(pick: str | None, asked: dict[str, Any]) -> None:
    """The same limits and policy pick the same trial, from the tags alone as from the records."""
    chosen, why = choose_registered("autoopt-tiny", registered(REAL), LimitArguments(**asked), pick=pick)

    assert trial_of(chosen) == choose(REAL, pick=pick, **asked).record.number
    assert f"version {chosen.version} (trial #{trial_of(chosen)} of s: " in why
    assert "the numbers hold for that host only" in why and "DEMO" not in why


def test_an_error_is_answered_as_the_study_does() -> None:
    """Where less of the primary metric is better, limits mean for a registry what they mean for a study."""
    less = replace(REAL, card=replace(REAL.card, less_is_better=True), records=tuple(map(as_error, REAL.records)))
    for asked in ({"min_quality": 0.102}, {"min_quality": 0.15}, {"max_drop": 0.2}):
        chosen, why = choose_registered("autoopt-tiny", registered(less), LimitArguments(**asked), pick="fastest")
        assert trial_of(chosen) == choose(less, pick="fastest", **asked).record.number, why


def as_error(one: TrialRecord) -> TrialRecord:
    """The trial with 1 - Dice as an error in the place of its Dice."""
    if one.quality is None:
        return one
    cases = tuple(replace(case, scores={"dice_macro": 1 - one.quality.value}) for case in one.quality.cases)
    quality = replace(one.quality, values={"dice_macro": 1 - one.quality.value}, cases=cases, errors=("dice_macro",))
    return replace(one, quality=quality)


def test_nothing_fits_names_the_limit_that_binds_and_the_nearest() -> None:
    """As for a study: the option that lets a version in, and the nearest versions with what they miss."""
    with pytest.raises(NothingFits) as raised:
        choose_registered("autoopt-tiny", registered(REAL), LimitArguments(max_latency_s=0.005, max_drop=0.05))
    text = str(raised.value)

    assert "no version of autoopt-tiny keeps drop <= 0.05 and p25 latency (upper bound) <= 5 ms" in text
    assert re.search(r"p25 latency \(upper bound\) binds, with --max-latency 9\.\d+ms version 1 fits", text)
    assert "version 1 (trial #3 of s" in text.partition("Nearest:\n")[2].splitlines()[0]
    assert "misses p25 latency (upper bound) by 4.46 ms" in text


def test_what_is_not_known_does_not_pass() -> None:
    """A version whose tags tell nothing of a limit is not taken, and that is said."""
    with pytest.raises(NothingFits, match=r"tells nothing of throughput \(lower bound\)"):
        choose_registered("autoopt-tiny", registered(REAL), LimitArguments(min_throughput=1.0))


def test_real_data_comes_before_demo_data_whatever_the_limits() -> None:
    """A limit that no real version keeps does not lead to one of demo data; where there is no other, that is said."""
    demo = registered(STUDY, first=10, **{HOST: "another-host"})
    both = [*registered(REAL), *demo]
    assert not choose_registered("autoopt-tiny", both, NONE)[0].demo
    with pytest.raises(NothingFits):
        choose_registered("autoopt-tiny", both, LimitArguments(max_latency_s=0.001))
    assert "DEMO: made from synthetic data. Not for patients." in choose_registered("autoopt-tiny", demo, NONE)[1]


def test_numbers_of_several_hosts_never_meet() -> None:
    """Of several hosts one is named, or it is this one; else the command says which there are."""
    both = [*registered(REAL), *registered(REAL, first=10, **{HOST: "fast-host", "autoopt.cpu": "a fast cpu"})]
    with pytest.raises(UsageError, match=r"measured on 2 hosts, .* give --host, of .*fast-host \(a fast cpu\)"):
        choose_registered("autoopt-tiny", both, NONE)
    assert choose_registered("autoopt-tiny", both, NONE, host="fast-host")[0].version >= 10
    assert choose_registered("autoopt-tiny", both, NONE, here=lambda: "fast-host")[0].host == "fast-host"
    with pytest.raises(UsageError, match="has no version of --host 'nowhere'"):
        choose_registered("autoopt-tiny", both, NONE, host="nowhere")


def test_studies_are_compared_where_host_data_and_weights_are_the_same() -> None:
    """A member of another study with the same data and weights joins; one with other weights replaces the older."""
    better = record(7, 0.001, 0.899, 900_000)
    other = StudyResult(replace(REAL.card, name="t"), (*STUDY.records[:2], better))
    joined = [*registered(REAL), *registered(other, first=10)]
    assert choose_registered("autoopt-tiny", joined, NONE, pick="fastest")[0].tags["autoopt.study"] == "t"
    assert choose_registered("autoopt-tiny", joined, NONE, pick="fastest", study="s")[0].tags["autoopt.study"] == "s"
    trained = registered(replace(REAL, card=replace(REAL.card, weights_digest="f" * 64)), first=20)
    assert choose_registered("autoopt-tiny", [*joined, *trained], NONE)[0].version >= 20


def test_a_second_version_of_one_content_does_not_count() -> None:
    """What two hosts registered at once is one model: the first version."""
    twice = [*registered(REAL, first=5), *registered(REAL)]
    assert choose_registered("autoopt-tiny", twice, NONE, pick="fastest")[0].version == 1


def altered(change: Mapping[str, Any]) -> str:
    numbers = json.loads(registered(REAL)[0].tags[NUMBERS_TAG])
    return json.dumps({**numbers, **change})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "null",
        altered({"minimised": {"latency": "fast"}}),
        altered({"minimised": {"latency": 1.0}}),
        altered({"limits": {"drop": float("nan")}}),
        altered({"objectives": ["latency", "beauty"]}),
        altered({"objectives": []}),
        altered({"headline": 3}),
        altered({"primary": None}),
    ],
)
def test_tags_that_somebody_else_wrote_are_no_numbers(text: str) -> None:
    """A version whose numbers cannot be read as they were written is not picked."""
    with pytest.raises(TrackingError, match="has no version that autoopt registered"):
        choose_registered("autoopt-tiny", registered(REAL, **{NUMBERS_TAG: text}), NONE)


@given(st.text(max_size=200))
def test_any_text_in_the_tag_is_read_or_ignored(text: str) -> None:
    """No text raises anything else."""
    assert not Registered.of("autoopt-tiny", 1, {NUMBERS_TAG: text}, "").ours


def test_what_does_not_say_that_it_is_real_is_demo() -> None:
    """A version without the tag counts as demo data."""
    assert Registered.of("n", 1, {}, "").demo and not Registered.of("n", 1, {DEMO: "false"}, "").demo


def test_the_content_does_not_hang_on_numbers() -> None:
    """Another measurement of the same thing is the same content; other settings, weights or artifacts are not."""
    one = REAL.front[0]
    assert content(REAL, one) == content(REAL, replace(one, quality=replace(one.quality, values={}), notes=("x",)))
    others: list[tuple[StudyResult, TrialRecord]] = [
        (REAL, replace(one, artifacts=("source", "another"))),
        (REAL, REAL.front[1]),
        (replace(REAL, card=replace(REAL.card, weights_digest="f" * 64)), one),
    ]
    assert content(REAL, one) not in {content(*other) for other in others}
    assert registered(REAL)[0].tags[CONTENT] == content(REAL, one)
