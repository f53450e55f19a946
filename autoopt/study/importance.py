"""Which settings drive the objectives of a study: the importance of each, by Optuna, from the records alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.compress import STEPS, step
from autoopt.core.configuration import Scalar
from autoopt.core.records import CONTROL, TrialRecord
from autoopt.study.numbers import objectives
from autoopt.study.result import StudyResult

if TYPE_CHECKING:
    import optuna

LEAST_TRIALS = 20
"""Fewer measured trials say little of what drives anything."""
LEAST_EXPLAINED = 0.1
"""Where the settings explain less of the differences, a forest only learns the noise and its shares mean nothing."""
OFF = "off"
"""Stands for a setting of a step that is off, or that another runtime has no use for."""
_RUNTIME = "runtime.name"
_TREES, _SEED = 64, 0
_MOST_CHOICES = 8
"""A number with more values counts as a number where the differences are explained, one with fewer as a choice."""
_RIDGE = 1.0


@dataclass(frozen=True)
class Importance:
    """What drives one objective: the share of each setting, largest first, which add up to one.

    `trials` is how many it was learnt from, `explained` the fraction of the differences between them that the settings
    foretell, each trial by the others. Without shares, `why_not` says why there are none.
    """

    objective: str
    trials: int
    shares: Mapping[str, float]
    explained: float = 0.0
    why_not: str = ""


def importances(result: StudyResult) -> tuple[Importance, ...]:
    """The importance of the settings for each objective, the same on every call.

    A random forest learns the objective (its logarithm where ratios count) from the settings; a setting has the share
    of the variance that the splits at it take away (`optuna.importance`, mean decrease in impurity). Of Optuna's
    evaluators it is the one that takes less than a second for hundreds of trials and sees what acts on all of them.
    """
    records = comparable(result)
    settings = settings_that_vary(records)
    return tuple(_importance(name, records, settings) for name in result.card.objectives)


def comparable(result: StudyResult) -> tuple[TrialRecord, ...]:
    """The judged trials with all objectives, also those that break a limit; without duplicates and controls."""
    chosen = [objectives()[name] for name in result.card.objectives]
    return tuple(
        record
        for record in result.judged
        if record.origin != CONTROL
        and record.number not in result.duplicates
        and record.measurement is not None
        and record.quality is not None
        and all(number.known(record) for number in chosen)
    )


def settings_that_vary(records: Sequence[TrialRecord]) -> dict[str, tuple[Scalar, ...]]:
    """The settings that differ between records, by dotted name: a value for each record, `OFF` where it has none.

    Of settings that vary only together one is kept, that which switches its step. One that only says again whether its
    step is on is left out.
    """
    flat = [record.configuration.flat() for record in records]
    names = sorted(
        {name for point in flat for name in point if "." in name}, key=lambda name: (not _switches(name), name)
    )
    columns = {name: tuple(_or_off(point.get(name)) for point in flat) for name in names}
    kept: dict[str, tuple[Scalar, ...]] = {}
    for name in sorted(columns, key=lambda name: _one_value(columns[name])):
        values = columns[name]
        finer = _one_value(values) and any(_tells(other, values) for other in kept.values())
        if len(set(map(repr, values))) > 1 and not finer and _parts(values) not in map(_parts, kept.values()):
            kept[name] = values
    return dict(sorted(kept.items()))


def _or_off(value: Scalar) -> Scalar:
    return OFF if value is None else value


def _switches(name: str) -> bool:
    section, _, key = name.partition(".")
    return name == _RUNTIME or (section in STEPS and key == getattr(step(section), "SWITCH", ""))


def _one_value(values: Sequence[Scalar]) -> bool:
    """Whether it has one value wherever it is on."""
    return len({repr(value) for value in values if value != OFF}) < 2


def _parts(values: Sequence[Scalar]) -> tuple[int, ...]:
    """Which records have the same value, whatever it is."""
    codes: dict[str, int] = {}
    return tuple(codes.setdefault(repr(value), len(codes)) for value in values)


def _tells(one: Sequence[Scalar], other: Sequence[Scalar]) -> bool:
    """Whether the value of `one` always says that of `other`."""
    pairs = set(zip(map(repr, one), map(repr, other), strict=True))
    return len({first for first, _ in pairs}) == len(pairs)


def _importance(name: str, records: Sequence[TrialRecord], settings: Mapping[str, Sequence[Scalar]]) -> Importance:
    number = objectives()[name]
    values = [number.told(record) for record in records]
    explained = 0.0
    if len(records) < LEAST_TRIALS:
        why_not = f"too few trials to say: {len(records)} were measured and scored, it takes {LEAST_TRIALS}"
    elif not settings:
        why_not = "no setting differs between the trials"
    elif max(values) - min(values) == 0:
        why_not = f"all {len(records)} trials have the same {name}"
    else:
        explained = explained_fraction(settings, values)
        few = f"the settings foretell only {100 * explained:.0f} % of the differences between {len(records)} trials"
        why_not = f"{few}: shares would be noise" if explained < LEAST_EXPLAINED else ""
    return Importance(name, len(records), {} if why_not else _shares(settings, values), explained, why_not)


def explained_fraction(settings: Mapping[str, Sequence[Scalar]], values: Sequence[float]) -> float:
    """The fraction of the differences between `values` that the settings explain, 0 to 1, by leave-one-out.

    Each trial is foretold by the others, as the sum of what its settings do (ridge regression).
    """
    x = np.column_stack([column for name in settings for column in _columns(settings[name])])
    y = np.asarray(values, dtype=np.float64)
    n = len(y)
    x = x - x.mean(axis=0)
    hat = x @ np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T) + 1 / n
    alone = (y - hat @ y) / (1 - np.minimum(np.diag(hat), 1 - 1e-9))
    from_mean = (y - y.mean()) * n / (n - 1)
    return float(np.clip(1 - np.sum(alone**2) / np.sum(from_mean**2), 0, 1))


def _columns(values: Sequence[Scalar]) -> list[np.ndarray]:
    """A setting as columns of numbers: one for each of few values, else its rank and whether it is on."""
    texts = np.array(list(map(repr, values)))
    different = sorted(set(texts))
    if len(different) <= _MOST_CHOICES or not all(_is_number(item) or item == OFF for item in values):
        return [(texts == text).astype(float) for text in different]
    numbers = _numbers(values)
    ranks = [0 if item == OFF else 1 + numbers.index(item) for item in values]
    return [np.array(ranks) / len(numbers), np.array([item != OFF for item in values], dtype=float)]


def _shares(settings: Mapping[str, Sequence[Scalar]], values: Sequence[float]) -> dict[str, float]:
    import optuna
    from optuna.importance import MeanDecreaseImpurityImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    study.add_trials(_as_trials(settings, values))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = MeanDecreaseImpurityImportanceEvaluator(n_trees=_TREES, seed=_SEED)
        found = get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in sorted(found.items(), key=lambda item: (-item[1], item[0]))}


def _as_trials(settings: Mapping[str, Sequence[Scalar]], values: Sequence[float]) -> list[optuna.trial.FrozenTrial]:
    """The settings as Optuna knows them: numbers by their rank, with `OFF` below all; all else as choices."""
    import optuna

    known: dict[str, Any] = {}
    columns: dict[str, list[Any]] = {}
    for name, column in settings.items():
        numbers = _numbers(column)
        if len(numbers) > 1 and all(_is_number(item) or item == OFF for item in column):
            known[name] = optuna.distributions.IntDistribution(0, len(numbers))
            columns[name] = [0 if item == OFF else 1 + numbers.index(item) for item in column]
        else:
            columns[name] = [str(item) for item in column]
            known[name] = optuna.distributions.CategoricalDistribution(sorted(set(columns[name])))
    return [
        optuna.trial.create_trial(
            params={name: column[place] for name, column in columns.items()}, distributions=known, value=value
        )
        for place, value in enumerate(values)
    ]


def _numbers(values: Sequence[Scalar]) -> list[Scalar]:
    """All numbers among the values, from small to large."""
    found = {float(item): item for item in values if isinstance(item, int | float) and not isinstance(item, bool)}
    return [found[key] for key in sorted(found)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
