"""A folder that smp or timm saved a network to (`save_pretrained`, `push_to_hub`) as a workload: `--model FOLDER`.

config.json says architecture, classes and normalisation, model.safetensors (or pytorch_model.bin) has the weights. Both
are only read: the network is built by the library as `libraries.py` builds it, and nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.core.plain_text import parse_json, short
from autoopt.errors import WorkloadError
from autoopt.workloads.contract import Workload
from autoopt.workloads.models.assemble import OPTIONS as COMMON_OPTIONS
from autoopt.workloads.models.assemble import Shape, dataset_of, pipeline_of, workload_of
from autoopt.workloads.models.libraries import FETCHING, Asked, builder, images_remark

OPTIONS: Mapping[str, Parameter] = COMMON_OPTIONS
CONFIG = "config.json"
FILES = ("model.safetensors", "pytorch_model.bin")
LONGEST_CONFIG = 1_000_000


@dataclass(frozen=True)
class Saved:
    """What a config.json says: the network by library and name, its channels and classes, and how images are given to
    it, as options of a model.

    `cropped` is what it says of cutting images to size, in words; the pipeline does that in its own way.
    """

    library: str
    name: str
    channels: int | None
    classes: int | None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Scalar] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    cropped: str = ""


def matches(model: str) -> bool:
    """Whether `model` is a folder with a config.json and the weights of a network."""
    folder = Path(model)
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in FILES)


def workload(model: str, data: Path, options: Mapping[str, Scalar]) -> Workload:
    """The network in the folder, on the cases in `data`; options that are given are stronger than its config.json.

    Raises NeedsPackage where its library is not installed, WorkloadError or DataError.
    """
    folder = Path(model)
    saved = read_saved(folder / CONFIG)
    chosen = {**saved.options, **options}
    dataset = dataset_of(data, chosen, saved.labels)
    shape = Shape(saved.channels, saved.classes, labels=saved.labels)
    pipeline = pipeline_of(dataset, shape, chosen, str(folder))
    asked = Asked(pipeline.task, pipeline.channels, pipeline.classes, pipeline.tile, saved.arguments)
    weights = next(folder / name for name in FILES if (folder / name).is_file())
    build = builder(saved.library, saved.name, asked)
    made = workload_of(dataset, pipeline, chosen, folder.resolve().name, build=build, weights=weights)
    remark = images_remark(str(folder), pipeline)
    if saved.cropped:
        how = {"tile": "cut into tiles", "resize": "resized whole, linearly", "center": "cut to their centre"}
        remark += f"; they are {how[pipeline.fit]}, where {folder / CONFIG} says {saved.cropped}"
    return replace(made, remarks=(*made.remarks, remark))


def read_saved(path: Path) -> Saved:
    """What the file says. Raises WorkloadError for one of another library, or that does not say enough."""
    try:
        with path.open("rb") as stream:
            found = parse_json(stream.read(LONGEST_CONFIG))
    except (OSError, ValueError) as error:
        raise WorkloadError(f"{path} must be JSON: {str(error)[:300]}") from error
    if isinstance(found, dict) and isinstance(found.get("architecture"), str):
        return _of_timm(found, path)
    if isinstance(found, dict) and isinstance(found.get("_model_class"), str):
        return _of_smp(found, path)
    raise WorkloadError(
        f"{path} must be of a network that timm (architecture) or smp (_model_class) saved, it names neither"
    )


def _of_timm(found: Mapping[str, Any], path: Path) -> Saved:
    """timm: `architecture`, `num_classes`, `model_args`, `label_names`, and the normalisation in `pretrained_cfg`."""
    said, given = found.get("pretrained_cfg", {}), found.get("model_args", {})
    if not isinstance(said, dict) or not isinstance(given, dict):
        raise WorkloadError(f"{path} must have mappings as pretrained_cfg and model_args")
    size = said.get("input_size")
    sizes = size if isinstance(size, list) and len(size) == 3 and all(isinstance(item, int) for item in size) else None
    texts = {name: _numbers(said.get(name), name, path) for name in ("mean", "std")}
    names = found.get("label_names", [])
    return Saved(
        "timm",
        found["architecture"],
        channels=None if sizes is None else sizes[0],
        classes=_whole(found.get("num_classes"), "num_classes", path),
        arguments=_harmless(given),
        options={
            **{name: text for name, text in texts.items() if text is not None},
            **({} if sizes is None else {"tile": f"{sizes[1]}x{sizes[2]}"}),
        },
        labels=tuple(map(str, names)) if isinstance(names, list) else (),
        cropped=", ".join(
            f"{name} {said[name]}" for name in ("crop_mode", "crop_pct", "interpolation") if name in said
        ),
    )


def _of_smp(found: Mapping[str, Any], path: Path) -> Saved:
    """smp: the class, its encoder, and the arguments that it was made with."""
    encoder = found.get("encoder_name", "resnet34")
    if not isinstance(encoder, str):
        raise WorkloadError(f"{path} must have a text as encoder_name, it has {short(encoder)}")
    own = ("_model_class", "encoder_name", "in_channels", "classes")
    activation = found.get("activation")
    if activation not in (None, "identity"):
        raise WorkloadError(
            f"{path} must have no activation, since the pipeline decides; it has {short(activation)}: save it without"
        )
    return Saved(
        "smp",
        f"{found['_model_class']}/{encoder}",
        channels=_whole(found.get("in_channels", 3), "in_channels", path),
        classes=_whole(found.get("classes", 1), "classes", path),
        arguments=_harmless({name: value for name, value in found.items() if name not in own}),
    )


def _harmless(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments without those by which weights would be fetched: the weights are in the folder."""
    return {name: value for name, value in arguments.items() if name not in FETCHING and not name.startswith("_")}


def _whole(value: Any, name: str, path: Path) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise WorkloadError(f"{path} must have a whole number of at least 1 as {name}, it has {short(value)}")
    return value


def _numbers(value: Any, name: str, path: Path) -> str | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, int | float) for item in value):
        raise WorkloadError(f"{path} must have a list of numbers as pretrained_cfg.{name}, it has {short(value)}")
    return ",".join(map(str, cast(list[float], value)))
