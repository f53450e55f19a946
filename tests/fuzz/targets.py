"""What is fuzzed: for each kind of input the function of the package that reads it, and the errors it may raise."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core.host import Host
from autoopt.errors import (
    BadData,
    BundleError,
    DataError,
    SpaceError,
    StorageError,
    TrackingError,
    UsageError,
    WeightsError,
    WorkloadError,
)
from tests.fuzz.probe import PROCESSOR_S

HOST = Host("a cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {"python": "3.11"})


@dataclass(frozen=True)
class Target:
    """`run(path, **arguments)` reads an input; anything but one of `errors` is a fault. `warm` imports what it needs.

    `threads`: it starts threads, so that its memory is limited by what it holds, not by its address space. `seconds`
    of processor time are allowed.
    """

    run: Callable[..., Any]
    warm: Callable[[], Any]
    errors: tuple[type[Exception], ...]
    threads: bool = False
    seconds: int = PROCESSOR_S
    longest_message: int = 4000


def nothing() -> None:
    """Import nothing further."""


def read_bundle(path: Path) -> None:
    """Load a bundle and let it answer for one small image."""
    from autoopt.deploy.predictor import load

    with load(path, stand_ins=True) as predictor:
        pipeline = predictor.pipeline
        if max(pipeline.tile) <= 64 and not pipeline.needs_affine and pipeline.channels <= 8:
            predictor.predict(np.zeros((*[24] * pipeline.dimensions, pipeline.channels), np.float32))


def read_self_test(path: Path) -> None:
    """Verify a bundle and read what it tests itself by."""
    from autoopt.deploy.predictor import verified_card
    from autoopt.deploy.stored_self_test import stored_self_test

    stored_self_test(path, verified_card(path, stand_ins=True))


def read_deployed(path: Path) -> None:
    """Load a bundle as users do."""
    from autoopt.deploy.predictor import load

    load(path).close()


def warm_bundle() -> None:
    """Import the runtimes of bundles."""
    import onnxruntime
    import openvino  # noqa: F401

    import autoopt.deploy.predictor
    import autoopt.inference.runtimes.onnxruntime
    import autoopt.inference.runtimes.openvino  # noqa: F401

    onnxruntime.disable_telemetry_events()


def read_received(path: Path) -> None:
    """Pull a bundle from a folder or an archive."""
    import autoopt

    with tempfile.TemporaryDirectory() as folder:
        autoopt.pull(Path(folder) / "deploy", path)


def warm_received() -> None:
    """Import what pulls."""
    import autoopt.deploy.pull_from  # noqa: F401


def read_request(path: Path) -> None:
    """Answer a request of a served model with the bytes of a file."""
    from autoopt.deploy.predictor import Predictor
    from autoopt.tracking.served import IMAGE, Answering
    from tests import tiny

    class Logits:
        def run(self, tile: np.ndarray) -> np.ndarray:
            return np.stack([-tile[:, 0], tile[:, 0]], axis=1)

        def close(self) -> None:
            """Nothing is held."""

    predictor = Predictor({"labels": ["a", "b"]}, tiny.pixels().pipeline, Logits())  # type: ignore[arg-type]
    Answering(predictor)({IMAGE: [path.read_bytes()]})


def warm_request() -> None:
    """Import what reads requests."""
    import PIL.Image

    import autoopt.tracking.served  # noqa: F401
    from tests import tiny

    PIL.Image.init()
    tiny.pixels()


def read_space(path: Path) -> None:
    """Read a space file, and draw from it."""
    from autoopt.study.space import load_space

    space = load_space(path, HOST)
    space.canonical(space.random(np.random.default_rng(0)))
    _ = space.text


def warm_space() -> None:
    """Import what reads space files."""
    import yaml  # noqa: F401

    import autoopt.study.space
    from autoopt.study.space import load_space

    load_space("quick", HOST)
    assert autoopt


def read_monai(path: Path) -> None:
    """Read all that a search reads of a MONAI bundle before it builds the network."""
    from autoopt.workloads.models import monai_bundle
    from autoopt.workloads.models.bundle_config import read_config
    from autoopt.workloads.models.bundle_settings import read_settings

    config = read_config(path)
    channels, classes = monai_bundle._widths(config, monai_bundle._definition(config))
    monai_bundle._labels(config, classes)
    read_settings(config, channels=channels or 1, classes=classes or 2, dimensions=3)


def warm_monai() -> None:
    """Import what reads MONAI bundles."""
    import yaml  # noqa: F401

    import autoopt.workloads.models.monai_bundle  # noqa: F401


def read_nnunet(path: Path) -> None:
    """Find and read what nnU-Net trained, in a zip file."""
    from autoopt.workloads.models.nnunet_folder import find_models, read_trained

    if not find_models(path):
        raise WorkloadError(f"{path} holds no model")
    read_trained(path, None, None)


def warm_nnunet() -> None:
    """Import what reads models of nnU-Net."""
    import autoopt.workloads.models.nnunet_folder  # noqa: F401


def load_into_tiny(path: Path) -> None:
    """Load weights into a small network."""
    from autoopt.nets.weights import load_weights
    from tests import tiny

    load_weights(tiny.build(), path)


def find_in_home(path: Path) -> None:
    """Look for weights in a home folder."""
    from autoopt.nets.weights import find_weights
    from tests import tiny

    find_weights(tiny.workload(), path)


def warm_weights() -> None:
    """Import torch and the tiny network."""
    import safetensors.torch  # noqa: F401
    import torch

    from tests import tiny

    torch.set_num_threads(1)
    tiny.build()


def read_study_file(path: Path) -> None:
    """Read a study as `front` does, and what `gc` asks."""
    from autoopt.study.storage import artifacts_in_use, check_storage, read_study

    url = f"sqlite:///{path}"
    check_storage(url)
    result = read_study(url, None)
    assert result.judged is not None
    _ = result.front
    artifacts_in_use(url)


def warm_study() -> None:
    """Import Optuna and let it open a storage once: no input is charged for what comes first in a process."""
    import optuna
    import scipy.stats  # noqa: F401

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(StorageError):
        path = Path(folder) / "study.db"
        optuna.create_study(storage=f"sqlite:///{path}")
        read_study_file(path)


def read_mlflow(path: Path, study: str) -> None:
    """Open the MLflow of a home folder, and read a study back from it."""
    from autoopt.tracking.tracker import Tracker, read_trials

    uri = f"sqlite:///{path}"
    Tracker(uri, path.parent).check()
    read_trials(uri, study)


def warm_mlflow() -> None:
    """Import MLflow."""
    from autoopt.tracking.server import warm_up

    warm_up()


def read_store(path: Path) -> None:
    """Find, verify and list the artifacts of a store."""
    from autoopt.core.store import Store

    store = Store(path)
    for artifact in store.artifacts():
        store.verify(artifact)
        assert artifact.size_bytes >= 0 and artifact.content
    store.get("model", "key")


def read_data(path: Path, task: str) -> None:
    """Read a data folder and all of its cases."""
    from autoopt.workloads.data.dataset import read_dataset

    found: Any = read_dataset(path, task)  # type: ignore[arg-type]
    for case in (*found.splits.train, *found.splits.calibration, *found.splits.val, *found.splits.test):
        case.read()


def warm_data() -> None:
    """Import the readers of images."""
    import nibabel
    import PIL.Image
    import psutil
    import pydicom.pixels

    import autoopt.workloads.data.dataset
    from autoopt.workloads.data.layouts import LAYOUTS

    for name in LAYOUTS:
        LAYOUTS.load(name)
    PIL.Image.init()
    psutil.virtual_memory()
    assert pydicom.pixels
    assert nibabel.load and autoopt and json


TARGETS = {
    "bundle": Target(read_bundle, warm_bundle, (BundleError, ValueError), threads=True),
    "self-test": Target(read_self_test, nothing, (BundleError,)),
    "deployed": Target(read_deployed, nothing, (BundleError,)),
    "received": Target(read_received, warm_received, (BundleError,)),
    "request": Target(read_request, warm_request, (ValueError,)),
    "space": Target(read_space, warm_space, (SpaceError,), longest_message=20_000),
    "monai": Target(read_monai, warm_monai, (WorkloadError,), longest_message=20_000),
    "nnunet": Target(read_nnunet, warm_nnunet, (WorkloadError, WeightsError, DataError)),
    "weights": Target(load_into_tiny, warm_weights, (WeightsError,)),
    "home": Target(find_in_home, warm_weights, (UsageError,)),
    "study": Target(read_study_file, warm_study, (StorageError,)),
    "mlflow": Target(read_mlflow, warm_mlflow, (StorageError, TrackingError)),
    "store": Target(read_store, nothing, (StorageError,)),
    "data": Target(read_data, warm_data, (DataError, BadData), longest_message=20_000),
}
