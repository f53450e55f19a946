"""A search whose artifacts are made by a builder of a fleet."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.errors import UsageError
from autoopt.fleet.driving import assembled
from autoopt.study.request import SearchRequest
from tests.e2e.helpers import project, run
from tests.fleet.cluster import Cluster

for library in ("distributed", "torch", "optuna", "mlflow"):
    pytest.importorskip(library)


def test_a_search_lets_a_builder_make(certs: Path, tmp_path: Path) -> None:
    """The same command with --fleet: the builder's store fills, the search's has what it measured, and all is told."""
    arguments = ["search", *project(tmp_path)]
    with Cluster(tmp_path, certs) as cluster:
        cluster.start_hub()
        cluster.wait_for("hub")
        fleet = ["--fleet", str(cluster.hub), "--certs", str(certs / "client")]
        alone = run(*arguments, *fleet, "--budget", "2", cwd=tmp_path, quick=True)
        assert alone.returncode == 2
        assert "the fleet at tls://127.0.0.1:" in alone.stderr and "must have a builder, it has none" in alone.stderr

        cluster.start_builder("big", tmp_path / "there")
        cluster.wait_for("big")
        done = run(*arguments, *fleet, "--budget", "3", "--max-drop", "0.5", cwd=tmp_path, quick=True)

    assert done.returncode == 0, done.stderr
    assert "artifacts are made on big" in done.stderr and "3 trials" in done.stdout
    made = {path.parent.name for path in (tmp_path / "there/store/model").glob("*/artifact.json")}
    assert made and made <= {path.parent.name for path in (tmp_path / "mlruns/store/model").glob("*/artifact.json")}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"certs": "c"}, "--certs must come with --fleet"),
        ({"fleet": "tls://hub:8786"}, "--fleet must come with --certs"),
        ({"fleet": "hub:8786", "certs": "c"}, "--fleet must be tls://HOST:PORT"),
        ({"fleet": "tls://hub:8786", "certs": "c"}, "--certs must be a folder with ca.pem, cert.pem and key.pem"),
    ],
)
def test_half_a_fleet_is_refused(facts: dict[str, str], words: str) -> None:
    """Both options or neither, and each as it must be."""
    with pytest.raises(UsageError, match=words.replace(".", r"\.")), assembled(SearchRequest(**facts)):
        pass
