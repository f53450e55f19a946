"""Checks of a workload: no patient in two splits, no empty split, labels that fit the pipeline, valid references."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from autoopt.core.plain_text import short
from autoopt.errors import WorkloadError
from autoopt.workloads.contract import IGNORED, SPLITS, SplitName, Splits, Workload
from autoopt.workloads.own_metrics import name_problems
from autoopt.workloads.splitting import may_share_a_group

MOST_PROBLEMS = 20
"""More are counted, not listed."""


def check_workload(workload: Workload) -> None:
    """Raise WorkloadError with everything that is wrong with the splits, labels and settings of a workload.

    Reads no case.
    """
    problems = [
        f"{workload.name}: {text}" for text in (*_split_problems(workload.splits), *_setting_problems(workload))
    ]
    if problems:
        raise WorkloadError(*first_problems(problems))


def first_problems(problems: list[str]) -> list[str]:
    """The first `MOST_PROBLEMS` problems, and how many more there are."""
    more = len(problems) - MOST_PROBLEMS
    return problems if more <= 0 else [*problems[:MOST_PROBLEMS], f"... and {more} more"]


def reference_problem(workload: Workload, reference: np.ndarray) -> str | None:
    """What is wrong with the dtype, labels or values of a case's reference, as the end of a sentence, or None."""
    labels, multilabel = len(workload.labels), workload.pipeline.activation == "sigmoid"
    if workload.task == "regression":
        fits = reference.dtype.kind in "buif" and reference.shape == (labels,) and bool(np.isfinite(reference).all())
        what = f"must have {labels} finite number(s), shape ({labels},), for its reference"
        return None if fits else f"{what}, got {reference.dtype} {reference.shape} {short(reference.tolist())}"
    most = 1 if multilabel else labels - 1
    wanted = f"must have whole numbers from 0 to {most}, or {IGNORED} to be left out, for its reference"
    if reference.dtype.kind not in "bui" or reference.size == 0:
        return f"{wanted}, got {reference.dtype} {reference.shape}"
    if multilabel and (reference.ndim == 0 or reference.shape[-1] != labels):
        return f"must have a last axis of {labels} labels in its reference, got shape {reference.shape}"
    known = reference[reference != IGNORED]
    if known.size and (known.min() < 0 or known.max() > most):
        return f"{wanted}, got {reference.dtype} {reference.shape} from {known.min()} to {known.max()}"
    return None


def _split_problems(splits: Splits) -> Iterator[str]:
    """Empty splits, cases that are there twice, and groups in two splits, each group once per split."""
    seen_cases: dict[str, SplitName] = {}
    seen_groups: dict[str, SplitName] = {}
    leaks: set[tuple[str, SplitName]] = set()
    for split in SPLITS:
        if not splits[split]:
            yield f"the split {split!r} has no cases; every split needs at least one"
        for case in splits[split]:
            if case.id in seen_cases:
                yield f"case {case.id!r} is in {seen_cases[case.id]} and again in {split}"
            seen_cases[case.id] = split
            other = seen_groups.setdefault(case.group, split)
            if not may_share_a_group(other, split) and (case.group, split) not in leaks:
                leaks.add((case.group, split))
                yield f"group {case.group!r} is in {other} and in {split}: patients must not leak"


def _setting_problems(workload: Workload) -> Iterator[str]:
    fewest = 1 if workload.task == "regression" else 2
    if len(workload.labels) < fewest:
        yield f"at least {'one label is' if fewest == 1 else 'two labels are'} needed, got {list(workload.labels)}"
    if workload.task != workload.pipeline.task:
        yield f"the task is {workload.task}, that of the pipeline is {workload.pipeline.task}: they must be one"
    if (workload.build is None) == (workload.graph is None):
        yield "either `build` or `graph` must say what the model is, and not both"
    if workload.build is not None and workload.pipeline.output != "logits":
        yield "the network must answer with logits, as it is trained on them: leave softmax or sigmoid to the pipeline"
    if workload.pipeline.classes != len(workload.labels):
        yield f"the pipeline has {workload.pipeline.classes} classes, the labels are {', '.join(workload.labels)}"
    if workload.latency == "tile" or workload.pipeline.takes_pixels:
        yield "latency must be call or case and in_graph of the pipeline none: a space offers the rest"
    if not workload.metrics:
        yield "at least one metric is needed, the first one is the primary"
    yield from name_problems(workload.own_metrics)
    for own in workload.own_metrics:
        if own.name not in workload.metrics:
            yield f"the metric {own.name} of your own must be among the metrics, they are {', '.join(workload.metrics)}"
