"""The study's own model of a space."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoopt.core.configuration import Scalar
from autoopt.core.pareto import front
from autoopt.study.surrogate import (
    KNOWN,
    MODELS,
    MOST_NOISE,
    Features,
    Process,
    _bounded,
    _telling,
    believed,
    best_candidate,
)

Point = dict[str, Scalar]
POINTS: list[Point] = [
    {"ratio": ratio, "runtime": runtime, **({"bits": bits} if bits else {})}
    for ratio, runtime, bits in itertools.product((0.0, 0.3, 0.5, 0.7, 0.9), ("a", "b", "c"), (None, 8, 4))
]


def truth(point: Point) -> tuple[float, float]:
    """Seconds (in logarithms) and loss: fewer channels are faster and lose more, b is the fastest, bits are free."""
    ratio = float(point["ratio"] or 0)
    slow = {"a": 0.5, "b": 0.0, "c": 0.8}[str(point["runtime"])]
    return slow - 2 * ratio - (0.7 if point.get("bits") == 8 else 0.0), 0.1 * ratio**4


@given(seed=st.integers(0, 200))
@settings(max_examples=15)
def test_the_model_agrees_with_what_it_was_told(seed: int) -> None:
    """At points that it knows it is near the values and sure of them; far from them it is less sure."""
    rng = np.random.default_rng(seed)
    chosen = [POINTS[place] for place in rng.choice(len(POINTS), 15, replace=False)]
    values = np.array([truth(point)[0] for point in chosen])
    features = Features(POINTS)
    process = Process.fitted(features.apart(chosen, chosen), values)
    mean, deviation = process.predict(features.apart(chosen, chosen))
    assert np.abs(mean - values).max() < 0.35 * values.std()
    others = [point for point in POINTS if point not in chosen]
    assert process.predict(features.apart(others, chosen))[1].mean() > deviation.mean()


def test_points_differ_in_what_they_do_not_share() -> None:
    """Numbers differ by their distance among the others, words wholly, and so does what only one of two has."""
    features = Features(POINTS)
    one: Point = {"ratio": 0.0, "runtime": "a"}
    other: Point = {"ratio": 0.5, "runtime": "b", "bits": 8}
    apart = dict(zip(("bits", "ratio", "runtime"), features.apart([one], [other])[:, 0, 0], strict=True))
    assert apart == {"bits": 1.0, "ratio": 0.5, "runtime": 1.0}
    assert not features.apart([other], [other]).any()


@given(seed=st.integers(0, 200))
@settings(max_examples=10)
def test_the_front_is_found_soon(seed: int) -> None:
    """After ten random points of 45 it takes ten more to find the five that are best, one for each ratio."""
    rng = np.random.default_rng(seed)
    told = [POINTS[place] for place in rng.choice(len(POINTS), 10, replace=False)]
    while len(told) < 20:
        left = [point for point in POINTS if point not in told]
        values = np.array([truth(point) for point in told])
        told.append(left[best_candidate(told, values, np.zeros((len(told), 0)), [], left, rng).place])
    best = [point for point in POINTS if point["runtime"] == "b" and point.get("bits") == 8]
    assert sum(point in told for point in best) >= 4


def test_what_breaks_a_limit_or_fails_is_kept_away_from() -> None:
    """Where all of a kind broke the limit, or failed, the next point is of another kind."""
    told = [point for point in POINTS if point["ratio"] in (0.0, 0.3, 0.9) and point["runtime"] != "b"]
    failed = [point for point in POINTS if point["ratio"] in (0.0, 0.9) and point["runtime"] == "b"]
    left = [point for point in POINTS if point not in told and point not in failed]
    values = np.array([truth(point) for point in told])
    excess = values[:, 1:] - 0.02
    chosen = left[best_candidate(told, values, excess, failed, left, np.random.default_rng(0)).place]
    assert chosen["ratio"] in (0.5, 0.7) and chosen["runtime"] != "b"


@pytest.mark.parametrize("seed", range(5))
def test_what_lies_between_good_and_broken_is_tried(seed: int) -> None:
    """Where known points keep the limit by far or break it by far, those near the limit are found soon: they are worth
    most, though they are worse than all that kept it so far."""
    points: list[Point] = [
        {"ratio": ratio, "bits": bits, "runtime": runtime}
        for ratio, bits, runtime in itertools.product(range(10), (4, 8, 32), ("a", "b", "c"))
    ]

    def found(point: Point) -> tuple[float, float]:
        ratio = int(point["ratio"] or 0)
        gain = {"4": 0.1, "8": 0.2, "32": 0.0}[str(point["bits"])] + {"a": 0.0, "b": -0.1, "c": 0.1}[
            str(point["runtime"])
        ]
        loss = 0.0005 * ratio + (0.0001 if point["bits"] == 4 else 0.0)
        return -0.3 * ratio - gain, loss if ratio < 7 else 0.01 * (ratio - 5) if ratio < 9 else 0.1

    rng = np.random.default_rng(seed)
    known = [point for point in points if point["ratio"] in (0, 1, 2, 3, 9)]
    told = [known[place] for place in rng.choice(len(known), 14, replace=False)]
    for _ in range(8):
        values = np.array([found(point) for point in told])
        left = [point for point in points if point not in told]
        told.append(left[best_candidate(told, values, values[:, 1:] - 0.035, [], left, rng).place])
    assert any(point["ratio"] in (7, 8) for point in told)


def test_settings_that_vary_together_are_one() -> None:
    """A step that is on or off is one difference, whatever settings it brings; what varies by itself is another."""
    step: Point = {"step.steps": 10, "step.batch": 4, "step.rate": 0.1}
    points: list[Point] = [{}, {**step, "step.ratio": 0.3}, {**step, "step.ratio": 0.5}, {**step, "step.ratio": 0.7}]
    features = Features(points)
    assert len(features.apart(points, points)) == 4
    merged = features.apart(points, points, merged=True)
    assert sorted(merged[:, 1, 2]) == [0.0, 0.5] and sorted(merged[:, 0, 1]) == [1.0, 1.0]


def test_the_bold_model_adds_up() -> None:
    """Of two steps that were only tried apart it expects more together than the wary one does, nearer to what they did
    each: over twenty choices of what was told its mean error is smaller."""
    small, thin = ({f"{name}.{item}": 1 for item in ("steps", "batch", "rate", "kind")} for name in ("small", "thin"))
    points: list[Point] = [
        {"runtime": runtime, "bits": bits, **(small if is_small else {}), **(thin if is_thin else {})}
        for runtime, bits, is_small, is_thin in itertools.product("abc", (8, 16, 32), (False, True), (False, True))
    ]

    def seconds(point: Point) -> float:
        slow = {"a": 0.0, "b": 0.3, "c": 0.6}[str(point["runtime"])] + 0.01 * float(point["bits"] or 0)
        return slow - (1.0 if "small.kind" in point else 0.0) - (0.8 if "thin.kind" in point else 0.0)

    features = Features(points)
    both = [point for point in points if "small.kind" in point and "thin.kind" in point]
    apart = [point for point in points if point not in both]
    wanted, errors = np.array([seconds(point) for point in both]), []
    for seed in range(20):
        told = [apart[place] for place in np.random.default_rng(seed).choice(len(apart), 18, replace=False)]
        values = np.array([seconds(point) for point in told])
        found = [
            Process.fitted(features.apart(told, told, merged=merged), values, shares).predict(
                features.apart(both, told, merged=merged)
            )[0]
            for merged, shares in MODELS
        ]
        errors.append([float(np.abs(item - wanted).mean()) for item in found])
    wary, bold = np.mean(errors, axis=0)
    assert bold < 0.9 * wary


def test_three_objectives() -> None:
    """With more than two objectives a candidate that is better in all of them is chosen."""
    told = [point for point in POINTS if point["runtime"] != "b" or point["ratio"] == 0.0]
    left: list[Point] = [{"ratio": 0.0, "runtime": "c", "bits": 2}, {"ratio": 0.9, "runtime": "b", "bits": 8}]
    values = np.array([[truth(point)[0], -float(point["ratio"] or 0), truth(point)[0]] for point in told])
    assert best_candidate(told, values, np.zeros((len(told), 0)), [], left, np.random.default_rng(0)).place == 1


def test_of_many_points_those_that_say_most_are_learnt_from() -> None:
    """A study of a thousand trials asks the model as one of a hundred and fifty: front first, within limits first."""
    rng = np.random.default_rng(0)
    values, excess = rng.uniform(size=(1000, 2)), rng.uniform(-1, 1, size=(1000, 1))
    places = _telling(values, excess)
    assert len(set(places.tolist())) == KNOWN and (excess[places] <= 0).all()
    within = np.flatnonzero(excess[:, 0] <= 0)
    assert set(within[front(values[within])]) <= set(places.tolist())
    points: list[Point] = [{"a": int(number)} for number in range(1000)]
    chosen = best_candidate(points, values, excess, points[:500], [{"a": 1001}, {"a": 1002}], rng)
    assert chosen.place in (0, 1)


@pytest.mark.parametrize("seed", range(3))
def test_recipes_that_cannot_be_told_apart_promise_little(seed: int) -> None:
    """Once each of four rungs was seen with some of twelve recipes that all do the same but for noise, the others
    promise less than a hundredth of the hypervolume: the recipe is taken for a setting without effect."""
    points: list[Point] = [
        {"rung": rung, "recipe": f"r{number}"} for rung, number in itertools.product(range(4), range(12))
    ]
    rng = np.random.default_rng(seed)
    luck = rng.normal(size=(48, 2)) * np.array([0.015, 0.0004])
    values = luck + np.array([[-0.5 * rung, 0.01 * rung**2] for rung in np.repeat(np.arange(4), 12)])
    known = rng.choice(48, 24, replace=False)
    told, left = ([point for place, point in enumerate(points) if (place in known) == kept] for kept in (True, False))
    seen = values[np.sort(known)]
    gain = best_candidate(told, seen, np.zeros((24, 0)), [], left, rng, (0.02, 0.0006)).gain
    assert gain is not None and gain < 0.01


def test_noise_takes_no_more_than_a_share_of_the_range() -> None:
    """What is known of the noise is held against a gain as it is; where it drowns an objective, a share of what lies
    between the best and the worst is; nothing where nothing is known."""
    kept = np.array([[0.0, 0.0], [2.0, 0.1]])
    assert _bounded((0.01, 1.0), kept).tolist() == pytest.approx([0.01, MOST_NOISE * 0.1])
    assert _bounded((), kept).tolist() == [0.0, 0.0]


def test_points_that_are_awaited_are_expected_where_their_neighbours_are() -> None:
    """What is believed of a pending point lies between what its neighbours gave, and its limit likewise."""
    told = [{"a": value, "b": "x"} for value in range(12)]
    values = np.array([[float(point["a"]), 12.0 - float(point["a"])] for point in told])
    excess = np.array([[0.1 if point["a"] > 7 else -0.1] for point in told])
    known = [index for index in range(12) if index not in (3, 10)]

    means, limits = believed([told[i] for i in known], values[known], excess[known], [told[3], told[10]])

    assert means.shape == (2, 2) and limits.shape == (2, 1)
    assert np.abs(means - values[[3, 10]]).max() < 1.5
    assert limits[0, 0] < 0 < limits[1, 0]


def test_a_point_that_is_being_measured_makes_its_likes_less_worth() -> None:
    """Of two equally promising regions, the one where nothing runs is tried."""
    told = [{"kind": kind, "n": n} for kind in ("p", "q") for n in range(6)]
    values = np.array([[10.0 - point["n"], 5.0] for point in told])
    waiting = [{"kind": "p", "n": 9}]
    candidates = [{"kind": "p", "n": 8}, {"kind": "q", "n": 8}]
    expected, _ = believed(told, values, np.zeros((12, 0)), waiting)
    rng = np.random.default_rng(0)

    choice = best_candidate([*told, *waiting], np.vstack([values, expected]), np.zeros((13, 0)), [], candidates, rng)

    assert choice.place == 1
