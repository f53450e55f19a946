"""Profile a stored trial layer by layer, beside the same work in float, and explain where its time goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import cast

from autoopt.compress.chain import Stages, make
from autoopt.compress.maker import Maker
from autoopt.core.configuration import Scalar
from autoopt.core.process import USUAL_TIMEOUT_S
from autoopt.core.records import TrialRecord
from autoopt.core.store import KIND
from autoopt.errors import BadData, DataError, UsageError
from autoopt.measure.pack import pack_cases
from autoopt.measure.profiling import ProfilePlan, profile_all
from autoopt.measure.subject import Subject
from autoopt.report.diagnosis import explained
from autoopt.report.evidence_profile import keep_profile
from autoopt.report.explanation import Explanation, Side
from autoopt.study.prepare import Prepared
from autoopt.study.replay import find_trial, prepare_as_before
from autoopt.study.request import HOME
from autoopt.study.result import StudyResult
from autoopt.study.space import configured
from autoopt.workloads.contract import Latency


def explain_trial(
    trial: str,
    *,
    against: str | None = None,
    study: str | None = None,
    home: Path = HOME,
    storage: str | None = None,
    timeout_s: float = USUAL_TIMEOUT_S,
    plan: ProfilePlan | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Explanation:
    """Profile a stored trial, and the trial `against` it, on this host; say why the one is faster or slower.

    Without `against` its `float_counterpart` is taken, if there is one. Nothing is added to the study; the home folder
    keeps what was found for the report. `plan` says how long to profile.
    Raises UsageError when a trial was never measured, or workload, weights or data are not what they were.
    """
    result, record = find_trial(trial, study, home, storage)
    if against is None:
        other = float_counterpart(result, record)
    else:
        # The study of the first trial, unless the second names its own: that must be the same one.
        named, other = find_trial(against, None if "/" in against else result.card.name, home, storage)
        if named.card.name != result.card.name:
            raise UsageError(f"both trials must be of one study, got {result.card.name} and {named.card.name}")
        if other.number == record.number:
            raise UsageError(f"a trial is compared with another one, got #{record.number} twice")
    return explain_records(result, record, other, home, timeout_s=timeout_s, plan=plan, on_stage=on_stage)


def explain_records(
    result: StudyResult,
    record: TrialRecord,
    other: TrialRecord | None,
    home: Path,
    *,
    timeout_s: float = USUAL_TIMEOUT_S,
    plan: ProfilePlan | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Explanation:
    """The same of records of a study, `other` the one to compare with. Raises as `explain_trial`, and TrialError."""
    records = [record] if other is None else [record, other]
    for item in records:
        _check_measured(item)
    prepared = prepare_as_before(result.card, home)
    subjects = _subjects(records, prepared, cast(Latency, result.card.latency), on_stage)
    on_stage("profile")
    profiles = profile_all(subjects, prepared.target, plan=plan, timeout_s=timeout_s)
    sides = [Side(item, profile, result.card.latency) for item, profile in zip(records, profiles, strict=True)]
    notes = _notes(result, prepared, subjects)
    found = explained(result, sides[0], sides[1] if len(sides) > 1 else None, notes)
    problem = keep_profile(found, home)
    return replace(found, notes=(*found.notes, problem)) if problem else found


def float_counterpart(study: StudyResult, record: TrialRecord) -> TrialRecord | None:
    """The measured trial without `quantize` that is most like `record`, with the same runtime and threads.

    A trial in float is compared with an FP32 one. Where there is none the study's OpenVINO FP32 is taken, else its
    reference; None where these are `record` itself or not there.
    """
    settings = _settings(record)
    counterparts = [
        other
        for other in study.judged
        if _is_measured(other)
        and other.number != record.number
        and other.configuration.section("quantize") is None
        and all(_settings(other).get(name) == settings.get(name) for name in ("runtime.name", "runtime.threads"))
    ]
    # A float trial is compared with an FP32 one; an FP32 trial with the references only.
    if record.configuration.section("quantize") is None:
        counterparts = [other for other in counterparts if _settings(other).get("runtime.precision") == "f32"]
        if settings.get("runtime.precision") == "f32":
            counterparts = []
    if counterparts:
        return max(counterparts, key=lambda other: (_alike(settings, _settings(other)), -other.number))
    for other in (study.openvino_f32, study.reference):
        if other is not None and _is_measured(other) and other.number != record.number:
            return other
    return None


def _settings(record: TrialRecord) -> dict[str, Scalar]:
    """All settings but those of `quantize`, such as runtime.threads."""
    return {
        f"{name}.{key}": value
        for name, section in record.configuration.sections().items()
        if section is not None and name != "quantize"
        for key, value in section.items()
    }


def _alike(one: Mapping[str, Scalar], other: Mapping[str, Scalar]) -> int:
    """How many settings the two share."""
    return sum(name in other and other[name] == value for name, value in one.items())


def _is_measured(record: TrialRecord) -> bool:
    return record.measurement is not None and bool(record.artifacts)


def _check_measured(record: TrialRecord) -> None:
    if not _is_measured(record):
        failure = record.failure
        why = f": it failed in {failure.stage} ({failure.message})" if failure is not None else ""
        raise UsageError(f"only a trial that was measured can be explained, #{record.number} was not{why}")


def _subjects(
    records: list[TrialRecord], prepared: Prepared, latency: Latency, on_stage: Callable[[str], None]
) -> list[Subject]:
    """The artifact of each trial with its settings, from the store or made again."""
    try:
        cases = pack_cases(prepared.workload, "val", prepared.store)
    except BadData as error:
        raise DataError(error.message) from error
    subjects = []
    with ExitStack() as held:
        maker: Maker | None = None
        for record in records:
            pipeline = configured(prepared.workload.pipeline, record.configuration)
            artifact = prepared.store.get(KIND, record.artifacts[-1])
            if artifact is not None:
                prepared.store.verify(artifact)
            else:
                maker = maker or held.enter_context(
                    Maker(prepared.workload, prepared.weights, prepared.store, prepared.builder, target=prepared.target)
                )
                artifact = make(record.configuration, maker, pipeline, Stages(on_stage))[-1]
            settings = record.configuration.runtime
            subjects.append(Subject(artifact, settings, pipeline, cases, latency))
    return subjects


def _notes(study: StudyResult, prepared: Prepared, subjects: list[Subject]) -> tuple[str, ...]:
    """What limits the comparison: another host, other tiles, other work in the graph, other things timed."""
    notes = []
    if prepared.host.fingerprint != study.card.host.fingerprint:
        notes.append(
            f"this host ({prepared.host.fingerprint}) is not that of the study ({study.card.host.fingerprint}): "
            "the recorded latencies were measured there"
        )
    if len({subject.pipeline.tile for subject in subjects}) > 1:
        tiles = " and ".join("x".join(map(str, subject.pipeline.tile)) for subject in subjects)
        notes.append(f"the trials cut tiles of {tiles}: their calls do not do the same work")
    if len({subject.pipeline.in_graph for subject in subjects}) > 1:
        notes.append("the trials leave different work to the pipeline: only one of their calls normalises or decides")
    if study.card.latency == "tile":
        notes.append("the study times a tile from pixels to answer, only the network call is profiled here")
    if study.card.latency == "case":
        notes.append("the study times whole cases, the layers are those of one network call on the first tile")
    return tuple(notes)
