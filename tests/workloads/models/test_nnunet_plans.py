"""The plans of nnU-Net, new and old."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autoopt.errors import WorkloadError
from autoopt.workloads.models.nnunet_plans import Plans, Resampling, read_plans
from autoopt.workloads.networks.nnunet_shape import Layer
from tests.workloads.models import nnunets

OLD = {
    "architecture": None,
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 4,
    "n_conv_per_stage_encoder": [2, 1, 2],
    "n_conv_per_stage_decoder": [1, 2],
    "num_pool_per_axis": [1, 2, 2],
    "pool_op_kernel_sizes": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "conv_kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    "unet_max_num_features": 6,
}


def read(plans: dict[str, Any], configuration: str = "3d_fullres", channels: int = 1, trainer: str = "") -> Plans:
    return read_plans(json.dumps(plans), "plans.json", configuration, channels, trainer)


def test_old_plans_say_the_same_as_new_ones() -> None:
    """Plans without `architecture` and with intensities by modality give the plans that nnU-Net makes of them today."""
    old = nnunets.changed(nnunets.PLANS, **OLD)
    name = "foreground_intensity_properties_per_channel"
    old["foreground_intensity_properties_by_modality"] = old.pop(name)
    # Of the features nnU-Net doubles 4 to 8 and stops at 6.
    assert read(old) == read(nnunets.PLANS)


def test_configurations_inherit() -> None:
    """A configuration has what it inherits, and its own instead where it says something."""
    whole, wide = read(nnunets.PLANS), read(nnunets.PLANS, "3d_wide")
    assert wide.shape == whole.shape and wide.tile == whole.tile
    own = nnunets.changed(nnunets.PLANS, "3d_wide", patch_size=[8, 32, 32])
    assert read(own, "3d_wide").tile == (8, 32, 32)


def test_resampling_and_norms_are_read() -> None:
    """Torch's resampling is told from splines; the trainer of batch norms has a network with batch norms."""
    torch = nnunets.changed(nnunets.PLANS, resampling_fn_data="resample_torch_fornnunet")
    assert read(torch).data == Resampling(torch=True)
    assert read(nnunets.PLANS).probabilities == Resampling(order=1, order_between=0)
    assert read(nnunets.PLANS, trainer="nnUNetTrainerBN").shape.norm == Layer(
        "BatchNorm3d", {"eps": 1e-5, "affine": True}
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"normalization_schemes": ["Mine"]}, "Mine is not"),
        ({"normalization_schemes": []}, "for each of the 1 channel"),
        ({"use_mask_for_norm": [1]}, "use_mask_for_norm"),
        ({"patch_size": [9, 16, 16]}, "multiples of [2, 4, 4]"),
        ({"patch_size": [16, 16], "spacing": [1, 1]}, "2D as patch_size"),
        ({"spacing": [0, 1, 1]}, "spacing must be 3 numbers above 0"),
        ({"preprocessor_name": "Mine"}, "Mine"),
        ({"resampling_fn_data": "mine"}, "mine"),
        ({"resampling_fn_probabilities_kwargs": {"order": 99}}, "0 to 5"),
        ({"resampling_fn_data_kwargs": {"separate_z_anisotropy_threshold": 5}}, "separate_z_anisotropy_threshold"),
        ({"architecture": 3}, "architecture must be a mapping"),
        ({**OLD, "UNet_class_name": "Mine"}, "UNet_class_name"),
    ],
)
def test_odd_plans_are_refused(changes: dict[str, Any], said: str) -> None:
    """What cannot be done here is refused with the name of the file and of the setting."""
    with pytest.raises(WorkloadError) as caught:
        read(nnunets.changed(nnunets.PLANS, **changes))
    assert said in str(caught.value) and "plans.json" in str(caught.value)


def test_cascades_primus_and_circles_are_refused_by_name() -> None:
    """The second stage of a cascade, a Primus, a configuration that inherits from itself, and one that is not there."""
    with pytest.raises(WorkloadError, match="3d_cascade_fullres is the second stage of a cascade, after '3d_lowres'"):
        read(nnunets.PLANS, "3d_cascade_fullres")
    with pytest.raises(WorkloadError, match="nnUNet_Primus_M_Trainer trains a Primus"):
        read(nnunets.PLANS, trainer="nnUNet_Primus_M_Trainer")
    with pytest.raises(WorkloadError, match="circle"):
        read(nnunets.PLANS, "circle")
    with pytest.raises(WorkloadError, match="no configuration '2d'"):
        read(nnunets.PLANS, "2d")
