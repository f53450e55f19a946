"""The images of one split as plain arrays on disk: what a worker reads, without the workload and its libraries.

00000.npy ...    one image each, channels last, in its own dtype
index.json       {"split": ..., "ids": [...], "affines": [... or null]} in the same order
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
from autoopt.workloads.contract import SplitName, Workload

KIND = "cases"
VERSION = 2


def pack_cases(workload: Workload, split: SplitName, store: Store) -> Artifact:
    """The images of `split` as an artifact, made once per data. Raises BadData or DataError naming the case."""
    ids = [case.id for case in workload.splits[split]]
    made_by = {"data": workload.data_digest, "split": split, "ids": digest(ids), "version": VERSION}
    key = digest(made_by)

    def build(folder: Path) -> Mapping[str, Any]:
        affines = []
        for index, case in enumerate(workload.splits[split]):
            try:
                sample = case.read()
                image = np.asarray(sample.image)
            except (TrialError, UsageError, MemoryError):
                raise
            except Exception as error:  # the reader may be the user's own code
                raise BadData(f"case {case.id!r} cannot be read: {type(error).__name__}: {error}") from error
            if image.dtype.kind not in "uifb":
                raise BadData(f"case {case.id!r} must be an array of real numbers, its image has dtype {image.dtype}")
            np.save(folder / array_name(index), image, allow_pickle=False)
            affines.append(None if sample.affine is None else np.asarray(sample.affine, np.float64).tolist())
        (folder / INDEX).write_text(json.dumps({"split": split, "ids": ids, "affines": affines}))
        return {"cases": len(ids)}

    return store.get(KIND, key) or store.put(KIND, key, made_by, build)
