"""The options of the commands: made from the facts of a `SearchRequest`, and read back into one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from autoopt.errors import UsageError
from autoopt.study.request import BY_STAGE, FACTS, Fact, SearchRequest

if TYPE_CHECKING:
    from autoopt.core.configuration import Scalar

UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
"""Seconds by the unit of a duration on the command line."""
UNITS_BYTES = {
    "B": 1,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "TB": 1e12,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
    "TiB": 2.0**40,
}
"""Bytes by the unit of a size on the command line."""


def option(name: str, *, otherwise: str | None = None) -> Any:
    """The option of a fact, for the annotation of a command that takes it without the rest of a request.

    `otherwise` is what that command uses where the option is not given, if it is not what a search uses.
    """
    item = next(item for item in FACTS if item.name == name)
    item = item if otherwise is None else replace(item, otherwise=otherwise)
    return typer.Option(item.option, help=_help(item), metavar=_form(item).metavar)


def takes_request(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of the facts `names`, or of all facts; it is called with them as `request`.

    The command keeps its other parameters. Raises UsageError, when it is called, with everything that is wrong with
    the values of the options.
    """
    taken = [item for item in FACTS if not names or item.name in names]

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        own = [
            item.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            for name, item in inspect.signature(command).parameters.items()
            if name != "request"
        ]

        @functools.wraps(command)
        def run(**words: Any) -> None:
            given = {item.name: words.pop(item.name) for item in own}
            command(request=request_of(words), **given)

        signature = inspect.Signature([*(more for item in taken for more in _parameters(item)), *own])
        run.__signature__ = signature  # type: ignore[attr-defined]  # what typer reads
        return run

    return decorated


def request_of(words: Mapping[str, Any]) -> SearchRequest:
    """The request that options ask for, given by the names of the facts; durations, lists and pairs are still text.

    Raises UsageError with all values that cannot be read, and all that make no sense.
    """
    problems: list[str] = []
    facts: dict[str, Any] = {}
    for item in FACTS:
        if item.name in words:
            try:
                facts[item.name] = _form(item).read(words[item.name], item.option)
            except UsageError as error:
                problems += error.problems
    model, task, trusted = words.get("model"), words.get("task"), words.get("trust_bundle", False)
    if model is not None:
        from autoopt.workloads.loading import MODEL

        facts["workload"] = f"{MODEL}{model}"
        more = {"task": task} if task is not None else {}
        facts["options"] = {**facts.get("options", {}), **more, **({"trust": True} if trusted else {})}
    elif task is not None or trusted:
        problems.append("--task and --trust-bundle describe --model: give it, or leave them out")
    request = SearchRequest(**facts)
    if problems:
        from autoopt.study.prepare import argument_problems

        raise UsageError(*problems, *argument_problems(request))
    return request


def duration(text: str | None, option: str) -> float | None:
    """`10ms`, `1.5s`, `30m` or `2h` in seconds. Raises UsageError for anything else, a bare number included."""
    if text is None:
        return None
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        return float(number) * UNITS_S[text[len(number) :]]
    except (ValueError, KeyError):
        raise UsageError(
            f"{option} must be a number with a unit of {', '.join(UNITS_S)}, such as 20ms, got {text!r}"
        ) from None


def size_bytes(text: str, option: str) -> int:
    """`500MB`, `2.5GB` or `64MiB` in bytes. Raises UsageError for anything else, a bare number included."""
    written = text.strip().upper()
    number = written.rstrip("KMGTIB")
    units = {unit.upper(): factor for unit, factor in UNITS_BYTES.items()}
    try:
        found = float(number) * units[written[len(number) :].strip()]
    except (ValueError, KeyError):
        found = -1.0
    if not 0 <= found < float("inf"):
        example = f"{number}MB" if number == written and number.replace(".", "", 1).isdigit() else "500MB"
        raise UsageError(
            f"{option} must be a number with a unit of {', '.join(UNITS_BYTES)}, such as {example}, got {text!r}"
        )
    return int(found)


def largest_drop(text: str | None, option: str) -> float | str | None:
    """`0.04` as a number, `4%` as it is. Raises UsageError for text that is neither."""
    from autoopt.study.limit_arguments import PERCENT, LimitArguments

    if text is None or text.strip().endswith(PERCENT):
        return text
    try:
        return float(text)
    except ValueError:
        raise UsageError(*LimitArguments(max_drop=text).problems()) from None


@dataclass(frozen=True)
class _Form:
    """How the values of a fact are written on the command line.

    `type` is what typer reads; `read` makes the value of it, given the option's name for its UsageError; `write` makes
    typer's default of the fact's.
    """

    type: Any
    metavar: str | None = None
    repeated: bool = False
    read: Callable[[Any, str], Any] = lambda value, option: value
    write: Callable[[Any], Any] = lambda value: value


def _pairs(texts: Sequence[str] | None, option: str) -> dict[str, Scalar]:
    """NAME=VALUE by name. Raises UsageError with all texts that are none."""
    wrong = [f"{option} must be NAME=VALUE, got {text!r}" for text in texts or () if "=" not in text]
    if wrong:
        raise UsageError(*wrong)
    return {name: value for name, _, value in (text.partition("=") for text in texts or ())}


def _fractions(texts: Sequence[str] | None, option: str) -> dict[str, float]:
    """NAME=FRACTION by name. Raises UsageError with all texts that are none."""
    found: dict[str, float] = {}
    wrong = []
    for text in texts or ():
        name, _, value = text.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            wrong.append(f"{option} must be NAME=FRACTION, such as worst_decile=0.03, got {text!r}")
    if wrong:
        raise UsageError(*wrong)
    return found


def _durations(texts: Sequence[str] | None, option: str) -> dict[str, float]:
    """STAGE=DURATION by stage, in seconds. Raises UsageError with all texts that are none."""
    found: dict[str, float] = {}
    wrong = []
    for text in texts or ():
        name, _, value = text.partition("=")
        try:
            found[name] = duration(value, option) or 0.0
        except UsageError:
            wrong.append(f"{option} must be STAGE=DURATION, such as make=2h, got {text!r}")
    if wrong:
        raise UsageError(*wrong)
    return found


def _names(text: str, option: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _parameter(name: str, kind: Any, default: Any, info: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info])


_MODEL = (
    _parameter(
        "model",
        str | None,
        None,
        typer.Option(
            help="Your model: an ONNX file, a folder of nnU-Net or a MONAI bundle, or file.py:function that builds it."
        ),
    ),
    _parameter("task", str | None, None, typer.Option(help="With --model: segmentation, classification, regression.")),
    _parameter(
        "trust_bundle",
        bool,
        False,
        typer.Option("--trust-bundle", help="Let a MONAI bundle run any code that its configuration names."),
    ),
)
"""The options that name a workload by a model: they end up in `workload` and `options`."""
_TYPES = get_type_hints(SearchRequest, localns={"Scalar": str})  # on the command line every scalar is text
_DURATION = _Form(str | None, "DURATION", read=duration)
_SIZE = _Form(str | None, "SIZE", read=lambda text, option: None if text is None else size_bytes(text, option))
_DURATIONS = _Form(list[str] | None, "STAGE=DURATION", repeated=True, read=_durations, write=lambda value: None)
_UNITS = {"s": _DURATION, "B": _SIZE, BY_STAGE: _DURATIONS}
"""By the unit of a fact."""
_FORMS: Mapping[Any, _Form] = {
    Mapping[str, str]: _Form(list[str] | None, "NAME=VALUE", repeated=True, read=_pairs, write=lambda value: None),
    Mapping[str, float]: _Form(
        list[str] | None, "NAME=FRACTION", repeated=True, read=_fractions, write=lambda value: None
    ),
    float | str | None: _Form(str | None, "FRACTION", read=largest_drop, write=lambda value: f"{value:g}"),
    Sequence[str]: _Form(
        list[str] | None,
        "STUDY",
        repeated=True,
        read=lambda value, option: tuple(value or ()),
        write=lambda value: None,
    ),
    tuple[str, ...]: _Form(str, "NAMES", read=_names, write=",".join),
    str | Sequence[str] | None: _Form(
        list[str] | None, "ADDRESS", repeated=True, read=lambda value, option: value or None, write=lambda value: None
    ),
}
"""By the type of a fact, where its text is not read by typer itself."""


def _form(item: Fact) -> _Form:
    kind = _TYPES[item.name]
    return _UNITS.get(item.unit or "") or _FORMS.get(kind) or _Form(kind)


def _help(item: Fact) -> str:
    more = ""
    if item.example is not None:
        more += f", such as {item.example}"
    if _form(item).repeated:
        more += "; may be repeated"
    otherwise = "" if item.otherwise is None else f" [default: {item.otherwise}]"
    return f"{item.meaning.removesuffix('.')}{more}.{otherwise}"


def _parameters(item: Fact) -> list[inspect.Parameter]:
    """The parameters of a command that fill a fact: one, and for the workload those that name a model."""
    form = _form(item)
    own = _parameter(item.name, form.type, form.write(item.default), option(item.name))
    return [own, *_MODEL] if item.name == "workload" else [own]
