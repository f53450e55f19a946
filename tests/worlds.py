"""An invented world for searches: a clock that is set by hand, trials whose numbers are planted, a study in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement
from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.errors import TrialError
from autoopt.study.early_stop import EarlyStop
from autoopt.study.later import Later
from autoopt.study.prepare import Prepared
from autoopt.study.proposals import Proposal
from autoopt.study.result import StudyResult
from autoopt.study.space import Space, load_space
from autoopt.study.study import Study

HOST = Host("cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {"python": "3.11"})
SPACE = """
runtime:
  name: fake
  precision: f32
  threads: [1, 2]
  latency_ms: [10, 20, 30, 40, 50, 60]
  error: [0.0, 0.01, 0.02, 0.1]
"""
REFERENCE_S = 0.1
"""What the reference takes in this world."""


class Clock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


def space_of(folder: Path, text: str = SPACE) -> Space:
    path = folder / "space.yaml"
    path.write_text(text)
    return load_space(path, HOST)


def card_of(space: Space, name: str = "s", **changes: object) -> StudyCard:
    fields = {
        "name": name,
        "workload": "tiny",
        "demo": True,
        "primary": "dice_macro",
        "data_digest": "d",
        "weights_digest": "w",
        "space": space.text,
        "objectives": ("latency", "quality"),
        "seed": 0,
        "host": HOST,
        "limits": {"drop": 0.05},
    }
    return StudyCard(**{**fields, **changes})  # type: ignore[arg-type]


class InMemory:
    """A `study.Stored` that keeps its records in a list, and what was handed to Optuna beside them."""

    def __init__(self, card: StudyCard) -> None:
        self.card = card
        self.kept: list[TrialRecord] = []
        self.later: list[tuple[int, Later]] = []
        self.ended: EarlyStop | None = None
        self.seen: list[tuple[dict[str, Scalar], list[float] | None, dict[str, float]]] = []

    def records(self) -> list[TrialRecord]:
        return list(self.kept)

    def add(
        self,
        record: TrialRecord,
        raw: Mapping[str, Scalar],
        values: Sequence[float] | None,
        excess: Mapping[str, float],
    ) -> TrialRecord:
        self.seen.append((dict(raw), None if values is None else list(values), dict(excess)))
        self.kept.append(record.with_number(len(self.kept)))
        return self.kept[-1]

    def add_later(self, record: TrialRecord, later: Later) -> TrialRecord:
        self.later.append((record.number, later))
        self.kept[record.number] = later.added_to(record)
        return self.kept[record.number]

    def early_stop(self) -> EarlyStop | None:
        return self.ended

    def end_early(self, ended: EarlyStop) -> None:
        self.ended = ended


def study_of(space: Space, **changes: object) -> Study:
    """A study that is stored nowhere, and draws at random: what is tried next does not matter to a loop."""
    return Study(InMemory(card_of(space, **changes)), space, "random")


def settings_of(record: TrialRecord | Proposal) -> dict[str, Scalar]:
    return record.configuration.runtime


def measured(
    latency_s: float, *, contended: str = "", processes: int = 1, spread: float = 0.001, slower: float = 1.0
) -> Measurement:
    """What `processes` processes of a trial measure that takes so long, beside the reference, nearly without noise.

    The host is `slower` by that factor meanwhile, and what was known of the reference then is that too.
    """
    turns = tuple(latency_s * slower * (1 + spread * (index % 3 - 1)) for index in range(6))
    beside = tuple(REFERENCE_S * slower * (1 + spread * (index % 3 - 1)) for index in range(6))
    return Measurement(
        turns_s=((turns, turns),) * processes,
        warmups_s=((),) * processes,
        cpu_s=(latency_s,) * processes,
        load_s=0.1,
        first_call_s=0.1,
        peak_rss_bytes=10**6,
        artifact_bytes=10**5,
        effective={},
        host=HOST.fingerprint,
        reference_s=((beside, beside),) * processes,
        reference_workers=("r",) * processes,
        reference_latency_s=REFERENCE_S * slower,
        contended=contended,
    )


def scored(value: float, split: str = "val") -> Quality:
    cases = tuple(CaseScore(f"c{index}", f"g{index}", {"dice_macro": value}) for index in range(3))
    return Quality(split, "dice_macro", "mean", {"dice_macro": value}, cases)


@dataclass
class World:
    """A `runner.Runner`: trials do what their settings say; what was asked for is in `asked`, in order.

    `busy` says how many tries of a configuration (by digest) meet a busy host, `fails` which configurations fail,
    `slower` by how much the host slows down the trial that is run as the so-and-so-many-th, from 0;
    `dies` how many tries (by label, else by digest) fail in which way; `compare_error` and `confirm_error` are raised
    by those questions. Every question takes its time by the clock.
    """

    in_flight: int = 1
    clock: Clock = field(default_factory=Clock)
    trial_s: float = 10.0
    compare_s: float = 1.0
    busy: Mapping[str, int] = field(default_factory=dict)
    slower: Callable[[int], float] = lambda place: 1.0
    fails: Callable[[Proposal], bool] = lambda proposal: False
    dies: Mapping[str, tuple[int, Failure]] = field(default_factory=dict)
    compare_error: TrialError | None = None
    confirm_error: TrialError | None = None
    check_error: Exception | None = None
    made: Mapping[str, int] = field(default_factory=lambda: {"export": 1})
    reused: Mapping[str, int] = field(default_factory=lambda: {"export": 3})
    artifacts: tuple[str, ...] = ()
    asked: list[tuple[str, Any]] = field(default_factory=list)
    studies: list[StudyResult] = field(default_factory=list)
    later_s: dict[str, float] = field(default_factory=dict)
    _tries: Counter[str] = field(default_factory=Counter)
    _spaces: list[Space] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.asked.append(("enter", None))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.asked.append(("exit", None))

    def open(self, prepared: Prepared, before: StudyResult, on_stage: Callable[[str], None]) -> None:
        self.asked.append(("open", len(before.records)))
        self._spaces.append(prepared.space)
        on_stage("load")

    def check(self) -> Space:
        self.asked.append(("check", None))
        if self.check_error is not None:
            raise self.check_error
        return self._spaces[-1]

    def run(self, proposal: Proposal, study: StudyResult) -> TrialRecord:
        self.asked.append(("run", proposal.label or proposal.configuration.digest))
        self.studies.append(study)
        self.clock.advance(self.trial_s)
        digest = proposal.configuration.digest
        self._tries[digest] += 1
        spent = {"make": 1.0, "measure": self.trial_s - 2.0, "score": 1.0}
        record = TrialRecord(
            proposal.configuration,
            Status.COMPLETE,
            origin=proposal.origin,
            label=proposal.label,
            artifacts=self.artifacts,
            seconds=spent,
        )
        if self.fails(proposal):
            crash = Failure("crash", "measure", "it crashed")
            return replace(record, status=Status.FAILED, failure=crash)
        tries, failure = self.dies.get(proposal.label or digest, (0, None))
        if self._tries[digest] <= tries:
            return replace(record, status=Status.FAILED, failure=failure)
        contended = "others computed" if self._tries[digest] <= self.busy.get(digest, 0) else ""
        latency_s, error = (float(settings_of(record)[name] or 0) for name in ("latency_ms", "error"))
        slower = self.slower(len(self.questions("run")) - 1)
        measurement = measured(latency_s / 1e3, contended=contended, slower=slower)
        return replace(record, measurement=measurement, quality=scored(0.9 - error))

    def compare(self, records: Sequence[TrialRecord]) -> list[Measurement]:
        self.asked.append(("compare", [record.number for record in records]))
        self.clock.advance(self.compare_s)
        if self.compare_error is not None:
            raise self.compare_error
        return [measured(float(settings_of(record)["latency_ms"] or 0) / 1e3) for record in records]

    def confirm(self, record: TrialRecord) -> Quality:
        self.asked.append(("confirm", record.number))
        if self.confirm_error is not None:
            raise self.confirm_error
        return scored(0.88 - float(settings_of(record)["error"] or 0), "test")

    def questions(self, kind: str) -> list[Any]:
        """What was asked of one kind, in order."""
        return [item for name, item in self.asked if name == kind]


def point(**runtime: Scalar) -> Configuration:
    """A configuration of the space above."""
    settings = {"name": "fake", "precision": "f32", "threads": 1, "latency_ms": 10, "error": 0.0, "failure": None}
    return Configuration.of({"runtime": {**settings, **runtime}})
