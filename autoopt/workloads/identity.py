"""What stored results remember of a function: a plain name for a function of ours, the digest of its file for others.

A stored network is found again by what made it, part of which is a function: the augmentation. The path of a module
would be the wrong name for it, because moving a file would lose the network and changing the function would not.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from autoopt.core.store import file_digest

Function = TypeVar("Function", bound=Callable[..., Any])
ATTRIBUTE = "plain_name"


class Place(str):
    """A path that is no part of an identity: a digest beside it tells its files, which may be moved, from others."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Place()"


def plain_name(name: str) -> Callable[[Function], Function]:
    """A decorator that gives a function of ours its name in stored results, such as "histo-1".

    Count the number up when the function gives other results than before.
    """

    def name_it(function: Function) -> Function:
        setattr(function, ATTRIBUTE, name)
        return function

    return name_it


def code_identity(function: Callable[..., Any]) -> str | dict[str, Any]:
    """The plain name of a function, or without one its name, its bound arguments and the digests of its source files.

    Follows `functools.partial` and decorators that use `functools.wraps`. `code` is empty where there is no source
    file, as for a function typed into a console.
    """
    arguments: list[str] = []
    while isinstance(function, partial):
        arguments.append(repr((function.args, sorted(function.keywords.items()))))
        function = function.func
    if hasattr(function, ATTRIBUTE) and not hasattr(function, "__wrapped__"):  # a wrapper has the name of what it wraps
        name = str(getattr(function, ATTRIBUTE))
        return {"name": name, "arguments": arguments} if arguments else name
    name = getattr(function, "__qualname__", type(function).__qualname__)
    identity: dict[str, Any] = {"name": name, "code": _file_digests(function)}
    return {**identity, "arguments": arguments} if arguments else identity


def _file_digests(function: Any) -> list[str]:
    """The digest of the source file of a function, then those of the functions that it wraps."""
    digests: list[str] = []
    while function is not None:
        try:
            file = inspect.getsourcefile(function)
        except TypeError:  # a callable object: its class has the source
            file = inspect.getsourcefile(type(function))
        if file is not None and Path(file).is_file():
            digests.append(file_digest(Path(file)))
        function = getattr(function, "__wrapped__", None)
    return list(dict.fromkeys(digests))
