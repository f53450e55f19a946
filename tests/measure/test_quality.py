"""Scores per case and their aggregate."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autoopt.core.store import Store
from autoopt.errors import BadData, Numeric, WorkloadError
from autoopt.measure import metrics, quality
from autoopt.measure.metrics import METRICS, Compared
from autoopt.measure.pack import pack_cases
from autoopt.workloads.contract import Case, Sample, Splits, Workload
from tests import tiny

MAPS = hnp.arrays(np.uint8, (5, 7), elements=st.integers(0, 2))
ALL = ("dice_macro", "dice_foreground", "iou_macro", "iou_foreground")


def workload(
    references: list[np.ndarray], groups: list[str], metrics: tuple[str, ...] = ALL, labels: int = 2
) -> Workload:
    """The tiny workload with these references for its val split."""

    def case(index: int) -> Case:
        reference = references[index]
        return Case(f"c{index}", groups[index], lambda: Sample(np.zeros((*reference.shape, 3)), reference))

    cases = tuple(case(index) for index in range(len(references)))
    return replace(
        tiny.workload(),
        splits=Splits((), (), cases, ()),
        metrics=metrics,
        labels=tuple(f"l{index}" for index in range(labels)),
    )


def test_perfect_and_worst() -> None:
    """The reference itself scores one in every metric, its opposite zero."""
    reference = np.array([[0, 1], [1, 0]], np.uint8)
    both = workload([reference, reference], ["a", "b"])

    scores = quality.score(both, "val", [reference, 1 - reference])

    assert all(value == 1 for value in scores.cases[0].scores.values())
    assert all(value == 0 for value in scores.cases[1].scores.values())
    assert scores.value == 0.5
    assert scores.undefined == dict.fromkeys(ALL, 0)


def test_known_values() -> None:
    """Half of a foreground found, nothing else: Dice 2/3 and IoU 1/2 of it."""
    reference = np.array([[1, 1, 0, 0, 0, 0]], np.uint8)
    prediction = np.array([[1, 0, 0, 0, 0, 0]], np.uint8)

    values = quality.score(workload([reference], ["a"]), "val", [prediction]).values

    assert values["dice_foreground"] == pytest.approx(2 / 3)
    assert values["dice_macro"] == pytest.approx((2 / 3 + 8 / 9) / 2)
    assert values["iou_foreground"] == pytest.approx(1 / 2)
    assert values["iou_macro"] == pytest.approx((1 / 2 + 4 / 5) / 2)


def test_mean_over_groups_of_the_mean_over_cases() -> None:
    """A patient with two tiles weighs as much as one with a single tile, and the rule says so."""
    one, zero = np.ones((2, 2), np.uint8), np.zeros((2, 2), np.uint8)

    result = quality.score(workload([one, one, one], ["a", "a", "b"]), "val", [one, one, zero])

    assert result.values["dice_foreground"] == 0.5
    assert result.rule == "mean over groups of the mean over cases"
    assert (result.split, result.primary) == ("val", "dice_macro")


def test_labels_in_neither_are_undefined_and_counted() -> None:
    """A label that is in neither reference nor prediction has no score; one that is in one of them scores zero."""
    empty, full = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)

    result = quality.score(workload([empty, empty], ["a", "b"]), "val", [empty, full])

    assert [case.scores["dice_foreground"] for case in result.cases] == [None, 0.0]
    assert [case.scores["dice_macro"] for case in result.cases] == [1.0, 0.0]
    assert result.undefined["dice_foreground"] == 1
    assert result.values["dice_foreground"] == 0.0


def test_nothing_defined_is_an_error() -> None:
    """An aggregate of no value at all is refused, never invented."""
    empty = np.zeros((2, 2), np.uint8)

    with pytest.raises(BadData, match="dice_foreground is not defined for any of the 1 cases"):
        quality.score(workload([empty], ["a"]), "val", [empty])


@given(MAPS, MAPS)
def test_bounds_and_symmetry(reference: np.ndarray, prediction: np.ndarray) -> None:
    """Scores lie in 0..1, are the same both ways round, and IoU never exceeds Dice."""
    forth, back = Compared(reference, prediction, 3, False), Compared(prediction, reference, 3, False)

    for name in ("dice_macro", "dice_foreground", "iou_macro", "iou_foreground", "hd95_px"):
        of_case = METRICS.load(name).of_case
        assert of_case is not None
        value = of_case(forth)
        assert value == of_case(back), name
        assert value is None or 0 <= value <= (1 if "px" not in name else np.hypot(*reference.shape))
    for one, other in zip(metrics.dice(forth), metrics.iou(forth), strict=True):
        assert (one is None) == (other is None)
        assert one is None or other is None or other <= one + 1e-12


def test_agrees_with_monai() -> None:
    """Dice and IoU are MONAI's, per case, wherever MONAI defines them."""
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    random = np.random.default_rng(0)
    references = [random.integers(0, 3, size=(9, 8)).astype(np.uint8) for _ in range(4)]
    predictions = [
        np.where(random.random((9, 8)) < 0.6, item, random.integers(0, 3, size=(9, 8))) for item in references
    ]

    def one_hot(maps: list[np.ndarray]) -> object:
        return torch.nn.functional.one_hot(torch.from_numpy(np.stack(maps).astype(np.int64)), 3).movedim(-1, 1)

    result = quality.score(workload(references, list("abcd"), labels=3), "val", predictions)
    pairs = (one_hot(predictions), one_hot(references))
    dice = metrics.DiceMetric(include_background=True, reduction="none")(*pairs).numpy()
    iou = metrics.MeanIoU(include_background=True, reduction="none")(*pairs).numpy()

    for row, case in enumerate(result.cases):
        expected = (dice[row].mean(), dice[row, 1:].mean(), iou[row].mean(), iou[row, 1:].mean())
        assert [case.scores[name] for name in ALL] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (np.zeros((2, 3), np.uint8), r"case c0 must have shape \(2, 2\), it has \(2, 3\)"),
        (np.full((2, 2), np.nan), "case c0 must be finite numbers, it has NaN"),
        (np.full((2, 2), 7, np.uint8), "case c0 must have labels from 0 to 1, it has 7 to 7"),
    ],
)
def test_bad_predictions_are_numeric_failures(prediction: np.ndarray, message: str) -> None:
    """A prediction that cannot be a label map fails the trial, naming the case."""
    with pytest.raises(Numeric, match=message):
        quality.score(workload([np.zeros((2, 2), np.uint8)], ["a"]), "val", [prediction])


def test_a_missing_prediction_is_a_numeric_failure() -> None:
    """No case is left out silently."""
    with pytest.raises(Numeric, match="val needs one prediction for each of its 1 cases, got 0"):
        quality.score(workload([np.zeros((2, 2), np.uint8)], ["a"]), "val", [])


def test_unreadable_cases_are_data_failures() -> None:
    """A case that cannot be read, or whose reference has other labels, fails the trial as data."""
    broken = workload([np.full((2, 2), 9, np.uint8)], ["a"])

    def read() -> Sample:
        raise OSError("disk on fire")

    with pytest.raises(BadData, match="case c0 of tiny must have whole numbers from 0 to 1"):
        quality.score(broken, "val", [np.zeros((2, 2), np.uint8)])
    unreadable = replace(broken, splits=Splits((), (), (Case("c0", "a", read),), ()))
    with pytest.raises(BadData, match="case c0 of tiny cannot be read: OSError: disk on fire"):
        quality.score(unreadable, "val", [np.zeros((2, 2), np.uint8)])


def test_unknown_metrics_are_named() -> None:
    """A metric that the task does not have is bad input, with the ones it has."""
    with pytest.raises(WorkloadError, match="metric 'accuracy' is not one of a segmentation task: use dice_macro,"):
        quality.score(workload([], [], metrics=("accuracy",)), "val", [])


def unread() -> Sample:
    raise AssertionError("the case was decoded again")


def test_packed_references_give_the_same_scores(tmp_path: Path) -> None:
    """With packed cases no case is read again, of all cases or of some, and every score is the same to the bit."""
    random = np.random.default_rng(0)
    references = [
        random.integers(0, 2, (5, 7 + index, 4)).astype((np.uint8, np.int64, bool)[index]) for index in range(3)
    ]
    given = workload(references, ["a", "a", "b"], (*ALL, "hd95_mm"))
    cases = tuple(
        replace(case, read=lambda case=case: replace(case.read(), affine=np.diag([1.5, 0.5, 3.0, 1.0])))  # type: ignore[misc]
        for case in given.splits.val
    )
    given = replace(given, splits=replace(given.splits, val=cases))
    predictions = [random.integers(0, 2, item.shape).astype(np.uint8) for item in references]
    packed = pack_cases(given, "val", Store(tmp_path))
    blind = replace(given, splits=replace(given.splits, val=tuple(replace(case, read=unread) for case in cases)))
    assert quality.score(blind, "val", predictions, packed=packed) == quality.score(given, "val", predictions)
    some = [predictions[2], predictions[0]]
    assert quality.score(blind, "val", some, only=[2, 0], packed=packed) == quality.score(
        given, "val", some, only=[2, 0]
    )


@pytest.mark.parametrize("multilabel", [False, True])
def test_packed_classes_give_the_same_scores(tmp_path: Path, multilabel: bool) -> None:
    """The classes of a classification, one or any number of them, come back from the pack as they were."""
    random = np.random.default_rng(1)
    shape = (2,) if multilabel else ()
    references = [
        (random.integers(0, 2, shape) if index > 1 else np.full(shape, index)).astype(np.uint8) for index in range(12)
    ]
    given = workload(
        references, [f"p{index // 2}" for index in range(12)], ("accuracy", "macro_f1", "auroc", "mcc", "ece")
    )
    pipeline = replace(
        tiny.PIPELINE,
        task="classification",
        fit="resize",
        overlap=0.0,
        activation="sigmoid" if multilabel else "softmax",
    )
    given = replace(given, task="classification", pipeline=pipeline)
    predictions = list(random.dirichlet(np.ones(2), 12))
    packed = pack_cases(given, "val", Store(tmp_path))
    blind = tuple(replace(case, read=unread) for case in given.splits.val)
    scored = quality.score(replace(given, splits=replace(given.splits, val=blind)), "val", predictions, packed=packed)
    assert scored == quality.score(given, "val", predictions)


def test_packed_cases_of_another_split_are_refused(tmp_path: Path) -> None:
    """References are never taken from the cases of another split."""
    packed = pack_cases(tiny.workload(), "test", Store(tmp_path))
    with pytest.raises(ValueError, match="the packed cases must be those of val of tiny, they are others"):
        quality.score(tiny.workload(), "val", [np.zeros((16, 16), np.uint8)] * 3, packed=packed)


def test_a_metric_of_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function with a decorator and one line in the table are a metric of every workload of its task."""
    (tmp_path / "my_metric.py").write_text(
        "from autoopt.measure.metrics import case_metric\n\n"
        "@case_metric('segmentation', 'share of right voxels')\n"
        "def right_voxels(compared):\n    return float((compared.reference == compared.prediction).mean())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    METRICS["right_voxels"] = "my_metric:right_voxels"
    try:
        reference = np.array([[0, 1], [1, 0]], np.uint8)
        chosen = workload([reference], ["a"], ("right_voxels", "dice_macro"))
        assert quality.score(chosen, "val", [np.zeros((2, 2), np.uint8)]).value == 0.5
    finally:
        del METRICS["right_voxels"]
        sys.modules.pop("my_metric", None)


def test_painted_regions_are_scored_as_regions() -> None:
    """A painted label map is scored for each region by all labels that the region is made of."""
    painted = np.array([[0, 2, 1, 3]], np.uint8)
    reference = np.array([[[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]], np.uint8)
    base = workload([reference], ["p"], labels=3)
    regions = ((1, 2, 3), (1, 3), (3,))
    pipeline = replace(base.pipeline, classes=3, activation="sigmoid", paint=(2, 1, 3), regions=regions)
    scored = replace(base, pipeline=pipeline)
    assert quality.score(scored, "val", [painted]).value == 1.0
    assert quality.score(scored, "val", [np.zeros_like(painted)]).value == 0.0
