"""The whole way, as users type it: from a search to a machine that has the slim install and an address."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from autoopt.core.configuration import Scalar
from tests import tiny
from tests.deploy.test_slim import command as slim
from tests.e2e import helpers
from tests.mlflow_server import serving

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SPACE = (
    "{runtime: {name: openvino, precision: f32, threads: auto}, quantize: {scheme: [null, int8], calibration_cases: 2}}"
)
MANY = "1000"
"""A gate that no noise of a host reaches: this is about the way, not about times."""


def run(folder: Path, *arguments: str) -> str:
    """A command of the slim install, without torch and all else that only a search needs; what it printed."""
    done = slim(*arguments, without=frozenset(), cwd=folder)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which `autoopt serve` answers for the bundle in `folder`."""
    process = helpers.start("serve", str(folder), "--port", "0")
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split(" at ")[1].split()[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.communicate()


def broken(bundle: Path) -> None:
    """One byte of the network's weights, altered."""
    file = max((path for path in (bundle / "model").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def again(search: Path, uri: str) -> dict[str, Scalar]:
    """The study measured again where it was searched: what MLflow has of the new one, by tag."""
    from mlflow import MlflowClient

    done = helpers.run("remeasure", "way", "--tracking-uri", uri, "--json", cwd=search, quick=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["again"] == "way-again" and any(member["stays"] for member in found["members"])
    client = MlflowClient(uri)
    experiments = [item.experiment_id for item in client.search_experiments()]
    runs = client.search_runs(experiments, "tags.`autoopt.study` = 'way-again' and tags.`autoopt.kind` = 'study'")
    return dict(runs[0].data.tags)


def test_from_a_search_to_the_ward(tmp_path: Path) -> None:
    """Search, register, pull by an address, check, gate, predict, serve, measure again; a broken file is found."""
    for module in ("torch", "mlflow", "openvino", "onnxruntime"):
        pytest.importorskip(module)
    search, ward = tmp_path / "search", tmp_path / "ward"
    search.mkdir()
    ward.mkdir()
    (tmp_path / "server").mkdir()
    with serving(tmp_path / "server") as uri:
        asked = (*helpers.project(search, SPACE, database=False), "--study", "way", "--budget", "3")
        done = helpers.run("search", *asked, "--tracking-uri", uri, quick=True)
        assert done.returncode == 0, done.stderr

        wish = ("--workload", "tiny", "--max-drop", "0.1", "--tracking-uri", uri)
        assert "autoopt-tiny" in run(ward, "pull", *wish, "-o", "deploy")
        run(ward, "pull", "models:/autoopt-tiny@best-quality", "--tracking-uri", uri, "-o", "best")
        tags = again(search, uri)
        assert tags["autoopt.again"] == "way"

    assert "deploy passed" in run(ward, "check", "deploy", "--gate", MANY)
    case = tiny.workload().splits["val"][0].read()
    np.save(ward / "tile.npy", case.image)
    run(ward, "predict", "deploy", "tile.npy", "-o", "masks")
    with np.load(ward / "masks" / "tile.npz") as mask:
        assert np.mean(mask["labels"] == case.reference) > 0.9  # the network knows the right answer
    with served(ward / "deploy") as address:
        assert "deploy passed" in run(ward, "check", "deploy", "--server", address)
    assert [item["stays"] for item in json.loads(run(ward, "remeasure", "./deploy", "--json"))] == [True]

    broken(ward / "deploy")
    for words in (("check", "deploy"), ("predict", "deploy", "tile.npy", "-o", "other")):
        refused: subprocess.CompletedProcess[str] = slim(*words, without=frozenset(), cwd=ward)
        assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert not (ward / "other").exists()
