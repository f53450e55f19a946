"""From a chosen trial to a bundle: its artifact out of the store, and what bundle.json says of where it comes from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from autoopt import __version__
from autoopt.core.measurement import Measurement
from autoopt.core.scores import Quality
from autoopt.core.store import KIND, Store
from autoopt.deploy.pick import Choice
from autoopt.deploy.writer import write_bundle
from autoopt.errors import BundleError
from autoopt.inference.pipeline import Pipeline
from autoopt.study.result import StudyResult
from autoopt.study.space import configured


def pull(result: StudyResult, choice: Choice, store: Store, out: Path) -> Path:
    """Verify the artifact of the chosen trial and write it to `out` as a bundle; returns the folder.

    Raises BundleError when the artifact is not in the store any more or `out` cannot take a bundle, StorageError when
    the artifact was altered.
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
    return write_bundle(out, artifact, record.configuration.runtime, pipeline, card.labels, facts(result, choice))


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
        "choice": {"pick": choice.pick, "limits": dict(choice.limits or {}), "explanation": choice.explanation},
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
    described = {name: item for name, item in asdict(result.card.host).items() if name != "versions"}
    return {**described, "isa": list(result.card.host.isa), "fingerprint": measured.host}


def _quality_facts(quality: Quality) -> dict[str, Any]:
    return {
        "split": quality.split,
        "primary": quality.primary,
        "rule": quality.rule,
        "cases": len(quality.cases),
        "undefined": dict(quality.undefined),
    }
