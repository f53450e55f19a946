"""The small network and workload that the contract suites try things on: sixteen pixels square, two convolutions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from autoopt.core.configuration import digest
from autoopt.core.host import Host
from autoopt.core.store import Artifact, Store, file_digest
from autoopt.errors import Unsupported
from autoopt.inference.formats import graph_format
from autoopt.inference.formats.base import Source
from autoopt.inference.pipeline import Pipeline
from autoopt.workloads.contract import Case, Recipe, Sample, Splits, Workload

if TYPE_CHECKING:
    import torch

OLD_HOST = Host("old", "x86_64", 2, 8 << 30, ("avx2",), "Linux")
"""An x86-64 CPU that has AVX2 and nothing newer."""
NEW_HOST = replace(
    OLD_HOST,
    cpu="new",
    cores=64,
    isa=("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
)
"""An x86-64 CPU that multiplies in every precision."""
ARM_HOST = replace(OLD_HOST, cpu="arm", arch="aarch64", isa=("asimd", "asimdhp", "bf16"))
HEAVY = ("torch", "onnxruntime", "openvino", "nncf", "onnx", "monai", "mlflow", "optuna", "scipy")
"""Libraries that the import of a runtime, a format or a step must not load."""

CHANNELS = 3
WIDTH = 8
TILE = (16, 16)
SHAPES = ((16, 16), (24, 20), (12, 16))
"""Spatial shapes of the three cases of each split: as large as a tile, larger and smaller."""
PIPELINE = Pipeline(
    task="segmentation",
    classes=2,
    channels=CHANNELS,
    tile=TILE,
    overlap=0.25,
    scale=1.0,
    mean=(0.0,) * CHANNELS,
    std=(1.0,) * CHANNELS,
)
MACS = TILE[0] * TILE[1] * WIDTH * (CHANNELS * 9 + 2)
"""Multiply-accumulates of one call of the network."""


@dataclass(frozen=True)
class Exported:
    """The network as an artifact, an input (1, channels, *tile), and what the network makes of it: float32."""

    artifact: Artifact
    batch: np.ndarray
    expected: np.ndarray


def workload(data: Path | None = None) -> Workload:
    """The workload; `data` is ignored, the cases are drawn when read."""
    train, calibration, val, test = (
        tuple(drawn_case(seed * 3 + index, f"patient-{seed}", shape) for index, shape in enumerate(SHAPES))
        for seed in range(4)
    )
    return Workload(
        name="tiny",
        task="segmentation",
        labels=("background", "foreground"),
        build=build,
        pipeline=PIPELINE,
        splits=Splits(train, calibration, val, test),
        metrics=("dice_macro", "dice_foreground"),
        recipe=Recipe(epochs=2, batch=2, learning_rate=1e-2),
        data_digest=digest({"shapes": SHAPES, "channels": CHANNELS}),
    )


def drawn_case(seed: int, group: str, shape: tuple[int, ...]) -> Case:
    """A case of noise of this spatial shape, whose foreground is where the first channel is positive."""

    def read() -> Sample:
        image = np.random.default_rng(seed).normal(size=(*shape, CHANNELS)).astype(np.float32)
        return Sample(image, (image[..., 0] > 0).astype(np.uint8))

    return Case(f"case-{seed:02d}", group, read, tags={"shape": "x".join(map(str, shape))})


def build() -> torch.nn.Module:
    """Convolution, batch norm, ReLU, convolution: (n, 3, y, x) to (n, 2, y, x)."""
    from collections import OrderedDict

    import torch

    return torch.nn.Sequential(
        OrderedDict(
            stem=torch.nn.Conv2d(CHANNELS, WIDTH, 3, padding=1, bias=False),
            norm=torch.nn.BatchNorm2d(WIDTH),
            act=torch.nn.ReLU(),
            head=torch.nn.Conv2d(WIDTH, 2, 1),
        )
    )


def weights(path: Path) -> Path:
    """Write the weights of a net that finds the foreground nearly always to `path` (safetensors)."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    state = {
        name: 0.02 * torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
        for name, value in build().state_dict().items()
    }
    state["norm.weight"] = torch.ones(WIDTH)
    state["norm.running_var"] = torch.ones(WIDTH)
    for channel, sign in ((0, 1.0), (1, -1.0)):
        state["stem.weight"][channel, 0, 1, 1] += sign
        state["head.weight"][:, channel] += torch.tensor([-sign, sign])[:, None, None]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
    return path


def exported(format_name: str, precision: str = "f32") -> Exported:
    """The network in a format of the table, made once in a process; below a temporary folder that ends with it."""
    from autoopt.compress.export import export

    parent = graph_format(format_name).PARENT
    folder = None if parent is None else exported(parent).artifact.path
    found = source()
    build = partial(export, format_name, precision, workload(), _weights(), source=found, parent=folder)
    key = f"{format_name} {precision}"
    store = Store(_folder() / "store")
    artifact = store.get("model", key) or store.put("model", key, {}, build)
    return Exported(artifact, found.batches["noise"], found.answers["noise"])


@cache
def source() -> Source:
    """The network with its weights, and its own answers."""
    from autoopt.compress.export import load_source

    return load_source(workload(), _weights())


@cache
def _weights() -> Path:
    return weights(_folder() / "tiny.safetensors")


def _folder() -> Path:
    return Path(_temporary().name)


@cache
def _temporary() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="autoopt-testing-")


def files_of(folder: Path) -> Mapping[str, str]:
    """The digests of all files below a folder, by relative name."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): file_digest(path) for path in paths}


def loaded_by_importing(module: str) -> list[str]:
    """The heavy libraries that a fresh interpreter has loaded after importing `module`."""
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@contextmanager
def refused(words: str) -> Iterator[None]:
    """Check that the block raises Unsupported with `words` in its message."""
    message = None
    try:
        yield
    except Unsupported as error:
        message = error.message
    assert message is not None, "Unsupported must be raised, it was not"
    assert words in message, message
