"""Training as a part of compression steps: the settings that they share, and how a changed network is trained."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.errors import Numeric
from autoopt.inference.runtimes import has_network
from autoopt.inference.runtimes.shared import trains_bf16

if TYPE_CHECKING:
    import torch

    from autoopt.nets.recovery import Recovery
    from autoopt.workloads.contract import Workload

UNITS = ("steps", "epochs")

PARAMETERS: Mapping[str, Parameter] = {
    "batch": Parameter(
        "integer",
        None,
        "examples of a training step; null: as in the workload's recipe",
        low=2,
        high=256,
        nullable=True,
    ),
    "unit": Parameter(
        "choice", "steps", "what `steps` counts: steps, or epochs (each of all examples to learn from)", UNITS
    ),
    "seconds": Parameter(
        "number",
        None,
        "a training that took as long ends at its next look at the hold-out; null: no limit",
        low=1.0,
        high=1e6,
        nullable=True,
    ),
    "learning_rate": Parameter(
        "number",
        None,
        "the highest learning rate of a training; null: that of the workload's recipe",
        low=1e-6,
        high=1.0,
        nullable=True,
    ),
    "qat": Parameter(
        "flag",
        False,
        "quantization-aware training: weights and inputs are rounded to 8 bits, so that quantizing loses less",
    ),
    "distil": Parameter(
        "flag",
        True,
        "whether it learns from the answers of the whole network (distillation), or from the references",
    ),
    "training_precision": Parameter(
        "choice",
        "auto",
        "arithmetic of training; auto is bf16 where the CPU has it, which is faster",
        ("auto", "f32", "bf16"),
    ),
}


TRAINING_ONLY = ("unit", "seconds", "learning_rate", "qat", "distil", "training_precision")
"""The settings that have no effect without training steps."""


def canonical(
    step: Mapping[str, Parameter],
    switch: str,
    settings: Mapping[str, Scalar],
    runtime: Mapping[str, Scalar],
    host: Host,
) -> dict[str, Scalar] | None:
    """The canonical `settings` of a step with the parameters `step`; None where `switch` is off or nothing is real.

    Defaults are filled in and `training_precision` is that of this host; without steps, `TRAINING_ONLY` is left out.
    """
    known = {name: settings.get(name, parameter.default) for name, parameter in step.items()}
    if not known[switch] or not has_network(str(runtime["name"])):
        return None
    if not known["steps"]:
        return {name: value for name, value in known.items() if name not in TRAINING_ONLY}
    for name, usual in (("unit", UNITS[0]), ("distil", True)):  # so that what was made before is found
        if known[name] == usual:
            del known[name]
    if known["training_precision"] == "auto":
        known["training_precision"] = precision_on(host)
    return known


def precision_on(host: Host) -> str:
    """The arithmetic of training that is fastest on a host."""
    return "bf16" if trains_bf16(host) else "f32"


def steps_of(settings: Mapping[str, Scalar], workload: Workload) -> int:
    """The training steps that settings ask for; an epoch is all cases that are not held out."""
    from autoopt.nets.holdout import split

    count = int(settings.get("steps") or 0)
    if settings.get("unit") != "epochs":
        return count
    return math.ceil(count * len(split(workload.splits.train)[0]) / batch_of(settings, workload))


def batch_of(settings: Mapping[str, Scalar], workload: Workload) -> int:
    """The examples of a training step: those of the settings, else of the workload's recipe."""
    return int(settings.get("batch") or workload.recipe.batch)


def plan_of(settings: Mapping[str, Scalar], workload: Workload) -> Recovery:
    """The training that the settings of a step ask for."""
    from autoopt.nets.recovery import Recovery

    return Recovery(
        steps=steps_of(settings, workload),
        batch=batch_of(settings, workload),
        learning_rate=float(settings.get("learning_rate") or workload.recipe.learning_rate),
        bf16=settings.get("training_precision") == "bf16",
        qat=bool(settings.get("qat")),
        clip=bool(settings.get("clip")),
        seconds=float(settings.get("seconds") or math.inf),
        distil=settings.get("distil") is not False,
    )


class Before:
    """The size, the answer's shape and the time before a step changes a network, and the training afterwards."""

    def __init__(self, model: torch.nn.Module, workload: Workload) -> None:
        import torch

        from autoopt.nets.files import size_of

        self._began = time.perf_counter()
        self._workload = workload
        self.batch = torch.zeros(workload.pipeline.input_shape)
        self._before, self.shape = size_of(model, self.batch), tuple(model(self.batch).shape)

    def train(
        self,
        settings: Mapping[str, Scalar],
        model: torch.nn.Module,
        teacher: torch.nn.Module,
        *,
        skips: bool = False,
    ) -> dict[str, Any]:
        """Train the changed `model` in place to answer as `teacher` does, or as the references do.

        `skips` is that of `Recovery`.

        The report has parameters and multiply-accumulates (of one call) now, before the step and as a share of the
        teacher's, the report of the recovery, and the seconds of the step. Raises Numeric where the answer has another
        shape than before or is not finite.
        """
        import torch

        from autoopt.nets import recovery
        from autoopt.nets.files import size_of

        if (shape := tuple(model(self.batch).shape)) != self.shape:
            raise Numeric(f"the changed network must answer with shape {self.shape}, it gives {shape}")
        plan = replace(plan_of(settings, self._workload), skips=skips)
        report = recovery.recover(model, teacher, self._workload, plan)
        if not torch.isfinite(model(self.batch)).all():
            raise Numeric("the trained network must answer with finite numbers, it does not")
        before, after, whole = self._before, size_of(model, self.batch), size_of(teacher, self.batch)
        return {
            "parameters": after.parameters,
            "parameters_before": before.parameters,
            "parameters_left": after.parameters / whole.parameters,
            "macs": after.macs,
            "macs_before": before.macs,
            "macs_left": after.macs / max(1, whole.macs),
            "recovery": report,
            "seconds": time.perf_counter() - self._began,
        }
