"""The cases of one split as plain arrays on disk, read without the workload and its libraries.

00000.npy ...             one image each, channels last, in its own dtype: what a worker reads
reference-00000.npy ...   of a segmentation its label map, in its own dtype: what the scoring parent reads
index.json                {"split": ..., "ids": [...], "affines": [... or null], "references": [...]} in the same order;
                          `references` has the class, or the numbers, of each case without a label map, and the dtype
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core.configuration import digest
from autoopt.core.store import Artifact, Store
from autoopt.errors import BadData, TrialError, UsageError
from autoopt.measure.files import INDEX, array_name
from autoopt.workloads.checks import reference_problem
from autoopt.workloads.contract import Case, Sample, SplitName, Workload

KIND = "cases"
VERSION = 3
REFERENCE = "reference-"
"""How the names of the label maps begin."""


def pack_cases(workload: Workload, split: SplitName, store: Store) -> Artifact:
    """The images and references of `split` as an artifact, made once per data and labels.

    Raises BadData or DataError naming the case that cannot be read, or whose reference has other labels.
    """
    ids = [case.id for case in workload.splits[split]]
    made_by = {
        "data": workload.data_digest,
        "split": split,
        "ids": digest(ids),
        "labels": list(workload.labels),
        "multilabel": workload.pipeline.activation == "sigmoid",
        "version": VERSION,
        **({"numbers": True} if workload.task == "regression" else {}),
    }
    key = digest(made_by)

    def build(folder: Path) -> Mapping[str, Any]:
        affines, references = [], []
        for index, case in enumerate(workload.splits[split]):
            sample = _read(workload, case)
            np.save(folder / array_name(index), np.asarray(sample.image), allow_pickle=False)
            affines.append(None if sample.affine is None else np.asarray(sample.affine, np.float64).tolist())
            reference = np.asarray(sample.reference)
            if workload.task == "segmentation":
                np.save(folder / _reference_name(index), reference, allow_pickle=False)
            else:
                references.append([reference.tolist(), reference.dtype.str])
        content = {"split": split, "ids": ids, "affines": affines, "references": references}
        (folder / INDEX).write_text(json.dumps(content))
        return {"cases": len(ids)}

    return store.get(KIND, key) or store.put(KIND, key, made_by, build)


class PackedReferences:
    """The references and affines of packed cases, each read when it is asked for."""

    def __init__(self, cases: Artifact) -> None:
        self._folder = cases.path
        index: dict[str, Any] = json.loads((cases.path / INDEX).read_text())
        self.ids: list[str] = index["ids"]
        self._affines, self._references = index["affines"], index["references"]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The reference of case number `index`, as the workload gave it, and its affine, (4, 4), or None."""
        affine = self._affines[index]
        if self._references:
            value, dtype = self._references[index]
            reference = np.array(value, np.dtype(dtype))
        else:
            reference = np.load(self._folder / _reference_name(index), allow_pickle=False)
        return reference, None if affine is None else np.asarray(affine, np.float64)


def _read(workload: Workload, case: Case) -> Sample:
    try:
        sample = case.read()
        image, reference = np.asarray(sample.image), np.asarray(sample.reference)
    except (TrialError, UsageError, MemoryError):
        raise
    except Exception as error:  # the reader may be the user's own code
        raise BadData(f"case {case.id!r} cannot be read: {type(error).__name__}: {error}") from error
    if image.dtype.kind not in "uifb":
        raise BadData(f"case {case.id!r} must be an array of real numbers, its image has dtype {image.dtype}")
    problem = reference_problem(workload, reference)
    if problem is not None:
        raise BadData(f"case {case.id} of {workload.name} {problem}")
    return sample


def _reference_name(index: int) -> str:
    return f"{REFERENCE}{index:05d}.npy"
