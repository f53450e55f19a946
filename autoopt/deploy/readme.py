"""The README.txt of a bundle: what the model is, what it needs, how to predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoopt.core.packages import HOW
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.runtimes import runtime


def readme(card: Mapping[str, Any]) -> str:
    """The text for a bundle with this bundle.json; its first lines say so when the data is synthetic or the weights
    were not trained to the end."""
    name = str(card["runtime"]["name"])
    pipeline = Pipeline.from_json(card["pipeline"])
    package = runtime(name).DISTRIBUTION or name
    packages = ["numpy", *(["scipy"] if pipeline.needs_scipy else []), package]
    install = " ".join([HOW.get(package, f"autoopt {package}"), *(["scipy"] if pipeline.needs_scipy else [])])
    call = "predict(image, affine)" if pipeline.needs_affine else "predict(image)        "
    demo = "DEMO: made from synthetic data. Not for patients.\n" if card["demo"] else ""
    remark = str(card.get("weights_remark") or "")  # bundles from before it was written lack it
    told = f"{remark}\n" if remark else ""
    return (
        f"{demo}{told}A {card['pipeline']['task']} model of the workload {card['workload']}, made by autoopt.\n"
        f"1. pip install {install}     # or only {' and '.join(packages)} beside the source of autoopt\n"
        "   autoopt predict 'this folder' FILES -o OUT     # image files to files; or in Python:\n"
        "2. predictor = autoopt.load('this folder')     # every file is verified first\n"
        f"3. answer = predictor.{call}   # image: {_image_text(pipeline)}\n"
        f"4. classes: {', '.join(f'{index} {label}' for index, label in enumerate(card['labels']))}\n"
        "5. numbers, host, settings and digests are in bundle.json and MODEL_CARD.md; they hold for that host only\n"
        "6. autoopt check 'this folder' says whether it still is what it was, here\n"
    )


def _image_text(pipeline: Pipeline) -> str:
    """The array that `predict` takes, such as: array (height, width, 3 channels), any size."""
    sizes = {1: "length", 2: "height, width", 3: "three sizes as stored"}.get(pipeline.dimensions, "*sizes")
    sizes = "slices, height, width" if pipeline.sliced else sizes
    affine = "; affine: (4, 4), voxel to RAS+ mm" if pipeline.needs_affine else ""
    shape = f"array ({sizes}, {pipeline.channels} channel{'s' if pipeline.channels != 1 else ''})"
    pixels = " of whole numbers from 0 to 255" if pipeline.takes_pixels else ""
    size = "any size"
    if pipeline.gives_labels:
        size = f"covered by tiles of {'x'.join(map(str, pipeline.tile))} that do not overlap"
    return f"{shape}{pixels}, {size}{affine}"
