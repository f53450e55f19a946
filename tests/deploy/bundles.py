"""Bundles of the tiny workload for the tests of this folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.store import Artifact, Store
from autoopt.deploy.layout import CARD, SEAL
from autoopt.deploy.self_test import make_self_test
from autoopt.deploy.writer import write_bundle
from autoopt.measure.target import LocalTarget, Target
from autoopt.measure.timing import MeasuringPlan
from tests import tiny

FACTS = {"workload": "tiny", "demo": True, "numbers": {"latency_p25_ms": 1.5}}
LABELS = ("background", "foreground")
FAKE: dict[str, Scalar] = {"name": "fake", "threads": 1, "latency_ms": 0.0, "error": 0.0}
QUICK = MeasuringPlan(processes=2, warmup_min_s=0.0, warmup_max_s=0.02, rounds=3, turn_s=0.005)
"""How bundles are timed here: as little as tells a model from one that is a thousand times slower."""
WEIGHTS = np.array([[-1, 0, 0], [1, 0, 0]], np.float32).reshape(2, 3, 1, 1)
"""A convolution that says foreground where the first channel is positive, as the tiny workload wants it."""


def image(shape: tuple[int, ...] = (24, 20)) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(*shape, 3)).astype(np.float32)


def put_fake(store: Store) -> Artifact:
    def build(folder: Path) -> Mapping[str, Any]:
        (folder / "fake.json").write_text('{"classes": 2}')
        (folder / "more").mkdir()
        (folder / "more" / "notes.txt").write_text("below a folder")
        return {}

    return store.put("model", "fake", {}, build)


def build_openvino(folder: Path) -> Mapping[str, Any]:
    import openvino
    from openvino import opset13 as ops

    tile = ops.parameter([1, 3, *tiny.TILE], np.float32)
    logits = ops.convolution(tile, ops.constant(WEIGHTS), [1, 1], [0, 0], [0, 0], [1, 1])
    openvino.save_model(openvino.Model([logits], [tile]), folder / "model.xml", compress_to_fp16=False)
    return {}


def build_onnx(folder: Path) -> Mapping[str, Any]:
    from onnx import TensorProto, helper, numpy_helper, save

    node = helper.make_node("Conv", ["tile", "weights"], ["logits"])
    shapes = [("tile", [1, 3, *tiny.TILE]), ("logits", [1, 2, *tiny.TILE])]
    tile, logits = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes)
    graph = helper.make_graph([node], "g", [tile], [logits], [numpy_helper.from_array(WEIGHTS, "weights")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), folder / "model.onnx")
    return {}


def write(folder: Path, artifact: Artifact, settings: Mapping[str, Scalar] = FAKE, **facts: Any) -> Path:
    """A bundle in `folder`; `facts` are added to `FACTS`, `exchange` is passed on."""
    more = {"exchange": facts.pop("exchange")} if "exchange" in facts else {}
    return write_bundle(folder, artifact, settings, tiny.PIPELINE, LABELS, {**FACTS, **facts}, **more)


def with_self_test(
    root: Path,
    build: Callable[[Path], Mapping[str, Any]] | None = None,
    target: Target | None = None,
    **settings: Scalar,
) -> Path:
    """A bundle in `root` with its self-test, as `pull` writes it on `target`; by default of the fake model."""
    store, here = Store(root / "store"), target or LocalTarget()
    artifact = put_fake(store) if build is None else store.put("model", "key", {}, build)
    runtime = {**(FAKE if build is None else {}), **settings}
    made = make_self_test(artifact.path, runtime, tiny.PIPELINE, here, sigma=0.03, plan=QUICK)
    facts = {
        **FACTS,
        "effective": made.facts["effective"],
        "host": made.facts["host"],
        "versions": made.facts["versions"],
    }
    return write_bundle(root / "deploy", artifact, runtime, tiny.PIPELINE, LABELS, facts, self_test=made)


def reseal(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change bundle.json and give it a fitting digest, as somebody with bad intentions would."""
    card = json.loads((folder / CARD).read_text())
    change(card)
    data = json.dumps(card).encode()
    (folder / CARD).write_bytes(data)
    (folder / SEAL).write_text(f"{hashlib.sha256(data).hexdigest()}  {CARD}\n")
