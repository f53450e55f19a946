"""Records in MLflow: written whole, found again, repaired after a kill, on SQLite and on a real server."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from autoopt.core.card import AGAIN, LINKED, StudyCard
from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement
from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.errors import TrackingError
from autoopt.study.limits import latency_bound_s
from autoopt.study.result import StudyResult
from autoopt.study.words import row_name
from autoopt.tracking import Tracker, check_tracking, default_tracking_uri, read_trials
from autoopt.tracking.runs import study_tags, written
from autoopt.tracking.server import WarmUp
from tests.mlflow_server import serving

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DOCUMENT = Path(__file__).parents[2] / "docs" / "mlflow.md"
HOST = Host(
    "a cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {"openvino": "2026.4.1", "torch": "2.13.0", "numpy": "2.4"}
)
CARD = StudyCard(
    "histo-demo",
    "histo",
    True,
    "dice_macro",
    "da7a" * 16,
    "3e16" * 16,
    "{}",
    ("latency", "quality"),
    0,
    HOST,
    {"drop": 0.01, "latency_bound_s": 0.2},
    ("background", "gland"),
)
SECONDS = {"make": 4.0, "measure": 1.5, "score": 0.5}


def trial(
    number: int, sections: dict[str, dict[str, Scalar] | None], latency_s: float, quality: float, **changes: Any
) -> TrialRecord:
    int8 = sections.get("quantize") is not None
    effective: dict[str, Scalar] = {
        "precision": "f32",
        "threads": 2,
        "streams": 1,
        "kernels": "brgconv_i8:9" if int8 else "jit_f32:9",
        "low_precision_share": 0.93 if int8 else None,
    }
    calls = (((latency_s, latency_s * 1.1), (latency_s * 1.2,)), ((latency_s, latency_s),))
    measurement = Measurement(
        calls,
        ((latency_s * 3,), ()),
        (latency_s * 1.3, latency_s * 2),
        latency_s * 8,
        latency_s * 9,
        int(latency_s * 1e10),
        int(latency_s * 2e8),
        effective,
        HOST.fingerprint,
        doubts=("the host was busy",) if number == 2 else (),
        cost={"macs": int(latency_s * 1e11), "bytes": 4_000_000, "int8_macs": 0, "weights": int(latency_s * 1e7)},
    )
    cases = (
        CaseScore("case-0", "p0", {"dice_macro": quality, "iou": None}),
        CaseScore("case-1", "p1", {"dice_macro": quality, "iou": quality - 0.1}),
    )
    values = {"dice_macro": quality, "dice_foreground": quality - 0.05, "iou": quality - 0.1}
    record = TrialRecord(
        Configuration.of(sections),
        Status.COMPLETE,
        number,
        artifacts=("a1", f"a{number}"),
        measurement=measurement,
        quality=Quality("val", "dice_macro", "mean over groups", values, cases, {"iou": 1}),
        seconds=SECONDS,
        started_at="2026-01-02T03:04:05+00:00",
    )
    return replace(record, **changes)


def sections(runtime: str, threads: int = 2, preset: str | None = None) -> dict[str, dict[str, Scalar] | None]:
    quantize: dict[str, Scalar] | None = None if preset is None else {"scheme": "int8", "preset": preset}
    return {"runtime": {"name": runtime, "precision": "f32", "threads": threads}, "quantize": quantize}


CRASH = Failure("crash", "measure", "measure died with signal SIGSEGV", "the last words\n")
RECORDS = (
    trial(0, sections("torch"), 0.040, 0.900, origin="seed", label="torch f32"),
    trial(1, sections("openvino"), 0.020, 0.900, origin="seed", label="openvino f32"),
    trial(2, sections("openvino", preset="mixed"), 0.010, 0.895, notes=("repeated for lack of memory",)),
    trial(3, sections("openvino", preset="performance"), 0.008, 0.850),
    replace(
        trial(4, sections("openvino", 1, "performance"), 1.0, 1.0),
        status=Status.FAILED,
        measurement=None,
        quality=None,
        failure=CRASH,
        seconds={"make": 2.0},
    ),
    trial(5, sections("onnxruntime"), 0.300, 0.900),
)
RESULT = StudyResult(CARD, RECORDS)


def log(uri: str, home: Path, result: StudyResult, state: str = "finished") -> Tracker:
    """Log `result` as a search does, trial after trial."""
    tracker = Tracker(uri, home)
    logged = tracker.open(result)
    for index, record in enumerate(result.records):
        if record.number not in logged:
            tracker.trial(record, replace(result, records=result.records[: index + 1]))
    tracker.changed(result)
    tracker.close(state)
    return tracker


def shown(result: StudyResult) -> tuple[TrialRecord, ...]:
    """What MLflow shows of the trials: the stored records with the status that the limits give them."""
    return tuple(written(record, result) for record in result.judged)


def client(uri: str) -> MlflowClient:
    import mlflow

    return mlflow.MlflowClient(uri)


def runs(uri: str, study: str, filter_string: str = "") -> list[Run]:
    mlflow = client(uri)
    ids = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    return [run for run in mlflow.search_runs(ids, filter_string) if run.data.tags.get("autoopt.study") == study]


def children(uri: str, study: str, filter_string: str = "") -> dict[int, Run]:
    found = [run for run in runs(uri, study, filter_string) if "mlflow.parentRunId" in run.data.tags]
    by_number = {int(run.data.tags["autoopt.trial"]): run for run in found}
    assert len(by_number) == len(found), "one run a trial"
    return by_number


def parent(uri: str, study: str) -> Run:
    (found,) = (run for run in runs(uri, study) if "mlflow.parentRunId" not in run.data.tags)
    return found


def file(uri: str, run: Run, name: str, folder: Path) -> str:
    return Path(client(uri).download_artifacts(run.info.run_id, name, str(folder))).read_text()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder whose SQLite database holds one finished study."""
    folder = tmp_path_factory.mktemp("project") / "mlruns"
    log(default_tracking_uri(folder), folder, RESULT)
    return folder


@pytest.fixture(scope="module")
def uri(home: Path) -> str:
    return default_tracking_uri(home)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a real `mlflow server` that keeps the artifacts itself."""
    with serving(tmp_path_factory.mktemp("server")) as uri:
        yield uri


def test_every_trial_is_one_finished_run_below_the_parent(uri: str) -> None:
    """Complete, infeasible and failed trials are one child run each, in a terminal status, with a readable name."""
    found, top = children(uri, CARD.name), parent(uri, CARD.name)

    assert sorted(found) == [0, 1, 2, 3, 4, 5]
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {top.info.run_id}
    assert {number for number, run in found.items() if run.info.status == "FAILED"} == {4}
    assert {run.info.status for number, run in found.items() if number != 4} | {top.info.status} == {"FINISHED"}
    assert {number: run.info.run_name for number, run in found.items()} == {r.number: row_name(r) for r in RECORDS}
    assert found[2].info.end_time - found[2].info.start_time == 6000
    assert {number: run.data.tags["autoopt.status"] for number, run in found.items()} == {
        0: "complete",
        1: "complete",
        2: "complete",
        3: "infeasible",
        4: "failed",
        5: "infeasible",
    }


def test_a_run_holds_what_the_record_says(uri: str, tmp_path: Path) -> None:
    """Parameters, headline metrics, raw samples, per-case scores and the failure's log are in the run."""
    found = children(uri, CARD.name)

    assert found[0].data.params == {
        "quantize": "none",
        "runtime.name": "torch",
        "runtime.precision": "f32",
        "runtime.threads": "2",
    }
    expected = {**RESULT.headline(RECORDS[2]), **{f"seconds_{kind}": value for kind, value in SECONDS.items()}}
    bound_s = latency_bound_s(RESULT.judged[2], None, RESULT.sigma)
    assert bound_s is not None and 0.01 < bound_s < 0.011
    excess = {"violation_drop": -0.005, "violation_latency_bound_s": bound_s - 0.2}
    assert found[2].data.metrics == pytest.approx({**expected, **excess}, rel=5e-4, abs=5e-5)
    assert found[2].data.metrics["latency_low_ms"] == float(f"{expected['latency_low_ms']:.4g}") != expected
    assert found[2].data.params["quantize"] == "int8 mixed", "every trial has a parameter for every step"
    samples = list(csv.DictReader(file(uri, found[2], "latency_samples.csv", tmp_path).splitlines()))
    assert [row["phase"] for row in samples] == ["warmup", *["timed"] * 5]
    assert [float(row["seconds"]) for row in samples if row["process"] == "1"] == [0.010, 0.010]
    scores = list(csv.DictReader(file(uri, found[2], "case_scores.csv", tmp_path).splitlines()))
    assert scores[0] == {"case": "case-0", "group": "p0", "dice_macro": "0.895", "iou": ""}
    assert "signal SIGSEGV\n\nthe last words" in file(uri, found[4], "log.txt", tmp_path)


def test_records_come_back_as_they_were(uri: str) -> None:
    """The records read from MLflow equal the stored ones, judged by the limits; an unknown study is named."""
    assert tuple(read_trials(uri, CARD.name)) == shown(RESULT)
    assert [replace(record, status=Status.COMPLETE, violated={}) for record in shown(RESULT)[:4]] == [*RECORDS[:4]]
    with pytest.raises(TrackingError, match="no study 'nobody'"):
        read_trials(uri, "nobody")


def test_the_parent_carries_the_front(uri: str, tmp_path: Path) -> None:
    """The parent has the front as JSON, CSV, Markdown and picture, labelled as demo data, and the study's numbers."""
    top = parent(uri, CARD.name)

    assert [member["trial"] for member in json.loads(file(uri, top, "front.json", tmp_path))["front"]] == [2, 1]
    rows = list(csv.DictReader(file(uri, top, "front.csv", tmp_path).splitlines()))
    assert [(row["trial"], row["demo"], row["runtime.threads"]) for row in rows] == [
        ("2", "True", "2"),
        ("1", "True", "2"),
    ]
    assert "| #0 | FP32, 2 threads on PyTorch (reference) | 40.00<br>" in file(uri, top, "front.md", tmp_path)
    picture = Path(client(uri).download_artifacts(top.info.run_id, "front.png", str(tmp_path))).read_bytes()
    assert picture.startswith(b"\x89PNG")
    expected = {
        "trials": 6,
        "trials_complete": 3,
        "trials_infeasible": 2,
        "trials_failed": 1,
        "front_size": 2,
        "best_speedup_vs_torch_f32": 4,
        "best_speedup_vs_openvino_f32": 2,
        "seconds": 32,
    }
    assert len(top.data.metrics) <= 12
    assert not [name for name in top.data.metrics if len(client(uri).get_metric_history(top.info.run_id, name)) > 1]
    assert {name: top.data.metrics[name] for name in expected} == pytest.approx(expected)
    assert top.data.tags["autoopt.state"] == "finished"


def test_a_study_names_those_that_it_belongs_to() -> None:
    """The study that was measured again, and that of the other target, are tags; a study by itself has neither."""
    tags = study_tags(replace(CARD, origin={AGAIN: "before", LINKED: "other"}))
    assert (tags["autoopt.again"], tags["autoopt.linked"]) == ("before", "other")
    assert not {"autoopt.again", "autoopt.linked"} & study_tags(CARD).keys()


def test_later_references_reach_earlier_trials(uri: str) -> None:
    """A speed-up over a reference that was measured after the trial is added to its run."""
    assert children(uri, CARD.name)[0].data.metrics["speedup_vs_openvino_f32"] == pytest.approx(0.5)


def test_other_limits_change_verdicts_and_front(uri: str, home: Path) -> None:
    """Opened again with other limits, only the verdicts and the front are written anew; unchanged, nothing is."""
    card = replace(CARD, name="limits")
    log(uri, home, replace(RESULT, card=card))
    loose = replace(card, limits={"drop": 0.1})
    tracker = log(uri, home, StudyResult(loose, RECORDS))
    found = children(uri, "limits")

    assert {number for number, run in found.items() if run.data.tags["autoopt.on_front"] == "true"} == {1, 2, 3}
    assert found[3].data.tags["autoopt.status"] == "complete"
    assert found[3].data.tags["autoopt.violated"] == "none"
    assert found[3].data.metrics["violation_drop"] == pytest.approx(-0.05)
    written = client(uri).get_metric_history(parent(uri, "limits").info.run_id, "trials")
    tracker.changed(StudyResult(loose, RECORDS))
    again = Tracker(uri, home)
    again.open(StudyResult(loose, RECORDS))
    again.changed(StudyResult(loose, RECORDS))
    assert client(uri).get_metric_history(parent(uri, "limits").info.run_id, "trials") == written


def killed_and_continued(uri: str, home: Path, name: str) -> tuple[TrialRecord, ...]:
    """Leave what a kill -9 leaves, continue, and look: nothing is RUNNING. Returns the trials that are stored then."""
    card = replace(CARD, name=name)
    result = StudyResult(card, RECORDS)
    killed = Tracker(uri, home)
    killed.open(StudyResult(card, ()))
    for record in RECORDS[:2]:
        killed.trial(record, result)
    mlflow, top = client(uri), parent(uri, name)
    assert top.info.status == "FINISHED"
    assert top.data.tags["autoopt.state"] == "searching"
    tags = {"autoopt.study": name, "mlflow.parentRunId": top.info.run_id, "autoopt.trial": "2"}
    half = mlflow.create_run(top.info.experiment_id, tags=tags).info.run_id

    continued = Tracker(uri, home)
    assert continued.open(result) == {0, 1}
    log(uri, home, result)
    found = children(uri, name)
    assert sorted(found) == [0, 1, 2, 3, 4, 5]
    assert half not in {run.info.run_id for run in found.values()}
    assert "RUNNING" not in {run.info.status for run in runs(uri, name)}
    assert parent(uri, name).info.run_id == top.info.run_id
    return tuple(read_trials(uri, name))


def test_a_kill_leaves_nothing_half_written(uri: str, home: Path) -> None:
    """A run that a killed process left RUNNING is deleted and written again, the finished ones are kept."""
    assert killed_and_continued(uri, home, "killed") == shown(RESULT)


def test_runs_of_a_lost_study_stay_beside_those_of_the_next(uri: str, home: Path) -> None:
    """A study that was lost and searched anew has runs of its own: none of either is deleted or taken for the other."""
    lost, found = (StudyResult(replace(CARD, name="lost", id=text), RECORDS) for text in ("first", "second"))
    log(uri, home, lost)
    before = {run.info.run_id for run in runs(uri, "lost")}
    log(uri, home, replace(found, records=RECORDS[:2]))
    after = {run.info.run_id: run for run in runs(uri, "lost")}
    assert before < set(after) and len(after) == len(before) + 3
    new = {run.data.tags["autoopt.study_id"] for key, run in after.items() if key not in before}
    assert new == {"second"}
    assert tuple(read_trials(uri, "lost")) == shown(replace(found, records=RECORDS[:2]))


def test_what_was_learnt_when_a_search_was_killed_is_written_later(uri: str, home: Path) -> None:
    """Runs whose files show less than the study knows are brought up to date when it is opened again."""
    card = replace(CARD, name="learnt")
    log(uri, home, StudyResult(card, RECORDS))
    ids = {number: run.info.run_id for number, run in children(uri, "learnt").items()}
    more = replace(RECORDS[2], notes=(*RECORDS[2].notes, "measured again"), test=RECORDS[2].quality)
    known = StudyResult(card, (*RECORDS[:2], more, *RECORDS[3:]))
    assert Tracker(uri, home).open(known) == {0, 1, 3, 4, 5}
    log(uri, home, known)
    assert tuple(read_trials(uri, "learnt")) == shown(known)
    found = children(uri, "learnt")
    assert {number: run.info.run_id for number, run in found.items()} == ids
    assert "measured again" in found[2].data.tags["autoopt.notes"]


def test_another_try_of_a_failed_trial_has_a_run_of_its_own(uri: str, home: Path) -> None:
    """What MLflow cannot change in a run, that it failed, is written as a new one in the place of the old."""
    card = replace(CARD, name="again")
    log(uri, home, StudyResult(card, RECORDS))
    first = children(uri, "again")[4].info.run_id
    tried = replace(RECORDS[2], number=4, configuration=RECORDS[4].configuration)
    result = StudyResult(card, (*RECORDS[:4], tried, RECORDS[5]))
    log(uri, home, result)
    second = children(uri, "again")[4]
    assert second.info.run_id != first and second.info.status == "FINISHED"
    assert "autoopt.cause" not in second.data.tags and read_trials(uri, "again")[4] == shown(result)[4]


def test_runs_of_trials_that_are_stored_no_more_are_deleted(uri: str, home: Path) -> None:
    """When the study is an older copy of itself MLflow shows what the study has."""
    card = replace(CARD, name="older")
    log(uri, home, StudyResult(card, RECORDS))
    log(uri, home, StudyResult(card, RECORDS[:3]))
    assert sorted(children(uri, "older")) == [0, 1, 2]


def test_a_deleted_parent_is_made_again(uri: str, home: Path) -> None:
    """When the parent is half-written or was deleted by hand, a new one adopts the children."""
    name = "o'brien's study"
    card = replace(CARD, name=name)
    log(uri, home, StudyResult(card, RECORDS[:1]))
    client(uri).delete_run(parent(uri, name).info.run_id)
    tracker = Tracker(uri, home)

    assert tracker.open(StudyResult(card, RECORDS[:1])) == {0}
    (child,) = children(uri, name).values()
    assert child.data.tags["mlflow.parentRunId"] == parent(uri, name).info.run_id


def test_a_real_server_works_the_same(server: str, tmp_path: Path) -> None:
    """On a real MLflow server runs and files are written through the server, and a kill is repaired."""
    assert killed_and_continued(server, tmp_path, "served") == shown(RESULT)
    (row, *_) = csv.DictReader(file(server, parent(server, "served"), "front.csv", tmp_path).splitlines())

    assert row["trial"] == "2"
    assert not (tmp_path / "artifacts").exists()


def test_an_unreachable_server_is_named_soon(tmp_path: Path) -> None:
    """A server that is not there is one message with its URI and without its password, after no retries."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(TrackingError, match=rf"127\.0\.0\.1:{port} cannot be used .* check --tracking-uri") as raised:
        Tracker(f"http://me:hunter2@127.0.0.1:{port}", tmp_path).check()
    assert "hunter2" not in str(raised.value)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" in os.environ, "later requests are patient again"
    assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) > 0


@pytest.mark.parametrize("uri", ["file:///tmp/x", "mlruns", "ftp://somewhere/db", "databricks"])
def test_an_unknown_scheme_is_refused(uri: str, tmp_path: Path) -> None:
    """A URI of a kind that cannot work is refused with the kinds that can."""
    with pytest.raises(TrackingError, match="must be one of sqlite://"):
        Tracker(uri, tmp_path).check()


def test_a_database_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """A SQLite path below a file, and a file that is no database, are refused without retries."""
    (tmp_path / "file").write_text("this is not a database, and long enough to be looked at " * 20)
    for path in (tmp_path / "file" / "mlflow.db", tmp_path / "file"):
        with pytest.raises(TrackingError, match=f"{re.escape(str(path))} cannot be used"):
            check_tracking(f"sqlite:///{path}")


def test_what_goes_wrong_in_the_background_is_raised_where_it_is_waited_for() -> None:
    """Too few open files while MLflow is imported are no traceback of a thread, but an error of whoever needs it."""

    def work() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    thread = WarmUp(work)
    thread.start()
    with pytest.raises(OSError, match="Too many open files"):
        thread.finish()


def test_nothing_is_phoned_home() -> None:
    """MLflow's telemetry is off in a process where nobody else has switched it off, unless it is switched on."""
    code = (
        "import contextlib, sys, autoopt.tracking as tracking; assert 'mlflow' not in sys.modules\n"
        "with contextlib.suppress(Exception): tracking.check_tracking('http://127.0.0.1:9')\n"
        "from mlflow.telemetry import client; print(client.get_telemetry_client())"
    )
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {**kept, "PYTHONPATH": str(DOCUMENT.parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "None"


def filters() -> list[str]:
    """The lines of the SQL blocks of the documentation, without their comments."""
    blocks = re.findall(r"^```sql\n(.*?)^```", DOCUMENT.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [line.partition("--")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("line", filters())
def test_documented_filters_find_runs(uri: str, line: str) -> None:
    """Every filter in docs/mlflow.md is understood and finds some runs of a study, but not all."""
    found = runs(uri, CARD.name, line)

    assert 0 < len(found) < 7


def test_documentation_names_every_field(uri: str) -> None:
    """Every metric and every tag of a trial has a filter in docs/mlflow.md."""
    found = children(uri, CARD.name).values()
    fields = {f"metrics.{name}" for run in found for name in run.data.metrics}
    fields |= {f"tags.`{name}`" for run in found for name in run.data.tags if not name.startswith("mlflow.")}
    families = re.compile(r"autoopt\.version\.")
    wanted = {field for field in fields if not families.search(field)}

    text = " ".join(filters())
    assert {field for field in wanted if not re.search(re.escape(field) + r"(?!\w)", text)} == set()


def test_documented_python_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Python example of docs/mlflow.md prints the front of the default database, fastest first."""
    (code,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), flags=re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(home.parent)
    exec(compile(code, str(DOCUMENT), "exec"), {})

    assert f"{row_name(RECORDS[2])} 10.0 0.895" in capsys.readouterr().out.splitlines()
