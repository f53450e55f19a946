"""Records: one spelling, one digest, JSON both ways, and old files stay readable."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration, canonical_json, digest, finite
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement, joined, measurement_from_json
from autoopt.core.records import SCHEMA, Failure, Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality

GOLDEN = Path(__file__).parents[1] / "golden"

SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e6, 1e6) | st.text(max_size=8)
SECTIONS = st.dictionaries(
    st.sampled_from(["runtime", "quantize", "prune"]),
    st.none() | st.dictionaries(st.text(min_size=1, max_size=6), SCALARS, max_size=4),
)

RECORD = TrialRecord(
    configuration=Configuration.of(
        {
            "quantize": {
                "scheme": "int8",
                "tool": "nncf",
                "preset": "mixed",
                "calibration_cases": 64,
                "ignored_layers": None,
            },
            "runtime": {"name": "openvino", "precision": "f32", "threads": 2, "streams": 1},
        }
    ),
    status=Status.INFEASIBLE,
    number=7,
    origin="sampler",
    label="",
    artifacts=("a" * 64, "b" * 64),
    measurement=Measurement(
        turns_s=(((0.011, 0.010), (0.012,)), ((0.010, 0.0105),)),
        warmups_s=((0.030,), (0.025,)),
        cpu_s=(0.021, 0.020),
        load_s=0.35,
        first_call_s=0.03,
        peak_rss_bytes=250_000_000,
        artifact_bytes=2_100_000,
        effective={"precision": "f32", "threads": 2, "kernels": "Convolution_I8:22", "low_precision_share": 0.75},
        host="0123456789ab",
        doubts=("the spread is 0.12: other processes were busy",),
        content="f" * 64,
        stopped="it is told from the front",
    ),
    quality=Quality(
        split="val",
        primary="dice_macro",
        rule="mean over groups",
        values={"dice_macro": 0.91, "iou": 0.84},
        cases=(
            CaseScore("c1", "p1", {"dice_macro": 0.91, "iou": 0.84}),
            CaseScore("c2", "p2", {"dice_macro": None, "iou": None}),
        ),
        undefined={"dice_macro": 1, "iou": 1},
    ),
    violated={"drop": 0.004},
    seconds={"make": 4.2, "measure": 6.1, "score": 0.3},
    started_at="2026-11-21T02:00:00+00:00",
    notes=("quantize: reused",),
)
FAILURE = Failure("crash", "measure", "it died", "the log")
FAILED = replace(RECORD, status=Status.FAILED, measurement=None, quality=None, failure=FAILURE)
CARD = StudyCard(
    name="histo-demo",
    workload="histo",
    demo=True,
    primary="dice_macro",
    data_digest="d" * 64,
    weights_digest="e" * 64,
    space='{"dimensions":{},"schema":1}',
    objectives=("latency", "quality"),
    seed=0,
    host=Host("a cpu", "x86_64", 2, 8_000_000_000, ("avx2", "fma"), "Linux", {"openvino": "2026.4.1"}),
    limits={"drop": 0.01},
    labels=("background", "gland"),
    pipeline={"tile": [224, 224]},
    origin={"source": "histo", "data": None, "weights": None},
)


def from_file(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text())


def test_why_a_trial_failed_can_be_stored_everywhere() -> None:
    """Bytes of a file's name that are no letters, and zeros, are shown by their codes: databases refuse them."""
    failure = Failure("crash", "score", "no such file: 'caf\udce9\0.png'", "\udce9 \U0001f680")
    assert failure.message == "no such file: 'caf\\udce9\\x00.png'"
    assert failure.log_tail == "\\udce9 \U0001f680"


@given(SECTIONS)
def test_one_spelling(sections: dict[str, Any]) -> None:
    """Canonical JSON is a fixed point: read and written again, in any order of keys, it is the same text."""
    text = canonical_json(sections)
    assert canonical_json(json.loads(text)) == text
    turned = {key: None if item is None else dict(reversed(item.items())) for key, item in reversed(sections.items())}
    assert canonical_json(turned) == text
    assert digest(turned) == digest(sections)


@given(SECTIONS)
def test_configuration_round_trip(sections: dict[str, Any]) -> None:
    """A configuration gives its sections back and is equal to the one made of them; copies cannot change it."""
    configuration = Configuration.of(sections)
    copy = configuration.sections()
    assert Configuration.of(copy) == configuration
    assert Configuration.of(copy).digest == configuration.digest
    copy["more"] = None
    assert configuration.section("more") is None and "more" not in configuration.sections()
    assert len(configuration.flat()) == sum(1 if item is None else len(item) for item in sections.values())


def test_equal_values_have_equal_text() -> None:
    """Whole floats, numpy scalars and tuples are spelt as Python's plain values; true is not 1."""
    assert canonical_json({"b": 2.0, "a": (np.float32(0.5), np.int64(3))}) == '{"a":[0.5,3],"b":2}'
    assert canonical_json({"a": np.bool_(True)}) == '{"a":true}'
    assert digest({"a": True}) != digest({"a": 1})
    for number in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            canonical_json(number)


def test_digest_is_stable() -> None:
    """The digest of a known configuration never changes: studies and stores are named by it."""
    assert RECORD.configuration.digest == "5f4d7f6ba557ea094bce073649a59f59754d84cae166dc19a0448f333c1dec8d"
    assert str(Configuration.of({"quantize": None, "runtime": {"name": "torch"}})) == "quantize=off runtime.name=torch"


@pytest.mark.parametrize("record", [RECORD, FAILED, TrialRecord(RECORD.configuration, Status.COMPLETE)])
def test_record_round_trip(record: TrialRecord) -> None:
    """A record survives JSON whole: measured, failed or bare."""
    assert TrialRecord.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False))) == record
    assert TrialRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize("file", ["trial-record-2.json", "trial-record-3.json"])
def test_golden_record_is_read(file: str) -> None:
    """A file that this schema or the one before wrote is read as the very record it was written from."""
    assert TrialRecord.from_json(from_file(file)) == RECORD


def test_golden_record_is_written() -> None:
    """This schema writes what its file has, key by key."""
    assert json.loads(canonical_json(RECORD.to_json())) == from_file(f"trial-record-{SCHEMA}.json")


def test_old_names_of_a_measurement_are_read() -> None:
    """What was called `residents` and `level_s` before schema 3 is read under its new name."""
    beside = _beside(0.02, 0.01, "r", 0.025)
    value = json.loads(json.dumps(asdict(beside)))
    value |= {"residents": value.pop("reference_workers"), "level_s": value.pop("reference_latency_s")}
    assert measurement_from_json({**value, "items_per_call": 1}) == beside


def test_old_names_of_a_configuration_are_read() -> None:
    """What a record of schema 2 calls `coarsen`, `as_int8` and `grow` is read under its new name, with its values."""
    record = TrialRecord.from_json(from_file("trial-record-2-nets.json"))
    resolution, prune = record.configuration.section("resolution"), record.configuration.section("prune")
    assert resolution is not None and prune is not None and record.failure is not None
    assert (resolution["factor"], resolution["qat"], prune["qat"], prune["steps_growth"]) == (2, False, True, 1)
    names = set(record.configuration.flat())
    assert not {name for name in names if name.startswith("coarsen") or name.endswith(("as_int8", "grow"))}
    assert record.failure.stage == "resolution"
    assert record.configuration.section("quantize") is None and "quantize" in record.configuration.sections()


def test_settings_of_today_are_read_as_they_are() -> None:
    """A record of this schema may have a setting with an old name, such as one of a step of somebody else."""
    record = replace(RECORD, configuration=Configuration.of({"coarsen": {"grow": 1}, "runtime": {"name": "torch"}}))
    assert TrialRecord.from_json(record.to_json()) == record


def test_old_names_of_a_space_are_read() -> None:
    """The card of schema 2 has the space under the new names, so that the study goes on with the renamed file."""
    old = {"dimensions": {"coarsen.factor": {"choices": [2]}, "prune.grow": {"choices": [1]}}, "schema": 1}
    card = StudyCard.from_json({**CARD.to_json(), "schema": 2, "space": canonical_json(old)})
    new = {"dimensions": {"prune.steps_growth": {"choices": [1]}, "resolution.factor": {"choices": [2]}}, "schema": 1}
    assert card.identity() == replace(CARD, space=canonical_json(new)).identity()


def test_golden_card_is_read() -> None:
    """The card that schema 1 wrote is read as it was, with its host."""
    card = StudyCard.from_json(from_file("study-card-1.json"))
    assert card == CARD
    assert card.host.fingerprint == CARD.host.fingerprint
    assert card.title == "histo (demo data)"


@pytest.mark.parametrize("kind", [TrialRecord, StudyCard])
@pytest.mark.parametrize("schema", [SCHEMA + 1, None])
def test_another_schema_is_refused(kind: type[TrialRecord] | type[StudyCard], schema: int | None) -> None:
    """A record or card of a schema that this version does not know is refused in words."""
    value = (RECORD if kind is TrialRecord else CARD).to_json() | {"schema": schema}
    with pytest.raises(ValueError, match=f"of schema {SCHEMA} is needed, this one has {schema}"):
        kind.from_json(value)


def test_statistics_are_derived() -> None:
    """Percentiles are those of the calls of all processes together; warm-ups do not enter."""
    measured = RECORD.measurement
    assert measured is not None
    calls = [0.011, 0.010, 0.012, 0.010, 0.0105]
    assert measured.latency_p25_s == pytest.approx(np.quantile(calls, 0.25))
    assert measured.latency_p50_s == pytest.approx(0.0105)
    assert measured.latency_p50_s <= measured.latency_p95_s <= measured.latency_p99_s <= 0.012
    assert measured.throughput_per_s == pytest.approx(1 / measured.latency_p25_s)
    assert measured.cpu_per_call_s == 0.020
    assert RECORD.quality is not None and RECORD.quality.value == 0.91


def _beside(
    reference: float, calls: float, reference_worker: str = "r", reference_latency_s: float = 0.02
) -> Measurement:
    """Two rounds of a candidate of `calls` seconds beside a reference of `reference` seconds."""
    assert RECORD.measurement is not None
    turns, others = (((calls,) * 3,) * 2,), (((reference,) * 3,) * 2,)
    return replace(
        RECORD.measurement,
        turns_s=turns,
        warmups_s=((),),
        cpu_s=(calls,),
        reference_s=others,
        reference_workers=(reference_worker,),
        reference_latency_s=reference_latency_s,
    )


def test_drift_cancels() -> None:
    """On a host at half its speed the estimate is what it is on the quiet one; the raw times are kept."""
    quiet, slowed = _beside(0.02, 0.01), _beside(0.04, 0.02)
    assert quiet.latency_p25_s == pytest.approx(0.01)
    assert slowed.latency_p25_s == pytest.approx(0.01)
    assert slowed.raw_p25_s == pytest.approx(0.02)
    assert slowed.drift == pytest.approx(0.5)
    assert slowed.latency_p50_s == pytest.approx(0.01)


def test_measurements_are_joined() -> None:
    """The samples of two measurements of one thing count as those of more processes; other hosts are refused."""
    both = joined(_beside(0.02, 0.01, "r"), _beside(0.02, 0.0144, "s"))
    assert (both.processes, both.reference_workers, len(both.cpu_s)) == (2, ("r", "s"), 2)
    assert both.latency_p25_s == pytest.approx(0.012)
    with pytest.raises(ValueError, match="of one host"):
        joined(_beside(0.02, 0.01), replace(_beside(0.02, 0.01), host="another"))
    assert RECORD.measurement is not None
    with pytest.raises(ValueError, match="beside a reference or both alone"):
        joined(_beside(0.02, 0.01), RECORD.measurement)


def test_records_of_the_first_schema_are_read() -> None:
    """A trial that was stored before there were turns is one round per process, measured alone."""
    read = TrialRecord.from_json(from_file("trial-record-1.json"))
    assert read.measurement is not None
    assert read.measurement.turns_s == (((0.011, 0.010, 0.012),), ((0.010, 0.0105),))
    assert read.measurement.latency_p25_s == pytest.approx(0.010)
    assert (read.configuration, read.quality, read.status) == (RECORD.configuration, RECORD.quality, RECORD.status)


def test_values_by_group() -> None:
    """A metric of cases is averaged in each group; one of the whole split has its pseudo-values; unknown has none."""
    quality = replace(RECORD.quality, pseudo={"auroc": {"p1": 0.7, "p2": 0.9}})  # type: ignore[type-var]
    assert quality is not None
    assert quality.by_group() == {"p1": 0.91}
    assert quality.by_group("auroc") == {"p1": 0.7, "p2": 0.9}
    assert quality.by_group("mcc") == {}


@pytest.mark.parametrize(
    "change",
    [{"cores": 4}, {"isa": ("avx2",)}, {"versions": {"openvino": "2026.5"}}, {"cpu": "another"}, {"memory_bytes": 1}],
)
def test_fingerprint_tells_hosts_apart(change: dict[str, Any]) -> None:
    """Whatever decides speed changes the fingerprint; the same host has the same one."""
    assert replace(CARD.host, **change).fingerprint != CARD.host.fingerprint
    assert replace(CARD.host).fingerprint == CARD.host.fingerprint
    assert len(CARD.host.fingerprint) == 12


def test_identity_of_a_study() -> None:
    """Limits, labels and name may change within a study; data, weights, space, seed and host may not."""
    same = replace(CARD, name="other", limits={}, labels=(), origin={})
    assert same.identity() == CARD.identity()
    for change in (
        {"data_digest": "x"},
        {"weights_digest": "x"},
        {"space": "x"},
        {"seed": 1},
        {"objectives": ("latency",)},
    ):
        assert replace(CARD, **change).identity() != CARD.identity()  # type: ignore[arg-type]


def test_finite() -> None:
    """NaN and infinity become None, which JSON has."""
    assert [finite(value) for value in (1.5, None, math.nan, math.inf)] == [1.5, None, None, None]
