"""Write nnunet-resampling.npz: what nnunetv2 2.8.1 resamples, crops and weighs. Run in an environment with nnunetv2.

`python make_nnunet_resampling.py` writes it beside this file; the tests need numpy alone.
"""

from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

CASES = {
    "cubic": ((9, 8, 7), (1.0, 1.2, 1.1), (0.8, 1.0, 1.4), 3),
    "coarse": ((5, 12, 10), (5.0, 0.8, 0.9), (3.0, 1.0, 1.0), 3),
    "coarse_wanted": ((8, 9, 10), (1.0, 1.0, 1.1), (4.0, 1.0, 1.0), 3),
    "two_coarse": ((4, 4, 12), (5.0, 5.0, 1.0), (2.0, 2.0, 1.0), 3),
    "linear": ((7, 6, 8), (1.0, 1.0, 2.0), (1.3, 0.7, 2.0), 1),
}


def main() -> None:
    """Write the file."""
    random = np.random.default_rng(3)
    kept: dict[str, np.ndarray] = {}
    for name, (sizes, have, want, order) in CASES.items():
        image = random.normal(size=(1, *sizes)).astype(np.float32)
        after = [round(size * old / new) for size, old, new in zip(sizes, have, want, strict=True)]
        there = resample_data_or_seg_to_shape(image, after, have, want, order=order, order_z=0, force_separate_z=None)
        back = resample_data_or_seg_to_shape(there, sizes, want, have, order=1, order_z=0, force_separate_z=None)
        kept |= {f"{name}_image": image[0], f"{name}_there": there[0], f"{name}_back": back[0]}
    image = np.zeros((2, 6, 7, 8), np.float32)
    image[0, 1:4, 2:6, 3:7] = 1.0
    image[0, 2, 3:5, 4:6] = 0.0  # a hole in one slice of a body that is closed around it
    image[1, 2:5, 3, 4] = -2.0
    data, mask, box = crop_to_nonzero(image.copy())
    kept |= {"crop_image": image, "crop_data": data, "crop_mask": mask[0] == 0, "crop_box": np.array(box)}
    for tile in ((8, 7), (5, 6, 4)):
        made = compute_gaussian(tile, value_scaling_factor=10, dtype=torch.float16, device=torch.device("cpu"))
        kept["gaussian_" + "x".join(map(str, tile))] = made.numpy()
    steps = [
        (size, tile, step, *compute_steps_for_sliding_window((size,), (tile,), step)[0])
        for size in (7, 12, 30, 31, 33)
        for tile in (5, 7)
        for step in (0.5, 0.8, 1.0)
    ]
    width = max(map(len, steps))
    kept["steps"] = np.array([[*row, *(-1,) * (width - len(row))] for row in steps], np.float64)
    np.savez_compressed(Path(__file__).with_name("nnunet-resampling.npz"), **kept)


if __name__ == "__main__":
    main()
