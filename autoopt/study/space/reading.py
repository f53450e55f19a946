"""Reads a space file (YAML) into a `Space`: all problems of the file are reported at once, each with its path.

    schema: 1
    description: what this space is for
    quantize:                      one section per compression step; null or absent: the step is off
      scheme: [null, int8]         a list is a choice
      preset: mixed                a scalar is fixed
      calibration_cases: {low: 16, high: 64, step: 16}      low and high are a range
    runtime:
      name: [openvino, torch]
      threads: auto                powers of two up to the cores of this host, and the cores

A setting that the file leaves out has its default. `arms.py` reads the configurations that have a name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.compress import STEPS, net_steps, quantize, step
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.core.plain_text import LONGEST_SHOWN, close_match, kind_of, parse_yaml, read_bounded, short
from autoopt.core.records import RENAMED_SECTIONS, RENAMED_SETTINGS
from autoopt.errors import SpaceError, TrialError
from autoopt.inference.runtimes import RUNTIMES, can_run, runtime
from autoopt.study.space.arms import ARMS, read_arms
from autoopt.study.space.dimension import Dimension
from autoopt.study.space.pipeline import PARAMETERS, PIPELINE, problems, sample_image
from autoopt.study.space.points import RUNTIME, Arm, Space
from autoopt.study.space.seeds import QUANTIZE
from autoopt.study.space.settings import runtime_choice, runtime_settings
from autoopt.study.space.values import dimension_of
from autoopt.workloads.contract import Workload

_log = logging.getLogger("autoopt")

SCHEMA = 1
AUTO = "auto"
MOST_BYTES = 1_000_000
MOST_PROBLEMS = 50
_SCHEME = f"{QUANTIZE}.{quantize.SWITCH}"
_ABOUT = ("schema", "description", ARMS)


def shipped_spaces() -> dict[str, str]:
    """The spaces that come with autoopt, name to description."""
    return {path.stem: _description(_parse(path, path.name)) for path in sorted(_shipped())}


def load_space(
    source: str | Path,
    host: Host,
    workload: Workload | None = None,
    *,
    on_remark: Callable[[str], None] = _log.warning,
) -> Space:
    """The space in the file `source`, or the shipped one of that name, expanded for `host` and `workload`.

    Runtimes that cannot execute the workload's finished graph are left out, and from a shipped space the steps that
    change a network where there is none, which `on_remark` is told. Raises SpaceError with everything that is wrong
    with the file.
    """
    path = _locate(source)
    document = _parse(path, str(path))
    if not isinstance(document, Mapping):
        got = kind_of(document)
        raise SpaceError(f"{path}: a space must be a mapping of sections ({_listed(_sections())}), got {got}")
    shipped = path in _shipped()
    if workload is not None and workload.build is None and shipped:
        without = [name for name in net_steps() if document.get(name) is not None]
        document = {key: item for key, item in document.items() if key not in without}
        if without:
            on_remark(
                f"{workload.name} is a finished graph, which cannot be trained: {_listed(without)} of the space "
                f"{path.stem} are left out"
            )
        document = _without_trained_scheme(document)
    if workload is not None and workload.latency != "case" and shipped and document.get(PIPELINE) is not None:
        document = {key: item for key, item in document.items() if key != PIPELINE}
        on_remark(
            f"{workload.name} times calls of the network, which {PIPELINE} of the space {path.stem} does not change: "
            "it is left out"
        )
    reader = _Reader(str(path), host, workload)
    dimensions = tuple(reader.dimensions(document))
    arms = tuple(reader.arms(document, shipped))
    if reader.problems:
        more = len(reader.problems) - MOST_PROBLEMS
        rest = [f"{path}: and {more} more problems"] if more > 0 else []
        raise SpaceError(*reader.problems[:MOST_PROBLEMS], *rest)
    pipeline = None if workload is None else workload.pipeline
    about, trained = _description(document), workload is not None and workload.build is not None
    return Space(path.stem, dimensions, host, about, pipeline, reader.without, reader.image, shipped, arms, trained)


class _Reader:
    """Reads one document; collects what is wrong instead of stopping at the first."""

    def __init__(self, file: str, host: Host, workload: Workload | None) -> None:
        self.problems: list[str] = []
        self.image: np.ndarray | None = None
        graph = None if workload is None else workload.graph
        refusing = () if graph is None else (name for name in RUNTIMES if not can_run(name, graph))
        self.without = tuple(dict.fromkeys([*refusing, *_not_installed(host)]))
        self._file = file
        self._host = host
        self._workload = workload
        self._written: dict[str, str] = {}  # paths as they are called now, to how the file spells them

    def dimensions(self, document: Mapping[Any, Any]) -> Iterator[Dimension]:
        document = self._with_new_names(document, RENAMED_SECTIONS, _sections())
        for key in document:
            allowed = (*_sections(), *_ABOUT)
            if key not in allowed:
                self._problem(str(key), f"is not a section, allowed are {_listed(allowed)}", key, allowed)
        if document.get("schema", SCHEMA) != SCHEMA:
            self._problem("schema", f"must be {SCHEMA}, got {short(document['schema'])}: this version reads no other")
        yield from self._pipeline(document.get(PIPELINE))
        for name in STEPS:
            yield from self._step(name, document.get(name))
        yield from self._runtime(document.get(RUNTIME))

    def arms(self, document: Mapping[Any, Any], shipped: bool) -> Iterator[Arm]:
        """The arms that this workload can have; of a space of the user's own all must be of that kind."""
        finished = self._workload is not None and self._workload.build is None
        for arm in read_arms(document.get(ARMS), self._problem):
            changing = [name for name in net_steps() if finished and arm.has_step(name)]
            if finished and arm.settings.get(_SCHEME) == quantize.TRAINED:
                changing.append(_SCHEME)
            if changing and not shipped:
                assert self._workload is not None
                why = f"{self._workload.name} is a finished graph, there is no network to change"
                self._problem(f"{ARMS}.{arm.name}.{changing[0]}", f"must be left out: {why}")
            elif not changing and arm.settings.get(f"{RUNTIME}.name") not in self.without:
                yield arm

    def _pipeline(self, section: Any) -> Iterator[Dimension]:
        if section is None:
            return
        if not isinstance(section, Mapping):
            self._problem(PIPELINE, f"must be a mapping of settings ({_listed(PARAMETERS)}), got {kind_of(section)}")
            return
        if self._workload is not None:
            try:
                self.image = sample_image(section, self._workload)
            except TrialError as error:
                self._problem(f"{PIPELINE}.in_graph", f"needs a look at a training image: {error.message}")
                return
            self.problems += [f"{self._file}: {text}" for text in problems(section, self._workload, self.image)]
        yield from self._settings(PIPELINE, section, PARAMETERS)

    def _step(self, name: str, section: Any) -> Iterator[Dimension]:
        parameters = step(name).PARAMETERS
        if section is None and name in net_steps():
            return
        if section is None:
            section = {step(name).SWITCH: None}
        if not isinstance(section, Mapping):
            wanted = f"a mapping of settings ({_listed(parameters)}) or null (off)"
            self._problem(name, f"must be {wanted}, got {kind_of(section)}")
            return
        if name in net_steps() and self._workload is not None and self._workload.build is None:
            why = f"{self._workload.name} is a finished graph, there is no network to change"
            self._problem(name, f"must be left out: {why}")
            return
        if name == QUANTIZE and self._workload is not None and self._workload.build is None:
            given = section.get(quantize.SWITCH)
            if quantize.TRAINED in (given if isinstance(given, list) else [given]):
                why = f"{self._workload.name} is a finished graph, there is no network to train"
                self._problem(_SCHEME, f"must not have {quantize.TRAINED}: {why}")
        yield from self._settings(name, section, parameters)

    def _runtime(self, section: Any) -> Iterator[Dimension]:
        choice = runtime_choice(RUNTIMES)
        if not isinstance(section, Mapping) or "name" not in section:
            got = "nothing" if section is None else f"no name in {kind_of(section)}"
            self._problem(f"{RUNTIME}.name", f"must be {choice.describe()}, or a list of them, got {got}")
            section = section if isinstance(section, Mapping) else {}
        given = section.get("name")
        if self.without and isinstance(given, list):
            dropped = [name for name in given if name in self.without]
            given = [name for name in given if name not in self.without]
            kept = runtime_settings([name for name in given if name in tuple(RUNTIMES)])
            gone = {key for name in dropped for key in runtime(name).PARAMETERS if key not in kept}
            section = {**{key: item for key, item in section.items() if key not in gone}, "name": given}
            if dropped and not given:
                have = _listed([name for name in RUNTIMES if name not in self.without])
                self._problem(
                    f"{RUNTIME}.name", f"must list a runtime that can be had ({have}), got {_listed(dropped)}"
                )
                return
        names = [name for name in (given if isinstance(given, list) else [given]) if name in tuple(RUNTIMES)]
        parameters = {"name": choice} if "name" in section else {}
        parameters |= runtime_settings(names or list(RUNTIMES))
        elsewhere = {key: name for name in RUNTIMES for key in runtime(name).PARAMETERS if key not in parameters}
        yield from self._settings(RUNTIME, section, parameters, elsewhere)

    def _settings(
        self,
        section: str,
        given: Mapping[Any, Any],
        parameters: Mapping[str, Parameter],
        elsewhere: Mapping[str, str] | None = None,
    ) -> Iterator[Dimension]:
        given = self._with_new_names(given, RENAMED_SETTINGS, parameters, f"{section}.")
        for key in given:
            if elsewhere is not None and key in elsewhere:
                text = f"is a setting of {elsewhere[key]}, which {section}.name does not list"
                self._problem(f"{section}.{key}", text)
            elif key not in parameters and not (section == RUNTIME and key == "name"):
                allowed = f"is not a setting of {section}, allowed are {_listed(parameters)}"
                self._problem(f"{section}.{key}", allowed, key, parameters)
        for key, parameter in parameters.items():
            value = given.get(key, parameter.default)
            if (section, key, value) == (RUNTIME, "threads", AUTO):
                value = thread_choices(self._host.cores)
            dimension, problems = dimension_of(f"{section}.{key}", parameter, value)
            for path, text in problems:
                self._problem(path, text)
            if dimension is not None:
                yield dimension

    def _with_new_names(
        self, given: Mapping[Any, Any], renamed: Mapping[str, str], known: Collection[str], prefix: str = ""
    ) -> Mapping[Any, Any]:
        """`given` with old keys under their new names, so that their values are checked; each old key is a problem."""
        old = [key for key in given if key in renamed and key not in known and renamed[key] in known]
        found = {key: item for key, item in given.items() if key not in old}
        for key in old:
            new = renamed[key]
            self._problem(f"{prefix}{key}", f"is called {new} now: rename it")
            if new not in found:
                found[new] = given[key]
                self._written[f"{prefix}{new}"] = f"{prefix}{key}"
        return found

    def _as_written(self, path: str) -> str:
        for new in sorted(self._written, key=len, reverse=True):
            if path == new or path.startswith((f"{new}.", f"{new}[")):
                path = self._written[new] + path.removeprefix(new)
        return path

    def _problem(self, path: str, text: str, got: Any = None, known: Iterable[str] = ()) -> None:
        path = self._as_written(path)[:LONGEST_SHOWN]
        self.problems.append(f"{self._file}: {path}: {text}{close_match(str(got), known)}")


def _without_trained_scheme(document: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A shipped space without the scheme that trains the network, beside which it has others."""
    section = document.get(QUANTIZE)
    given = section.get(quantize.SWITCH) if isinstance(section, Mapping) else None
    if not isinstance(section, Mapping) or not isinstance(given, list):
        return document
    left = [item for item in given if item != quantize.TRAINED]
    return {**document, QUANTIZE: {**section, quantize.SWITCH: left}}


def _not_installed(host: Host) -> list[str]:
    """The runtimes whose library the host lacks; none where it tells of no library at all."""
    needed = {name: getattr(runtime(name), "DISTRIBUTION", None) for name in RUNTIMES}
    missing = [name for name, library in needed.items() if library is not None and library not in host.versions]
    known = [name for name, library in needed.items() if library is not None]
    return [] if missing == known else missing


def thread_choices(cores: int) -> list[Scalar]:
    """The powers of two up to `cores`, and `cores`."""
    powers = [2**exponent for exponent in range(cores.bit_length()) if 2**exponent < cores]
    return [*powers, cores]


def _locate(source: str | Path) -> Path:
    shipped = {path.stem: path for path in _shipped()}
    if isinstance(source, str) and source in shipped:
        return shipped[source]
    path = Path(source)
    if path.is_file():
        return path
    if path.exists():
        raise SpaceError(f"{path}: a space must be a YAML file, this is a folder")
    hint = close_match(str(source), shipped)
    names = _listed(sorted(shipped))
    raise SpaceError(f"there is no space {source}{hint}: give a YAML file or one of the shipped spaces, {names}")


def _shipped() -> list[Path]:
    package = Path(__file__).resolve().parents[2]
    # A wheel carries the folder inside the package; a source tree has it beside the package.
    inside, beside = package / "search_spaces", package.parent / "search_spaces"
    return list((inside if inside.is_dir() else beside).glob("*.yaml"))


def _parse(path: Path, name: str) -> Any:
    import yaml

    try:
        document, root = parse_yaml(read_bounded(path, MOST_BYTES).decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SpaceError(f"{name}: the space file must be readable text: {reason}") from error
    except ValueError as error:
        raise SpaceError(f"{name}: the space file cannot be used: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SpaceError(f"{name}: {where}the file must be YAML: {problem}") from error
    repeated = list(_repeated(root, ""))
    if repeated:
        again = "must be given once, it is there again"
        raise SpaceError(*(f"{name}: {where}: {again} in line {line}" for where, line in repeated[:MOST_PROBLEMS]))
    return document


def _repeated(node: Any, path: str) -> Iterator[tuple[str, int]]:
    """Keys that a mapping of the YAML tree has twice, with their lines: the parser would keep the last silently."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        where = f"{path}.{key.value}".lstrip(".")
        if str(key.value) in seen:
            yield where, key.start_mark.line + 1
        seen.add(str(key.value))
        yield from _repeated(value, where)


def _description(document: Any) -> str:
    """The description in one line; empty for a document that has none."""
    return " ".join(str(document.get("description", "")).split()) if isinstance(document, Mapping) else ""


def _sections() -> tuple[str, ...]:
    return (PIPELINE, *STEPS, RUNTIME)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
