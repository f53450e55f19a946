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


def test_a_search_uses_who_is_there(certs: Path, tmp_path: Path) -> None:
    """The same command with --fleet: a builder makes, a target measures, and the study knows all that they found."""
    arguments = ["search", *project(tmp_path)]
    with Cluster(tmp_path, certs) as cluster:
        cluster.start_hub()
        cluster.wait_for("hub")
        fleet = ["--fleet", str(cluster.hub), "--certs", str(certs / "client")]
        nobody = SearchRequest(fleet=fleet[1], certs=certs / "client")
        with pytest.raises(UsageError, match="must have a builder or target, it has none"), assembled(nobody):
            pass

        cluster.start_builder("big", tmp_path / "big-home")
        cluster.start_target("ward", tmp_path / "ward-home")
        for name in ("big", "ward"):
            cluster.wait_for(name)
        done = run(*arguments, *fleet, "--budget", "3", "--max-drop", "0.5", cwd=tmp_path, quick=True)
        assert done.returncode == 0, done.stderr
        with cluster.fleet() as search:
            assert [item.study for item in search.members()] == [None, None]

    assert f"artifacts are made on big, measured on ward of {cluster.hub}" in done.stderr
    assert "3 trials" in done.stdout
    made, sent, known = (_models(tmp_path / home) for home in ("big-home", "ward-home", "mlruns"))
    assert made and made == known >= sent > set()


def _models(home: Path) -> set[str]:
    return {path.parent.name for path in (home / "store/model").glob("*/artifact.json")}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"certs": "c"}, "--fleet, the hub, must come with --certs"),
        ({"fleet": "tls://hub:8786"}, "--fleet, the hub, must come with --certs"),
        ({"fleet": "hub:8786", "certs": "c"}, "--fleet must be tls://HOST:PORT"),
        ({"fleet": "tls://hub:8786", "certs": "c"}, "--certs must be a folder with ca.pem, cert.pem and key.pem"),
    ],
)
def test_half_a_fleet_is_refused(facts: dict[str, str], words: str) -> None:
    """Both options or neither, and each as it must be."""
    with pytest.raises(UsageError, match=words.replace(".", r"\.")), assembled(SearchRequest(**facts)):
        pass
