"""Options of a workload: what a command line gives as text, read as what the workload declares."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.errors import WorkloadError


def read_options(source: str, known: Mapping[str, Parameter], given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The given options, texts turned into what `known` declares; options that were not given are left out.

    Raises WorkloadError with every unknown option and every wrong value.
    """
    problems, chosen = [], {}
    for name, value in given.items():
        if name not in known:
            allowed = ", ".join(known) or "none"
            problems.append(f"{source} has no option {name!r}, its options are: {allowed}")
            continue
        try:
            chosen[name] = known[name].read(value)
        except ValueError as error:
            problems.append(f"option {name} of {source} {error}")
    if problems:
        raise WorkloadError(*problems)
    return chosen


def call_with_options(function: Callable[..., Any], data: Path | None, options: Mapping[str, Scalar]) -> Any:
    """Call a function of the user with the data folder, if it takes an argument, and its options by name.

    Raises WorkloadError for options that the function does not take.
    """
    parameters = inspect.signature(function).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = {parameter.name for parameter in parameters}
    unknown = [name for name in options if name not in named and not takes_all]
    if unknown:
        raise WorkloadError(f"{function.__name__} must take the option(s) {', '.join(unknown)} as arguments")
    positional = [parameter for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    return function(data, **options) if positional else function(**options)
