"""The stand-in for a graph that the fake runtime reads: fake.json, without any network. See `runtimes/fake.py`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from autoopt.errors import Unsupported
from autoopt.inference.formats.base import Call, Source
from autoopt.inference.formats.names import Node
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.roofline import Cost

FILE = "fake.json"
NETWORK = False
PARENT: str | None = None
FINISHED: tuple[str, ...] = ()
PRECISIONS: tuple[str, ...] = ("f32",)
VERSION = 1
DISTRIBUTIONS: tuple[str, ...] = ()


def write(source: Source, precision: str, folder: Path) -> int:
    """Write the number of classes and the task of the pipeline; neither weights nor torch are touched."""
    content = {"classes": source.pipeline.classes, "task": source.pipeline.task}
    (folder / FILE).write_text(json.dumps(content))
    return 0


def call(path: Path) -> Call:
    """Raises Unsupported: there is no network to check anything against."""
    raise Unsupported(f"the stand-in in {path.name} holds no network, so its answers cannot be checked")


def layers(folder: Path) -> list[Node]:
    """The layers that fake.json lists for profiles."""
    listed = json.loads((folder / FILE).read_text()).get("layers", ())
    return [Node((item["name"],), (item["name"],), (item["type"],)) for item in listed]


def counts(folder: Path) -> dict[str, int]:
    """Nothing has weights and nothing is quantized."""
    return {"quantizers": 0, "quantized_layers": 0, "layers": 0}


def cost(folder: Path, input_shape: Sequence[int], precision: str) -> Cost:
    """Raises Unsupported: there is no network to count."""
    raise Unsupported(f"the stand-in in {folder.name} holds no network, so its arithmetic cannot be counted")


def fuse(source: Path, pipeline: Pipeline, folder: Path) -> None:
    """Tell the fake runtime, in the same file, what of the pipeline it does itself."""
    content = json.loads((source / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**content, "pipeline": pipeline.to_json()}))
