"""The plans of nnU-Net as a pipeline: the same steps in the same order, so that the answer is nnU-Net's own."""

from __future__ import annotations

from collections.abc import Iterator

from autoopt.errors import WorkloadError
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.steps.axes import Axes, Orient
from autoopt.inference.steps.base import Step
from autoopt.inference.steps.foreground import CropForeground
from autoopt.inference.steps.own_range import MinMax, ZScore
from autoopt.inference.steps.resample import Resample
from autoopt.inference.steps.spline import ResampleSpline
from autoopt.inference.steps.values import Affine, Clip
from autoopt.workloads.models.nnunet_folder import Trained
from autoopt.workloads.models.nnunet_plans import PICTURES, READERS, Plans

LEAST_DEVIATION = 1e-8
"""What nnU-Net divides by at least."""
EIGHT_BITS = 255.0
VOLUME = 3


def pipeline_of_plans(trained: Trained, mirror: tuple[int, ...], step: float) -> Pipeline:
    """What nnU-Net's predictor does with an image, for calls of the network.

    `mirror` are the axes that are mirrored, `step` is the distance of windows as a share of their size. Raises
    WorkloadError for plans that the pipeline cannot follow.
    """
    plans = trained.plans
    try:
        return Pipeline(
            task="segmentation",
            classes=trained.dataset.outputs,
            channels=len(plans.schemes),
            tile=plans.tile,
            overlap=1 - step,
            scale=1.0,
            mean=(0.0,) * len(plans.schemes),
            std=(1.0,) * len(plans.schemes),
            sliced=plans.dimensions < dimensions_of(plans),
            activation="sigmoid" if trained.dataset.paint else "softmax",
            paint=trained.dataset.paint,
            regions=tuple(
                tuple(value for value in values if value in trained.dataset.paint)
                for values in trained.dataset.regions.values()
            ),
            steps=tuple(_steps(trained)),
            windows="nnunet",
            padding="zero",
            blend="nnunet",
            mirror=mirror,
        )
    except ValueError as error:
        raise WorkloadError(f"{trained.place}: {error}") from error


def dimensions_of(plans: Plans) -> int:
    """The number of spatial axes of the images that the reader of the plans reads."""
    return plans.dimensions if plans.reader == PICTURES else VOLUME


def _steps(trained: Trained) -> Iterator[Step]:
    plans, where = trained.plans, trained.place
    if plans.reader == PICTURES:
        yield from _picture_axes(plans, str(where))
    else:
        orientation = READERS[plans.reader]
        if orientation is not None:
            yield Orient(orientation)
        # The readers give the stored axes in reverse: z, y, x.
        yield Axes(tuple(VOLUME - 1 - axis for axis in plans.transposed))
    # A picture is one slice to nnU-Net, which is all edge, so that there it has no holes to fill.
    yield CropForeground(fill_holes=plans.reader != PICTURES and any(plans.masked))
    yield from _normalised(plans)
    if plans.reader != PICTURES:
        yield _resampled(plans, str(where))


def _picture_axes(plans: Plans, where: str) -> Iterator[Step]:
    if plans.dimensions != VOLUME - 1 or plans.transposed[0] != 0 or set(plans.spacing_mm) != {1.0}:
        raise WorkloadError(
            f"{where}: a model of pictures must have 2D calls at spacing 1, and its slices first, these are "
            f"{plans.dimensions}D, {list(plans.spacing_mm)} and {list(plans.transposed)}"
        )
    if plans.transposed != (0, 1, 2):
        yield Axes((1, 0))


def _normalised(plans: Plans) -> Iterator[Step]:
    """The steps of the channels; those that are normalised alike share one."""
    for kind in dict.fromkeys(zip(plans.schemes, plans.masked, strict=True)):
        scheme, masked = kind
        alike = tuple(
            channel for channel, own in enumerate(zip(plans.schemes, plans.masked, strict=True)) if own == kind
        )
        channels = None if len(alike) == len(plans.schemes) else alike
        if scheme == "ZScoreNormalization":
            yield ZScore(channels=channels, where="mask" if masked else "all", least=LEAST_DEVIATION)
        elif scheme == "RGBTo01Normalization":
            yield Affine(channels=channels, divide=(EIGHT_BITS,))
        elif scheme == "RescaleTo01Normalization":
            yield MinMax(channels=channels, least=LEAST_DEVIATION)
        elif scheme == "CTNormalization":
            for channel in alike:
                own = plans.statistics[channel]
                yield Clip(channels=(channel,), low=own["percentile_00_5"], high=own["percentile_99_5"])
                divide = max(own["std"], LEAST_DEVIATION)
                yield Affine(channels=(channel,), subtract=(own["mean"],), divide=(divide,))


def _resampled(plans: Plans, where: str) -> Step:
    data, back = plans.data, plans.probabilities
    if data.torch and back.torch:
        return Resample(plans.spacing_mm, kernel="linear")
    if data.torch or back.torch or data.separate != back.separate or data.order_between or back.order_between:
        raise WorkloadError(
            f"{where}: data and probabilities must be resampled in one way, by nearest slices along a coarse axis "
            f"(order_z 0); they are {data} and {back}"
        )
    return ResampleSpline(plans.spacing_mm, order=data.order, order_back=back.order, separate=data.separate)
