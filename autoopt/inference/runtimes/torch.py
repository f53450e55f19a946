"""PyTorch eager: the reference of every speed-up. It runs the exported program as the module would."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.errors import Unsupported
from autoopt.inference.formats.torch import FILE, layer_name, operator
from autoopt.inference.runtimes.concurrent import Callers
from autoopt.inference.runtimes.layers import Layer, over_calls, precision_of
from autoopt.inference.runtimes.shared import (
    PRECISION,
    THREADS,
    has_bf16,
    int8_weight_bits,
    model_file,
    refusals,
    whole,
)
from autoopt.inference.runtimes.shared import canonical as canonical_settings

if TYPE_CHECKING:
    import torch

FORMAT = "torch"
TITLE, INITIALS = "PyTorch", "PT"
DISTRIBUTION: str | None = "torch"
PARAMETERS: Mapping[str, Parameter] = {"precision": PRECISION, "threads": THREADS}
SCHEMES: tuple[str, ...] = ()
"""It runs the network itself: quantizers change graphs."""
weight_bits = int8_weight_bits
_CONVERSIONS = frozenset({"to", "_to_copy", "type_as", "quantize_per_tensor", "dequantize"})
_MARK = "autoopt:"


def precisions(host: Host) -> tuple[str, ...]:
    """f32, and bf16 where the host multiplies it; f16 convolutions are emulated on CPUs."""
    return ("f32", "bf16") if has_bf16(host) else ("f32",)


def canonical(settings: Mapping[str, Scalar], host: Host) -> dict[str, Scalar]:
    """See `runtimes.base.Runtime`."""
    return canonical_settings(settings, host, PARAMETERS, precisions(host))


def open(folder: Path, settings: Mapping[str, Scalar]) -> Session:  # noqa: A001 - the contract's name
    """Load the exported program, which holds its precision. Raises Unsupported when torch refuses it."""
    return Session(folder, settings)


def open_concurrent(folder: Path, settings: Mapping[str, Scalar]) -> Callers:
    """One program that as many callers use at once as there are threads, each computing by itself.

    Raises Unsupported when torch refuses it.
    """
    session, threads = Session(folder, {**settings, "threads": 1}), whole(settings.get("threads"))
    return Callers([session.run] * threads, {"streams": threads, "threads": threads}, session.close)


class Session:
    """A loaded exported program."""

    def __init__(self, folder: Path, settings: Mapping[str, Scalar]) -> None:
        path = model_file(folder, FILE)
        import torch

        threads = whole(settings.get("threads"))
        torch.set_num_threads(threads)
        if torch.get_num_interop_threads() != 1:
            torch.set_num_interop_threads(1)
        with refusals("PyTorch", folder):
            _refuse_pickles(path)
            self._module: Any = torch.export.load(path).module()
        self._torch = torch
        self._precision = _precision(self._module)

    def run(self, batch: np.ndarray) -> np.ndarray:
        """See `runtimes.base.Session`."""
        if not batch.flags.writeable:  # torch shares memory, and knows no tensor that is read only
            batch = batch.copy()
        with self._torch.no_grad():
            result: np.ndarray = self._module(self._torch.from_numpy(batch)).numpy()
        return result

    def effective(self) -> dict[str, Scalar]:
        """The precision of the weights and torch's own thread count; torch does not tell its kernels."""
        return {
            "precision": self._precision,
            "threads": self._torch.get_num_threads(),
            "streams": 1,
            "kernels": None,
            "low_precision_share": None,
        }

    def profile(self, batch: np.ndarray, calls: int) -> list[Layer]:
        """See `runtimes.base.Session`: the graph node by node, and the operator that each spent most of its time in.

        The precision is that of the node's result.
        """
        walker, inputs = _walker(self._module), self._torch.from_numpy(batch)
        activities = [self._torch.profiler.ProfilerActivity.CPU]
        with self._torch.no_grad():
            walker.run(inputs)
            recorded = []
            for _ in range(calls):
                # One recording a call: events of several calls would have to be told apart again.
                with self._torch.profiler.profile(activities=activities) as recording:
                    walker.run(inputs)
                recorded.append([event for event in recording.events() if event.name.startswith(_MARK)])
        facts = walker.facts
        return over_calls([_layer(event, facts[event.name]) for event in events] for events in recorded)

    def close(self) -> None:
        """Release the model."""
        self._module = None


def _walker(module: Any) -> Any:
    """An interpreter of the graph of `module` that marks each call for the profiler; `facts` by mark."""
    import torch

    class Walker(torch.fx.Interpreter):
        def __init__(self) -> None:
            super().__init__(module)
            self.facts: dict[str, tuple[str, str, str]] = {}

        def run_node(self, n: torch.fx.Node) -> Any:
            if n.op != "call_function":
                return super().run_node(n)
            with torch.profiler.record_function(f"{_MARK}{n.name}"):
                result = super().run_node(n)
            dtype = str(result.dtype).removeprefix("torch.") if isinstance(result, torch.Tensor) else ""
            self.facts[f"{_MARK}{n.name}"] = (layer_name(n), operator(n), dtype)
            return result

    return Walker()


def _layer(event: Any, facts: tuple[str, str, str]) -> Layer:
    name, kind, dtype = facts
    inside: list[Any] = []
    waiting = list(event.cpu_children)
    while waiting:
        inside.append(waiting.pop())
        waiting += inside[-1].cpu_children
    kernel = max(inside, key=lambda item: item.self_cpu_time_total).name if inside else kind
    # Not the time of the mark itself: that counts the interpreter, which `run` does without.
    seconds = sum(child.cpu_time_total for child in event.cpu_children) / 1e6
    return Layer(name, kind, kernel, precision_of([dtype]), seconds, kind in _CONVERSIONS)


def _precision(module: torch.nn.Module) -> str:
    import torch

    names = {torch.bfloat16: "bf16", torch.float16: "f16"}
    found = {names[value.dtype] for value in module.state_dict().values() if value.dtype in names}
    return min(found, default="f32")


def _refuse_pickles(path: Path) -> None:
    """Raise Unsupported for an archive whose loading would run pickled code.

    A program and its weights are JSON and raw bytes, but `torch.export.load` unpickles without a check
    what the archive itself declares as pickled (tensors of subclasses, opaque objects, old formats) and
    falls back to it for its example inputs. All of those are tried with the safe unpickler first.
    """
    import torch

    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".pt"):
                torch.load(io.BytesIO(archive.read(name)), weights_only=True)
            elif name.endswith("_config.json"):
                for entry in json.loads(archive.read(name)).get("config", {}).values():
                    _refuse_entry(entry, path)
            elif name.endswith(("serialized_state_dict.json", "serialized_constants.json")):
                raise Unsupported(f"{path.name} must be written by this version of torch.export.save, it is an old one")


def _refuse_entry(entry: Mapping[str, Any], path: Path) -> None:
    if entry.get("use_pickle") or not str(entry.get("path_name", "")).startswith(("weight_", "tensor_")):
        raise Unsupported(f"{path.name} must hold plain tensors only, it holds a pickled {entry.get('path_name')}")
