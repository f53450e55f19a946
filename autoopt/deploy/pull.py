"""From a chosen trial to a bundle: its artifact out of the store, and what bundle.json says of where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoopt import __version__
from autoopt.core.measurement import Measurement
from autoopt.core.records import TrialRecord
from autoopt.core.scores import Quality
from autoopt.core.store import KIND, Store
from autoopt.deploy.pick import Choice
from autoopt.deploy.self_test import PLAN, host_facts, make_self_test
from autoopt.deploy.writer import check_replaceable, write_bundle
from autoopt.errors import BundleError, TrialError
from autoopt.inference.pipeline import Pipeline
from autoopt.measure.target import LocalTarget, Target
from autoopt.measure.timing import MeasuringPlan
from autoopt.study.limits import in_words, subgroup_drops
from autoopt.study.result import StudyResult
from autoopt.study.space import configured

LEAST_PATIENTS = 5
"""A subgroup of fewer patients or groups is not told: a bundle leaves the house, and a few may be recognised."""


def pull(
    result: StudyResult,
    choice: Choice,
    store: Store,
    out: Path,
    *,
    self_test: bool = True,
    target: Target | None = None,
    plan: MeasuringPlan = PLAN,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Path:
    """Verify the artifact of the chosen trial and write it to `out` as a bundle; returns the folder.

    With `self_test` the bundle gets golden inputs and a latency to be checked by: it is run on `target`, by default
    this host, by `plan`. Raises BundleError when the artifact is not in the store any more, cannot be run or `out`
    cannot take a bundle, StorageError when the artifact was altered.
    """
    record, card = choice.record, result.card
    artifact = store.get(KIND, record.artifacts[-1]) if record.artifacts else None
    if artifact is None:
        raise BundleError(
            f"the artifact of trial #{record.number} must be in {store.root}, it is not: "
            f"make it again with `autoopt replay {card.name}/{record.number}`"
        )
    store.verify(artifact)
    pipeline = configured(Pipeline.from_json(card.pipeline), record.configuration)
    settings, found = record.configuration.runtime, None
    check_replaceable(out)
    if self_test:
        on_stage(f"running trial #{record.number} on its golden inputs and timing it")
        try:
            found = make_self_test(
                artifact.path, settings, pipeline, target or LocalTarget(), sigma=result.sigma, plan=plan
            )
        except TrialError as error:
            raise BundleError(
                f"trial #{record.number} must run on this host to make its bundle test itself, it does not ({error}): "
                f"pull it where it was measured, or with --no-self-test"
            ) from error
    return write_bundle(out, artifact, settings, pipeline, card.labels, facts(result, choice), self_test=found)


def facts(result: StudyResult, choice: Choice) -> dict[str, Any]:
    """What bundle.json says beside the settings: study, trial, numbers, host, versions, digests; no paths."""
    record, card = choice.record, result.card
    measured, quality = record.measurement, record.quality
    assert measured is not None and quality is not None  # it is on the front
    return {
        "workload": card.workload,
        "demo": card.demo,
        "weights_remark": card.weights_remark,
        "reading": card.origin.get("reading"),
        "study": card.name,
        "trial": record.number,
        "configuration": record.configuration.sections(),
        "numbers": result.headline(record),
        "no_interval": result.without_interval(record),
        "quality": _quality_facts(quality),
        "effective": dict(measured.effective),
        "doubts": list(measured.doubts),
        "test": None if record.test is None else _quality_facts(record.test),
        "subgroups": _subgroups(result, record),
        "reference": _reference_facts(result),
        "choice": {
            "pick": choice.pick,
            "limits": dict(choice.limits or {}),
            "limits_in_words": in_words(choice.limits or {}),
            "explanation": choice.explanation,
        },
        "host": _host_facts(result, measured),
        "versions": {"autoopt": __version__, **card.host.versions},
        "digests": {
            "weights": card.weights_digest,
            "data": card.data_digest,
            "configuration": record.configuration.digest,
            "artifact": record.artifacts[-1],
        },
    }


def _host_facts(result: StudyResult, measured: Measurement) -> dict[str, Any]:
    return {**host_facts(result.card.host), "fingerprint": measured.host}


def _quality_facts(quality: Quality) -> dict[str, Any]:
    return {
        "split": quality.split,
        "primary": quality.primary,
        **({"less_is_better": True} if quality.less_is_better else {}),
        "rule": quality.rule,
        "cases": len(quality.cases),
        "groups": len({case.group for case in quality.cases}),
        "undefined": dict(quality.undefined),
    }


def _reference_facts(result: StudyResult) -> dict[str, Any] | None:
    reference = result.reference
    return (
        None if reference is None else {"trial": reference.number, "label": reference.label, "remark": result.stand_in}
    )


def _subgroups(result: StudyResult, record: TrialRecord) -> dict[str, Any]:
    """By split, column and value: the patients, the primary metric, its mean drop. See `LEAST_PATIENTS`."""
    found: dict[str, Any] = {}
    for split in ("quality", "test"):
        quality: Quality | None = getattr(record, split)
        if quality is None:
            continue
        before = None if result.reference is None else getattr(result.reference, split)
        reference = None if before is None else replace(record, quality=before)
        columns = sorted({column for case in quality.cases for column in case.tags})
        found[quality.split] = {
            column: values
            for column in columns
            if (values := _subgroup(column, replace(record, quality=quality), reference, quality))
        }
    return found


def _subgroup(
    column: str, record: TrialRecord, reference: TrialRecord | None, quality: Quality
) -> dict[str, Mapping[str, Any]]:
    drops = subgroup_drops(column, record, reference)
    found: dict[str, Mapping[str, Any]] = {}
    for value in sorted({case.tags[column] for case in quality.cases if column in case.tags}):
        cases = [case for case in quality.cases if case.tags.get(column) == value]
        groups = len({case.group for case in cases})
        if groups >= LEAST_PATIENTS:
            metric = quality.among(cases).values.get(quality.primary)
            found[value] = {"groups": groups, "metric": metric, "drop": drops.get(value)}
    return found
