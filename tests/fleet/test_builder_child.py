"""Artifacts made on a builder of a fleet: what is needed goes there, what is made comes here, nothing is made twice."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.compress.maker import Maker
from autoopt.core.host import Host
from autoopt.core.store import Store
from autoopt.errors import DataError, UsageError
from autoopt.fleet.builder_child import BuilderChild, check_versions
from autoopt.fleet.fleet import Fleet, Member
from autoopt.measure.target import LocalTarget
from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import load_workload
from tests import tiny
from tests.fleet.cluster import Cluster

for library in ("distributed", "torch"):
    pytest.importorskip(library)

HOST = Host("a cpu", "x86_64", 2, 8 << 30, ("avx2",), "Linux")


@pytest.fixture(scope="module")
def fleet(certs: Path) -> Iterator[tuple[Fleet, Cluster]]:
    with Cluster(certs.parent, certs) as cluster:
        cluster.start_hub("--lost-after", "5s")
        cluster.wait_for("hub")
        cluster.start_builder("big", certs.parent / "big-home")
        cluster.wait_for("big")
        with cluster.fleet() as found:
            yield found, cluster


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def workload(home: Path) -> Workload:
    return load_workload(tiny.SOURCE, None, home)


@pytest.fixture(scope="module")
def weights(home: Path) -> Path:
    return tiny.weights(home / "tiny.safetensors")


def test_a_builder_that_dies_costs_time_only(
    fleet: tuple[Fleet, Cluster], home: Path, workload: Workload, weights: Path
) -> None:
    """After kill -9 of a builder it is asked again once something started it anew.

    What it makes is whole in the search's store and made once; of other data nothing is made.
    """
    found, cluster = fleet
    store = Store(home / "store")
    with BuilderChild(found, store) as child, Maker(workload, weights, store, HOST, child=child) as maker:
        maker.check()
        assert [item.study for item in found.members("builder")] == ["a study"]
        maker.begin_export("fake")
        cluster.signal("big", signal.SIGKILL)
        cluster.start_builder("big", cluster.folder / "big-home")
        graph = maker.export("fake")
        assert graph.path.is_relative_to(home)
        store.verify(graph)
        assert maker.export("fake") == graph
        assert (maker.made, maker.reused) == ({"export": 1}, {"export": 1})
        child.send("warm", {"imports": []}, stage="check")
        with pytest.raises(DataError, match="those of big are others"):
            Maker(replace(workload, data_digest="another"), weights, store, HOST, child=child).check()
    assert [item.study for item in found.members("builder")] == [None]


@pytest.mark.parametrize(("there", "words"), [("1.0", "torch 1.0 where this machine has"), (None, "torch not at all")])
def test_a_builder_with_other_libraries_is_refused(there: str | None, words: str) -> None:
    """Artifacts would be called by versions that did not make them."""
    versions = {**LocalTarget().host.versions, "torch": there}
    host = {"versions": {name: version for name, version in versions.items() if version is not None}}
    member = Member("big", "builder", "tls://x:1", {}, host, None, None, 0, 0.0)
    with pytest.raises(UsageError, match=words):
        check_versions(member)
