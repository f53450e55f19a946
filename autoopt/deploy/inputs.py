"""Which images `autoopt predict` is given: files, and folders with all that is below them; and the name of each output.

A name is the path below the folder that all inputs share, so that files of one name in two folders stay apart. Nothing
outside the given folders is read: links that lead out of them, and links to folders, are named and left alone.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from autoopt.errors import BadData
from autoopt.workloads.data.channel_files import grouped
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.readers import FOLDER, files_of, name_of, suffix_of
from autoopt.workloads.data.reading import sources_in

SEVERAL = 2
ARRAYS = (".npy", ".npz")
"""Files that hold all channels of their image."""
OutputsOf = Callable[["Input", PurePosixPath], list[PurePosixPath]]
"""The files that are written for an input whose outputs have this path without an ending."""


@dataclass(frozen=True)
class Input:
    """One image: where it lies, the path below what all inputs share, and that path without an ending.

    `more` are the files of its other channels.
    """

    source: Source
    name: str
    stem: PurePosixPath
    more: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Found:
    """The images that were found; by name what cannot be read and why; the number of files that are no images."""

    inputs: list[Input]
    problems: dict[str, str] = field(default_factory=dict)
    others: int = 0


def find_inputs(paths: Sequence[Path], out: Path, suffixes: Sequence[str] = ()) -> Found:
    """The images that these files and folders hold, in order of their names; what lies in `out` is left out.

    With several `suffixes` an image has a file for each channel, whose names end so; a file in which all channels may
    lie (.npy, .npz) is an image by itself.
    """
    places = [_absolute(path) for path in paths]
    base = _shared(places)
    problems: dict[str, str] = {}
    files: dict[Path, None] = {}
    others = 0
    for place in places:
        if suffix_of(place, below=False).endswith(FOLDER) and place.is_dir():
            for path in _series(place, place.resolve(), base, problems):
                files[path] = None
        elif place.is_dir():
            for path in _below(place, out.resolve(), base, problems):
                if suffix_of(path):
                    files[path] = None
                else:
                    others += 1
        elif place.is_file():
            files[place] = None
        else:
            came = "a pipe or a device" if place.exists() else "not there"
            problems[_name(place, base)] = f"{place} must be a file or folder, it is {came}"
    inputs: list[Input] = []
    single = sorted(path for path in files if len(suffixes) < SEVERAL or suffix_of(path) in ARRAYS)
    cases, wrong = grouped(sorted(set(files) - set(single)), suffixes)
    problems |= {_name(path, base): problem for path, problem in wrong.items()}
    for stem, (first, *others_of) in cases.items():
        name, more = _name(first, base), tuple(map(Source, others_of))
        inputs.append(Input(Source(first), name, PurePosixPath(name).with_name(stem.name), more))
    for path in single:
        try:
            inputs += _inputs_of(path, base, suffixes[0] if len(suffixes) == 1 else "")
        except BadData as error:
            problems[_name(path, base)] = error.message
    return Found(inputs, problems, others)


def stems(inputs: Sequence[Input], outputs_of: OutputsOf) -> list[PurePosixPath]:
    """For each input the path of its outputs without an ending; no two inputs share an output, whatever the case.

    Where the name without its ending belongs to several inputs, each keeps the ending: x.png and x.jpg become x_png and
    x_jpg. What still clashes gets a number.
    """
    counts = Counter(_folded(item.stem) for item in inputs)
    taken: set[str] = set()
    found: dict[int, PurePosixPath] = {}
    order = sorted(range(len(inputs)), key=lambda index: counts[_folded(inputs[index].stem)] > 1)
    for index in order:
        item = inputs[index]
        for stem in _candidates(item, alone=counts[_folded(item.stem)] == 1):
            outputs = {_folded(path) for path in outputs_of(item, stem)}
            if not outputs & taken:
                break
        taken |= outputs
        found[index] = stem
    return [found[index] for index in range(len(inputs))]


def _candidates(item: Input, *, alone: bool) -> Iterator[PurePosixPath]:
    if alone:
        yield item.stem
    ending = suffix_of(item.source.path).strip("./").replace(".", "_") or "folder"
    longer = item.stem.with_name(f"{item.stem.name}_{ending}")
    yield longer
    number = 2
    while True:
        yield longer.with_name(f"{longer.name}-{number}")
        number += 1


def _inputs_of(path: Path, base: Path, suffix: str) -> Iterator[Input]:
    """The images in a file; `suffix`, which stands for the only channel, is no part of the names of their outputs."""
    if not suffix_of(path):
        # Opening it says what is known.
        yield Input(Source(path), _name(path, base), PurePosixPath(_name(path, base)))
        return
    name = _name(path, base)
    stem = PurePosixPath(name).with_name(name_of(path).removesuffix(suffix) or path.name)
    for source in sources_in(Source(path)):
        if source.index is None:
            yield Input(source, name, stem)
        else:
            yield Input(source, f"{name} case {source.index}", stem.with_name(f"{stem.name}-{source.index:05d}"))


def _below(folder: Path, out: Path, base: Path, problems: dict[str, str]) -> Iterator[Path]:
    """All files below a folder but hidden ones and those in `out`; links that lead out of it are problems.

    A folder that is an image, such as a series of DICOM files, is given as a whole, with what is below it.
    """
    inside = folder.resolve()

    def refuse(error: OSError) -> None:
        problems[_name(Path(error.filename or folder), base)] = f"{error.filename} cannot be read: {error.strerror}"

    for place, folders, names in os.walk(folder, onerror=refuse):
        here = Path(place)
        kept = []
        for name in sorted(folders):
            path = here / name
            if path.is_symlink():
                problems[_name(path, base)] = f"{path} is a link to a folder and is not followed: give that folder"
            elif name.startswith(".") or path.resolve() == out:
                continue
            elif suffix_of(path, below=False).endswith(FOLDER):
                yield from _series(path, inside, base, problems)
            else:
                kept.append(name)
        folders[:] = kept
        for name in sorted(names):
            path = here / name
            if name.startswith("."):
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                problems[_name(path, base)] = f"{path} is a link that leads out of {folder}: give the file itself"
            elif not path.is_file():
                problems[_name(path, base)] = f"{path} must be a file, it is a pipe, a device or a link to nothing"
            else:
                yield path


def _series(folder: Path, inside: Path, base: Path, problems: dict[str, str]) -> Iterator[Path]:
    """A folder that is one image, unless a file of it is a link that leads out of what was given: a problem."""
    for file in files_of(folder):
        if file.is_symlink() and not file.resolve().is_relative_to(inside):
            problems[_name(folder, base)] = f"{file} is a link that leads out of {inside}: give the folder that has it"
            return
    yield folder


def _shared(places: Sequence[Path]) -> Path:
    """The folder that all inputs share: a single folder itself, else the nearest one that they all lie in."""
    if len(places) == 1 and places[0].is_dir() and not suffix_of(places[0], below=False).endswith(FOLDER):
        return places[0]
    return Path(os.path.commonpath([place.parent for place in places]))


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would give a link the name of what it leads to


def _name(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()


def _folded(path: PurePosixPath) -> str:
    """The path as file systems see it that know no upper case and compose accents."""
    return unicodedata.normalize("NFC", path.as_posix()).casefold()
