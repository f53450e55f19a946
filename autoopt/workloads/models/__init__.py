"""Kinds of models that `--model` takes: ONNX files, MONAI bundles, checkpoints with the function that builds them."""
