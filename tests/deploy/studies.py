"""A study whose trials the tests of this folder pick from: five measured ones, and one that failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement
from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.core.store import Store
from autoopt.study.result import StudyResult
from tests import tiny

HOST = Host("a cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {"numpy": "2.4"})
CARD = StudyCard(
    "s",
    "tiny",
    True,
    "dice_macro",
    "d" * 64,
    "w" * 64,
    "{}",
    ("latency", "quality"),
    0,
    HOST,
    {"drop": 0.05},
    ("background", "foreground"),
    tiny.PIPELINE.to_json(),
    {"source": "/home/me/tiny.py:workload", "data": None, "weights": "/home/me/w"},
)


def record(number: int, latency_s: float, quality: float, size: int = 4_000_000, **changes: Any) -> TrialRecord:
    measurement = Measurement(
        (((latency_s,) * 4,),),
        ((),),
        (latency_s,),
        0.1,
        0.2,
        10**8,
        size,
        {"precision": "f32"},
        HOST.fingerprint,
        doubts=("few samples",),
    )
    cases = (CaseScore("c", "g", {"dice_macro": quality}),)
    made = TrialRecord(
        Configuration.of({"runtime": {"name": "fake", "threads": 1, "latency_ms": 0.0, "number": number}}),
        Status.COMPLETE,
        number,
        artifacts=("source", f"key{number}"),
        measurement=measurement,
        quality=Quality("val", "dice_macro", "mean", {"dice_macro": quality}, cases),
    )
    return replace(made, **changes)


FAILED = replace(
    record(9, 1.0, 1.0),
    status=Status.FAILED,
    measurement=None,
    quality=None,
    failure=Failure("crash", "measure", "died"),
)
STUDY = StudyResult(
    CARD,
    (
        record(0, 0.100, 0.900, 9_000_000, origin="seed", label="torch f32"),
        record(1, 0.050, 0.900, 8_000_000, origin="seed", label="openvino f32"),
        record(2, 0.010, 0.895, 2_000_000),  # the knee
        record(3, 0.009, 0.870, 2_500_000),
        record(4, 0.002, 0.700, 1_000_000),  # drop of 0.2: outside the study's own limit
        FAILED,
    ),
)


def write_home(home: Path, workload: str) -> None:
    """A home folder with `STUDY` as a study of `workload`, and the artifact of its trial 2 in the store."""
    from autoopt.study.proposals import Proposal
    from autoopt.study.space import load_space
    from autoopt.study.study import open_study

    def build(folder: Path) -> Mapping[str, Any]:
        (folder / "fake.json").write_text('{"classes": 2}')
        return {}

    Store(home / "store").put("model", "key2", {}, build)
    text = home / "space.yaml"
    text.write_text("runtime:\n  name: fake\n  threads: [1, 2]\n")
    space = load_space(text, HOST)
    card = replace(CARD, workload=workload, space=space.text)
    with open_study(f"sqlite:///{home / 'study.db'}", card, space) as study:
        for record in STUDY.records:
            study.tell(Proposal(record.configuration, None, record.origin, record.label), record)
