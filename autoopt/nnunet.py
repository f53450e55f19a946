"""A drop-in for programs that use nnU-Net's predictor: `from autoopt.nnunet import nnUNetPredictor`."""

from autoopt.deploy.nnunet_predictor import nnUNetPredictor

__all__ = ["nnUNetPredictor"]
