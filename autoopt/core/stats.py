"""Statistics on plain arrays: pure functions, no state, no units of their own."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike

CONFIDENCE = 0.95
"""Of every interval and bound, unless said otherwise."""
PRIOR_DEGREES = 4
"""How many processes the usual noise is worth beside those that were measured."""
FAR = 4.0
"""Standard errors: so far apart, no further process would change the order of two ratios."""
CLEAR = 1.25
"""A ratio of latencies that no noise of a process makes, whatever the few samples of it say of their error."""


def quantile(values: ArrayLike, q: float) -> float:
    """The `q`-quantile (0..1) by linear interpolation. Raises ValueError when there are no values."""
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("a quantile needs at least one value, got none")
    return float(np.quantile(array, q))


def mean_over_groups(values: Sequence[float | None], groups: Sequence[str]) -> float:
    """The mean over groups of the mean over each group's defined values.

    A patient with ten tiles counts as much as one with a single tile. Groups without any defined
    value do not enter; the caller reports how many values were undefined. Raises ValueError when no
    value is defined at all.
    """
    means = group_means(values, groups)
    if not means:
        raise ValueError("an aggregate needs at least one defined value, got none")
    return float(np.mean(list(means.values())))


def relative_spread(values: ArrayLike) -> float:
    """Interquartile range over median: a robust, unit-free spread; 0 where the median is not above 0.

    Raises ValueError when there are no values.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("a spread needs at least one value, got none")
    median = float(np.median(array))
    low, high = np.quantile(array, [0.25, 0.75])
    return float((high - low) / median) if median > 0 else 0.0


@dataclass(frozen=True)
class LogRatio:
    """The natural logarithm of a ratio of times, and the standard error that the samples alone give it.

    `values` are those of the independent processes behind it: what processes differ by, apart from their samples, is
    added by `with_process_noise`.
    """

    value: float
    error: float
    values: tuple[float, ...] = ()

    @property
    def processes(self) -> int:
        """How many independent processes are behind it."""
        return max(1, len(self.values))

    @property
    def ratio(self) -> float:
        """The ratio itself."""
        return math.exp(self.value)

    def with_process_noise(self, sigma: float) -> LogRatio:
        """The same with what processes differ by in its error: `sigma`, their usual standard deviation in logarithms.

        The variance of one process is expected to be that of its samples and `sigma` squared; what the processes at
        hand differ by is weighed against that by their number (a scaled inverse chi-squared prior of `PRIOR_DEGREES`).
        """
        count = self.processes
        expected = count * self.error**2 + sigma**2
        mean = math.fsum(self.values) / count
        seen = math.fsum((value - mean) ** 2 for value in self.values) / (count - 1) if count > 1 else 0.0
        variance = ((count - 1) * seen + PRIOR_DEGREES * expected) / (count - 1 + PRIOR_DEGREES)
        return replace(self, error=math.sqrt(variance / count))

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The two-sided interval of the ratio, by the normal approximation in logarithms."""
        reach = normal_quantile(0.5 + confidence / 2) * self.error
        return math.exp(self.value - reach), math.exp(self.value + reach)


def far_apart(a: LogRatio, b: LogRatio, sigma: float) -> bool:
    """Whether more samples or processes would not change which of two ratios to one reference is the larger.

    `sigma` is what processes of one thing differ by, as a standard deviation in logarithms.
    """
    error = math.hypot(a.with_process_noise(sigma).error, b.with_process_noise(sigma).error)
    return abs(a.value - b.value) > max(FAR * error, math.log(CLEAR))


def paired_ratio(
    processes: Sequence[Sequence[Sequence[float]]],
    references: Sequence[Sequence[Sequence[float]]],
    *,
    q: float = 0.25,
    resamples: int = 400,
    seed: int = 0,
) -> LogRatio:
    """How many times slower than the reference the calls are, from rounds in which both took a turn.

    Both arguments are processes of rounds of seconds per call, alike in processes and rounds. In a process the ratio is
    that of the `q`-quantiles of all calls; its error is that of a bootstrap over the rounds, each drawn with the
    turn of the reference beside it (Efron and Tibshirani 1993), so that what slows both down cancels. The
    processes are averaged in logarithms. Raises ValueError for unequal or empty rounds.
    """
    values = log_ratios(processes, references, q=q)
    drawn = _rounds_drawn(tuple(map(len, processes)), resamples, seed)
    variances = []
    for rounds, others, (weights, places) in zip(processes, references, drawn, strict=True):
        logs = np.log(_weighted_quantile(rounds, weights, q)) - np.log(_weighted_quantile(others, weights, q))
        logs = logs[places]
        # One round tells nothing of how rounds differ: its error is left to the noise between processes.
        variances.append(float(np.var(logs)) * len(rounds) / (len(rounds) - 1) if len(rounds) > 1 else 0.0)
    return LogRatio(float(np.mean(values)), math.sqrt(sum(variances)) / len(values), values)


@lru_cache(maxsize=64)  # most measurements have the same rounds
def _rounds_drawn(counts: tuple[int, ...], resamples: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """How often each of so many rounds is taken in each resample, of process after process.

    Few rounds are drawn in few ways: those (ways, rounds), and which of them each resample is (resamples,).
    """
    generator, found = np.random.default_rng(seed), []
    for count in counts:
        drawn = generator.multinomial(count, [1 / count] * count, size=resamples)
        ways, places = np.unique(drawn, axis=0, return_inverse=True)
        found.append((ways, places.reshape(-1)))
    return found


def log_ratios(
    processes: Sequence[Sequence[Sequence[float]]],
    references: Sequence[Sequence[Sequence[float]]],
    *,
    q: float = 0.25,
) -> tuple[float, ...]:
    """The logarithm of the ratio of each process, as `paired_ratio` averages them. Raises ValueError as it does."""
    if not processes or len(processes) != len(references):
        raise ValueError(f"a paired ratio needs processes beside theirs, got {len(processes)} and {len(references)}")
    values = []
    for rounds, others in zip(processes, references, strict=True):
        if not rounds or len(rounds) != len(others):
            raise ValueError(f"a paired ratio needs a turn beside each turn, got {len(rounds)} and {len(others)}")
        mine, theirs = (_quantile([call for calls in turns for call in calls], q) for turns in (rounds, others))
        values.append(math.log(mine) - math.log(theirs))
    return tuple(values)


def _quantile(values: Sequence[float], q: float) -> float:
    """The `q`-quantile as `np.quantile` has it: of a short list that takes ten times as long."""
    ordered, place = sorted(values), q * (len(values) - 1)
    below = math.floor(place)
    lower, upper = ordered[below], ordered[math.ceil(place)]
    return lower + (upper - lower) * (place - below)


def _quantiles(values: np.ndarray, shares: Sequence[float]) -> list[float]:
    """Several quantiles as `np.quantile` has them, of which it takes a third of the time."""
    places = [share * (len(values) - 1) for share in shares]
    ends = [(math.floor(place), math.ceil(place)) for place in places]
    ordered = np.partition(values, [end for pair in ends for end in pair])
    return [
        float(ordered[low] + (ordered[high] - ordered[low]) * (place - low))
        for place, (low, high) in zip(places, ends, strict=True)
    ]


def _weighted_quantile(rounds: Sequence[Sequence[float]], weights: np.ndarray, q: float) -> np.ndarray:
    """The `q`-quantile of all values when round i is taken `weights[:, i]` times: (resamples,)."""
    owners = np.repeat(np.arange(len(rounds)), [len(calls) for calls in rounds])
    values = np.concatenate([np.asarray(calls, dtype=np.float64) for calls in rounds])
    order = np.argsort(values, kind="stable")
    passed = np.cumsum(weights[:, owners[order]], axis=1)
    # The value at the fractional place q (n - 1) of n values, between its two neighbours, as np.quantile has it.
    places = q * (passed[:, -1] - 1)
    below, sorted_values = np.floor(places), values[order]
    lower = sorted_values[np.argmax(passed > below[:, None], axis=1)]
    upper = sorted_values[np.argmax(passed > np.ceil(places)[:, None], axis=1)]
    return np.asarray(lower + (upper - lower) * (places - below))


def process_noise(
    processes: Sequence[Sequence[Sequence[float]]],
    references: Sequence[Sequence[Sequence[float]]],
    *,
    q: float = 0.25,
) -> float:
    """The standard deviation of the log ratio between processes that run the same thing, beyond their own errors.

    Raises ValueError for fewer than two processes.
    """
    if len(processes) < 2:
        raise ValueError(f"noise between processes needs two of them, got {len(processes)}")
    alone = [paired_ratio([rounds], [others], q=q) for rounds, others in zip(processes, references, strict=True)]
    variance = float(np.var([item.value for item in alone], ddof=1)) - float(np.mean([item.error**2 for item in alone]))
    return math.sqrt(max(0.0, variance))


@dataclass(frozen=True)
class Drop:
    """What was lost against a reference, paired by group: the mean, its interval and its one-sided upper bound.

    `differences` are those of the groups, with at least two of them.
    """

    value: float
    low: float
    high: float
    upper: float
    groups: int
    differences: tuple[float, ...] = ()

    @cached_property
    def p_value(self) -> float:
        """That of the Wilcoxon signed-rank test over the groups, 1 where none differs or there is but one."""
        return signed_rank_p_value(self.differences)

    @property
    def tied(self) -> bool:
        """Whether the interval holds zero: the data do not tell the two apart."""
        return self.low <= 0.0 <= self.high


def paired_drop(before: ArrayLike, after: ArrayLike, *, resamples: int = 4000, seed: int = 0) -> Drop:
    """The mean of `before - after`, both (groups,), with bounds at 95 %.

    The wider of a bootstrap over groups and Student's interval counts: with a handful of patients the bootstrap alone
    is too narrow. One group has no interval: its bounds are infinite unless nothing differs. Raises ValueError for no
    groups or unequal ones.
    """
    differences = np.asarray(before, dtype=np.float64) - np.asarray(after, dtype=np.float64)
    if differences.ndim != 1 or not differences.size:
        raise ValueError(f"a drop needs one number per group, got the shape {differences.shape}")
    mean, count = float(differences.mean()), len(differences)
    if not np.any(differences):
        return Drop(0.0, 0.0, 0.0, 0.0, count)
    if count == 1:
        return Drop(mean, -math.inf, math.inf, math.inf, 1)
    means = _shares_drawn(count, resamples, seed) @ differences
    low, upper, high = _quantiles(means, (0.5 - CONFIDENCE / 2, CONFIDENCE, 0.5 + CONFIDENCE / 2))
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    two_sided, one_sided = (_student(p, count - 1) * error for p in (0.5 + CONFIDENCE / 2, CONFIDENCE))
    return Drop(
        mean,
        min(low, mean - two_sided),
        max(high, mean + two_sided),
        max(upper, mean + one_sided),
        count,
        tuple(differences.tolist()),
    )


@lru_cache(maxsize=8)  # all trials of a study have the same groups
def _shares_drawn(count: int, resamples: int, seed: int) -> np.ndarray:
    """The share of each of `count` groups in each resample, drawn with replacement: (resamples, count)."""
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    shares = np.zeros((resamples, count))
    np.add.at(shares, (np.arange(resamples)[:, None], drawn), 1 / count)
    return shares


def mean_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Student's interval of the mean of `values` (groups,), of 95 % by default; None for fewer than two."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        return None
    mean, error = float(array.mean()), float(array.std(ddof=1)) / math.sqrt(len(array))
    reach = _student(0.5 + confidence / 2, len(array) - 1) * error
    return mean - reach, mean + reach


@lru_cache(maxsize=4096)
def _student(probability: float, degrees: int) -> float:
    return float(student_quantile(probability, degrees))


def quantile_interval(values: ArrayLike, q: float) -> tuple[float, float] | None:
    """The 95 % interval of the `q`-quantile: two of the values, by the binomial distribution of how many lie below.

    It holds for any distribution of the values, if they are independent (Hahn and Meeker 1991). None where there are
    fewer than `values_needed`: then no value is surely beyond the quantile.
    """
    array = np.sort(np.asarray(values, dtype=np.float64))
    if len(array) < values_needed(q):
        return None
    low, high = _places_around(len(array), q)
    return float(array[low]), float(array[high])


@lru_cache(maxsize=4096)  # the same number of calls is timed again and again
def _places_around(count: int, q: float) -> tuple[int, int]:
    """The places, in order of size from 0, of the values that the `q`-quantile is between."""
    from scipy.special import bdtr  # scipy.stats says the same, but takes a second to import

    below = bdtr(np.arange(count + 1), count, q)  # the chance that at most so many of the values lie below
    low, high = (int(np.argmax(below >= p)) for p in (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2))
    return max(0, low - 1), min(high, count - 1)


def values_needed(q: float) -> int:
    """How many values an interval of the `q`-quantile (above 0, below 1) needs at least."""
    return math.ceil(math.log(0.5 - CONFIDENCE / 2) / math.log(max(q, 1 - q)))


def normal_quantile(probability: float) -> float:
    """The quantile of the standard normal distribution."""
    return statistics.NormalDist().inv_cdf(probability)


def student_quantile(probabilities: ArrayLike, degrees: int) -> np.ndarray:
    """Quantiles of Student's t distribution."""
    from scipy.special import stdtrit  # scipy.stats says the same, but takes a second to import

    return np.asarray(stdtrit(degrees, np.asarray(probabilities)))


def signed_rank_p_value(differences: ArrayLike) -> float:
    """The two-sided p-value of the Wilcoxon signed-rank test (1945), zeros left out; 1 when all are zero."""
    from scipy.stats import wilcoxon

    array = np.asarray(differences, dtype=np.float64)
    array = array[array != 0]
    return float(wilcoxon(array).pvalue) if array.size else 1.0


def group_means(values: Sequence[float | None], groups: Sequence[str]) -> dict[str, float]:
    """The mean of each group's defined values, groups in the order of their first case; groups without any left out."""
    by_group: dict[str, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        if value is not None:
            by_group.setdefault(group, []).append(value)
    return {group: math.fsum(members) / len(members) for group, members in by_group.items()}
