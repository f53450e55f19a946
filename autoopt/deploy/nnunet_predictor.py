"""The predictor of nnU-Net v2 with another engine: the same methods and arrays, over a bundle or a trained folder.

Arrays are those of nnU-Net: images (channels, z, y, x), answers (z, y, x), of pictures with one z.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from autoopt.core.store import write_atomic
from autoopt.deploy import outputs
from autoopt.deploy.layout import CARD
from autoopt.deploy.predict_files import reading_of
from autoopt.deploy.predictor import load, value_names
from autoopt.deploy.volume_masks import new_nifti_bytes
from autoopt.errors import BundleError, UsageError
from autoopt.inference.pipeline import Pipeline, Run, predict, predict_both
from autoopt.workloads.data.channel_files import grouped
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.readers import images_in, name_of
from autoopt.workloads.data.reading import AS_STORED, Reading

if TYPE_CHECKING:
    from autoopt.workloads.models.nnunet_folder import Trained

_log = logging.getLogger("autoopt")

PICTURE_AXES = 2
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From the millimetres of ITK to those of NIfTI."""
Files = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Opened:
    """A model that is ready: how it is called, what is done around the call, how files are read, what it is called."""

    pipeline: Pipeline
    run: Run
    reading: Reading
    names: tuple[str, ...]
    title: str
    bundle: str


class nnUNetPredictor:  # noqa: N801  # the name of nnU-Net's own
    """nnU-Net's predictor for programs that use it: with one import changed they run a bundle of autoopt.

    What is None stays as the model has it: of a bundle as the search found it, of a folder that nnU-Net trained a step
    of 0.5, Gaussian weights and the mirrors of the training. Everything runs on the processor; what asks for another
    device is told so once.
    """

    def __init__(
        self,
        tile_step_size: float | None = None,
        use_gaussian: bool | None = None,
        use_mirroring: bool | None = None,
        perform_everything_on_device: bool = False,
        device: object = "cpu",
        verbose: bool = False,
        verbose_preprocessing: bool = False,
        allow_tqdm: bool = True,
    ) -> None:
        self._step, self._gaussian, self._mirrored = tile_step_size, use_gaussian, use_mirroring
        self._opened: Opened | None = None
        if not str(device).startswith("cpu"):
            _log.warning("nnUNetPredictor runs on the processor, not on %s", device)

    def initialize_from_trained_model_folder(
        self,
        model_training_output_dir: str | Path,
        use_folds: Sequence[int | str] | int | str | None = None,
        checkpoint_name: str = "checkpoint_final.pth",
    ) -> None:
        """Open a bundle, or the folder of a training with its folds; of a bundle folds and checkpoint mean nothing.

        Raises BundleError or UsageError for what cannot be used.
        """
        folder = Path(model_training_output_dir)
        opened = _of_bundle(folder) if (folder / CARD).is_file() else _of_training(folder, use_folds, checkpoint_name)
        try:
            self._opened = replace(opened, pipeline=self._as_asked(opened.pipeline))
        except ValueError as error:
            raise UsageError(f"{folder} cannot be used with a tile_step_size of {self._step}: {error}") from error

    def predict_single_npy_array(
        self,
        input_image: np.ndarray,
        image_properties: Mapping[str, Any],
        segmentation_previous_stage: np.ndarray | None = None,
        output_file_truncated: str | Path | None = None,
        save_or_return_probabilities: bool = False,
    ) -> Any:
        """The label map (z, y, x) of an image (channels, z, y, x), with probabilities (classes, z, y, x) if asked for.

        `image_properties` has the `spacing` (z, y, x) in mm. With `output_file_truncated` the answer is written there,
        as .nii.gz, and probabilities as .npz; for this the properties must say where the image lies, as nnU-Net's
        readers do. Raises UsageError for an image that does not fit.
        """
        model = self._model()
        if segmentation_previous_stage is not None:
            raise UsageError("segmentation_previous_stage must be None: cascades of nnU-Net are not supported")
        image = np.asarray(input_image)
        wanted = (model.pipeline.channels, "z", "y", "x")
        if image.ndim != len(wanted) or image.shape[0] != model.pipeline.channels:
            raise UsageError(f"an image must have the shape ({', '.join(map(str, wanted))}), got {image.shape}")
        flat = model.pipeline.dimensions == PICTURE_AXES
        if flat and image.shape[1] != 1:
            raise UsageError(f"a picture must have one slice, got {image.shape}")
        spacing = _spacing_of(image_properties)
        stored = np.moveaxis(image[:, 0], 0, -1) if flat else image.T
        affine = None if flat else np.diag([*spacing[::-1], 1.0])
        labels, likely = self._predicted(stored, affine, save_or_return_probabilities)
        answer, probabilities = _as_nnunet(labels, likely, flat=flat)
        if output_file_truncated is None:
            return answer if probabilities is None else (answer, probabilities)
        place = _place_of(image_properties)
        content = new_nifti_bytes(labels, place, Path(f"{output_file_truncated}"), model.title)
        _write(f"{output_file_truncated}.nii.gz", content)
        _write_probabilities(str(output_file_truncated), probabilities)
        return None

    def predict_from_files(
        self,
        list_of_lists_or_source_folder: str | Path | Sequence[Files],
        output_folder_or_list_of_truncated_output_files: str | Path | Sequence[str | Path] | None,
        save_probabilities: bool = False,
        overwrite: bool = True,
        num_processes_preprocessing: int = 1,
        num_processes_segmentation_export: int = 1,
        folder_with_segs_from_prev_stage: str | Path | None = None,
        num_parts: int = 1,
        part_id: int = 0,
    ) -> list[Any]:
        """Answer the cases of a folder (CASE_0000.nii.gz, CASE_0001.nii.gz, ...), or lists of the files of each case.

        Masks are written in the format and on the grid of their images, with `save_probabilities` .npz files beside
        them; without an output the answers are returned, as `predict_single_npy_array` gives them. One case after the
        other is done, whatever the number of processes. Raises DataError or UsageError naming a file.
        """
        model = self._model()
        if folder_with_segs_from_prev_stage is not None:
            raise UsageError("folder_with_segs_from_prev_stage must be None: cascades of nnU-Net are not supported")
        cases = _cases(list_of_lists_or_source_folder, model.pipeline.channels)
        targets = _targets(cases, output_folder_or_list_of_truncated_output_files)
        found: list[Any] = []
        for (_, files), target in list(zip(cases, targets, strict=True))[part_id::num_parts]:
            kind = outputs.kind_of(files[0])
            wanted = (kind, ".npz") if save_probabilities else (kind,)
            if target is not None and not overwrite and all(Path(f"{target}{each}").exists() for each in wanted):
                found.append(None)
                continue
            found.append(self._one(files, target, kind, save_probabilities))
        return found

    def _one(self, files: Sequence[Path], target: str | None, kind: str, save_probabilities: bool) -> Any:
        model, sources = self._model(), [Source(file) for file in files]
        dimensions, channels = model.pipeline.dimensions, model.pipeline.channels
        reading = model.reading if len(files) > 1 else replace(model.reading, files=1)
        image, file = reading.image(sources[0], dimensions, channels, sources[1:])
        labels, likely = self._predicted(image, file.affine, save_probabilities)
        answer, probabilities = _as_nnunet(labels, likely, flat=dimensions == PICTURE_AXES)
        if target is None:
            return answer if probabilities is None else (answer, probabilities)
        about = outputs.Answered(sources[0], file.affine, model.names, model.title, model.bundle, multilabel=False)
        _write(f"{target}{kind}", outputs.mask_bytes(labels, kind, about)[0])
        _write_probabilities(target, probabilities)
        return None

    def _predicted(
        self, image: np.ndarray, affine: np.ndarray | None, with_probabilities: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        model = self._model()
        try:
            if with_probabilities:
                return predict_both(model.pipeline, model.run, image, affine)
            return predict(model.pipeline, model.run, image, affine), None
        except ValueError as error:
            raise UsageError(f"the image cannot be answered: {error}") from error

    def _as_asked(self, pipeline: Pipeline) -> Pipeline:
        """The pipeline with what the constructor was given."""
        if self._step is not None:
            pipeline = replace(pipeline, overlap=1 - self._step)
        if self._gaussian is False:
            pipeline = replace(pipeline, blend="mean")
        return replace(pipeline, mirror=()) if self._mirrored is False else pipeline

    def _model(self) -> Opened:
        if self._opened is None:
            raise UsageError("call initialize_from_trained_model_folder before anything is predicted")
        return self._opened


def _of_bundle(folder: Path) -> Opened:
    predictor = load(folder)
    if predictor.pipeline.task != "segmentation" or predictor.pipeline.multilabel:
        raise BundleError(f"{folder} must be a segmentation with one label per place, as those of nnU-Net are")
    title = str(predictor.info.get("workload"))
    reading, remarks = reading_of(predictor)
    for remark in remarks:
        _log.warning("%s: %s", folder, remark)
    return Opened(predictor.pipeline, predictor.call, reading, predictor.value_names, title, "")


def _of_training(folder: Path, use_folds: object, checkpoint_name: str) -> Opened:
    """The network of a training as nnU-Net left it, in PyTorch."""
    import torch

    from autoopt.nets.weights import load_weights
    from autoopt.workloads.models.nnunet_folder import CHECKPOINTS, read_trained
    from autoopt.workloads.models.nnunet_pipeline import pipeline_of_plans
    from autoopt.workloads.networks.nnunet import build_nnunet

    names = {file: name for name, file in CHECKPOINTS.items()}
    if checkpoint_name not in names:
        raise UsageError(f"checkpoint_name must be one of {', '.join(names)}, got {checkpoint_name}")
    if use_folds is None or isinstance(use_folds, int | str):
        folds = None if use_folds is None else str(use_folds)
    else:
        folds = ",".join(map(str, cast("Sequence[object]", use_folds)))
    trained: Trained = read_trained(folder, None, folds, names[checkpoint_name])
    pipeline = pipeline_of_plans(trained, trained.mirrored, 0.5)
    members = []
    for fold in trained.folds:
        member = build_nnunet(trained.plans.shape, pipeline.channels, pipeline.classes)
        path, entry = trained.weights(fold)
        load_weights(member, path, entry=entry)
        members.append(member.eval())

    def run(tile: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            images = torch.from_numpy(tile)
            answers = [member(images) for member in members]
        return np.asarray((sum(answers[1:], answers[0]) / len(answers)).numpy())

    labels = tuple(trained.dataset.regions) if pipeline.paint else trained.dataset.labels
    return Opened(pipeline, run, AS_STORED, value_names(pipeline, labels), folder.resolve().name, "")


def _cases(given: str | Path | Sequence[Files], channels: int) -> list[tuple[str, list[Path]]]:
    """The name and the files of each case."""
    if isinstance(given, str | Path):
        if not Path(given).is_dir():
            raise UsageError(
                f"{given} must be a folder of images, it is {'a file' if Path(given).exists() else 'not there'}"
            )
        whole, problems = grouped(images_in(Path(given)), [f"_{index:04d}" for index in range(channels)])
        if not whole and (channels == 1 or not problems):
            raise UsageError(f"{given} must hold images called CASE_0000.*, as nnU-Net has them, it holds none")
        if problems:
            raise UsageError(*problems.values())
        return [(stem.name, files) for stem, files in sorted(whole.items())]
    lists = [[Path(each)] if isinstance(each, str | Path) else [Path(file) for file in each] for each in given]
    if not all(lists):
        raise UsageError("each case must have a list of its files, one list is empty")
    return [(name_of(files[0]).removesuffix("_0000"), files) for files in lists]


def _targets(
    cases: Sequence[tuple[str, Sequence[Path]]], output: str | Path | Sequence[str | Path] | None
) -> list[str | None]:
    """Where the answer of each case is written, without an ending; None where it is returned."""
    if output is None:
        return [None] * len(cases)
    if isinstance(output, str | Path):
        if twice := [name for name, count in Counter(name for name, _ in cases).items() if count > 1]:
            raise UsageError(
                f"{len(twice)} names, such as {twice[0]}, are those of several cases: give a list of outputs"
            )
        Path(output).mkdir(parents=True, exist_ok=True)
        return [str(Path(output) / name) for name, _ in cases]
    if len(output) != len(cases):
        raise UsageError(f"there must be an output for each of the {len(cases)} cases, got {len(output)}")
    return [str(path) for path in output]


def _as_nnunet(labels: np.ndarray, likely: np.ndarray | None, *, flat: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Arrays as they are stored, turned to nnU-Net's order of axes."""
    if flat:
        return labels[np.newaxis], None if likely is None else np.moveaxis(likely, -1, 0)[:, np.newaxis]
    return np.ascontiguousarray(labels.T), None if likely is None else np.ascontiguousarray(likely.T)


def _spacing_of(properties: Mapping[str, Any]) -> np.ndarray:
    """The distances of voxels (z, y, x) in mm. Raises UsageError where they are not said."""
    try:
        spacing = np.asarray(properties.get("spacing"), np.float64)
    except (TypeError, ValueError):
        spacing = np.zeros(0)
    if spacing.shape != (3,) or not (spacing > 0).all():
        raise UsageError("image_properties must have a spacing of three numbers (z, y, x) in mm, above 0")
    return spacing


def _place_of(properties: Mapping[str, Any]) -> np.ndarray:
    """The affine of an image by what nnU-Net's readers keep of it. Raises UsageError where nothing is kept."""
    if "nibabel_stuff" in properties:
        stuff = properties["nibabel_stuff"]
        return np.asarray(stuff.get("reoriented_affine", stuff.get("original_affine")), np.float64)
    if "sitk_stuff" in properties:
        stuff = properties["sitk_stuff"]
        affine = np.eye(4)
        affine[:3, :3] = np.asarray(stuff["direction"], np.float64).reshape(3, 3) * np.asarray(stuff["spacing"])
        affine[:3, 3] = stuff["origin"]
        return np.asarray(LPS @ affine)
    raise UsageError(
        "image_properties must say where the image lies (sitk_stuff or nibabel_stuff, as the readers of nnU-Net give "
        "them) to write a file: leave output_file_truncated out to get the answer as an array"
    )


def _write_probabilities(target: str, probabilities: np.ndarray | None) -> None:
    if probabilities is not None:
        _write(f"{target}.npz", outputs.array_bytes({"probabilities": probabilities}))


def _write(path: str, content: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(Path(path), content)
