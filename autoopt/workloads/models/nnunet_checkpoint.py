"""What a checkpoint of nnU-Net says beside its weights, read without torch and without running anything of it.

The weights themselves are loaded later, where the network is built (`nets.weights`). Here the parent of a search reads
what it needs of the pipeline: the configuration, the trainer, the axes that may be mirrored.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

from autoopt.core.plain_text import short
from autoopt.errors import WeightsError

CONTENT = "data.pkl"
MOST_BYTES = 64_000_000
"""Of the pickle of a checkpoint, which has names and sizes of tensors, the log of a training and its plans."""
PLAIN = frozenset({("collections", "OrderedDict")})
UNREAD = frozenset(
    {
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch._utils", "_rebuild_tensor_v3"),
        ("torch._utils", "_rebuild_parameter"),
        ("torch", "device"),
        ("torch", "Size"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("_codecs", "encode"),
        *(("torch", name) for name in ("float32", "float16", "bfloat16", "float64", "int64", "int32", "bool")),
    }
)
"""What makes tensors and numbers of numpy: no more than a blank here. Types of torch and of numpy's numbers too."""
STORAGES = ("torch", "torch.storage")
"""The modules of what holds the numbers of tensors."""
PROTOCOL = 2
"""What PyTorch writes; the instructions of later protocols can ask for memory that the file does not have."""
DEEPEST_TUPLE = 50
TUPLES: Mapping[bytes, int | None] = {pickle.TUPLE1: 1, pickle.TUPLE2: 2, pickle.TUPLE3: 3, pickle.TUPLE: None}
MOST_AXES = 3


@dataclass(frozen=True)
class CheckpointFacts:
    """What a checkpoint says of itself; `mirrored` are the spatial axes that may be mirrored, as the network sees them.

    `configuration` is the name of that of the plans, `fold` what it was trained on.
    """

    configuration: str
    trainer: str
    mirrored: tuple[int, ...]
    fold: str


class Unread:
    """What stands for an object of a checkpoint that is not looked at."""

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _Reader(pickle._Unpickler):  # the one in Python: its memory is bounded by the file
    """A reader of pickles for which every class but a few that are known makes the whole file refused."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._depths: dict[int, tuple[int, Any]] = {}
        load = {code[0]: partial(_Reader._load_tuple, count=count) for code, count in TUPLES.items()}
        self.dispatch = {**self.dispatch, **load}  # type: ignore[misc]  # of this reader alone

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in PLAIN:
            return OrderedDict
        storage = module in STORAGES and name.endswith("Storage")
        number = module in ("numpy", "numpy.dtypes") and name.endswith("DType")
        if (module, name) in UNREAD or storage or number:
            return Unread
        raise _Foreign(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        return Unread()

    def _load_tuple(self, count: int | None) -> None:
        """Make a tuple of the last values; one that is deeply nested would end the process when it is looked up."""
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        if count is None:
            items = self.pop_mark()  # type: ignore[attr-defined]
            stack = self.stack  # type: ignore[attr-defined]
        else:
            items, stack[-count:] = stack[-count:], []
        depth = 1 + max((self._depths[id(item)][0] for item in items if id(item) in self._depths), default=0)
        if depth > DEEPEST_TUPLE:
            raise ValueError("its pickle must not have tuples nested without end")
        made = tuple(items)
        self._depths[id(made)] = depth, made
        stack.append(made)


class _Foreign(Exception):
    """The name of a class in a pickle that is no data."""


def read_facts(stream: IO[bytes], where: str) -> CheckpointFacts:
    """What a checkpoint_*.pth says of itself; `where` names it in messages.

    Raises WeightsError for what is no checkpoint of nnU-Net v2, and for one that would run code when it is unpickled.
    """
    try:
        found = _content(stream)
    except _Foreign as error:
        raise WeightsError(
            f"the checkpoint {where} must hold tensors and plain values, it holds a Python object "
            f"({short(str(error))}), whose code would run: do not use it, or save it anew without that"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a broken pickle raises many kinds: name the file
        said = str(error)[:200] or type(error).__name__
        raise WeightsError(f"{where} must be a checkpoint that nnU-Net v2 saved, it cannot be read: {said}") from error
    return _facts(found, where)


def _content(stream: IO[bytes]) -> Any:
    with zipfile.ZipFile(stream) as archive:
        names = [item for item in archive.infolist() if item.filename.rpartition("/")[2] == CONTENT]
        if len(names) != 1:
            raise ValueError(f"it must hold one {CONTENT}, it holds {len(names)}")
        if names[0].file_size > MOST_BYTES:
            raise ValueError(f"its {CONTENT} must have at most {MOST_BYTES / 1e6:g} MB")
        data = archive.read(names[0])
    _check_protocol(data)
    return _Reader(data).load()


def _check_protocol(data: bytes) -> None:
    for code, _, _ in pickletools.genops(data):
        if code.proto > PROTOCOL:
            raise ValueError(f"its pickle must be of protocol {PROTOCOL}, as PyTorch writes it, it has {code.name}")


def _facts(found: Any, where: str) -> CheckpointFacts:
    lacking = f"{where} must be a checkpoint that nnU-Net v2 saved"
    if not isinstance(found, Mapping) or "network_weights" not in found:
        raise WeightsError(f"{lacking}, with network_weights; it has {_keys(found)}")
    started, trainer = found.get("init_args"), found.get("trainer_name")
    configuration = started.get("configuration") if isinstance(started, Mapping) else None
    if not isinstance(configuration, str) or not isinstance(trainer, str):
        raise WeightsError(f"{lacking}, with trainer_name and init_args.configuration; it has {_keys(found)}")
    axes = found.get("inference_allowed_mirroring_axes")
    chosen = () if axes is None else axes
    if not isinstance(chosen, tuple | list) or not all(type(item) is int and 0 <= item < MOST_AXES for item in chosen):
        raise WeightsError(f"{lacking}; its inference_allowed_mirroring_axes must be axes from 0, got {short(axes)}")
    fold = started.get("fold", "") if isinstance(started, Mapping) else ""
    return CheckpointFacts(configuration[:200], trainer[:200], tuple(sorted(set(chosen))), str(fold)[:20])


def _keys(found: Any) -> str:
    names = [str(name)[:40] for name in list(found)[:8]] if isinstance(found, Mapping) else []
    return ", ".join(names) or "no entries"
