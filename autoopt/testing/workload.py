"""What every workload must do: the contract of `workloads.contract.Workload`, as tests and as sentences."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from autoopt.errors import UsageError
from autoopt.inference.pipeline import Pipeline
from autoopt.measure.quality import chosen_metrics, predictions_of, score
from autoopt.workloads.checks import check_workload, reference_problem
from autoopt.workloads.contract import SPLITS, Sample, Workload


class WorkloadContract:
    """What every workload must do. Override `workload`."""

    def workload(self) -> Workload:
        """The workload to check."""
        raise TypeError("override `workload` to return the workload to check")

    def test_splits_are_disjoint_and_filled(self) -> None:
        """Every split has cases, and no case or group is in two splits."""
        _none(_split_problems(self.workload()))

    def test_cases_fit_the_pipeline(self) -> None:
        """The first case of every split can be read, prepared and has a reference of the right form."""
        _none(_case_problems(self.workload()))

    def test_pipeline_survives_json(self) -> None:
        """The pipeline is plain data: JSON and back gives the same pipeline."""
        _none(_pipeline_problems(self.workload()))

    def test_metrics_are_known(self) -> None:
        """Every metric exists and fits the task, and a perfect prediction scores best."""
        _none(_metric_problems(self.workload()))

    def test_model_fits_the_pipeline(self) -> None:
        """The model maps the pipeline's input shape to one value per class (and per pixel), finite."""
        _none(_model_problems(self.workload()))


def workload_problems(workload: Workload) -> list[str]:
    """Everything that breaks the workload contract, a sentence each; empty when it is kept."""
    checks: tuple[Callable[[Workload], Iterator[str]], ...] = (
        _split_problems,
        _case_problems,
        _pipeline_problems,
        _metric_problems,
        _model_problems,
    )
    return [problem for check in checks for problem in check(workload)]


def _none(problems: Iterator[str]) -> None:
    found = list(problems)
    assert not found, "\n".join(found)


def _split_problems(workload: Workload) -> Iterator[str]:
    try:
        check_workload(workload)
    except UsageError as error:
        yield from error.problems


def _case_problems(workload: Workload) -> Iterator[str]:
    for split in SPLITS:
        for case in workload.splits[split][:1]:
            try:
                sample = case.read()
                workload.pipeline.prepare(sample.image, sample.affine)
            except Exception as error:  # a user's reader may raise anything: it is the finding
                yield f"case {case.id} of {split} cannot be read and prepared: {type(error).__name__}: {error}"
                continue
            yield from _reference_problems(workload, case.id, sample)


def _reference_problems(workload: Workload, case_id: str, sample: Sample) -> Iterator[str]:
    reference = np.asarray(sample.reference)
    expected = sample.image.shape[: workload.pipeline.dimensions] if workload.task == "segmentation" else ()
    expected += (len(workload.labels),) if workload.pipeline.activation in ("sigmoid", "identity") else ()
    if reference.shape != expected:
        yield f"the reference of {case_id} must have shape {expected}, it has {reference.shape}"
    elif (problem := reference_problem(workload, reference)) is not None:
        yield f"case {case_id} {problem}"


def _pipeline_problems(workload: Workload) -> Iterator[str]:
    again = Pipeline.from_json(json.loads(json.dumps(workload.pipeline.to_json())))
    if again != workload.pipeline:
        yield f"the pipeline changes when written as JSON and read back: {workload.pipeline} became {again}"


def _metric_problems(workload: Workload) -> Iterator[str]:
    try:
        chosen_metrics(workload)
    except UsageError as error:
        yield from error.problems
        return
    try:
        perfect = score(workload, "val", [_perfect(workload, case.read()) for case in workload.splits.val])
    except Exception as error:  # a user's reader may raise anything: it is the finding
        yield f"the references of val cannot be scored: {type(error).__name__}: {error}"
        return
    best = 0.0 if perfect.less_is_better else 1.0
    own = perfect.primary in {
        item.name for item in workload.own_metrics
    }  # what its best value is only its author knows
    if not own and not np.isclose(perfect.value, best):
        yield f"a perfect prediction must score {best:g} in {perfect.primary}, it scores {perfect.value:g}"


def _perfect(workload: Workload, sample: Sample) -> np.ndarray:
    return predictions_of(workload, np.asarray(sample.reference))[0]


def _model_problems(workload: Workload) -> Iterator[str]:
    if workload.build is None:
        return  # the export of a finished graph is checked when it is made
    import torch

    from autoopt.nets.outputs import build

    pipeline = workload.pipeline
    model = build(workload).eval()

    with torch.no_grad():
        output = model(torch.zeros(pipeline.input_shape)).numpy()
    spatial = pipeline.tile if workload.task == "segmentation" else ()
    expected = (1, len(workload.labels), *spatial)
    if output.shape != expected:
        yield f"the model must map {pipeline.input_shape} to {expected}, it gives {output.shape}"
    elif not np.all(np.isfinite(output)):
        yield "the model gives NaN or infinity for an image of zeros"


def main(arguments: list[str]) -> int:
    """`python -m autoopt.testing FILE.py:FUNCTION [DIR]`: print what breaks the contract, 0 when nothing does."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from autoopt.workloads.loading import load_workload

    with TemporaryDirectory() as home:
        try:
            data = Path(arguments[1]) if len(arguments) > 1 else None
            problems: Sequence[str] = workload_problems(load_workload(arguments[0], data, Path(home)))
        except UsageError as error:
            problems = error.problems
    sys.stdout.write(("\n".join(problems) or f"{arguments[0]} keeps the contract") + "\n")
    return 1 if problems else 0
