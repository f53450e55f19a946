"""A bundle gets answers to golden inputs, the settings that ran and a latency, to be compared with later."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.core.store import Artifact, Store
from autoopt.deploy.goldens import goldens
from autoopt.deploy.layout import read_card, verify_files
from autoopt.deploy.self_test import examine, make_self_test
from autoopt.deploy.stored_self_test import Stored, stored_self_test
from autoopt.errors import BundleError, Crash, Unsupported
from autoopt.measure import probe
from autoopt.measure.target import LocalTarget
from tests import tiny
from tests.deploy.bundles import FAKE, QUICK, build_onnx, build_openvino, reseal, with_self_test
from tests.targets import HOST, RecordingTarget


@pytest.fixture(scope="module")
def self_tested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the fake model with its self-test; nobody may change it."""
    folder = tmp_path_factory.mktemp("self-tested")
    return with_self_test(folder)


def test_a_bundle_can_test_itself(self_tested: Path) -> None:
    """The card has golden inputs with tolerances, settings, latency and host; every array is verified as files are."""
    card = read_card(self_tested)
    verify_files(self_tested, card["files"])
    stored = stored_self_test(self_tested, card)

    assert [item.golden.name for item in stored.goldens] == ["noise", "phantom"]
    for item, golden in zip(stored.goldens, goldens(tiny.PIPELINE), strict=True):
        assert np.array_equal(item.golden.image, golden.image)
        assert np.array_equal(item.answer, golden.image[..., 0] > 0)
        assert item.output.dtype == np.float32 and item.output_tolerance["rms"] > 0
    assert stored.facts["effective"]["precision"] == "f32"
    assert stored.facts["host"]["cpu"] == LocalTarget().host.cpu
    assert stored.probe == probe.VERSION and stored.ratio is not None and stored.ratio.processes == QUICK.processes
    assert stored.band[0] <= 0.8 and stored.band[1] >= 1.25
    assert sum(path.stat().st_size for path in (self_tested / "self_test").iterdir()) < 20_000


def test_fresh_processes_are_asked_of_the_target(tmp_path: Path, artifact: Artifact) -> None:
    """Each process is fresh, has the threads of the settings, and is timed while other measurements are kept out."""
    target = RecordingTarget(tmp_path / "target")
    settings = {**FAKE, "threads": 2}

    examine(artifact.path, settings, tiny.PIPELINE, goldens(tiny.PIPELINE), target, plan=QUICK)
    timed = [asked for asked in target.asked if asked not in ("exchange", "load of others than 1")]
    target.asked.clear()
    examine(artifact.path, settings, tiny.PIPELINE, goldens(tiny.PIPELINE), target, plan=QUICK, timed=False)

    assert timed == ["lock measure", *["worker self_test_process 2"] * QUICK.processes, "free measure"]
    assert target.asked == ["worker self_test_process 2", "exchange"]


@pytest.mark.parametrize(("runtime", "build"), [("openvino", build_openvino), ("onnxruntime", build_onnx)])
def test_real_runtimes_answer(tmp_path: Path, runtime: str, build: Callable[[Path], Mapping[str, Any]]) -> None:
    """The answers are those of the very graph in its runtime, with the precision that it reads back."""
    artifact = Store(tmp_path / "store").put("model", "key", {}, build)
    settings = {"name": runtime, "precision": "f32", "threads": 1}

    made = make_self_test(artifact.path, settings, tiny.PIPELINE, LocalTarget(), sigma=0.03, plan=QUICK)

    image = made.arrays["self_test/noise.npy"]
    assert np.array_equal(made.arrays["self_test/noise-answer.npy"], image[..., 0] > 0)
    assert made.facts["effective"]["precision"] == "f32"
    assert made.facts["goldens"][0]["output"]["rms"] < 0.01


@pytest.mark.parametrize(("failure", "error"), [("segfault", Crash), ("unsupported", Unsupported)])
def test_a_graph_that_does_not_run_is_an_error(
    tmp_path: Path, artifact: Artifact, failure: str, error: type[Exception]
) -> None:
    """Whatever ends the process of a graph is an error of the house here, and harms nobody else."""
    with pytest.raises(error):
        examine(
            artifact.path,
            {**FAKE, "failure": failure},
            tiny.PIPELINE,
            goldens(tiny.PIPELINE),
            LocalTarget(HOST),
            timed=False,
        )


def test_an_image_that_does_not_fit_is_named(artifact: Artifact) -> None:
    """Where the pipeline refuses a golden input, the message says which one and why."""
    three = replace(tiny.PIPELINE, tile=(8, 8, 8))
    with pytest.raises(Exception, match="the golden input noise: an image must be"):
        examine(artifact.path, FAKE, tiny.PIPELINE, goldens(three), LocalTarget(), timed=False)


def test_a_bundle_without_a_self_test_has_none(written: Path) -> None:
    """A bundle of an earlier version is no error."""
    assert stored_self_test(written, read_card(written)) == Stored()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((), []),
        (("goldens",), {}),
        (("goldens",), [{}] * 1000),
        (("goldens", 0, "name"), "../noise"),
        (("goldens", 0, "name"), "absent"),
        (("goldens", 0, "affine"), [[1.0]]),
        (("goldens", 0, "output"), {"rms": "wide"}),
        (("latency", "ratio"), 0),
        (("latency", "ratio"), "fast"),
        (("latency", "band"), [1]),
        (("latency", "log_ratios"), [True]),
        (("latency", "error"), float("nan")),
        (("latency", "sigma"), None),
    ],
)
def test_a_self_test_that_makes_no_sense_is_refused(
    self_tested: Path, tmp_path: Path, place: tuple[Any, ...], value: Any
) -> None:
    """Odd values anywhere in it are refused with the file, also under a right digest."""
    folder = Path(shutil.copytree(self_tested, tmp_path / "deploy"))

    def change(card: dict[str, Any]) -> None:
        inside: Any = card
        for step in ("self_test", *place)[:-1]:
            inside = inside[step]
        inside[("self_test", *place)[-1]] = value

    reseal(folder, change)
    with pytest.raises(BundleError, match=r"the self-test in .*bundle\.json cannot be used"):
        stored_self_test(folder, read_card(folder))
