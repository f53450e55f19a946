"""The configuration of a MONAI bundle as plain data, and the networks that it describes.

A configuration may hold Python expressions (`$...`) and names of anything to call (`_target_`). Unless the user trusts
the bundle, expressions are only computed as far as they stand for plain data (`bundle_expressions`), and only classes
of networks, blocks and layers are called; see `network_class`.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.core.configuration import digest
from autoopt.core.plain_text import parse_json, parse_yaml, read_bounded
from autoopt.core.store import file_digest
from autoopt.errors import WorkloadError
from autoopt.workloads.models.bundle_expressions import NotPlain, evaluate, references_only

if TYPE_CHECKING:
    import torch

FILES = ("inference.json", "inference.yaml", "inference.yml", "train.json", "train.yaml", "train.yml")
"""Names in configs/, of which the first that exists is read."""
METADATA = "metadata.json"
CODE = (".py", ".json", ".yaml", ".yml")
"""Endings of the files that a trusted bundle may build its network from."""
SEPARATOR = "::"
TARGET = "_target_"
NETWORKS = ("network_def", "network")
SPECIAL = (TARGET, "_desc_")
"""Keys of a component that are not arguments; all other keys that begin with _ are refused."""
GONE: Mapping[str, tuple[str, ...]] = {"SwinUNETR": ("img_size",)}
"""Arguments of networks that MONAI once had and that changed no answer: they are left out."""
BRANCHES: Mapping[str, tuple[str, ...]] = {"DiNTS": ("node_a",), "TopologyInstance": ("arch_code_a",)}
"""Tables by class that say which of its layers run. As tensors no exporter could follow them, as arrays it can."""
PACKAGES = ("monai.networks.nets", "monai.networks.blocks", "monai.networks.layers", "torch.nn")
LARGEST_BYTES = 4_000_000
MOST_ITEMS = 20_000
"""With references a small file can describe a tree of any size."""
DEEPEST = 40
SHOWN = 80
ALLOWED = f"only classes of {', '.join(PACKAGES)} may be named"
HOW_TO_TRUST = "if you trust who made it, --trust-bundle runs what it says"


@dataclass(frozen=True)
class Config:
    """One configuration file and the metadata beside it. A key is a path in it, such as `inferer::roi_size`.

    `remarks` are what users should be told of it, a sentence each.
    """

    folder: Path
    path: Path
    content: Mapping[str, Any]
    metadata: Mapping[str, Any]
    trusted: bool = False
    remarks: tuple[str, ...] = ()
    _visited: list[int] = field(default_factory=lambda: [0], compare=False, repr=False)
    _made: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    _evaluating: list[str] = field(default_factory=list, compare=False, repr=False)

    def find(self, *keys: str) -> str | None:
        """The first of the keys that exists, or None."""
        return next((key for key in keys if self._has(key)), None)

    def follow(self, key: str) -> tuple[str, Any]:
        """The value at the key and its own key, after following references (`@key`, `%key`, `$@key`).

        Its parts are as written; what an expression comes to has no key of its own and is all plain data.
        Raises WorkloadError for an expression that is not plain data, without trust, and for a reference to nothing or
        to itself.
        """
        for _ in range(DEEPEST):
            value = self._at(key)
            if not isinstance(value, str) or value[:1] not in ("@", "%", "$"):
                return key, value
            if value[0] == "$":
                referred = references_only(value[1:])
                if referred is None or len(referred) > 1:
                    return key, self._evaluated(key, value)
                value = f"@{referred[0]}"
            key = self._target_of(key, value)
        raise WorkloadError(f"{self.path}: the references at {shown(key)} lead in a circle or too far")

    def is_expression(self, key: str) -> bool:
        """Whether what is written at the key is an expression (`$...`)."""
        value = self._at(key)
        return isinstance(value, str) and value[:1] == "$"

    def put(self, key: str, value: Any) -> None:
        """Let plain data stand at the key, in the place of an expression that made something which they describe."""
        self._made[key] = value

    def terms(self, key: str) -> list[str]:
        """The keys of the lists that an expression at the key joins (`$@first + @second`); none for anything else."""
        value = self._at(key)
        referred = references_only(value[1:]) if isinstance(value, str) and value[:1] == "$" else None
        return [] if referred is None else [self._target_of(key, f"@{name}") for name in referred]

    def count(self, key: str, depth: int) -> None:
        """Count one more value that was followed. Raises WorkloadError for too many, and one too deep."""
        self._visited[0] += 1
        if depth > DEEPEST or self._visited[0] > MOST_ITEMS:
            raise WorkloadError(f"{self.path}: what {shown(key)[:SHOWN]} refers to is too deep or too large")

    def plain(self, key: str, depth: int = 0) -> Any:
        """Everything at the key, all references followed."""
        self.count(key, depth)
        key, value = self.follow(key)
        if self.is_expression(key):
            return value
        if isinstance(value, Mapping):
            return {name: self.plain(f"{key}{SEPARATOR}{name}", depth + 1) for name in value if name not in SPECIAL[1:]}
        if isinstance(value, list):
            return [self.plain(f"{key}{SEPARATOR}{index}", depth + 1) for index in range(len(value))]
        return value

    def parsed(self, key: str) -> Any:
        """What MONAI's own parser makes of the key, running whatever it says; only for a trusted bundle."""
        if not self.trusted:
            raise WorkloadError(f"{self.path}: {shown(key)} runs code of the bundle: {HOW_TO_TRUST}")
        try:
            return self._parser.get_parsed_content(key)
        except Exception as error:  # the bundle's own code: name it, keep its traceback as the cause
            raise WorkloadError(f"{self.path}: {shown(key)} failed with {type(error).__name__}: {error}") from error

    @cached_property
    def _parser(self) -> Any:
        from monai.bundle import ConfigParser

        if str(self.folder) not in sys.path:
            sys.path.append(str(self.folder))  # so that it finds the scripts of the bundle
        parser = ConfigParser({**self.content, "bundle_root": str(self.folder)})
        parser.read_meta({**self.metadata})
        return parser

    def _has(self, key: str) -> bool:
        try:
            self._at(key)
        except WorkloadError:
            return False
        return True

    def _at(self, key: str) -> Any:
        value: Any = self.content
        place = ""
        for part in key.split(SEPARATOR):
            place = f"{place}{SEPARATOR}{part}" if place else part
            if place in self._made:
                value = self._made[place]
                continue
            try:
                value = value[int(part)] if isinstance(value, list) else value[part]
            except (KeyError, IndexError, ValueError, TypeError) as error:
                raise WorkloadError(f"{self.path}: there is nothing at {shown(key)}") from error
        return value

    def _target_of(self, key: str, text: str) -> str:
        target = text[1:].replace("#", SEPARATOR)
        if target.startswith(SEPARATOR) or re.search(r"\.(json|ya?ml)(::|$)", target):
            raise WorkloadError(
                f"{self.path}: {shown(key)} must refer to a key of this file by its whole name, it is {text[:SHOWN]!r}"
            )
        if not self._has(target):
            raise WorkloadError(f"{self.path}: {shown(key)} refers to {text[:SHOWN]!r}, which is not there")
        return target

    def _evaluated(self, key: str, text: str) -> Any:
        """What the expression at the key comes to; with trust MONAI's parser runs what is not plain data."""
        if key in self._evaluating or len(self._evaluating) > DEEPEST:
            raise WorkloadError(f"{self.path}: the references at {shown(key)} lead in a circle or too far")
        self._evaluating.append(key)
        try:
            return evaluate(text[1:], lambda name: self._data(self._target_of(key, f"@{name}")))
        except NotPlain as error:
            if not self.trusted:
                raise WorkloadError(
                    f"{self.path}: {shown(key)} is the Python expression {text[:SHOWN]!r}, which is not run: {error}; "
                    f"write what it means; or, {HOW_TO_TRUST}"
                ) from error
        except WorkloadError:
            if not self.trusted:
                raise
        finally:
            self._evaluating.pop()
        return self.parsed(key)

    def _data(self, key: str) -> Any:
        """The plain data at the key. Raises NotPlain where that is something to be made (`_target_`)."""
        value = self.plain(key)
        if isinstance(value, Mapping) and TARGET in value:
            raise NotPlain(f"{shown(key)} is an object to be made and no plain data")
        return value


def read_config(folder: Path, *, trusted: bool = False) -> Config:
    """The configuration of the bundle in `folder`. Raises WorkloadError naming the file."""
    path = next((folder / "configs" / name for name in FILES if (folder / "configs" / name).is_file()), None)
    if path is None:
        raise WorkloadError(
            f"a MONAI bundle must have configs/inference.json (or .yaml), or configs/train.json; {folder} has neither"
        )
    metadata = folder / "configs" / METADATA
    content, remarks = _without_gone(_read(path), path)
    return Config(folder, path, content, _read(metadata) if metadata.is_file() else {}, trusted, remarks)


def _without_gone(content: Mapping[str, Any], path: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The configuration without arguments that its network no longer has, and what is to be said of that."""
    kept, remarks = dict(content), []
    for key in NETWORKS:
        network = content.get(key)
        kind = str(network.get(TARGET)).rpartition(".")[2] if isinstance(network, Mapping) else ""
        gone = [name for name in GONE.get(kind, ()) if name in network] if isinstance(network, Mapping) else []
        if gone and isinstance(network, Mapping):
            kept[key] = {name: value for name, value in network.items() if name not in gone}
            remarks.append(f"{path}: {key}.{', '.join(gone)} is left out, {kind} has no such argument any more")
    return kept, tuple(remarks)


def code_digest(config: Config) -> str:
    """The digest of what decides the network: its configuration, of a trusted bundle all configurations and scripts."""
    paths = [config.path]
    if config.trusted:
        paths = sorted(path for path in config.folder.rglob("*") if path.suffix in CODE and path.is_file())
    return digest([[str(path.relative_to(config.folder)), file_digest(path)] for path in paths])


def shown(key: str) -> str:
    """A key as messages say it: `inferer.roi_size`."""
    return key.replace(SEPARATOR, ".")


def check_network(definition: Any, where: str) -> None:
    """Raise WorkloadError with every part of a network's definition whose name may not be called.

    Imports nothing, so that a process without torch can refuse early; `network_class` checks what a name stands for.
    """
    problems = _named_problems(definition, where)
    if problems:
        raise WorkloadError(*problems[:10])


def find_network(config: Config) -> str:
    """The key of the network. `network` is often `network_def` moved to a device by an expression."""
    key = config.find(*NETWORKS)
    if key is None:
        raise WorkloadError(f"{config.path} must say what the network is, under {' or '.join(NETWORKS)}")
    return key


def build_network(folder: str, trust: bool) -> torch.nn.Module:
    """The network of the bundle in `folder` with fresh weights; nothing is downloaded.

    With `trust` MONAI's own parser builds it. Raises WorkloadError for a network that may not or cannot be built.
    """
    import torch

    config = read_config(Path(folder), trusted=trust)
    key = find_network(config)
    where = f"{config.path}: {shown(key)}"
    if trust:
        net = config.parsed(key)
    else:
        definition = config.plain(key)
        check_network(definition, where)
        net = _made(definition, where)
    if not isinstance(net, torch.nn.Module):
        raise WorkloadError(f"{where} must be a network ({TARGET} and its arguments), it is {type(net).__name__}")
    net = net.cpu()
    for module in net.modules():
        for name in BRANCHES.get(type(module).__name__, ()):
            setattr(module, name, np.asarray(getattr(module, name)))
    return net


def network_class(target: str, where: str) -> type[torch.nn.Module]:
    """The class that a `_target_` names. Raises WorkloadError for everything but a torch module of `PACKAGES`.

    The name alone proves nothing, because modules re-export others: what it stands for must be a class, a subclass of
    torch.nn.Module, and defined below one of the packages.
    """
    import torch

    if (problem := _name_problem(target)) is not None:
        raise WorkloadError(f"{where}: {problem}")
    names = [target] if "." in target else [f"{package}.{target}" for package in PACKAGES]
    for name in names:
        module, _, attribute = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            continue
        if inspect.isclass(found) and issubclass(found, torch.nn.Module) and _is_below(found.__module__):
            return found
    raise WorkloadError(f"{where}: {target!r} is no network or layer, {ALLOWED}; {HOW_TO_TRUST}")


def _made(definition: Any, where: str) -> Any:
    if isinstance(definition, list):
        return [_made(item, f"{where}.{index}") for index, item in enumerate(definition)]
    if not isinstance(definition, Mapping):
        return definition
    parts = {name: _made(item, f"{where}.{name}") for name, item in definition.items() if name not in SPECIAL}
    if TARGET not in definition:
        return parts
    kind = network_class(definition[TARGET], where)
    try:
        return kind(**_without_downloads(kind, parts))
    except Exception as error:  # a class may refuse its arguments in any way: name it, keep the cause
        raise WorkloadError(f"{where}: {kind.__name__} cannot be built: {type(error).__name__}: {error}") from error


def _without_downloads(kind: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with pretrained weights switched off: they would be downloaded, and the bundle has its own."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is not parameter.empty
    }
    merged = {**defaults, **arguments}
    elsewhere = [name for name, value in merged.items() if value and ("pretrained" in name or name == "checkpoint")]
    return {**arguments, **{name: False if isinstance(merged[name], bool) else None for name in elsewhere}}


def _named_problems(definition: Any, where: str) -> list[str]:
    if isinstance(definition, list):
        return [text for index, item in enumerate(definition) for text in _named_problems(item, f"{where}.{index}")]
    if not isinstance(definition, Mapping):
        return []
    problems = []
    if TARGET in definition:
        problem = _name_problem(definition[TARGET])
        problems += [f"{where}: {problem}"] if problem else []
        special = [name for name in definition if name.startswith("_") and name not in SPECIAL]
        problems += [f"{where}: {', '.join(special)} cannot be followed; {HOW_TO_TRUST}"] if special else []
    for name, item in definition.items():
        problems += _named_problems(item, f"{where}.{name}")
    return problems


def _name_problem(target: Any) -> str | None:
    good = isinstance(target, str) and all(part.isidentifier() for part in target.split("."))
    if good and ("." not in target or _is_below(target)):
        return None
    return f"{TARGET} is {str(target)[:SHOWN]!r}, but {ALLOWED}; {HOW_TO_TRUST}"


def _is_below(name: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in PACKAGES)


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        text = read_bounded(path, LARGEST_BYTES).decode("utf-8")
        found = parse_json(text) if path.suffix == ".json" else parse_yaml(text)[0]
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WorkloadError(f"{path} must be a configuration in JSON or YAML, it cannot be read: {reason}") from error
    if not isinstance(found, dict):
        raise WorkloadError(f"{path} must be a configuration with keys, it is a {type(found).__name__}")
    return {str(name): item for name, item in found.items()}
