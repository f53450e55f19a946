"""Some cases of val answered again by the source model and by one trial, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoopt.core.records import TrialRecord
from autoopt.core.store import KIND, Artifact, Store
from autoopt.errors import StorageError, UsageError
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.postprocess import layers_of
from autoopt.measure.files import case_image
from autoopt.measure.measuring import predictions
from autoopt.measure.pack import PackedReferences, pack_cases
from autoopt.measure.subject import Subject
from autoopt.study.prepare import Prepared
from autoopt.study.replay import prepare_as_before
from autoopt.study.result import StudyResult
from autoopt.study.space import configured
from autoopt.study.trial.bench import answer_timeout_s

LONGEST_WAIT_S = 600.0
"""How long another measurement on this host may keep the predictions waiting."""


@dataclass(frozen=True)
class Answered:
    """A case with its reference and two answers, as `Pipeline.finish` gives them.

    `image` is (*spatial, channels). Of a segmentation `reference`, `source` and `chosen` are label maps, (*spatial), or
    0 / 1 in a last axis of labels; of a classification the reference is as `Sample` has it, the answers probabilities.
    `stack_axis` is the axis of slices of an image of three.
    """

    id: str
    image: np.ndarray
    reference: np.ndarray
    source: np.ndarray
    chosen: np.ndarray
    stack_axis: int


@dataclass(frozen=True)
class Answers:
    """Answered cases, and the pipeline and labels of their workload."""

    cases: tuple[Answered, ...]
    pipeline: Pipeline
    labels: tuple[str, ...]


def answered(
    result: StudyResult,
    reference: TrialRecord,
    record: TrialRecord,
    ids: Sequence[str],
    home: Path,
    on_stage: Callable[[str], None] = lambda stage: None,
    wait_s: float = LONGEST_WAIT_S,
) -> Answers:
    """The cases `ids` of val, answered by the artifacts of the `reference` and of `record` that the store still has.

    Nothing is made again and nothing is timed. `wait_s` is how long another measurement may keep it waiting.
    Raises StorageError for an artifact that is gone or altered, UsageError where workload, weights or data are not what
    they were, BusyError, TrialError.
    """
    store = Store(home / "store")
    artifacts = [_stored(item, store) for item in (reference, record)]
    prepared = prepare_as_before(result.card, home)
    packed = pack_cases(prepared.workload, "val", prepared.store)
    stored = PackedReferences(packed)
    if missing := [name for name in ids if name not in stored.ids]:
        raise UsageError(f"case {missing[0]} is not in val any more")
    indices = [stored.ids.index(name) for name in ids]
    on_stage("predict")
    with prepared.target.exclusive(wait_s=wait_s):
        found = [
            predictions(
                _subject(item, artifact, prepared, packed),
                prepared.target,
                timeout_s=answer_timeout_s(reference),
                only=indices,
            )
            for item, artifact in zip((reference, record), artifacts, strict=True)
        ]
    pipeline = prepared.workload.pipeline
    cases = []
    for place, index in enumerate(indices):
        image, (labels, affine) = case_image(packed.path, index), stored.read(index)
        source, chosen = (_comparable(answers[place], labels, pipeline) for answers in found)
        axis = 0 if pipeline.sliced or affine is None else 2
        cases.append(Answered(stored.ids[index], image, labels, source, chosen, axis))
    return Answers(tuple(cases), pipeline, tuple(prepared.workload.labels))


def _stored(record: TrialRecord, store: Store) -> Artifact:
    artifact = store.get(KIND, record.artifacts[-1]) if record.artifacts else None
    if artifact is None:
        raise StorageError(f"the files of trial #{record.number} are no longer in {store.root}")
    store.verify(artifact)
    return artifact


def _subject(record: TrialRecord, artifact: Artifact, prepared: Prepared, packed: Artifact) -> Subject:
    pipeline = configured(prepared.workload.pipeline, record.configuration)
    return Subject(artifact, record.configuration.runtime, pipeline, packed)


def _comparable(answer: np.ndarray, reference: np.ndarray, pipeline: Pipeline) -> np.ndarray:
    """An answer as its reference is: painted labels as the regions that they stand for."""
    painted = pipeline.paint and answer.shape == reference.shape[:-1]
    return layers_of(answer, pipeline) if painted else answer
