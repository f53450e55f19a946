"""The value of one setting in a space file into a `Dimension`, or what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from autoopt.core.configuration import Scalar, canonical_json
from autoopt.core.parameters import Parameter
from autoopt.core.plain_text import close_match, short
from autoopt.study.space.dimension import Dimension

MOST_STEPS = 10**9
_RANGE_KEYS = ("low", "high", "step", "log")

Problem = tuple[str, str]
"""A path in the file, and the end of a sentence about what is there."""


def dimension_of(name: str, parameter: Parameter, value: Any) -> tuple[Dimension | None, list[Problem]]:
    """The dimension called `name` that `value` describes: a scalar, a list or a range. None with problems."""
    if isinstance(value, Mapping):
        problems = list(_range_problems(name, parameter, value))
        return (None, problems) if problems else (_range(name, parameter, value), [])
    if isinstance(value, list):
        problems = list(_list_problems(name, parameter, value))
        return (None, problems) if problems else (Dimension(name, parameter.kind, tuple(value)), [])
    text = _value_problem(parameter, value)
    return (None, [(name, text)]) if text else (Dimension(name, parameter.kind, (value,)), [])


def _list_problems(name: str, parameter: Parameter, values: list[Any]) -> Iterator[Problem]:
    if not values:
        yield name, f"must have at least one choice ({parameter.describe()}), got an empty list"
    seen: dict[str, int] = {}
    for index, value in enumerate(values):
        text = _value_problem(parameter, value)
        if text:
            yield f"{name}[{index}]", text
            continue
        spelled = canonical_json(value)
        if spelled in seen:
            yield (
                f"{name}[{index}]",
                f"must differ from the other choices, {short(value)} is already at [{seen[spelled]}]",
            )
        seen.setdefault(spelled, index)


def _value_problem(parameter: Parameter, value: Any) -> str | None:
    if value is not None and not isinstance(value, str | int | float | bool):
        kind = "mapping" if isinstance(value, Mapping) else type(value).__name__
        return f"must be {parameter.describe()}, got a {kind}"
    text = parameter.problem(value)
    if text is None:
        return None
    if isinstance(value, bool) and parameter.kind in ("choice", "text"):
        return f"{text} (YAML reads on, off, yes and no as true and false: write it in quotes)"
    if isinstance(value, str) and parameter.kind in ("integer", "number"):
        number = _number(value)
        return text if number is None else f"{text} (a text; write it as {number:g})"
    return text + close_match(str(value), [str(item) for item in parameter.allowed])


def _range_problems(name: str, parameter: Parameter, given: Mapping[Any, Any]) -> Iterator[Problem]:
    if parameter.kind not in ("integer", "number"):
        yield name, f"must be {parameter.describe()}, or a list of choices; a range is for numbers only"
        return
    for key in given:
        if key not in _RANGE_KEYS:
            hint = close_match(str(key), _RANGE_KEYS)
            yield f"{name}.{key}", f"is not part of a range, allowed are {', '.join(_RANGE_KEYS)}{hint}"
    bad = False
    for key in ("low", "high"):
        text = _value_problem(parameter, given.get(key)) if given.get(key) is not None else "must be given in a range"
        if text:
            bad = True
            yield f"{name}.{key}", text
    log, step = given.get("log", False), given.get("step")
    if not isinstance(log, bool):
        yield f"{name}.log", f"must be true or false, got {short(log)}"
        bad = True
    if step is not None and (isinstance(step, bool) or not isinstance(step, int | float) or not 0 < step < math.inf):
        yield f"{name}.step", f"must be a number above 0, got {short(step)}"
        bad = True
    elif step is not None and parameter.kind == "integer" and not isinstance(step, int):
        yield f"{name}.step", f"must be a whole number above 0, got {short(step)}"
        bad = True
    if not bad:
        yield from _shape_problems(name, given["low"], given["high"], step, log)


def _shape_problems(name: str, low: float, high: float, step: float | None, log: bool) -> Iterator[Problem]:
    if low >= high:
        yield name, f"low must be below high, got low {low:g} and high {high:g}"
        return
    if log and low <= 0:
        yield f"{name}.low", f"must be above 0 in a range with log, got {low:g}"
    if log and step is not None:
        yield f"{name}.step", "must be left out in a range with log: leave out one of the two"
    elif step is not None:
        width, exact = Decimal(str(high)) - Decimal(str(low)), Decimal(str(step))
        if width / exact > MOST_STEPS:
            yield f"{name}.step", f"must divide the range into at most {MOST_STEPS:g} steps, got {step!r}"
        elif width % exact:
            reached = Decimal(str(low)) + (width // exact) * exact
            fitting = [value for value in (reached, reached + exact) if value > Decimal(str(low))]
            words = " or ".join(str(value) for value in fitting)
            yield f"{name}.high", f"must be low plus a whole number of steps, such as {words}, got {high:g}"


def _range(name: str, parameter: Parameter, given: Mapping[str, Scalar]) -> Dimension:
    def number(key: str) -> float | None:
        value = given.get(key)
        return value if isinstance(value, int | float) else None

    return Dimension(
        name, parameter.kind, low=number("low"), high=number("high"), step=number("step"), log=bool(given.get("log"))
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
