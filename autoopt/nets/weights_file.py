"""What a file of weights holds, read without running anything of it: safetensors, and all that PyTorch writes."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from autoopt.errors import WeightsError
from autoopt.nets.exported_program import exported_weights, is_exported
from autoopt.workloads.models.nnunet_folder import read_entry

SCRIPTED = "__torch__"
"""The module of all classes of TorchScript. An object of one is no more than the values of its fields."""
LISTS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")
"""What TorchScript calls to make lists of, all in torch.jit._pickle; that gives back what it was given."""
CODE = ("constants.pkl", "code/", "debug_pkl", "traced_inputs")
"""Parts of a TorchScript archive that hold code or constants, and no weights of a module."""
CLASS = re.compile(r"(?:Unsupported (?:global|class): GLOBAL|unsupported GLOBAL) (\S+)")
"""What torch says of a class that it does not take for data."""
REASON = re.compile(r"WeightsUnpickler error: (.*)")
"""What is wrong with a file, behind torch's advice to read it unsafely, which is nobody's to follow."""
MOST_REASON = 300


class Fields(dict[str, Any]):
    """An object of a file as its fields by name; nothing of its class is known here."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.update(state)


def read_file(path: Path, entry: str = "") -> Any:
    """The content of a weights file: tensors by name, or whatever a training saved around them; on the CPU.

    With `entry` that of a file in a zip file. Of TorchScript and of an exported program the weights of its modules by
    name. Nothing of the file is run: its classes are data, or it is refused. Raises WeightsError.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if entry:
            return _of_entry(path, entry)
        if path.suffix == ".safetensors":
            return load_file(path)
        is_zip = _is_unpacked_zip(path)
        if is_zip and is_exported(path):
            return exported_weights(path)
        if is_zip and _is_scripted(path):
            return _scripted(path)
        # Older files are one pickle, whose texts say how long they are: from memory no more is read than there is.
        source = path if is_zip else io.BytesIO(path.read_bytes())
        with _numbers_allowed():
            return torch.load(source, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # both libraries raise many kinds for broken files: name the file
        classes = CLASS.findall(str(error))
        if classes:
            raise WeightsError(
                f"the weights {path} must be tensors by name, they hold a Python object ({classes[0][:MOST_REASON]}), "
                "whose code would run: save the weights alone, torch.save(model.state_dict(), FILE), and name that file"
            ) from error
        said = REASON.search(str(error))
        reason = (said[1] if said else str(error).partition("\n")[0])[:MOST_REASON] or type(error).__name__
        raise WeightsError(
            f"the weights {path} must be a safetensors file or a PyTorch state dict, they cannot be read: {reason}"
        ) from error


def _of_entry(path: Path, entry: str) -> Any:
    """The content of a checkpoint in a zip file."""
    import torch

    data = read_entry(path, entry)
    stream = io.BytesIO(data)
    _check_unpacked(stream, len(data))
    stream.seek(0)
    with _numbers_allowed():
        return torch.load(stream, map_location="cpu", weights_only=True)


@contextmanager
def _numbers_allowed(*more: Any) -> Iterator[None]:
    """Let numbers of numpy be read, which trainings save beside weights: they are data, nothing runs."""
    from _codecs import encode

    import numpy as np
    import torch

    scalar = np.float64(0).__reduce__()[0]
    types = [type(np.dtype(name)) for name in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "b1")]
    known = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    allowed: list[Any] = [*known, np.dtype, *types, encode, *more]
    with torch.serialization.safe_globals(allowed):
        yield


def _is_unpacked_zip(path: Path) -> bool:
    """Whether a file of PyTorch is a zip file. Raises ValueError where its tensors are packed: it could fill memory."""
    if not zipfile.is_zipfile(path):
        return False
    _check_unpacked(path, path.stat().st_size)
    return True


def _check_unpacked(source: Path | IO[bytes], size: int) -> None:
    with zipfile.ZipFile(source) as archive:
        data = [item for item in archive.infolist() if not _is_code(item.filename)]
        if sum(item.file_size for item in data) > size:
            raise ValueError("its tensors are packed, PyTorch stores them as they are")


def _is_code(name: str) -> bool:
    """Whether a file in an archive has no tensors: TorchScript packs its code."""
    return name.partition("/")[2].startswith(CODE)


def _is_scripted(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.partition("/")[2] == "constants.pkl" for name in archive.namelist())


def _scripted(path: Path) -> dict[str, Any]:
    """The weights of a TorchScript module by name.

    The archive is that of a state dict but for its code and for classes of its own. Without the code it is read as a
    state dict is, each class as fields.
    """
    import torch

    stripped = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(stripped, "w") as copy:
        for item in archive.infolist():
            if not _is_code(item.filename):
                copy.writestr(item, archive.read(item))
    names = [name for name in _globals(path) if name.startswith(f"{SCRIPTED}.")]
    lists = [(_itself, f"torch.jit._pickle.{name}") for name in (*LISTS, "restore_type_tag")]
    with _numbers_allowed(*((Fields, name) for name in names), *lists):
        stripped.seek(0)
        found = torch.load(stripped, map_location="cpu", weights_only=True)
    return dict(_tensors(found, (), ()))


def _itself(value: Any, *about: Any) -> Any:
    """The value without what is said about its type."""
    return value


def _tensors(found: Any, path: tuple[str, ...], around: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """The tensors of an object's fields by their names with dots; `around` are the objects that it is in."""
    import torch

    if isinstance(found, torch.Tensor):
        yield ".".join(path), found
    elif isinstance(found, Fields) and id(found) not in around:
        for name, item in found.items():
            yield from _tensors(item, (*path, name), (*around, id(found)))


def _globals(path: Path) -> list[str]:
    """The classes and functions that the pickle of a zip file names, "module.name" each."""
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.partition("/")[2] == "data.pkl"]
        data = archive.read(pickles[0]) if pickles else b""
    return [str(text).replace(" ", ".") for code, text, _ in pickletools.genops(data) if code.name == "GLOBAL"]
