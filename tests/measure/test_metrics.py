"""Metrics against the libraries that define them, and at their edges."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.measure import metrics
from autoopt.measure.metrics import METRICS, Compared, metric_named
from autoopt.workloads.contract import IGNORED


def case(reference: object, prediction: object, labels: int = 2, spacing: tuple[float, ...] | None = None) -> Compared:
    return Compared(np.asarray(reference, np.uint8), np.asarray(prediction, np.uint8), labels, False, spacing)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_classification_agrees_with_sklearn(seed: int, labels: int) -> None:
    """Macro F1, AUROC and MCC are scikit-learn's, for two classes and more."""
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(seed)
    references = np.concatenate([np.arange(labels), random.integers(0, labels, 30)])
    probabilities = random.dirichlet(np.ones(labels), len(references)) + 0.6 * np.eye(labels)[references]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    chosen = probabilities.argmax(axis=1)
    assert metrics.macro_f1(references, probabilities) == pytest.approx(
        sklearn.f1_score(references, chosen, average="macro")
    )
    assert metrics.mcc(references, probabilities) == pytest.approx(sklearn.matthews_corrcoef(references, chosen))
    area = sklearn.roc_auc_score(np.eye(labels)[references], probabilities, average="macro")
    assert metrics.auroc(references, probabilities) == pytest.approx(area)


def test_one_class_has_no_correlation() -> None:
    """Where truth and decisions are of one class only MCC is 0 as scikit-learn's, without its warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metrics.mcc(np.zeros(3, np.int64), np.array([[0.9, 0.1]] * 3)) == 0


def test_several_labels_agree_with_sklearn() -> None:
    """With several labels at once macro F1 and AUROC are means over the labels."""
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(3)
    references = random.integers(0, 2, (40, 3))
    probabilities = np.clip(0.4 * references + random.uniform(0, 0.7, (40, 3)), 0, 1)
    assert metrics.macro_f1(references, probabilities) == pytest.approx(
        sklearn.f1_score(references, probabilities > 0.5, average="macro")
    )
    assert metrics.auroc(references, probabilities) == pytest.approx(sklearn.roc_auc_score(references, probabilities))


@pytest.mark.parametrize("spacing", [None, (1.5, 0.5, 3.0)])
def test_surfaces_agree_with_monai(spacing: tuple[float, ...] | None) -> None:
    """Hausdorff distance and surface Dice of two overlapping boxes and a stray voxel are MONAI's."""
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    one, other = np.zeros((20, 18, 12), np.uint8), np.zeros((20, 18, 12), np.uint8)
    one[4:12, 4:12, 3:9] = 1
    other[5:15, 3:12, 3:8] = 1
    other[18, 16, 10] = 1
    compared = Compared(one, other, 2, False, spacing)
    name = "hd95_px" if spacing is None else "hd95_mm"
    of_case = METRICS.load(name).of_case
    assert of_case is not None
    pair = [torch.from_numpy(item)[None, None].float() for item in (other, one)]
    expected = monai.compute_hausdorff_distance(
        *pair, include_background=True, percentile=95, directed=False, spacing=spacing or 1.0
    )
    assert of_case(compared) == pytest.approx(float(expected), rel=0.02)
    for tolerance in (0.0, 1.0, 1.5, 4.0):
        metric = metric_named(f"nsd_{tolerance:g}{'px' if spacing is None else 'mm'}", ("background", "box"))
        assert metric is not None and metric.of_case is not None
        expected = monai.compute_surface_dice(*pair, [tolerance], include_background=True, spacing=spacing)
        assert metric.of_case(compared) == pytest.approx(float(expected[0, -1]))


def test_calibration_error_agrees_with_monai() -> None:
    """The expected calibration error of one class against the other is MONAI's binning summed up."""
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    random = np.random.default_rng(1)
    sure = random.uniform(0.5, 1.0, 400)
    hit = random.uniform(size=400) < sure**2
    certain, accuracy, count = monai.calibration_binning(
        torch.from_numpy(sure)[None, None], torch.from_numpy(hit.astype(float))[None, None], metrics.CALIBRATION_BINS
    )
    expected = torch.nansum((certain - accuracy).abs() * count / count.sum())
    references = np.where(hit, 0, 1)
    assert metrics.ece(references, np.stack([sure, 1 - sure], axis=1)) == pytest.approx(float(expected), abs=1e-6)


def test_a_label_that_is_missed_costs_the_diagonal() -> None:
    """Finding nothing, or something where nothing is, is as far as the image is long; nothing in both is none."""
    empty, full = np.zeros((3, 4)), np.ones((3, 4))
    assert METRICS.load("hd95_px").of_case(case(full, empty)) == 5.0  # type: ignore[misc]
    assert METRICS.load("hd95_px").of_case(case(empty, full)) == 5.0  # type: ignore[misc]
    assert METRICS.load("hd95_px").of_case(case(empty, empty)) is None  # type: ignore[misc]
    nsd = metric_named("nsd_1px", ("background", "all"))
    assert nsd is not None and nsd.of_case is not None
    assert [nsd.of_case(case(*pair)) for pair in ((full, empty), (empty, full), (empty, empty))] == [0.0, 0.0, None]
    assert METRICS.load("volume_difference").of_case(case(empty, full)) is None  # type: ignore[misc]
    assert METRICS.load("volume_difference").of_case(case(full, empty)) == 1.0  # type: ignore[misc]


def test_what_is_ignored_counts_nowhere() -> None:
    """Voxels that nobody labelled change no metric, whatever is predicted there."""
    reference = np.array([[0, 1, 1, IGNORED], [0, 0, 1, IGNORED]])
    for name in ("dice_macro", "dice_foreground", "iou_macro", "hd95_px", "nsd_0px", "volume_difference"):
        metric = metric_named(name, ("background", "thing"))
        assert metric is not None and metric.of_case is not None
        of_case = metric.of_case
        values = {of_case(case(reference, [[0, 1, 1, a], [0, 1, 1, b]])) for a in (0, 1) for b in (0, 1)}
        assert len(values) == 1, name


def test_dice_of_one_label() -> None:
    """Every label of a workload has a metric of its own; an unknown name has none."""
    metric = metric_named("dice_lv", ("background", "rv", "lv"))
    assert metric is not None and metric.of_case is not None
    assert metric.of_case(case([0, 1, 2, 2], [0, 1, 2, 1], labels=3)) == pytest.approx(2 / 3)
    assert metric_named("dice_aorta", ("background", "lv")) is None


def test_calibration_error() -> None:
    """A net that is right as often as it says has none; one that is always sure and right half the time has a half."""
    references = np.array([0, 1] * 50)
    sure = np.tile([0.999, 0.001], (100, 1))
    assert metrics.ece(references, sure) == pytest.approx(0.499, abs=1e-6)
    honest = np.tile([0.5001, 0.4999], (100, 1))
    assert metrics.ece(references, honest) < 1e-3


def test_multilabel_masks_overlap() -> None:
    """With several labels at once a voxel may have two; each label is counted by itself, none is background."""
    reference = np.array([[[1, 1], [1, 0], [0, IGNORED]]], np.uint8)
    prediction = np.array([[[1, 0], [1, 0], [0, 1]]], np.uint8)
    assert metrics.dice(Compared(reference, prediction, 2, True)) == [1.0, 0.0]


@given(st.integers(0, 1000))
def test_metrics_of_numbers_are_those_of_the_field(seed: int) -> None:
    """Rank correlation, explained variance and both errors are those of scipy and scikit-learn."""
    from scipy.stats import spearmanr
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    random = np.random.default_rng(seed)
    truth = random.integers(0, 9, (12, 2)).astype(float)  # with ties
    found = truth + random.normal(size=truth.shape)
    ranks = [spearmanr(truth[:, column], found[:, column]).statistic for column in range(2)]
    assert METRICS.load("spearman")(truth, found) == pytest.approx(np.mean(ranks))
    assert METRICS.load("r2")(truth, found) == pytest.approx(r2_score(truth, found))
    assert METRICS.load("rmse")(truth[:, :1], found[:, :1]) == pytest.approx(
        root_mean_squared_error(truth[:, 0], found[:, 0])
    )
    errors = [METRICS.load("mae")(Compared(a, b, 2, False)) for a, b in zip(truth, found, strict=True)]
    assert np.mean(errors) == pytest.approx(mean_absolute_error(truth, found))
    assert np.isnan(METRICS.load("spearman")(truth, np.zeros_like(truth)))
