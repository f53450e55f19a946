"""The folders that OpenVINO Model Server and Triton serve models from, written from a bundle.

What they serve is the network alone, one tile a call: a `RemoteSession` runs the bundle's pipeline around it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autoopt.deploy.layout import CARD, MODEL, pipeline_of, read_card, verify_files
from autoopt.errors import BundleError
from autoopt.inference.pipeline import Pipeline

VERSION = "1"
"""The folder of the first version; a new model is a new number beside it."""
GRAPHS = {"model.xml": ("openvino", "INFERENCE_NUM_THREADS"), "model.onnx": ("onnxruntime", "intra_op_thread_count")}
"""The graph files that these servers take, and for each Triton's backend and its name of the number of threads."""
TYPES = {True: "TYPE_UINT8", False: "TYPE_FP32"}

Config = Callable[[str, str, Mapping[str, Any], Pipeline], tuple[str, str]]
"""From the name of the model, its graph file, the runtime settings and the pipeline: path and text of the config."""


def write_server_layout(bundle: Path, out: Path, kind: str) -> Path:
    """Write the network of `bundle` to the new folder `out` as the server `kind` (a key of `LAYOUTS`) wants it.

    Every file of the bundle is verified first. Raises BundleError for a folder that is there, for a bundle that was
    altered and for one whose graph these servers do not take.
    """
    card = read_card(bundle)
    verify_files(bundle, card["files"])
    graph = next((name for name in GRAPHS if (bundle / MODEL / name).is_file()), None)
    if graph is None:
        raise BundleError(
            f"{bundle} must hold {' or '.join(GRAPHS)} for {kind}, its runtime is {card['runtime']['name']}: pull a "
            "trial of openvino or onnxruntime"
        )
    if out.exists():
        raise BundleError(f"{out} must be a new folder, it is there: choose another")
    name = str(card["workload"])
    where, text = LAYOUTS[kind](name, graph, card["runtime"], pipeline_of(bundle, card))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            shutil.copytree(bundle / MODEL, temporary / name / VERSION)
            (temporary / where).write_text(text)
            shutil.copyfile(bundle / CARD, temporary / name / CARD)
            temporary.chmod(0o755)
            temporary.rename(out)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise BundleError(f"{out} must be a folder that can be written, it is not: {error.strerror}") from error
    return out


def _ovms(name: str, graph: str, settings: Mapping[str, Any], pipeline: Pipeline) -> tuple[str, str]:
    """config.json of OpenVINO Model Server (docs.openvino.ai/model-server); beside the folder of the model."""
    plugin = {"NUM_STREAMS": str(settings.get("streams") or 1)}
    if settings.get("threads"):
        plugin["INFERENCE_NUM_THREADS"] = str(settings["threads"])
    if settings.get("precision"):
        plugin["INFERENCE_PRECISION_HINT"] = str(settings["precision"])
    config = {
        "name": name,
        "base_path": name,
        "target_device": "CPU",
        "model_version_policy": {"latest": {"num_versions": 1}},
        "plugin_config": plugin,
    }
    return "config.json", json.dumps({"model_config_list": [{"config": config}]}, indent=2) + "\n"


def _triton(name: str, graph: str, settings: Mapping[str, Any], pipeline: Pipeline) -> tuple[str, str]:
    """config.pbtxt of Triton, in the folder of the model (github.com/triton-inference-server/openvino_backend)."""
    shapes = (list(pipeline.input_shape), list(pipeline.output_shape))
    types = (TYPES[pipeline.takes_pixels], TYPES[pipeline.gives_labels])
    backend, threads = GRAPHS[graph]
    lines = [
        f"name: {json.dumps(name)}",
        f'backend: "{backend}"',
        f'default_model_filename: "{graph}"',
        "max_batch_size: 0",
        f'input [{{ name: "input" data_type: {types[0]} dims: {shapes[0]} }}]',
        f'output [{{ name: "output" data_type: {types[1]} dims: {shapes[1]} }}]',
        "instance_group [{ count: 1 kind: KIND_CPU }]",
    ]
    if settings.get("threads"):
        lines.append(f'parameters {{ key: "{threads}" value: {{ string_value: "{settings["threads"]}" }} }}')
    return f"{name}/config.pbtxt", "\n".join(lines) + "\n"


LAYOUTS: Mapping[str, Config] = {"ovms": _ovms, "triton": _triton}
"""By the name that `--layout` takes."""
