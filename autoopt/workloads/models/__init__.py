"""Models that someone brings: ONNX files, MONAI bundles, checkpoints with the code that builds them."""
