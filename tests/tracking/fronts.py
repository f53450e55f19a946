"""Studies whose fronts are of real OpenVINO graphs, for the tests that register them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.host import Host
from autoopt.core.records import TrialRecord
from autoopt.core.store import Store
from autoopt.study.proposals import Proposal
from autoopt.study.result import StudyResult
from autoopt.study.sink import opened
from autoopt.study.space import load_space
from autoopt.study.study import open_study
from autoopt.tracking import Tracker
from tests.deploy.bundles import build_openvino
from tests.deploy.studies import CARD, HOST, STUDY

HERE = HOST.fingerprint
NAMES = ("fastest", "balanced", "best-quality", "smallest")


def study(workload: str, *, demo: bool = False, members: tuple[int, ...] = (1, 2, 3), host: Host = HOST) -> StudyResult:
    """The study of tests/deploy/studies.py with the runtime OpenVINO; `members` are on its front, fastest 3, 2, 1."""
    card = replace(CARD, name=f"{workload}-1", workload=workload, demo=demo, host=host, id=f"id-of-{workload}")
    kept = [record for record in STUDY.records[:4] if record.number in (0, *members)]
    return StudyResult(card, tuple(_openvino(record, host) for record in kept))


def _openvino(record: TrialRecord, host: Host) -> TrialRecord:
    """The record with settings that OpenVINO has; the number of threads tells one from another."""
    settings: dict[str, Scalar] = {"name": "openvino", "precision": "f32", "threads": record.number + 1, "streams": 1}
    measured = replace(record.measured, host=host.fingerprint)
    return replace(record, configuration=Configuration.of({"runtime": settings}), measurement=measured)


def home_of(folder: Path, result: StudyResult) -> Path:
    """A home folder with the artifacts of all trials in its store."""
    home = folder / "home"
    store = Store(home / "store")
    for record in result.records:
        store.put("model", f"key{record.number}", {}, build_openvino)
    return home


def write_study(home: Path, result: StudyResult) -> None:
    """Store the study in a home folder, where the commands find it."""
    text = home / "space.yaml"
    text.write_text("runtime:\n  name: openvino\n  threads: [1, 2]\n")
    space = load_space(text, HOST)
    with open_study(f"sqlite:///{home / 'study.db'}", replace(result.card, space=space.text), space) as study:
        for record in result.records:
            study.tell(Proposal(record.configuration, None, record.origin, record.label), record)


def track(result: StudyResult, uri: str, home: Path) -> None:
    """Write all trials to MLflow, as a search does."""
    with opened([Tracker(uri, home)], result):
        pass
