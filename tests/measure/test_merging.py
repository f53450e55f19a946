"""What the processes of a trial gave as one Measurement, and its doubts."""

from __future__ import annotations

from typing import Any

import pytest

from autoopt.core.configuration import Scalar
from autoopt.measure.host_load import Load
from autoopt.measure.merging import Taken, merge
from autoopt.measure.timing import Turn
from tests.measure.setups import HOST, Setup

EFFECTIVE: dict[str, Scalar] = {"precision": "f32", "threads": 2, "streams": 1}


def taken(calls_s: float = 0.01, cpu_share: float = 1.0, **opened: Any) -> Taken:
    base = {"load_s": 0.5, "first_call_s": 0.1, "warmups_s": [0.02], "steady": True, "peak_rss_bytes": 100}
    turn = Turn((calls_s,) * 10, (0.03,), 10 * calls_s * cpu_share)
    return Taken({**base, **opened}, [turn, turn])


def test_merging(setup: Setup) -> None:
    """Load and first call are the least of the processes, memory the most, the same doubt is said once."""
    processes = [taken(cpu_share=0.4), taken(cpu_share=0.45, load_s=0.4, first_call_s=0.2, peak_rss_bytes=120)]
    merged = merge(processes, EFFECTIVE, setup.subject(name="x", threads=2, precision="f32"), HOST)
    assert (merged.load_s, merged.first_call_s, merged.peak_rss_bytes) == (0.4, 0.1, 120)
    assert merged.artifact_bytes == setup.artifact.size_bytes
    assert merged.cpu_s == pytest.approx((0.004, 0.0045))
    assert merged.warmups_s == ((0.02, 0.03, 0.03),) * 2
    assert merged.doubts == ("the calls computed for only 40% of their wall time: the host was busy",)


def test_other_settings_than_asked_are_doubted(setup: Setup) -> None:
    """What ran differently from what was asked for is said, with both values."""
    merged = merge([taken()], EFFECTIVE, setup.subject(name="x", threads=4, precision="bf16"), HOST)
    assert merged.doubts == (
        "precision bf16 was asked for, f32 is what ran",
        "threads 4 was asked for, 2 is what ran",
    )


@pytest.mark.parametrize(
    ("process", "doubt"),
    [
        (taken(calls_s=0.012), "differ by 20%"),
        (taken(steady=False), "did not become steady"),
        (taken(cpu_share=0.5), "the host was busy"),
        (Taken(taken().opened, [Turn((0.01,), (), 0.01)]), "only 1 calls"),
        (Taken(taken().opened, [Turn((0.01, 0.03) * 8, (), 0.4)]), "spread widely"),
        (Taken(taken().opened, taken().turns, contended="the reference ran 2.00x slower"), "2.00x slower"),
    ],
)
def test_doubts(setup: Setup, process: Taken, doubt: str) -> None:
    """What makes a number doubtful is said in a sentence; a good process beside it says nothing."""
    subject = setup.subject(name="x")
    assert merge([taken(), taken(calls_s=0.0105)], EFFECTIVE, subject, HOST).doubts == ()
    doubts = merge([taken(), process], EFFECTIVE, subject, HOST).doubts
    assert any(doubt in text for text in doubts)


@pytest.mark.parametrize(
    ("load", "doubts"),
    [
        (Load(1.0, 0.2, 0.3, 1), ["other programs", "other guests of the hypervisor", "because it was hot"]),
        (Load(1.0, 0.05, 0.05, 0), []),
        (Load(1.0, None, None, None), []),
    ],
)
def test_what_else_the_host_did_is_doubted(setup: Setup, load: Load, doubts: list[str]) -> None:
    """Cores that others took and throttling are said, with their share; a little, and what is not known, is not."""
    found = merge([Taken(taken().opened, taken().turns, load=load)], EFFECTIVE, setup.subject(name="x"), HOST).doubts
    assert len(found) == len(doubts)
    assert all(part in text for part, text in zip(doubts, found, strict=True))


def test_a_busy_host_is_said_once(setup: Setup) -> None:
    """What a process was postponed by is not said again as a doubt of its own."""
    process = Taken(taken().opened, taken().turns, contended="other programs took 50% of the cores, 2% is usual")
    merged = merge(
        [Taken(process.opened, process.turns, contended=process.contended, load=Load(1.0, 0.5, None, None))],
        EFFECTIVE,
        setup.subject(name="x"),
        HOST,
    )
    assert merged.doubts == (process.contended,)
