"""What is optimised. Where to look, and where to add:

contract.py   the values: Workload, Case, Sample, Splits, Recipe
loading.py    a workload by name, file, module or model; the tables BUILT_IN and MODELS
options.py, checks.py, splitting.py, identity.py   what loading needs: options, leaks, random splits, plain names
histo.py, brain.py, cardiac.py, dfu.py, timeseries.py   the built-in workloads; template.py: what `autoopt init` writes
data/         files and folders of cases: the tables READERS (file formats) and LAYOUTS (data folders)
models/       kinds of models that `--model` takes: ONNX files, MONAI bundles, checkpoints
networks/, augment/, demo/, weights/               of the built-ins: networks, augmentations, demo data, demo baselines
"""
