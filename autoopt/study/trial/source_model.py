"""The predictions of the source model, kept so that those of every trial can be compared with them voxel by voxel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.compress.export import form_of
from autoopt.compress.maker import Maker
from autoopt.core.configuration import digest
from autoopt.core.process import USUAL_TIMEOUT_S
from autoopt.core.store import Artifact, Store
from autoopt.errors import TargetLost, TrialError
from autoopt.inference.runtimes import EXACT
from autoopt.measure.files import array_name, case_ids
from autoopt.measure.station import Station
from autoopt.measure.subject import Subject
from autoopt.study.space import Seed
from autoopt.workloads.contract import Workload

KIND = "predictions"


class SourceModel:
    """The predictions of the first of `seeds` that runs in FP32 on the packed `cases`: made once, kept in the store."""

    def __init__(
        self,
        workload: Workload,
        maker: Maker,
        station: Station[Any, Any],
        seeds: Sequence[Seed],
        cases: Artifact,
        store: Store,
    ) -> None:
        self._workload, self._maker, self._station = workload, maker, station
        self._cases, self._store = cases, store
        self._seeds = [seed for seed in seeds if seed.label.endswith(EXACT)]

    @cached_property
    def predictions(self) -> list[np.ndarray]:
        """One array per case, as `Pipeline.finish` gives it. Raises the TrialError of the last seed when none runs."""
        error: TrialError | None = None
        for seed in self._seeds:
            try:
                folder = self._kept(seed).path
            except TargetLost:
                raise
            except TrialError as caught:
                error = caught
                continue
            count = len(case_ids(self._cases.path))
            return [np.load(folder / array_name(index), allow_pickle=False) for index in range(count)]
        raise error or TrialError("no seed of the space runs the source model in FP32", stage="source")

    def _kept(self, seed: Seed) -> Artifact:
        settings = seed.configuration.runtime
        artifact = self._maker.export(*form_of(settings))
        pipeline = self._workload.pipeline
        made_by = {
            "model": artifact.key,
            "runtime": dict(settings),
            "pipeline": pipeline.to_json(),
            "cases": self._cases.key,
        }

        def build(folder: Path) -> Mapping[str, int]:
            found = self._station.predictions(
                Subject(artifact, settings, pipeline, self._cases), timeout_s=USUAL_TIMEOUT_S
            )
            for index, array in enumerate(found):
                np.save(folder / array_name(index), array, allow_pickle=False)
            return {"cases": len(found)}

        return self._store.get(KIND, digest(made_by)) or self._store.put(KIND, digest(made_by), made_by, build)
