"""The answers of a bundle for files: each is read as the search read its cases, predicted, and its answer written.

Every output is complete or not there, and replaces nothing but outputs of before. A file that cannot be read or
predicted is told with the reason, and the others go on.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypedDict, Unpack

import numpy as np

from autoopt.core.plain_text import short
from autoopt.core.scratch import remove_left_behind
from autoopt.core.store import file_digest, write_atomic
from autoopt.deploy import outputs
from autoopt.deploy.inputs import Input, find_inputs, stems
from autoopt.deploy.layout import CARD
from autoopt.deploy.overlay import overlay_bytes
from autoopt.deploy.predicted_list import add_to_list, check_replaceable
from autoopt.deploy.predictor import Predictor, load
from autoopt.errors import BadData, BundleError, DataError, NeedsPackage, StorageError, TrialError, UsageError
from autoopt.inference.pipeline import Pipeline
from autoopt.workloads.data.image_file import ImageFile
from autoopt.workloads.data.readers import known_kinds, of_series
from autoopt.workloads.data.reading import Reading

TABLE = "predictions.csv"
BETWEEN = "|"
"""Between the labels of an image that has several."""
MOST_TITLE = 100
"""Of the name of a workload, in characters: a bundle may come from anybody."""
DEPTHS = (255.0, 65535.0)
"""Scales that say what pixels have: 8 or 16 bits."""
UNKNOWN = (
    "the bundle does not say how its search read image files (its cases came from code of the user's own, or it is of "
    "an earlier version): they are read as they are stored; compare a few answers with those of the search"
)


@dataclass(frozen=True)
class Event:
    """One more image is done: its name, how many are done of how many, and the reason where it failed."""

    name: str
    done: int
    total: int
    problem: str | None = None


Listener = Callable[[Event], object]


@dataclass(frozen=True)
class Predicted:
    """What came of it: the files that were written, by the name of their image; the reasons of those that failed.

    `title` names the model, as files say it. `others` is how many files of the folders are no images. `remarks` are
    sentences that the user should know.
    """

    out: Path
    title: str
    written: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    others: int = 0
    remarks: Sequence[str] = ()


class Wanted(TypedDict, total=False):
    """What is written, and of which series.

    `overlay`: also a picture for people beside each mask. `probabilities`: also a .npz with `probabilities`, float32
    (*spatial, classes) or (classes,). `mask_format`: volumes get masks of their own format ("same"), or "nifti".
    `series`: which one of a DICOM folder that has several, None: as the search had it.
    """

    overlay: bool
    probabilities: bool
    mask_format: outputs.Format
    series: str | None


def predict_files(
    bundle: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    listener: Listener = lambda event: None,
    stand_ins: bool = False,
    **wanted: Unpack[Wanted],
) -> Predicted:
    """Predict all image files in `inputs`, files or folders with all that is below them, and write to `out`.

    A segmentation writes a mask of the size of each image (see `outputs`), all others one `predictions.csv`.
    `stand_ins` is that of `load`. Raises UsageError where nothing can be predicted at all, an output would replace an
    input, `out` cannot be written to, or a package is missing.
    """
    if not inputs:
        raise UsageError("at least one image file or folder must be given, got none")
    mask_format = wanted.get("mask_format", "same")
    if mask_format not in outputs.FORMATS:
        raise UsageError(f"--format must be one of {', '.join(outputs.FORMATS)}, got {mask_format!r}")
    with load(bundle, stand_ins=stand_ins) as predictor:
        digest, (reading, remarks) = file_digest(bundle / CARD), reading_of(predictor)
        if (series := wanted.get("series")) is not None:
            reading = replace(reading, series=series)
        return _Work(predictor, digest, out, reading, remarks, wanted).run(inputs, listener)


def reading_of(predictor: Predictor) -> tuple[Reading, tuple[str, ...]]:
    """How the search of a bundle read its images, and what the user should know of that.

    Where the bundle does not say it, what its pipeline divides by tells 8 from 16 bits. Raises BundleError.
    """
    told = predictor.info.get("reading")
    if told is None:
        scale = predictor.pipeline.scale
        fixed = not predictor.pipeline.own_numbers
        return Reading(value_range=scale if fixed and scale in DEPTHS else None), (UNKNOWN,)
    try:
        if not isinstance(told, Mapping):
            raise ValueError(f"it must be a table, it is {short(told)}")
        return Reading.from_json(told), ()
    except ValueError as error:
        raise BundleError(
            f"the reading of images in the bundle cannot be used ({error}): pull the bundle again"
        ) from error


class _Work:
    """One call of `predict_files`."""

    def __init__(
        self,
        predictor: Predictor,
        bundle: str,
        out: Path,
        reading: Reading,
        remarks: Sequence[str],
        wanted: Wanted,
    ) -> None:
        self._predictor, self._bundle, self._out = predictor, bundle, out
        self._reading, self._remarks = reading, remarks
        self._pipeline: Pipeline = predictor.pipeline
        self._overlay, self._probabilities = wanted.get("overlay", False), wanted.get("probabilities", False)
        self._format = wanted.get("mask_format", "same")
        self._segments = self._pipeline.task == "segmentation"
        self._multilabel = self._pipeline.multilabel
        self._planned: list[str] = []
        self._tidied: set[Path] = set()
        self._demo = bool(predictor.info.get("demo"))
        name = "".join(letter if letter.isprintable() else " " for letter in str(predictor.info.get("workload")))
        self._title = f"{name[:MOST_TITLE]}{' (demo data)' if self._demo else ''}"
        if self._overlay and not self._segments:
            raise UsageError(f"--overlay draws masks, this bundle is a {self._pipeline.task}: leave it out")
        if self._overlay and self._pipeline.dimensions == 1:
            raise UsageError("--overlay draws masks on pictures, this bundle labels time series: leave it out")
        if self._probabilities and self._pipeline.gives_labels:
            raise UsageError("--probabilities needs a graph that gives them, this one decides itself: leave it out")
        if self._probabilities and self._pipeline.task == "regression":
            raise UsageError("--probabilities needs classes, this bundle is a regression: leave it out")

    def run(self, inputs: Sequence[Path], listener: Listener) -> Predicted:
        found = find_inputs(inputs, self._out, self._reading.suffixes)
        total = len(found.inputs) + len(found.problems)
        if not total:
            raise UsageError(f"{', '.join(map(str, inputs))} must hold images ({known_kinds()}), there are none")
        names = stems(found.inputs, self._outputs_of)
        self._planned = self._checked_outputs(found.inputs, names)
        failed, written = dict(found.problems), dict[str, list[Path]]()
        rows: list[list[str]] = []
        for done, (name, problem) in enumerate(failed.items(), start=1):
            listener(Event(name, done, total, problem))
        for done, (item, stem) in enumerate(zip(found.inputs, names, strict=True), start=len(failed) + 1):
            reason = None
            try:
                written[item.name] = self._one(item, stem, rows)
            except (NeedsPackage, StorageError):  # none of the others would go better
                raise
            except (TrialError, DataError, ValueError, OSError, MemoryError, RuntimeError) as error:
                reason = failed[item.name] = _reason(error, item)
            listener(Event(item.name, done, total, reason))
        if not self._segments and rows:
            path = self._write(PurePosixPath(TABLE), self._table(rows))
            written = {name: [*paths, path] for name, paths in written.items()}
        if written:
            paths = {path.relative_to(self._out).as_posix() for paths in written.values() for path in paths}
            add_to_list(self._out, paths, self._bundle, self._title)
        return Predicted(self._out, self._title, written, failed, found.others, self._remarks)

    def _outputs_of(self, item: Input, stem: PurePosixPath) -> list[PurePosixPath]:
        """All files that are written for an image; a classification has none of its own but the probabilities."""
        labels = self._predictor.labels if self._multilabel else None
        names = outputs.mask_names(stem, self._kind(item), labels) if self._segments else []
        names += [outputs.overlay_name(stem)] if self._overlay else []
        return [*names, *([outputs.probabilities_name(stem)] if self._probabilities else [])]

    def _kind(self, item: Input) -> str:
        return outputs.kind_of(item.source.path, self._format)

    def _checked_outputs(self, inputs: Sequence[Input], names: Sequence[PurePosixPath]) -> list[str]:
        """The names of all outputs. Raises UsageError where one would replace an input or somebody else's file."""
        given = {source.path.resolve() for item in inputs for source in (item.source, *item.more)}
        planned = [name for item, stem in zip(inputs, names, strict=True) for name in self._outputs_of(item, stem)]
        planned += [] if self._segments else [PurePosixPath(TABLE)]
        for name in planned:
            if (self._out / name).resolve() in given:
                raise UsageError(
                    f"no output may replace an input, {self._out / name} would: choose another folder with -o"
                )
        _check_writable(self._out)
        texts = [name.as_posix() for name in planned]
        check_replaceable(self._out, texts)
        return texts

    def _one(self, item: Input, stem: PurePosixPath, rows: list[list[str]]) -> list[Path]:
        """Predict one image and write its files; of a classification its line joins `rows`."""
        image, file = self._reading.image(item.source, self._pipeline.dimensions, self._pipeline.channels, item.more)
        if self._pipeline.sliced and not self._pipeline.turns_axes and file.affine is not None:
            raise BadData(
                f"{item.source} must be an array (slices, height, width), as the search had: store it as .npz"
            )
        if self._probabilities or not self._segments:
            answer, likely = self._predictor.predict_both(image, file.affine)
        else:
            answer, likely = self._predictor.predict(image, file.affine), None
        contents = list(self._contents(item, image, file, answer, likely))  # all of them before the first is written
        paths = [
            self._write(name, content) for name, content in zip(self._outputs_of(item, stem), contents, strict=True)
        ]
        if not self._segments:
            label = [] if self._pipeline.task == "regression" else [self._label(answer)]
            rows.append([item.name, *label, *map(str, answer), self._title])
        return paths

    def _write(self, name: PurePosixPath, content: bytes) -> Path:
        """Write one output, complete or not at all; what a killed process left in its folder goes first."""
        folder = outputs.folder_for(self._out, name)
        if not self._tidied:  # a killed process leaves outputs: the next one must know them for its own
            add_to_list(self._out, self._planned, self._bundle, self._title)
        if folder not in self._tidied:
            remove_left_behind(folder)
            self._tidied.add(folder)
        write_atomic(folder / name.name, content)
        return folder / name.name

    def _contents(
        self, item: Input, image: np.ndarray, file: ImageFile, answer: np.ndarray, likely: np.ndarray | None
    ) -> Iterator[bytes]:
        """What `_outputs_of` names, one after the other."""
        if self._segments:
            source = of_series(item.source, self._reading.series)
            labels = self._predictor.labels if self._multilabel else self._predictor.value_names
            about = outputs.Answered(source, file.affine, labels, self._title, self._bundle, self._multilabel)
            yield from outputs.mask_bytes(answer, self._kind(item), about)
        if self._overlay:
            axis = 0 if file.affine is None or outputs.kind_of(item.source.path) == outputs.ARRAY else 2
            yield overlay_bytes(
                image, answer, self._title, multilabel=self._multilabel, stack_axis=axis, demo=self._demo
            )
        if self._probabilities and likely is not None:
            told = {"labels": np.array(self._predictor.labels), "model": np.array(self._title)}
            yield outputs.array_bytes({"probabilities": likely, **told})

    def _label(self, likely: np.ndarray) -> str:
        """The name of the most probable class, or of all classes that reach the threshold."""
        if not self._multilabel:
            return self._predictor.labels[int(likely.argmax())]
        reached = likely >= np.float32(self._pipeline.threshold)
        return BETWEEN.join(name for name, holds in zip(self._predictor.labels, reached, strict=True) if holds)

    def _table(self, rows: Sequence[Sequence[str]]) -> bytes:
        """The CSV where there are no masks: file, label and probabilities of all classes, or numbers, and the model."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        labels = self._predictor.labels
        answers = labels if self._pipeline.task == "regression" else ("label", *(f"p_{label}" for label in labels))
        writer.writerow(["file", *answers, "model"])
        writer.writerows(rows)
        return stream.getvalue().encode(errors="surrogateescape")


def _check_writable(out: Path) -> None:
    """Raise UsageError unless `out` is a folder that can be written to, or can be made: the first output makes it."""
    place = next(place for place in (out, *out.absolute().parents) if os.path.lexists(place))
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"-o must be a folder that can be written to, {place} is not: choose another")


def _reason(error: Any, item: Input) -> str:
    """Why an image failed, in one line that names its file."""
    if isinstance(error, MemoryError):
        return f"{item.source}: no memory is left for it"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if str(item.source.path) in text else f"{item.source}: {text}"
