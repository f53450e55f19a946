"""Small models as nnU-Net v2 saves them: plans, dataset.json and checkpoints of folds, without nnU-Net."""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoopt.workloads.networks.nnunet import build_nnunet
from autoopt.workloads.networks.nnunet_shape import read_shape
from tests.golden.make_nnunet import arguments

ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": arguments(3, residual=False),
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}
KWARGS = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
FULLRES: dict[str, Any] = {
    "preprocessor_name": "DefaultPreprocessor",
    "patch_size": [8, 16, 16],
    "spacing": [2.0, 1.0, 1.0],
    "normalization_schemes": ["CTNormalization"],
    "use_mask_for_norm": [False],
    "resampling_fn_data": "resample_data_or_seg_to_shape",
    "resampling_fn_data_kwargs": KWARGS,
    "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
    "resampling_fn_probabilities_kwargs": {**KWARGS, "order": 1},
    "architecture": ARCHITECTURE,
}
PLANS: dict[str, Any] = {
    "dataset_name": "Dataset001_made",
    "plans_name": "nnUNetPlans",
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "foreground_intensity_properties_per_channel": {
        "0": {"mean": 60.0, "std": 40.0, "percentile_00_5": -20.0, "percentile_99_5": 200.0}
    },
    "configurations": {
        "3d_fullres": FULLRES,
        "3d_wide": {"inherits_from": "3d_fullres", "batch_size": 9},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        "circle": {"inherits_from": "circle"},
    },
}
DATASET: dict[str, Any] = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "organ": 1, "tumour": 2},
    "numTraining": 6,
    "file_ending": ".nii.gz",
}


def changed(plans: dict[str, Any], configuration: str = "3d_fullres", **changes: Any) -> dict[str, Any]:
    """The plans with other settings of a configuration; None leaves one out."""
    made = copy.deepcopy(plans)
    settings = {**made["configurations"][configuration], **changes}
    made["configurations"][configuration] = {name: item for name, item in settings.items() if item is not None}
    return made


def checkpoint(seed: int, configuration: str = "3d_fullres", classes: int = 3, **changes: Any) -> dict[str, Any]:
    """What nnU-Net saves of a training, numbers of numpy included."""
    torch.manual_seed(seed)
    net = build_nnunet(read_shape(ARCHITECTURE["network_class_name"], ARCHITECTURE["arch_kwargs"], ""), 1, classes)
    return {
        "network_weights": net.state_dict(),
        "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 1e-2}]},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.6)], "epoch_end_timestamps": [1.0]},
        "_best_ema": np.float64(0.6),
        "current_epoch": 2,
        "init_args": {"configuration": configuration, "fold": seed, "device": torch.device("cpu"), "plans": {}},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        **changes,
    }


def write_model(
    folder: Path,
    folds: Sequence[int | str] = (0,),
    *,
    plans: dict[str, Any] = PLANS,
    dataset: dict[str, Any] = DATASET,
    configuration: str = "3d_fullres",
    classes: int = 3,
    **changes: Any,
) -> Path:
    """A folder as a training leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    for index, fold in enumerate(folds):
        (folder / f"fold_{fold}").mkdir()
        torch.save(
            checkpoint(index, configuration, classes, **changes), folder / f"fold_{fold}" / "checkpoint_final.pth"
        )
    return folder


def exported(folder: Path, path: Path, top: str) -> Path:
    """The zip file that nnUNetv2_export_model_to_zip makes of a folder, with `top` before its names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{top}/{file.relative_to(folder).as_posix()}")
    return path
