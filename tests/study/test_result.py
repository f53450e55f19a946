"""A study as a value: reference, front, limits and headline numbers follow from the records alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.compress import step
from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement
from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.inference.roofline import Peaks
from autoopt.study.numbers import objectives
from autoopt.study.result import StudyResult
from autoopt.study.short_names import describe

HOST = Host("a cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {})
CARD = StudyCard("s", "tiny", True, "dice_macro", "d", "w", "{}", ("latency", "quality"), 0, HOST, {"drop": 0.05})


def record(number: int, latency_s: float, value: float, **changes: object) -> TrialRecord:
    measurement = Measurement(
        (((latency_s,) * 4,),), ((),), (latency_s,), 0.1, 0.2, 10**8, 4 * 10**6, {}, HOST.fingerprint
    )
    cases = (CaseScore("c", "g", {"dice_macro": value}),)
    quality = Quality("val", "dice_macro", "mean", {"dice_macro": value, "iou": value / 2}, cases)
    configuration = Configuration.of({"runtime": {"name": "fake", "number": number}})
    made = TrialRecord(configuration, Status.COMPLETE, number, measurement=measurement, quality=quality)
    return replace(made, **changes)  # type: ignore[arg-type]


def failed(number: int) -> TrialRecord:
    crash = Failure("crash", "measure", "it crashed")
    return record(number, 1, 1, status=Status.FAILED, measurement=None, quality=None, failure=crash)


REFERENCE = record(0, 0.040, 0.90, origin="seed", label="torch f32")
OPENVINO = record(1, 0.020, 0.90, origin="seed", label="openvino f32")
STUDY = StudyResult(
    CARD,
    (
        REFERENCE,
        OPENVINO,
        record(2, 0.010, 0.89),
        failed(3),
        record(4, 0.005, 0.80),  # too bad
        record(5, 0.015, 0.88),  # dominated by 2
        record(6, 0.010, 0.89),  # the equal of 2
    ),
)


def test_front_is_complete_feasible_and_not_dominated() -> None:
    """The front holds the best feasible trials with their equals, fastest first; the reference is dominated."""
    assert [member.number for member in STUDY.front] == [2, 6, 1]
    assert [member.number for member in STUDY.complete] == [0, 1, 2, 5, 6]
    infeasible = STUDY.by_number(4)
    assert infeasible is not None and infeasible.status is Status.INFEASIBLE
    assert infeasible.violated == {"drop": pytest.approx(0.05)}
    assert STUDY.by_number(3) == failed(3)
    assert STUDY.by_number(99) is None


def test_limits_may_change_later() -> None:
    """Other limits judge the same records anew, in both directions."""
    loose = replace(STUDY, card=replace(CARD, limits={}))
    assert [member.number for member in loose.front] == [4, 2, 6, 1]
    strict = replace(STUDY, card=replace(CARD, limits={"drop": 0.0, "latency_s": 0.030}))
    assert [member.number for member in strict.front] == [1]
    assert strict.judged[0].violated == {"latency_s": pytest.approx(0.010)}
    again = replace(strict, records=strict.judged, card=loose.card)
    assert again.front == loose.front


def test_reference_falls_back_to_a_seed() -> None:
    """Without PyTorch FP32 the first FP32 seed with a quality is the reference; without seeds there is none."""
    assert STUDY.reference == REFERENCE
    broken = replace(failed(0), origin="seed", label="torch f32")
    assert StudyResult(CARD, (broken, OPENVINO)).reference == OPENVINO
    alone = StudyResult(CARD, (record(2, 0.010, 0.10),))
    assert alone.reference is None and alone.lacks_reference and alone.front == ()
    assert [member.number for member in StudyResult(replace(CARD, limits={}), alone.records).front] == [2]
    assert StudyResult(CARD, ()).front == ()


def test_only_a_float_seed_stands_in_for_the_reference() -> None:
    """Quantized seeds and trials of the sampler do not say what quality was before; the stand-in is named with why."""
    broken = replace(failed(0), origin="seed", label="torch f32")
    quantized = replace(OPENVINO, number=1, label="openvino int8")
    sampled = replace(OPENVINO, number=2, origin="sampler")
    study = StudyResult(CARD, (broken, quantized, sampled))
    assert study.reference is None and study.stand_in == ""
    assert {member.status for member in study.judged} == {Status.FAILED, Status.UNKNOWN}
    study = StudyResult(CARD, (broken, quantized, OPENVINO))
    assert study.reference == OPENVINO
    assert (
        study.stand_in == f"the reference is openvino f32 (#{OPENVINO.number}), since torch f32 (#0) failed: it crashed"
    )
    assert StudyResult(CARD, (OPENVINO,)).stand_in == f"the reference is openvino f32 (#{OPENVINO.number})"
    assert STUDY.stand_in == ""


def test_headline_numbers() -> None:
    """Headline numbers carry their unit, compare with both yardsticks and leave out what was not measured."""
    numbers = STUDY.headline(STUDY.records[2])
    expected = {
        "latency_p25_ms": 10,
        "throughput_per_s": 100,
        "speedup_vs_torch_f32": 4,
        "speedup_vs_openvino_f32": 2,
        "drop": 0.01,
        "dice_macro": 0.89,
        "iou": 0.445,
        "size_mb": 4,
        "peak_rss_mb": 100,
        "first_call_ms": 200,
    }
    assert {name: numbers[name] for name in expected} == pytest.approx(expected)
    assert STUDY.headline(failed(3)) == {}
    without = StudyResult(CARD, (OPENVINO,)).headline(OPENVINO)
    assert "speedup_vs_torch_f32" not in without, "a speed-up over PyTorch needs PyTorch"
    assert (without["speedup_vs_openvino_f32"], without["drop"]) == (1, 0)


def test_points_are_minimised() -> None:
    """Quality enters with its sign turned, the others as they are."""
    measured = [name for name, number in objectives().items() if number.known(REFERENCE)]
    every = replace(STUDY, card=replace(CARD, objectives=tuple(measured)))
    points = every.points((REFERENCE,))
    assert np.allclose(points, [[0.040, -0.90, 1e8, 4e6]])
    with pytest.raises(ValueError, match="trial 3 has no latency"):
        every.points((failed(3),))


@given(st.permutations(STUDY.records))
def test_order_of_records_does_not_matter(records: list[TrialRecord]) -> None:
    """The front is a set: it does not depend on the order in which the records came."""
    assert StudyResult(CARD, tuple(records)).front == STUDY.front


def test_short_names() -> None:
    """A configuration has a short name: the runtime first, then the steps that are on, then how it runs."""
    runtime: dict[str, Scalar] = {"name": "openvino", "precision": "bf16", "threads": 2, "streams": 1}
    plain = describe(Configuration.of({"runtime": runtime, "quantize": None}))
    quantized = describe(Configuration.of({"runtime": runtime, "quantize": {"scheme": "int8", "preset": "mixed"}}))
    assert plain.startswith("openvino ") and "bf16" in plain and "2 threads" in plain
    assert quantized.startswith("openvino int8 mixed")
    assert "int8" not in plain
    settings = step("prune").canonical({"ratio": 0.5, "criterion": "fpgm"}, {"name": "openvino"}, CARD.host)
    pruned = describe(Configuration.of({"runtime": runtime, "prune": settings, "quantize": None}))
    assert pruned.startswith("openvino prune 0.5 criterion=fpgm bf16")


def beside(number: int, latency_s: float, slowdown: float = 1.0) -> TrialRecord:
    """A trial measured in turn with a reference of 20 ms, on a host that is so much slower meanwhile."""
    made = record(number, latency_s * slowdown, 0.9)
    assert made.measurement is not None
    reference = (((0.02 * slowdown,) * 4,),)
    measured = replace(
        made.measurement, reference_s=reference, reference_workers=("r",), reference_latency_s=0.02 * slowdown
    )
    return replace(made, measurement=measured)


def test_a_host_that_is_busy_at_first_does_not_set_the_level() -> None:
    """All latencies of a study are those of the usual host, also of the first trials, whose host was busy."""
    study = StudyResult(CARD, (beside(0, 0.05, slowdown=3.0), *(beside(number, 0.01) for number in range(1, 7))))
    assert study.reference_latency_s == pytest.approx(0.02)
    latencies = [study.headline(trial)["latency_p25_ms"] for trial in study.judged]
    assert latencies == pytest.approx([50.0] + [10.0] * 6)
    later = replace(study, records=(*study.records, *(beside(number, 0.01, slowdown=2.0) for number in range(7, 20))))
    assert later.reference_latency_s == pytest.approx(0.02)
    slow, quiet = [beside(n, 0.01, slowdown=1.75) for n in range(12)], [beside(n, 0.01) for n in range(12, 17)]
    assert StudyResult(CARD, tuple(slow)).reference_latency_s == pytest.approx(0.035), "nothing else is known yet"
    assert StudyResult(CARD, (*slow, *quiet)).reference_latency_s == pytest.approx(0.02), "also after eight trials"


def content(record: TrialRecord, name: str) -> TrialRecord:
    """The record of a trial that ran the files with this digest."""
    assert record.measurement is not None
    return replace(record, measurement=replace(record.measurement, content=name))


def grown(records: list[TrialRecord]) -> StudyResult:
    """A study that got its records one by one, and was asked for its front after each."""
    study = StudyResult(replace(CARD, limits={"drop": 0.02}), ())
    for record in records:
        study = study.plus(record)
        _ = study.front
    return study


trials = st.builds(
    lambda kind, latency, value, files: {
        "fails": lambda number: failed(number),
        "alone": lambda number: record(number, latency / 1e3, value / 100),
        "beside": lambda number: content(
            replace(beside(number, latency / 1e3), quality=record(number, 1, value / 100).quality), files
        ),
        "seed": lambda number: replace(
            beside(number, latency / 1e3), origin="seed", label="torch f32" if value > 85 else ""
        ),
    }[kind],
    st.sampled_from(["fails", "alone", "beside", "beside", "beside", "seed"]),
    st.integers(5, 30),
    st.integers(80, 95),
    st.sampled_from(["", "", "", "a", "b"]),
)


@given(st.lists(trials, min_size=1, max_size=30))
def test_a_study_that_grows_is_the_study_of_all_its_records(makers: list[Callable[[int], TrialRecord]]) -> None:
    """One record after the other, or all at once: the same reference, front, verdicts and latencies."""
    records = [made(number) for number, made in enumerate(makers)]
    one, other = grown(records), StudyResult(replace(CARD, limits={"drop": 0.02}), tuple(records))
    assert one.records == other.records
    names = "judged complete front duplicates reference openvino_f32 sigma reference_latency_s unconfirmed ties"
    for name in names.split():
        assert getattr(one, name) == getattr(other, name), name
    assert [one.by_number(number) for number in range(len(records))] == list(other.judged)
    for record_ in other.records:
        assert one.runs_as(record_) == other.runs_as(record_)
        assert one.headline(record_) == other.headline(record_)


def test_a_further_record_costs_no_second_look_at_the_others() -> None:
    """Once the reference is known, a study judges only the record that it gets."""
    study = grown([replace(REFERENCE, number=0), *(beside(number, 0.01 + number / 1e3) for number in range(1, 30))])
    judged: list[int] = []

    class Counting(StudyResult):
        def _judge(self, record: TrialRecord) -> TrialRecord:
            judged.append(record.number)
            return super()._judge(record)

    counting = Counting(study.card, study.records)
    _ = counting.front
    assert len(judged) == 30
    judged.clear()
    assert counting.plus(beside(30, 0.009)).front[0].number == 30
    assert judged == [30]


def test_a_trial_is_held_against_the_roof_of_its_host() -> None:
    """The attained share needs the model's cost and the peaks with the trial's threads, and is one of single calls."""
    cost, peaks = {"macs": 1000, "bytes": 1}, asdict(Peaks(2e6, None, None, None, 1e9, 2))
    measured = replace(record(2, 0.010, 0.89).measured, cost=cost, effective={"threads": 2, "precision": "f32"})
    card = replace(CARD, calibration={"peaks": {"2": peaks}})
    study = replace(STUDY, card=card, records=(REFERENCE, record(2, 0.010, 0.89, measurement=measured)))
    assert study.headline(study.judged[1])["roofline_fraction"] == pytest.approx(0.1)
    for changed in (
        replace(study, card=replace(card, latency="case")),
        replace(study, card=CARD),
        replace(study, card=replace(CARD, calibration={"peaks": {"4": peaks}})),
    ):
        assert "roofline_fraction" not in changed.headline(changed.judged[1])
    assert "roofline_fraction" not in study.headline(study.judged[0])
    assert study.headline(study.judged[1])["front_probability"] == pytest.approx(1.0)
