"""Files that are channels of one image: how their names end, and which of many files belong together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from autoopt.errors import BadData
from autoopt.workloads.data.readers import name_of

FIRST = "_0000"
"""How nnU-Net calls the first channel of a case."""
SEPARATORS = "_-. "
"""What stands before the part of a name that tells the channel."""


def common_suffixes(cases: Sequence[Sequence[Path]]) -> tuple[str, ...]:
    """How the names of the files of each case end, such as _0000 and _0001, in the order of the channels.

    Of cases of one file that of nnU-Net's first channel, where all have it. Empty where the names do not tell the
    channels in one way.
    """
    if all(len(paths) == 1 and name_of(paths[0]).removesuffix(FIRST) not in ("", name_of(paths[0])) for paths in cases):
        return (FIRST,)
    found: set[tuple[str, ...]] = set()
    for paths in cases:
        names = [name_of(path) for path in paths]
        if len(names) < 2 or len(set(names)) < len(names):
            return ()
        alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
        shared = "".join(letters[0] for letters in alike)
        begin = max(shared.rfind(separator) for separator in SEPARATORS)
        if begin <= 0:
            return ()
        found.add(tuple(name[begin:] for name in names))
    return found.pop() if len(found) == 1 else ()


def grouped(paths: Sequence[Path], suffixes: Sequence[str]) -> tuple[dict[Path, list[Path]], dict[Path, str]]:
    """The files of each case by its path without an ending, in the order of `suffixes`; and what is wrong, by file.

    A case is in one folder. A file is wrong whose name has none of the endings, or whose case lacks a channel.
    """
    cases: dict[Path, dict[str, Path]] = {}
    problems: dict[Path, str] = {}
    for path in paths:
        name = name_of(path)
        ending = max((suffix for suffix in suffixes if name.endswith(suffix)), key=len, default=None)
        if ending is None or len(name) == len(ending):
            problems[path] = f"{path} must be called as a channel of its case, ending in {', '.join(suffixes)}"
            continue
        case = cases.setdefault(path.with_name(name[: -len(ending)]), {})
        if ending in case:
            problems[path] = f"{path} must be the only {ending} of its case, there is {case[ending].name} too"
        case.setdefault(ending, path)
    whole: dict[Path, list[Path]] = {}
    for stem, files in cases.items():
        lacking = [suffix for suffix in suffixes if suffix not in files]
        if lacking:
            first = next(iter(files.values()))
            names = ", ".join(stem.name + suffix for suffix in lacking)
            problems[first] = f"{first} must come with {names} of the same folder: give all channels, or their folder"
        else:
            whole[stem] = [files[suffix] for suffix in suffixes]
    return whole, problems


def check_alike(first: Path, shape: Sequence[int], other: Path, others: Sequence[int]) -> None:
    """Raise BadData where channels of one image have different sizes."""
    if tuple(shape) != tuple(others):
        raise BadData(f"{other} must have the sizes of {first.name}, {tuple(shape)}, it has {tuple(others)}")
