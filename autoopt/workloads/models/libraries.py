"""Networks of other libraries by their names, built with fresh weights: nothing is downloaded, whatever the name.

Each library is one function and one line of `LIBRARIES`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

from autoopt.core.configuration import canonical_json
from autoopt.core.packages import require
from autoopt.core.plain_text import short
from autoopt.errors import WorkloadError
from autoopt.inference.pipeline import Pipeline
from autoopt.workloads.identity import plain_name

if TYPE_CHECKING:
    import torch

FETCHING = ("pretrained", "weights", "weights_backbone", "encoder_weights", "checkpoint_path", "cache_dir")
"""Arguments by which a library fetches weights or reads files of its own choice."""
OF_TIMM = "tu-"
"""What smp puts before the name of an encoder that timm has."""


@dataclass(frozen=True)
class Asked:
    """What a network is wanted for: channels and classes, the sizes of a call, and further `arguments` by name."""

    task: str
    channels: int
    classes: int
    tile: tuple[int, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)


Build = Callable[[Any, str, Asked], "torch.nn.Module"]


@dataclass(frozen=True)
class Library:
    """A library of networks: its module, what pip calls it, and how a network of it is built by name."""

    module: str
    distribution: str
    build: Build


def _smp(library: Any, name: str, asked: Asked) -> torch.nn.Module:
    """ARCHITECTURE or ARCHITECTURE/ENCODER, as in Unet/resnet34."""
    architecture, _, encoder = name.partition("/")
    known = [item for item in library.__all__ if isinstance(getattr(library, item, None), type)]
    kind = getattr(library, _known(architecture, known, "smp"))
    named = {}
    if encoder:
        own = encoder.startswith(OF_TIMM)  # smp asks timm for it
        named["encoder_name"] = encoder if own else _known(encoder, library.encoders.get_encoder_names(), "smp")
    return _made(
        kind,
        {**named, **asked.arguments, "encoder_weights": None, "in_channels": asked.channels, "classes": asked.classes},
    )


def _timm(library: Any, name: str, asked: Asked) -> torch.nn.Module:
    """The name of a classifier. Some must know the sizes of a call, as transformers do; others refuse to be told."""
    known = _known(name.partition(".")[0], library.list_models(), "timm")
    create = partial(library.create_model, known)
    given = {**asked.arguments, "pretrained": False, "num_classes": asked.classes, "in_chans": asked.channels}
    if "img_size" in given:
        return _made(create, given)
    try:
        return _made(create, {"img_size": asked.tile, **given})
    except WorkloadError:
        return _made(create, given)


def _torchvision(library: Any, name: str, asked: Asked) -> torch.nn.Module:
    """The name of a model of the task: of torchvision.models, or of torchvision.models.segmentation."""
    models = importlib.import_module(f"{library.__name__}.models")
    if asked.channels != 3:
        more = ": --option channels=3 gives them as three equal ones" if asked.channels == 1 else ""
        raise WorkloadError(f"networks of torchvision take 3 channels, the images have {asked.channels}{more}")
    of_task = models.segmentation if asked.task == "segmentation" else models
    known = _known(name, models.list_models(module=of_task), "torchvision")
    builder = models.get_model_builder(known)
    nothing = {word: None for word in ("weights", "weights_backbone") if word in inspect.signature(builder).parameters}
    return _made(builder, {**asked.arguments, **nothing, "num_classes": asked.classes})


def _monai(library: Any, name: str, asked: Asked) -> torch.nn.Module:
    """The name of a class of monai.networks.nets, as in SegResNet."""
    nets = importlib.import_module(f"{library.__name__}.networks.nets")
    import torch

    known = [item for item, kind in vars(nets).items() if isinstance(kind, type) and issubclass(kind, torch.nn.Module)]
    kind = getattr(nets, _known(name, known, "monai"))
    values = {
        **dict.fromkeys(("spatial_dims", "dimensions"), len(asked.tile)),
        **dict.fromkeys(("in_channels", "n_input_channels"), asked.channels),
        **dict.fromkeys(("out_channels", "num_classes"), asked.classes),
        "img_size": asked.tile,
        "pretrained": False,
    }
    taken = _parameters(kind)
    return _made(kind, {**{word: value for word, value in values.items() if word in taken}, **asked.arguments})


LIBRARIES: Mapping[str, Library] = {
    "smp": Library("segmentation_models_pytorch", "segmentation-models-pytorch", _smp),
    "timm": Library("timm", "timm", _timm),
    "torchvision": Library("torchvision", "torchvision", _torchvision),
    "monai": Library("monai", "monai", _monai),
}


def builder(library: str, name: str, asked: Asked) -> Callable[[], torch.nn.Module]:
    """A function that builds the network; what is stored remembers it by library, version, name and arguments.

    Raises NeedsPackage where the library is not installed, WorkloadError for arguments that would fetch weights. The
    function raises WorkloadError for a name that the library does not have and for what it says of the arguments.
    """
    known = LIBRARIES[library]
    fetching = [word for word in FETCHING if word in asked.arguments]
    if fetching:
        raise WorkloadError(
            f"the arguments of {library}:{name} must not fetch weights, they have {', '.join(fetching)}: "
            "name a file with --weights"
        )
    require(known.module)
    version = metadata.version(known.distribution)

    @plain_name(f"{library}:{name} {version} {canonical_json(asked.__dict__)}")
    def build() -> torch.nn.Module:
        try:
            module = importlib.import_module(known.module)
        except Exception as error:  # such as a torchvision that is built for another torch
            raise WorkloadError(f"{known.module} cannot be imported: {type(error).__name__}: {error}") from error
        return known.build(module, name, asked)

    return build


def images_remark(source: str, pipeline: Pipeline) -> str:
    """What images are normalised by, for a user whose weights may have been trained with something else."""
    if pipeline.intensity != "fixed":
        return f"{source} gets images that are normalised by themselves ({pipeline.intensity})"
    mean, std = (", ".join(f"{item:g}" for item in values) for values in (pipeline.mean, pipeline.std))
    return (
        f"{source} gets images divided by {pipeline.scale:g}, with mean {mean} and std {std}: where its weights were "
        "trained with others, give them with --option scale=, mean= and std="
    )


def _known(name: str, names: Sequence[str], library: str) -> str:
    """`name`, if it is one of `names`. Raises WorkloadError with those that are spelled alike."""
    if name in names:
        return name
    near = get_close_matches(name, names, n=5, cutoff=0.5)
    like = f"; like it are {', '.join(near)}" if near else ""
    raise WorkloadError(f"{library} has no network called {short(name)}{like}")


def _parameters(kind: Any) -> set[str]:
    """The names of all arguments of a class, those of its bases too where it passes them on."""
    found: set[str] = set()
    for one in inspect.getmro(kind):
        parameters = inspect.signature(vars(one)["__init__"]).parameters if "__init__" in vars(one) else {}
        found |= set(parameters)
        if parameters and not any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values()):
            break
    return found


def _made(kind: Callable[..., Any], arguments: Mapping[str, Any]) -> torch.nn.Module:
    try:
        made: torch.nn.Module = kind(**arguments)
    except WorkloadError:
        raise
    except Exception as error:  # the library's own code: what it says of its arguments
        given = ", ".join(f"{name}={short(value)}" for name, value in arguments.items())
        raise WorkloadError(
            f"the network refuses its arguments ({given}): {type(error).__name__}: {error}. "
            "Give others with --option arguments='{\"NAME\": VALUE}'"
        ) from error
    return made
