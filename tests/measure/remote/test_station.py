"""A station behind a pipe gives what this host gives, and measures nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import Crash, StorageError, TargetLost
from autoopt.measure.measuring import Measuring
from autoopt.measure.remote import messages
from autoopt.measure.remote.station import RemoteStation
from autoopt.measure.station import LocalStation
from autoopt.measure.turns import FarFrom
from tests.measure.remote.keepers import address, is_running, keeper_pid, link, taking
from tests.measure.setups import QUICK, Setup


def test_gives_what_this_host_gives(setup: Setup, tmp_path: Path) -> None:
    """A trial with screening cases, a reference and throughput has the same fields, and the same predictions."""
    found = []
    with link(tmp_path / "far") as far:
        for station in (LocalStation(setup.target), RemoteStation(far, "study")):
            with (
                station.reference(setup.fake(2.0), QUICK, reference_latency_s=None, timeout_s=30.0) as reference,
                station.workers(setup.fake(4.0).runtime) as workers,
            ):
                reference.open()
                one = station.taking(
                    setup.fake(4.0),
                    workers,
                    plan=replace(QUICK, processes=2),
                    reference=reference,
                    clear=FarFrom((), 0.1),
                    timeout_s=30.0,
                    memory_bytes=None,
                )
                measuring = Measuring(one, throughput=True)
                few = measuring.first([1, 0])
                predictions = measuring.others()
                measurement = measuring.finish()
                together = station.together([setup.fake(2.0), setup.fake(4.0)], plan=QUICK, reference=reference)
                alone = station.predictions(setup.fake(4.0), timeout_s=30.0)
            found.append((few, predictions, measurement, together, alone))
    (few, predictions, here, pair, alone), (few_far, predictions_far, there, pair_far, alone_far) = found
    for mine, far_one in ((few, few_far), (predictions, predictions_far), (alone, alone_far)):
        for left, right in zip(mine, far_one, strict=True):
            np.testing.assert_array_equal(left, right)
    for left, right in zip([here, *pair], [there, *pair_far], strict=True):
        for name in ("artifact_bytes", "effective", "content", "cost", "quantile", "processes", "concurrent_requests"):
            assert getattr(left, name) == getattr(right, name), name
        assert left.relative is not None and right.relative is not None
        assert right.reference_latency_s is not None and len(right.peaks_rss_bytes) == len(left.peaks_rss_bytes)
        assert right.relative.ratio == pytest.approx(left.relative.ratio, rel=0.5)
    assert len(there.concurrent_s) == len(here.concurrent_s) == 1


def test_labels_stay_here(setup: Setup, tmp_path: Path) -> None:
    """Images go to the target once; what is right of them never does."""
    home = tmp_path / "far"
    with link(home) as far:
        station = RemoteStation(far, "study")
        station.predictions(setup.fake(1.0), timeout_s=30.0)
        sent = sorted(path for path in (home / "store" / "cases").rglob("*.npy"))
        times = [path.stat().st_mtime_ns for path in sent]
        station.predictions(setup.fake(2.0), timeout_s=30.0)
    assert [path.name for path in sent] == [name for name in sorted(setup.cases.files) if name[0].isdigit()]
    assert [path.stat().st_mtime_ns for path in sent] == times
    (index,) = (home / "store" / "cases").rglob("index.json")
    assert '"references": []' in index.read_text()


def test_altered_on_the_way(setup: Setup, tmp_path: Path) -> None:
    """A file whose bytes are not those of its digest is refused, and nothing of it is kept."""
    home = tmp_path / "far"
    (setup.artifact.path / "fake.json").write_text('{"classes": 3}')
    with link(home) as far, pytest.raises(StorageError, match=r"fake.json of fake 000000000000 was altered"):
        RemoteStation(far, "study").predictions(setup.fake(1.0), timeout_s=30.0)
    assert not list((home / "store").rglob("fake.json"))


def test_another_driver_finds_a_run(setup: Setup, tmp_path: Path) -> None:
    """A driver that goes away loses nothing: its run ends, and the next driver of the study gets it, not another."""
    home = tmp_path / "far"
    with link(home) as far:  # the artifacts are there then
        RemoteStation(far, "other").predictions(setup.fake(60.0), timeout_s=30.0)
    earlier = set((home / "runs").iterdir())
    asked: list[dict[str, object]] = []

    class Listening:
        name = "test"

        def ask(self, do: str, request: dict[str, object], artifacts: object = ()) -> None:
            asked.append({"do": do, **request})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taking(RemoteStation(Listening(), "study"), setup.fake(60.0)).first(None)  # type: ignore[arg-type]
    with subprocess.Popen(address(home).command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdin is not None
        messages.send(keeper.stdin, asked[0])
        keeper.communicate(timeout=60)
    (run,) = set((home / "runs").iterdir()) - earlier
    first_began = (run / "begun").stat().st_mtime_ns
    with link(home) as far:
        station = RemoteStation(far, "study")
        again, _ = taking(station, setup.fake(60.0)).first(None)
        assert (run / "begun").stat().st_mtime_ns == first_began
        second, _ = taking(station, setup.fake(60.0)).first(None)  # another try: what was found is stored by now
    assert second.turns != again.turns
    assert not run.exists()


def test_killed_in_a_run(setup: Setup, tmp_path: Path) -> None:
    """A keeper that is killed while it measures ends the trial as lost, not the study; another try measures."""
    home = tmp_path / "far"
    with link(home) as far:
        station = RemoteStation(far, "study")
        far.hello()
        killer = threading.Thread(target=_kill_in_run, args=(home,))
        killer.start()
        with pytest.raises(TargetLost, match="did not end it"):
            taking(station, setup.fake(200.0)).first(None)
        killer.join()
        taken, answered = taking(station, setup.fake(5.0)).first(None)
    assert taken.turns and answered.predictions


def _kill_in_run(home: Path) -> None:
    while not list((home / "runs").glob("*/begun")):
        time.sleep(0.02)
    os.kill(keeper_pid(home), signal.SIGKILL)


def test_failures_cross(setup: Setup, tmp_path: Path) -> None:
    """What a worker dies of is told as it is here, and may be asked again."""
    with link(tmp_path / "far") as far:
        station = RemoteStation(far, "study")
        for _ in range(2):
            with pytest.raises(Crash, match="SIGSEGV"):
                taking(station, setup.fake(1.0, failure="segfault")).first(None)


def test_the_keeper_ends_with_its_driver(setup: Setup, tmp_path: Path) -> None:
    """The keeper ends when the pipe closes, and its processes with it."""
    home = tmp_path / "far"
    with link(home) as far:
        station = RemoteStation(far, "study")
        with station.reference(setup.fake(1.0), QUICK, reference_latency_s=0.001, timeout_s=30.0) as reference:
            reference.open()
        pid = keeper_pid(home)
        children = Path(f"/proc/{pid}/task/{pid}/children")
        workers = [int(word) for word in children.read_text().split()] if children.exists() else []
        assert is_running(pid)
    assert not any(map(is_running, [pid, *workers]))
