"""Load a bundle and predict. Needs numpy and the bundle's runtime; scipy only to fill holes or choose components."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from autoopt.core.packages import how_to_install, is_installed
from autoopt.core.plain_text import short
from autoopt.deploy.layout import CARD, MODEL, pipeline_of, read_card, verify_files
from autoopt.deploy.surroundings import host_differences, precision_difference, version_differences
from autoopt.errors import BundleError, TrialError
from autoopt.inference.pipeline import Pipeline, predict, predict_both
from autoopt.inference.runtimes import has_network, runtime
from autoopt.inference.runtimes.base import Runtime, Session
from autoopt.measure.target import LocalTarget, Target

_log = logging.getLogger("autoopt")

MOST_THREADS = 1024
"""More threads, or calls side by side, than any host has use for."""
MOST_PROBLEMS = 10
MOST_REMARK = 500
"""Of the remark on the weights, in characters."""


def load(
    folder: str | Path,
    *,
    verify: str | Path | None = None,
    stand_ins: bool = False,
    target: Target | None = None,
) -> Predictor:
    """The model of the bundle in `folder`, ready to predict; every file is verified first, nothing is unpickled.

    Needs numpy and the bundle's runtime. With `verify`, the file of a public key, the bundle must be signed by its
    owner. A bundle of the runtime that only tests use is refused without `stand_ins`. Two warnings may be logged: what
    the bundle says is wrong with its weights, and in what `target`, by default this host, differs from the host, the
    libraries and the precision that it was measured with.
    Raises BundleError naming the file that is missing, altered or not where it belongs, the setting that cannot work,
    or the package that is not installed; UsageError for a file that is no key.
    """
    folder = Path(folder)
    card = verified_card(folder, verify=None if verify is None else Path(verify), stand_ins=stand_ins)
    settings = dict(card["runtime"])
    name = str(settings.pop("name"))
    executes = runtime(name)
    pipeline = pipeline_of(folder, card)
    if pipeline.needs_scipy and not is_installed("scipy"):
        raise BundleError(f"{folder} does more around its network than numpy can, which needs scipy: pip install scipy")
    try:
        session = executes.open(folder / MODEL, settings)
    except (ImportError, TrialError) as error:
        if _is_import_error(error):
            package = executes.DISTRIBUTION or name
            needs = f"{folder} needs {name}, which cannot be imported ({error})"
            raise BundleError(f"{needs}: pip install {how_to_install(package)}") from error
        raise BundleError(f"{folder} cannot be opened on this machine: {error}") from error
    remark = " ".join(str(card.get("weights_remark") or "").split())  # older bundles have none
    if remark:
        _log.warning("%s: %s", folder, remark[:MOST_REMARK])
    _warn_of_differences(folder, card, session, target or LocalTarget())
    return Predictor(card, pipeline, session)


def verified_card(folder: Path, *, verify: Path | None = None, stand_ins: bool = False) -> dict[str, Any]:
    """The card of the bundle in `folder`, all of whose files, settings and, with `verify`, signature are right.

    Raises BundleError as `load` does.
    """
    card = read_card(folder, verify)
    settings = dict(card["runtime"])
    name = str(settings.pop("name"))
    if not stand_ins and not has_network(name):
        raise BundleError(f"{folder} must be of a runtime that executes a network; {name} is for tests: do not use it")
    _check_settings(folder, settings, runtime(name))
    verify_files(folder, card["files"])
    return card


class Predictor:
    """A loaded bundle. Use it as a context manager, or call `close`.

    `card` is bundle.json, `session` whatever runs one tile: `Session.run` of a runtime, or one that asks a server.
    """

    def __init__(self, card: Mapping[str, Any], pipeline: Pipeline, session: Session) -> None:
        self._card = card
        self._session: Session | None = session
        self.pipeline = pipeline

    @property
    def info(self) -> Mapping[str, Any]:
        """All of bundle.json: labels, runtime settings, numbers, host, digests."""
        return MappingProxyType(dict(self._card))

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the label map's values or of the probabilities."""
        return tuple(self._card["labels"])

    @property
    def value_names(self) -> tuple[str, ...]:
        """What each value of a label map means; see the function `value_names`."""
        return value_names(self.pipeline, self.labels)

    def predict(self, image: np.ndarray, affine: np.ndarray | None = None) -> np.ndarray:
        """The answer for one image (*spatial, channels), of any size.

        `affine` is (4, 4), voxel index to RAS+ millimetres as in NIfTI, needed where the pipeline orients or
        resamples. Segmentation: a uint8 label map of the image's spatial shape; several labels at once: 0 or 1,
        (*spatial, labels). Classification: float32 probabilities (classes,). Raises ValueError for an image
        that does not fit the pipeline, BundleError after `close`.
        """
        return predict(self.pipeline, self._open().run, image, affine)

    def predict_both(self, image: np.ndarray, affine: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """What `predict` answers, and the probabilities of all classes, float32 (*spatial, classes) or (classes,).

        Raises what `predict` raises, and ValueError where the graph decides itself: then there are none.
        """
        return predict_both(self.pipeline, self._open().run, image, affine)

    def _open(self) -> Session:
        if self._session is None:
            raise BundleError("the predictor was closed: load the bundle again")
        return self._session

    def call(self, tile: np.ndarray) -> np.ndarray:
        """One call of the network: a tile of `pipeline.input_shape` in, its output; see `Session.run`.

        Raises BundleError after `close`.
        """
        if self._session is None:
            raise BundleError("the predictor was closed: load the bundle again")
        return np.asarray(self._session.run(tile))

    def close(self) -> None:
        """Release the model; closing twice is fine."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _warn_of_differences(folder: Path, card: Mapping[str, Any], session: Session, target: Target) -> None:
    """Log, once, in what this host differs from the one that the numbers of the bundle hold for."""
    host = target.host
    package = runtime(str(card["runtime"]["name"])).DISTRIBUTION
    names = [name for name in (package, "numpy") if name is not None]
    found = [
        *host_differences(card.get("host"), host),
        *version_differences(card.get("versions"), host.versions, names),
        precision_difference(card.get("effective"), session.effective()),
    ]
    if told := "; ".join(filter(None, found)):
        text = (
            "this is not what the bundle was measured with, so its numbers may not hold: %s. `autoopt check` says more"
        )
        _log.warning(f"%s: {text}", folder, told)


def _check_settings(folder: Path, settings: Mapping[str, Any], executes: Runtime) -> None:
    """Raise BundleError for a value that a setting cannot have, and for more threads than any host has."""
    problems: list[str] = []
    for key, parameter in executes.PARAMETERS.items():
        value = settings.get(key, parameter.default)
        plain = value is None or isinstance(value, str | int | float)
        problem = parameter.problem(value) if plain else f"must be {parameter.describe()}, got {short(value)}"
        if problem is None and parameter.kind == "integer" and value is not None and value > MOST_THREADS:
            problem = f"must be at most {MOST_THREADS}, got {value}"
        problems += [f"{folder / CARD}: runtime.{key} {problem}"] if problem else []
    if problems:
        raise BundleError(*problems[:MOST_PROBLEMS], f"{folder} cannot be used: pull the bundle again")


def _is_import_error(error: BaseException | None) -> bool:
    """Whether a library that is not installed is the cause of `error`."""
    while error is not None:
        if isinstance(error, ImportError):
            return True
        error = error.__cause__
    return False


def value_names(pipeline: Pipeline, labels: Sequence[str]) -> tuple[str, ...]:
    """What each value of a label map means: the labels, or where regions are painted, those and a background."""
    if not pipeline.paint:
        return tuple(labels)
    names = dict(zip(pipeline.paint, labels, strict=True))
    return ("background", *(names.get(value, f"label_{value}") for value in range(1, pipeline.labels)))
