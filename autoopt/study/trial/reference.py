"""The reference that takes turns with every candidate: chosen, made and opened once, when the first trial needs it.

OpenVINO FP32 of the original where it can run, else PyTorch FP32, else the first seed that works.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

from autoopt.compress.maker import Maker
from autoopt.core.configuration import Configuration
from autoopt.core.store import Artifact
from autoopt.errors import TrialError
from autoopt.inference.runtimes import runtime
from autoopt.measure.launcher import Resident
from autoopt.measure.subject import Subject
from autoopt.measure.timing import Plan
from autoopt.study.result import OPENVINO_LABEL, REFERENCE_LABEL
from autoopt.study.space import Seed
from autoopt.workloads.contract import Workload

PREFERRED = (OPENVINO_LABEL, REFERENCE_LABEL)


class Yardstick:
    """The resident reference of a study; a context manager.

    `seeds` are those of the space, `level_s` what the reference took when the study began, None for a new one.
    `configuration` is the seed in use, None while there is none; `refused` says why others were not taken.
    """

    def __init__(
        self,
        workload: Workload,
        maker: Maker,
        seeds: Sequence[Seed],
        cases: Artifact,
        plan: Plan,
        *,
        level_s: float | None = None,
    ) -> None:
        exact = [seed for seed in seeds if seed.label.endswith("f32")]
        self._seeds = sorted(exact, key=lambda seed: PREFERRED.index(seed.label) if seed.label in PREFERRED else 9)
        self._workload, self._maker, self._cases, self._plan, self._level_s = workload, maker, cases, plan, level_s
        self._held = ExitStack()
        self._resident: Resident | None = None
        self.configuration: Configuration | None = None
        self.label = ""
        self.refused: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._held.close()

    def resident(self) -> Resident | None:
        """The open process of the reference, None where no seed can be one. Slow the first time."""
        while self._resident is None and self._seeds:
            seed = self._seeds.pop(0)
            try:
                self._resident = self._open(seed.configuration)
                self.configuration, self.label = seed.configuration, seed.label
            except TrialError as error:  # the seed's own trial tells it in full
                self.refused[seed.label] = error.message
        return self._resident

    def _open(self, configuration: Configuration) -> Resident:
        settings = configuration.section("runtime") or {}
        executes = runtime(str(settings["name"]))
        artifact = self._maker.export(executes.FORMAT, str(settings.get("precision", "f32")))
        subject = Subject(artifact, settings, self._workload.pipeline, self._cases, self._workload.latency)
        resident = Resident(subject, self._plan, level_s=self._level_s)
        with ExitStack() as opening:
            opening.enter_context(resident)
            resident.open()
            self._held.push(opening.pop_all())
        return resident
