"""Make the golden files of nnU-Net; run in an environment with nnunetv2 2.8.1: `python make_nnunet.py nets masks`.

nnunet-nets.json has, for some small networks of dynamic_network_architectures 0.4.4, the names and shapes of their
weights as a digest, and some numbers of their answer. nnunet-masks.npz has what nnUNetPredictor answers with such
networks for some small images, on the CPU: masks, and some of its logits. Weights and images are made by the functions
below, here and in the tests, which need no nnU-Net.
"""

from __future__ import annotations

import hashlib
import json
import pydoc
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
NETS = "nnunet-nets.json"
CHANNELS, CLASSES = 2, 3


def arguments(dimensions: int, *, residual: bool, stages: int = 3, **more: Any) -> dict[str, Any]:
    """`arch_kwargs` as plans have them, narrow."""
    blocks = {"n_blocks_per_stage": [1, 2, 2]} if residual else {"n_conv_per_stage": [2, 1, 2]}
    return {
        "n_stages": stages,
        "features_per_stage": [4, 6, 6],
        "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
        "kernel_sizes": [[1, *[3] * (dimensions - 1)], [3] * dimensions, [3] * dimensions],
        "strides": [[1] * dimensions, [1, *[2] * (dimensions - 1)], [2] * dimensions],
        **blocks,
        "n_conv_per_stage_decoder": [1, 2],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
        **more,
    }


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain 3D": ("PlainConvUNet", arguments(3, residual=False)),
    "plain 2D, batch norm, dropout": (
        "PlainConvUNet",
        arguments(
            2,
            residual=False,
            norm_op="torch.nn.BatchNorm2d",
            dropout_op="torch.nn.Dropout2d",
            dropout_op_kwargs={"p": 0.1},
            conv_bias=False,
            nonlin="torch.nn.ReLU",
        ),
    ),
    "residual 3D": ("ResidualEncoderUNet", arguments(3, residual=True)),
    "residual 2D with a stem": ("ResidualEncoderUNet", arguments(2, residual=True, stem_channels=5)),
}


def fill(model: torch.nn.Module, fold: int = 0) -> torch.nn.Module:
    """The network with weights that only depend on their names and the fold."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            random = np.random.default_rng(zlib.crc32(name.encode()) + fold)
            made = random.normal(0, 0.4, tuple(value.shape)).astype(np.float32)
            if value.ndim > 1 and "seg_layers" in name:  # no answer is preferred everywhere
                made -= made.mean(1, keepdims=True)
            if value.ndim == 1:  # weights of norms are around one
                made = 1 + made if name.endswith("weight") else made * ("seg_layers" not in name) / 2
            value.copy_(torch.from_numpy(made))
    return model.eval()


def image(dimensions: int) -> torch.Tensor:
    random = np.random.default_rng(7)
    return torch.from_numpy(random.normal(size=(1, CHANNELS, *[8] * dimensions)).astype(np.float32))


def names_digest(model: torch.nn.Module) -> str:
    """The digest of all names and shapes, in their order."""
    named = [[name, list(value.shape)] for name, value in model.state_dict().items()]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def some(output: torch.Tensor) -> list[float]:
    """Some numbers of an answer, spread over it."""
    flat = output.flatten()
    return [float(value) for value in flat[:: max(1, flat.numel() // 24)]]


def make_nets() -> None:
    from dynamic_network_architectures.architectures import unet

    found = {}
    for name, (kind, settings) in CASES.items():
        located = {
            key: pydoc.locate(value) if key in ("conv_op", "norm_op", "dropout_op", "nonlin") and value else value
            for key, value in settings.items()
        }
        net = getattr(unet, kind)(input_channels=CHANNELS, num_classes=CLASSES, deep_supervision=False, **located)
        fill(net)
        with torch.no_grad():
            output = net(image(2 if "2D" in name else 3))
        found[name] = {"names": names_digest(net), "count": len(net.state_dict()), "answer": some(output)}
    (HERE / NETS).write_text(json.dumps(found, indent=1) + "\n")


KWARGS = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
SPLINE, TORCH = "resample_data_or_seg_to_shape", "resample_torch_fornnunet"


def configuration(tile: list[int], spacing: list[float], schemes: list[str], **more: Any) -> dict[str, Any]:
    """A configuration of plans for a network of as many axes as the tile has."""
    residual = bool(more.pop("residual", False))
    kind = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    return {
        "data_identifier": "made",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": tile,
        "spacing": spacing,
        "normalization_schemes": schemes,
        "use_mask_for_norm": [scheme == "ZScoreNormalization" for scheme in schemes],
        "resampling_fn_data": SPLINE,
        "resampling_fn_data_kwargs": KWARGS,
        "resampling_fn_seg": SPLINE,
        "resampling_fn_seg_kwargs": {**KWARGS, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": SPLINE,
        "resampling_fn_probabilities_kwargs": {**KWARGS, "order": 1},
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
            "arch_kwargs": arguments(len(tile), residual=residual),
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        **more,
    }


def plans_of(settings: dict[str, Any], transposed: tuple[int, ...] = (0, 1, 2), **more: Any) -> dict[str, Any]:
    """Plans with one configuration, called made."""
    own = {"mean": 60.0, "std": 40.0, "percentile_00_5": -20.0, "percentile_99_5": 200.0}
    return {
        "dataset_name": "Dataset001_made",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(transposed),
        "transpose_backward": [transposed.index(axis) for axis in range(3)],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(channel): own for channel in range(3)},
        "configurations": {"made": settings},
        **more,
    }


def dataset_of(channels: int, *, regions: bool = False) -> dict[str, Any]:
    """A dataset.json with two labels, or with three regions."""
    named: dict[str, Any] = {"background": 0, "organ": 1, "tumour": 2}
    if regions:
        named = {"background": 0, "whole": [1, 2, 3], "core": [1, 3], "enh": 3}
    order = {"regions_class_order": [2, 1, 3]} if regions else {}
    names = {str(index): "c" for index in range(channels)}
    return {"channel_names": names, "labels": named, **order, "numTraining": 6, "file_ending": ".nii.gz"}


MASKS = "nnunet-masks.npz"
EVERY = 37
"""Of the logits, every so manieth is kept."""
ZSCORE, CT, RGB = "ZScoreNormalization", "CTNormalization", "RGBTo01Normalization"
LINEAR = {"is_seg": False, "force_separate_z": False}
TORCHES = {
    "resampling_fn_data": TORCH,
    "resampling_fn_data_kwargs": LINEAR,
    "resampling_fn_probabilities": TORCH,
    "resampling_fn_probabilities_kwargs": LINEAR,
}
MODELS: dict[str, dict[str, Any]] = {
    "coarse slices, two folds, mirrored": {
        "plans": plans_of(configuration([8, 16, 16], [2.0, 1.0, 1.0], [CT])),
        "dataset": dataset_of(1),
        "sizes": (6, 26, 24),
        "spacing": (3.5, 0.8, 0.8),
        "folds": 2,
        "mirror": (0, 1, 2),
    },
    "regions, transposed, masked": {
        "plans": plans_of(configuration([8, 16, 16], [1.0, 1.0, 1.0], [ZSCORE, "RescaleTo01Normalization"]), (2, 0, 1)),
        "dataset": dataset_of(2, regions=True),
        "sizes": (22, 20, 14),
        "spacing": (1.1, 1.0, 1.2),
        "folds": 1,
        "mirror": (1,),
    },
    "torch's resampling, residual": {
        "plans": plans_of(configuration([8, 16, 16], [1.5, 1.2, 1.0], [ZSCORE], residual=True, **TORCHES)),
        "dataset": dataset_of(1),
        "sizes": (14, 20, 22),
        "spacing": (1.0, 1.0, 1.0),
        "folds": 1,
        "mirror": (),
    },
    "slices of a volume": {
        "plans": plans_of(configuration([16, 16], [1.0, 1.0], [CT])),
        "dataset": dataset_of(1),
        "sizes": (3, 22, 30),
        "spacing": (4.0, 0.9, 0.9),
        "folds": 1,
        "mirror": (0, 1),
    },
    "coloured pictures": {
        "plans": plans_of(configuration([16, 16], [1.0, 1.0], [RGB] * 3), image_reader_writer="NaturalImage2DIO"),
        "dataset": {**dataset_of(3), "file_ending": ".png"},
        "sizes": (1, 28, 35),
        "spacing": (999.0, 1.0, 1.0),
        "folds": 1,
        "mirror": (0, 1),
    },
}


def volume_of(name: str) -> np.ndarray:
    """The image (channels, z, y, x) of a model, float32 whole numbers; its edges are zero, and it has a hole."""
    model = MODELS[name]
    random = np.random.default_rng(zlib.crc32(name.encode()))
    sizes, channels = model["sizes"], len(model["dataset"]["channel_names"])
    coarse = random.normal(size=(channels, *[-(-size // 4) for size in sizes]))
    smooth = coarse.repeat(4, 1).repeat(4, 2).repeat(4, 3)[:, : sizes[0], : sizes[1], : sizes[2]]
    values = np.rint(np.clip(90 + 60 * smooth + random.normal(0, 9, smooth.shape), 1, 255))
    values[:, :, :3], values[..., -2:] = 0, 0
    values[:, sizes[0] // 2, 9:12, 9:12] = 0
    return np.asarray(values, np.float32)


def make_masks() -> None:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    torch.set_num_threads(1)
    found: dict[str, np.ndarray] = {}
    for name, model in MODELS.items():
        mask, logits = predicted(PlansManager(model["plans"]), model, volume_of(name))
        found[f"mask {name}"], found[f"logits {name}"] = np.asarray(mask, np.uint8), logits.ravel()[::EVERY]
        sys.stdout.write(f"{name}: {np.unique(mask, return_counts=True)}, logits {logits.shape} {logits.dtype}\n")
    np.savez_compressed(HERE / MASKS, **found)


def predicted(plans: Any, model: dict[str, Any], image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mask and the logits of nnUNetPredictor."""
    from nnunetv2.inference.data_iterators import PreprocessAdapterFromNpy
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    dataset = model["dataset"]
    settings, labels = plans.get_configuration("made"), plans.get_label_manager(dataset)
    written = model["plans"]["configurations"]["made"]["architecture"]
    nets = [
        get_network_from_plans(
            *(written[key] for key in ("network_class_name", "arch_kwargs", "_kw_requires_import")),
            len(dataset["channel_names"]),
            labels.num_segmentation_heads,
            allow_init=False,
            deep_supervision=False,
        )
        for _ in range(model["folds"])
    ]
    weights = [fill(net, fold).state_dict() for fold, net in enumerate(nets)]
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    axes = model["mirror"] or None
    predictor.manual_initialization(nets[0], plans, settings, weights, dataset, "nnUNetTrainer", axes)
    spacing = {"spacing": list(model["spacing"])}
    ready = next(PreprocessAdapterFromNpy([image], [None], [spacing], [None], plans, dataset, settings, 1))
    logits = predictor.predict_logits_from_preprocessed_data(ready["data"])
    mask = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, plans, settings, labels, ready["data_properties"], return_probabilities=False
    )
    return np.asarray(mask), np.asarray(logits)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        {"nets": make_nets, "masks": make_masks}[name]()
