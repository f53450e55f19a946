"""The file that `autoopt init` writes: a workload of the user that runs as it is."""

from __future__ import annotations

from pathlib import Path

from autoopt.core.store import write_atomic
from autoopt.errors import UsageError

TEMPLATE = '''\
"""A workload of your own. It runs as it is, on synthetic blobs; change what is marked CHANGE, in any order.

    autoopt train  --workload {file}:workload --demo
    autoopt search --workload {file}:workload --space quick --budget 8

With data of yours give --data DIR instead of --demo: the function below gets it as `data`. A network that was trained
elsewhere needs no `autoopt train`: save its state_dict as safetensors or .pt and name the file with --weights.
Check what you changed: python -m autoopt.testing {file}:workload
"""

from pathlib import Path

import numpy as np

from autoopt import Case, Pipeline, Recipe, Sample, Splits, Workload

TILE = (64, 64)  # CHANGE: the size of one network call; three sizes for volumes
LABELS = ("background", "blob")  # CHANGE: the background first


def workload(data: Path | None) -> Workload:
    """Called in every process that needs the model or the cases: quick, and the same each time."""
    return Workload(
        name="{name}",
        task="segmentation",  # CHANGE: or "classification"
        labels=LABELS,
        build=build,
        pipeline=Pipeline(
            task="segmentation",
            classes=len(LABELS),
            channels=1,  # CHANGE: 3 for colour
            tile=TILE,
            overlap=0.25,
            scale=1.0,  # CHANGE: (image / scale - mean) / std, as in the training of your network
            mean=(0.2,),
            std=(0.4,),
        ),
        splits=Splits(*(cases(data, split) for split in ("train", "calibration", "val", "test"))),
        metrics=("dice_macro", "dice_foreground"),  # CHANGE: the first one is what --max-drop guards
        recipe=Recipe(epochs=6, batch=4, learning_rate=1e-2, augment=augment),
        data_digest="blobs-1",  # CHANGE: any text that changes when the cases do
    )


def build():
    """CHANGE: your network with fresh weights, (n, channels, *TILE) to logits (n, labels, *TILE)."""
    import torch  # inside: what only lists or scores cases needs no torch

    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, len(LABELS), 1),
    )


def augment(sample: Sample, random: np.random.Generator) -> Sample:
    """CHANGE: another training sample, made of one."""
    if random.random() < 0.5:
        return Sample(sample.image[:, ::-1], sample.reference[:, ::-1])
    return sample


def cases(data: Path | None, split: str) -> tuple[Case, ...]:
    """CHANGE: your cases. A group (the patient) must be in one split only; read nothing before `read` is called."""
    seeds = {{"train": range(24), "calibration": range(24, 36), "val": range(36, 44), "test": range(44, 52)}}[split]
    return tuple(Case(f"case-{{seed:02d}}", f"{{split}}-{{seed % 4}}", lambda seed=seed: read(seed)) for seed in seeds)


def read(seed: int) -> Sample:
    """CHANGE: open the files of one case. image: (*sizes, channels), reference: whole numbers of the image's sizes."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: TILE[0], : TILE[1]]
    mask = np.zeros(TILE, bool)
    for _ in range(3):
        row, column = (random.uniform(8, size - 8) for size in TILE)
        mask |= (y - row) ** 2 + (x - column) ** 2 < random.uniform(4, 10) ** 2
    image = 0.6 * mask + random.normal(0, 0.35, TILE)
    return Sample(image[..., np.newaxis].astype(np.float32), mask.astype(np.uint8))
'''


def write_template(path: Path) -> None:
    """Write the workload to `path`, a new .py file. Raises UsageError when it is there already or cannot be written."""
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise UsageError(f"the file must be a Python file with a plain name, such as my_model.py, got {path}")
    if path.exists():
        raise UsageError(f"{path} is there already: nothing was written, choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, TEMPLATE.format(file=path.name, name=path.stem).encode())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
