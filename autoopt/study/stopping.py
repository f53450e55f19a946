"""When enough was measured: of a running trial, of the trials whose place on the front is not sure, of the front."""

from __future__ import annotations

import numpy as np

from autoopt.core.pareto import hypervolume
from autoopt.core.records import TrialRecord
from autoopt.measure.turns import Clear, FarFrom, never
from autoopt.study import numbers, uncertainty
from autoopt.study.limits import LATENCY, LATENCY_BOUND, violations
from autoopt.study.result import StudyResult
from autoopt.study.surrogate import WORST

CONTESTED = (0.1, 0.9)
"""The probabilities to be on the front between which a trial is contested."""
NOISE_DRAWS = 100
"""Of the numbers of the front: a standard deviation is known to a tenth by them."""
MOST_PROCESSES = 10
"""A trial that was measured so often is not measured again."""


def enough(record: TrialRecord, study: StudyResult) -> str:
    """Why no further process of a running, scored trial is needed; "" while there is no reason to stop."""
    same, record = study.runs_as(record), study.as_next(record)
    if same is not None:
        return f"it runs what #{same} runs"
    if record.quality is not None and record.quality.left_out:
        count = len(record.quality.cases)
        return f"it surely loses too much on {count} of {count + record.quality.left_out} cases"
    others = [numbers.objectives()[name] for name in study.card.objectives if name not in ("latency", "quality")]
    return uncertainty.verdict(
        record,
        study.front,
        study.sigma,
        broken=_surely_broken(record, study),
        worse=lambda a, b: all(number.known(a) and number.minimised(a) >= number.minimised(b) for number in others),
    )


def clear(study: StudyResult) -> Clear:
    """When a running trial is so much faster or slower than each member of the front that nothing hangs on it."""
    ratios = [member.measured.relative for member in study.front]
    known = tuple(ratio for ratio in ratios if ratio is not None)
    return FarFrom(known, study.sigma) if len(known) == len(ratios) else never


def contested(study: StudyResult) -> tuple[TrialRecord, ...]:
    """The trials whose place on the front hangs on a latency not told from another's, the least measured first.

    Where only quality is not told apart, measuring again would not help. A reference or a member that was measured
    in one process only is contested as well.
    """
    low, high = CONTESTED
    thin = {
        record.number: record
        for record in (study.reference, study.openvino_f32, *study.front)
        if record is not None and record.measurement is not None and record.measurement.processes < 2
    }
    probabilities = study.front_probabilities
    rivals = [record for record in study.complete if probabilities[record.number] > low]
    found = list(thin.values()) + [
        record
        for record in rivals
        if record.number not in thin
        and probabilities[record.number] < high
        and record.measured.processes < MOST_PROCESSES
        and any(
            other is not record and uncertainty.same_speed(record.measured, other.measured, study.sigma)
            for other in rivals
        )
    ]
    doubt = {record.number: abs(probabilities.get(record.number, 1.0) - 0.5) for record in found}
    return tuple(sorted(found, key=lambda r: (r.measured.processes, doubt[r.number], r.number)))


def hypervolume_noise(study: StudyResult) -> float:
    """The standard deviation of the hypervolume of the front under the noise of its numbers, as a share of it.

    The corner is a little beyond the worst complete trial. What all members have in common, such as how hard the
    patients are, is no noise. 0 while there is no front.
    """
    members, every = study.front, study.complete
    if not members:
        return 0.0
    known = study.log_points(every)
    span = known.max(axis=0) - known.min(axis=0)
    corner = known.max(axis=0) + WORST * np.where(span > 0, span, 1.0)
    columns = {name: index for index, name in enumerate(study.card.objectives)}
    points = study.points(members)
    draws = uncertainty.drawn_points(members, study.sigma, points, columns)
    if "quality" in columns:  # other patients would move all trials alike, and the corner with them
        draws[:, :, columns["quality"]] -= (draws - points)[:, :, columns["quality"]].mean(axis=1, keepdims=True)
    found = np.array([hypervolume(study.logarithms(draw), corner) for draw in draws])
    return float(found.std() / found.mean()) if found.mean() > 0 else 0.0


def objective_noise(study: StudyResult) -> tuple[float, ...]:
    """What noise makes of the difference of two neighbours on the front, in each objective as samplers get it.

    Each is the median of the standard deviations. Empty where the front has fewer than two members.
    """
    members = study.front
    if len(members) < 2:
        return ()
    columns = {name: index for index, name in enumerate(study.card.objectives)}
    points = study.points(members)
    draws = uncertainty.drawn_points(members, study.sigma, points, columns, draws=NOISE_DRAWS)
    differences = np.diff(np.stack([study.logarithms(draw) for draw in draws]), axis=1)
    return tuple(map(float, np.median(differences.std(axis=0), axis=0)))


def _surely_broken(record: TrialRecord, study: StudyResult) -> list[str]:
    """The limits that more processes would not let the record keep: those of quality, and latency beyond noise."""
    limits = study.card.limits
    excess = violations(record, study.reference or record, limits, study.sigma)
    low, _ = uncertainty.latency_interval(record.measured, study.sigma, confidence=2 * uncertainty.SURE - 1)
    return [
        name
        for name, value in excess.items()
        if value > 0 and (name not in (LATENCY, LATENCY_BOUND) or low > limits[name])
    ]
