"""Metrics: numbers of one compared case, or of a whole split. One function with a decorator and one line in `METRICS`.

Those of a split are scikit-learn's. Dice, IoU and surface distances are counted here, because MONAI's need torch, which
the process that scores does not load; the tests hold them to MONAI's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from autoopt.core.tables import Table
from autoopt.workloads.contract import IGNORED, Task

CALIBRATION_BINS = 15
"""Bins of the predicted probability, of the expected calibration error."""


@dataclass(frozen=True)
class Compared:
    """One case's reference and prediction: integer label maps of one shape, or multilabel maps of 0 / 1.

    Label maps are (*spatial), multilabel maps (*spatial, labels); of a classification the class is of shape (), the
    labels of a multilabel one (labels,); of a regression both are numbers, float64 (labels,). `spacing_mm` is the size
    of a voxel, None where the image has no affine. Voxels whose reference is `IGNORED` count nowhere. `probabilities`
    (labels,) are what a classification was decided on, None of other tasks.
    """

    reference: np.ndarray
    prediction: np.ndarray
    labels: int
    multilabel: bool
    spacing_mm: tuple[float, ...] | None = None
    probabilities: np.ndarray | None = None

    @cached_property
    def counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Voxels per label: in both, in the reference, in the prediction; int64 (labels,) each."""
        known = self.reference != IGNORED
        if self.multilabel:
            axes = tuple(range(self.reference.ndim - 1))
            reference, prediction = (self.reference == 1) & known, (self.prediction == 1) & known
            both = (reference & prediction).sum(axes)
            return both, reference.sum(axes), prediction.sum(axes)
        reference, prediction = self.reference[known], self.prediction[known]
        pairs = reference.astype(np.int64) * self.labels + prediction
        table = np.bincount(pairs, minlength=self.labels**2).reshape(self.labels, self.labels)
        return np.diag(table), table.sum(axis=1), table.sum(axis=0)

    @property
    def foreground(self) -> range:
        """The labels but the background; in a multilabel task all, because it has no background."""
        return range(0 if self.multilabel else 1, self.labels)

    def masks(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the label is in the reference and in the prediction, not where the reference is `IGNORED`."""
        known = self.reference != IGNORED
        if self.multilabel:
            known = known[..., label]
            return (self.reference[..., label] == 1) & known, (self.prediction[..., label] == 1) & known
        return (self.reference == label) & known, (self.prediction == label) & known


CaseFunction = Callable[[Compared], float | None]
"""One case's score; None when it is not defined, such as Dice of a label that is in neither."""

SplitFunction = Callable[[np.ndarray, np.ndarray], float]
"""One score from all cases' references and predicted probabilities, where a case alone has none.

References are (cases,) labels, or (cases, labels) of 0 / 1; probabilities (cases, labels). Of a regression both are
numbers, (cases, labels)."""


@dataclass(frozen=True)
class Metric:
    """A number of each case, aggregated over the cases, or of the whole split. Called, it is its function."""

    task: Task
    description: str
    of_case: CaseFunction | None = None
    of_split: SplitFunction | None = None
    larger_is_better: bool = True

    def __call__(self, *arguments: Any) -> Any:
        """What the function gives for one compared case, or for the references and probabilities of a split."""
        function: Any = self.of_case or self.of_split
        return function(*arguments)


def case_metric(task: Task, description: str, *, larger_is_better: bool = True) -> Callable[[CaseFunction], Metric]:
    """A decorator that makes a function of one compared case a metric."""
    return lambda function: Metric(task, description, of_case=function, larger_is_better=larger_is_better)


def split_metric(task: Task, description: str, *, larger_is_better: bool = True) -> Callable[[SplitFunction], Metric]:
    """A decorator that makes a function of all references and probabilities of a split a metric."""
    return lambda function: Metric(task, description, of_split=function, larger_is_better=larger_is_better)


METRICS = Table(
    "metric",
    {
        name: f"{__name__}:{name}"
        for name in (
            "dice_macro",
            "dice_foreground",
            "iou_macro",
            "iou_foreground",
            "hd95_mm",
            "hd95_px",
            "volume_difference",
            "accuracy",
            "macro_f1",
            "auroc",
            "mcc",
            "ece",
            "mae",
            "rmse",
            "spearman",
            "r2",
        )
    },
)
"""Name to "module:attribute" of a `Metric`. More are made from their name, one for every label and every tolerance of a
surface: see `metric_named`. From another program: `METRICS["mine"] = "module:function"`, a function with one of the
decorators."""
MORE_OF_SEGMENTATION = ("dice_LABEL", "nsd_2mm", "nsd_1px")
"""Examples of those that are made from their name."""


def metric_named(name: str, labels: Sequence[str]) -> Metric | None:
    """The metric called `name`; None when there is none.

    `dice_LABEL` is Dice of one of `labels`, `nsd_2mm` or `nsd_1.5px` the normalised surface distance at a tolerance.
    """
    if name in METRICS:
        found: Metric = METRICS.load(name)
        return found
    label = name.removeprefix("dice_")
    if name.startswith("dice_") and label in labels:
        index = list(labels).index(label)
        return Metric("segmentation", f"Dice of {label}", lambda case: dice(case)[index])
    if match := re.fullmatch(r"nsd_(\d+(?:\.\d+)?)(mm|px)", name):
        tolerance, unit = float(match[1]), match[2]
        return Metric(
            "segmentation",
            f"normalised surface distance of the labels but the background at {tolerance:g} {unit}",
            partial(surface_dice, tolerance=tolerance, millimetres=unit == "mm"),
        )
    return None


def metrics_of(task: Task) -> list[str]:
    """The names of the metrics that a task has, and examples of those that are made from their name."""
    named = [name for name in METRICS if METRICS.load(name).task == task]
    return [*named, *(MORE_OF_SEGMENTATION if task == "segmentation" else ())]


def dice(compared: Compared) -> list[float | None]:
    """Dice (1945) of every label; None where the label is neither in the reference nor in the prediction."""
    both, reference, prediction = compared.counts
    sizes = reference + prediction
    return [float(2 * hit / size) if size else None for hit, size in zip(both, sizes, strict=True)]


def iou(compared: Compared) -> list[float | None]:
    """Intersection over union (Jaccard 1901) of every label; None where the label is in neither."""
    both, reference, prediction = compared.counts
    unions = reference + prediction - both
    return [float(hit / union) if union else None for hit, union in zip(both, unions, strict=True)]


@case_metric("segmentation", "mean Dice of all labels")
def dice_macro(compared: Compared) -> float | None:
    """The mean of `dice` over the labels that are in reference or prediction."""
    return _mean(dice(compared))


@case_metric("segmentation", "mean Dice of the labels but the background")
def dice_foreground(compared: Compared) -> float | None:
    """The mean of `dice` over the foreground labels that are in reference or prediction."""
    values = dice(compared)
    return _mean([values[label] for label in compared.foreground])


@case_metric("segmentation", "mean intersection over union of all labels")
def iou_macro(compared: Compared) -> float | None:
    """The mean of `iou` over the labels that are in reference or prediction."""
    return _mean(iou(compared))


@case_metric("segmentation", "mean intersection over union of the labels but the background")
def iou_foreground(compared: Compared) -> float | None:
    """The mean of `iou` over the foreground labels that are in reference or prediction."""
    values = iou(compared)
    return _mean([values[label] for label in compared.foreground])


def hd95(compared: Compared, millimetres: bool) -> float | None:
    """The mean over the foreground labels of the 95th percentile of surface distances, the larger of both directions.

    The robust Hausdorff distance as in Huttenlocher et al. 1993. A label that is in one of the two only is the
    diagonal of the image away. In voxels, or in mm where the affine tells the size of one.
    """
    spacing = compared.spacing_mm if millimetres else None
    return _mean([_surface_distance(*compared.masks(label), spacing) for label in compared.foreground])


@case_metric(
    "segmentation", "95th percentile Hausdorff distance of the labels but the background in mm", larger_is_better=False
)
def hd95_mm(compared: Compared) -> float | None:
    """`hd95` in mm."""
    return hd95(compared, millimetres=True)


@case_metric(
    "segmentation",
    "95th percentile Hausdorff distance of the labels but the background in voxels",
    larger_is_better=False,
)
def hd95_px(compared: Compared) -> float | None:
    """`hd95` in voxels."""
    return hd95(compared, millimetres=False)


def surface_dice(compared: Compared, tolerance: float, millimetres: bool) -> float | None:
    """The mean over the foreground labels of the normalised surface distance (Nikolov et al. 2021), 1 at best.

    The share of both surfaces' voxels that have the other surface within `tolerance`, in voxels or in mm. 0 for a label
    that is in one of the two only.
    """
    spacing = compared.spacing_mm if millimetres else None
    values: list[float | None] = []
    for label in compared.foreground:
        masks = compared.masks(label)
        if masks[0].any() and masks[1].any():
            values.append(float(np.mean(np.concatenate(_surface_distances(*masks, spacing)) <= tolerance)))
        else:
            values.append(0.0 if masks[0].any() or masks[1].any() else None)
    return _mean(values)


@case_metric(
    "segmentation",
    "volume difference of the labels but the background as a fraction of the reference",
    larger_is_better=False,
)
def volume_difference(compared: Compared) -> float | None:
    """The mean over the foreground labels of |predicted - reference volume| / reference volume."""
    _, reference, prediction = compared.counts
    return _mean(
        [
            abs(float(prediction[label] - reference[label])) / float(reference[label]) if reference[label] else None
            for label in compared.foreground
        ]
    )


@case_metric("classification", "share of right classes")
def accuracy(compared: Compared) -> float | None:
    """1 where the class is right, else 0; in a multilabel task the share of the labels that are right."""
    return float(np.mean(compared.reference == compared.prediction))


@split_metric("classification", "mean F1 of the classes")
def macro_f1(references: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean over the classes that occur or are predicted of F1 (scikit-learn)."""
    from sklearn.metrics import f1_score

    return float(f1_score(references, _chosen(references, probabilities), average="macro", zero_division=np.nan))


@split_metric("classification", "mean area under the ROC curve, one class against the rest")
def auroc(references: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean over the classes of the area under the ROC curve, one class against the rest (scikit-learn).

    NaN where no class has both cases in it and cases out of it.
    """
    from sklearn.metrics import roc_auc_score

    labels = np.arange(probabilities.shape[1])
    truth = references == 1 if references.ndim == 2 else references[:, np.newaxis] == labels
    mixed = [label for label in labels if truth[:, label].any() and not truth[:, label].all()]
    return float(roc_auc_score(truth[:, mixed], probabilities[:, mixed], average="macro")) if mixed else float("nan")


@split_metric("classification", "Matthews' correlation coefficient")
def mcc(references: np.ndarray, probabilities: np.ndarray) -> float:
    """Matthews' correlation coefficient for any number of classes (scikit-learn); 0 where one side is constant.

    In a multilabel task it is that of the decisions on all labels.
    """
    from sklearn.metrics import matthews_corrcoef

    truth, chosen = np.ravel(references), np.ravel(_chosen(references, probabilities))
    one_class = len(np.union1d(truth, chosen)) < 2  # which scikit-learn warns of, on and on while groups are left out
    return 0.0 if one_class else float(matthews_corrcoef(truth, chosen))


@split_metric("classification", "expected calibration error", larger_is_better=False)
def ece(references: np.ndarray, probabilities: np.ndarray) -> float:
    """The expected calibration error (Guo et al. 2017) of the predicted class, in `CALIBRATION_BINS` equal bins.

    In a multilabel task it is that of the decisions on all labels.
    """
    if references.ndim == 2:
        certainty = np.maximum(probabilities, 1 - probabilities).ravel()
        hit = ((probabilities > 0.5) == (references == 1)).ravel()
    else:
        certainty, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == references
    bins = np.minimum((certainty * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = [
        abs(float(hit[bins == index].mean() - certainty[bins == index].mean())) * float((bins == index).mean())
        for index in np.unique(bins)
    ]
    return float(sum(gaps))


def _surface_distance(reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, ...] | None) -> float | None:
    if not reference.any() and not prediction.any():
        return None
    if not reference.any() or not prediction.any():
        return float(np.linalg.norm(np.array(reference.shape) * (spacing or 1.0)))
    return float(max(np.percentile(distances, 95) for distances in _surface_distances(reference, prediction, spacing)))


def _surface_distances(
    reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, ...] | None
) -> tuple[np.ndarray, np.ndarray]:
    """How far each voxel of one's surface is from the other's, in voxels or in units of `spacing`; neither is empty."""
    from scipy import ndimage

    spacing = spacing or (1.0,) * reference.ndim
    # Only the box around both matters, with a margin so that its faces are no surfaces.
    either = np.argwhere(reference | prediction)
    box = tuple(slice(max(0, low - 1), high + 2) for low, high in zip(either.min(0), either.max(0), strict=True))
    one, other = (mask & ~ndimage.binary_erosion(mask, border_value=0) for mask in (reference[box], prediction[box]))
    to_other = ndimage.distance_transform_edt(~other, sampling=spacing)[one]
    to_one = ndimage.distance_transform_edt(~one, sampling=spacing)[other]
    return np.asarray(to_other), np.asarray(to_one)


@case_metric("regression", "mean absolute error of all numbers", larger_is_better=False)
def mae(compared: Compared) -> float:
    """In the unit of the numbers."""
    return float(np.mean(np.abs(compared.prediction - compared.reference)))


@split_metric("regression", "root mean square error of all numbers", larger_is_better=False)
def rmse(references: np.ndarray, predictions: np.ndarray) -> float:
    """In the unit of the numbers."""
    return float(np.sqrt(np.mean((predictions - references) ** 2)))


@split_metric("regression", "rank correlation (Spearman), mean over the numbers")
def spearman(references: np.ndarray, predictions: np.ndarray) -> float:
    """NaN where all references, or all predictions, of one number are equal."""
    from scipy.stats import rankdata

    ranks = (np.apply_along_axis(rankdata, 0, values) for values in (references, predictions))
    return float(np.mean([_correlation(*pair) for pair in zip(*(item.T for item in ranks), strict=True)]))


@split_metric("regression", "share of the variance that is explained (R squared), mean over the numbers")
def r2(references: np.ndarray, predictions: np.ndarray) -> float:
    """As scikit-learn's `r2_score`: one less the squared error over the variance. NaN where a number never varies."""
    spread = ((references - references.mean(axis=0)) ** 2).sum(axis=0)
    if not np.all(spread > 0):
        return float("nan")
    return float(np.mean(1 - ((predictions - references) ** 2).sum(axis=0) / spread))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation of two rows of numbers; NaN where one of them never varies."""
    one, other = one - one.mean(), other - other.mean()
    size = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / size) if size > 0 else float("nan")


def _chosen(references: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return probabilities > 0.5 if references.ndim == 2 else probabilities.argmax(axis=1)


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
