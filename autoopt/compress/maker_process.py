"""The maker process: the one long-lived child that holds torch and the compressors. Its parent's side is maker.py.

It does one request at a time, and keeps the workload and its network between them.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from autoopt.compress import export, fuse_pre_post, graph_step, net_step, output_check, sensitivity
from autoopt.core.configuration import digest
from autoopt.core.process import Handler, serve
from autoopt.core.store import KIND, Artifact, Store
from autoopt.errors import Unsupported
from autoopt.inference.formats import cost, format_of, graph_format
from autoopt.inference.formats.base import Source
from autoopt.inference.pipeline import Pipeline
from autoopt.measure.taking import LONG_ENOUGH_S
from autoopt.measure.undisturbed import taken_from_now
from autoopt.nets import outputs
from autoopt.nets.files import FORMAT, read_net, write_net
from autoopt.workloads.contract import Origin, Workload
from autoopt.workloads.loading import load_again

WARM = ("torch", "torch.export")
"""What a maker process imports before it knows its workload, besides what it is told to."""
TIMED_CALLS = 4
"""Of which the fastest counts: the first one allocates."""


@dataclass(frozen=True)
class _Job:
    """What is to be made: a stage with its settings, of `parent`, or of the stored network `net`."""

    request: Mapping[str, Any]
    workload: Workload
    weights: Path
    stage: str
    settings: Mapping[str, Any]
    parent: Artifact | None
    net: Artifact | None


class Jobs:
    """What this process keeps between requests, and does with it: maker.py writes the requests."""

    def __init__(self) -> None:
        self._workloads: dict[str, Workload] = {}
        self._sources: dict[str, Source] = {}
        self._remarks: list[str] = []

    def handlers(self) -> dict[str, Handler]:
        """The table of its requests. They raise TrialError, or UsageError for what concerns all trials."""
        return {
            "warm": self._warm,
            "check": self._check,
            "time": self._time,
            "layers": _layers,
            "refusals": self._refusals,
            "net": partial(self._made, self._net),
            "export": partial(self._made, self._export),
            "rank": partial(self._made, _rank),
            "step": partial(self._made, _step),
            "fuse_pre_post": partial(self._made, _fuse_pre_post),
        }

    def _warm(self, request: Mapping[str, Any]) -> dict[str, Any]:
        for name in (*WARM, *request["imports"]):
            with contextlib.suppress(ImportError):  # whoever needs it says so
                importlib.import_module(name)
        return {}

    def _check(self, request: Mapping[str, Any]) -> dict[str, Any]:
        workload = self._workload(request["origin"])
        source = self._source(request, workload)
        found = [*outputs.remarks(workload), *output_check.remarks(workload, source.answers)]
        return {"remarks": [*self._remarks, *found], "data_digest": workload.data_digest}

    def _time(self, request: Mapping[str, Any]) -> dict[str, Any]:
        workload = self._workload(request["origin"])
        return _call_time(self._source(request, workload), workload, bf16=request["bf16"])

    def _refusals(self, request: Mapping[str, Any]) -> dict[str, Any]:
        workload = self._workload(request["origin"])
        model = self._source(request, workload).model
        assert model is not None  # there are no steps to ask of a finished graph
        ways: dict[str, Any] = {name: net_step(name) for name, _ in request["asked"]}  # `refusal` is no must of a step
        return {"refusals": [ways[name].refusal(settings, model, workload) for name, settings in request["asked"]]}

    def _made(self, build: Callable[[_Job, Path], Mapping[str, Any]], request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put what `build` makes of the request into the store."""
        workload = replace(self._workload(request["origin"]), pipeline=Pipeline.from_json(request["pipeline"]))
        store, made_by = Store(Path(request["store"])), request["made_by"]
        parent, net = (None if request.get(key) is None else store.get(KIND, request[key]) for key in ("source", "net"))
        weights = Path(request["weights"])
        job = _Job(request, workload, weights, made_by["stage"], made_by["settings"], parent, net)
        store.put(KIND, request["key"], made_by, partial(_with_load, partial(build, job)))
        return {}

    def _net(self, job: _Job, folder: Path) -> Mapping[str, Any]:
        teacher = self._source(job.request, job.workload).model
        model = read_net(job.workload, job.weights, None if job.parent is None else job.parent.path)
        assert teacher is not None  # `read_net` refuses a finished graph
        changed = net_step(job.stage).change(job.settings, model, teacher, job.workload)
        write_net(changed.model, folder)
        return {**changed.report, "format": FORMAT}

    def _export(self, job: _Job, folder: Path) -> Mapping[str, Any]:
        name, source = job.settings["format"], None
        if job.net is not None:
            source = export.load_source(job.workload, job.weights, job.net.path)
        elif graph_format(name).NETWORK:
            source = self._source(job.request, job.workload)
        report = export.export(
            name,
            job.settings["precision"],
            job.workload,
            job.weights,
            folder,
            source=source,
            parent=None if job.parent is None else job.parent.path,
        )
        return {**report, "cost": _cost(folder, job.workload.pipeline)}

    def _workload(self, origin: Mapping[str, Any]) -> Workload:
        key = digest(origin)
        if key not in self._workloads:
            self._workloads[key] = load_again(Origin(**origin))
        return self._workloads[key]

    def _source(self, request: Mapping[str, Any], workload: Workload) -> Source:
        key = digest([request["origin"], request["weights"], list(workload.pipeline.tile)])
        if key not in self._sources:
            import torch

            torch.set_num_threads(int(request["threads"]))
            weights = Path(request["weights"])
            self._sources[key] = export.load_source(workload, weights, on_remark=self._remarks.append)
        return self._sources[key]


def _layers(request: Mapping[str, Any]) -> dict[str, Any]:
    source = Store(Path(request["store"])).get(KIND, request["source"])
    assert source is not None
    nodes = graph_format(format_of(source.path)).layers(source.path)
    return {"layers": [[node.names, node.aliases, node.types] for node in nodes]}


def _call_time(source: Source, workload: Workload, *, bf16: bool) -> dict[str, Any]:
    """The least time of some calls of the network, in bfloat16 or not, and what the host did meanwhile; None for a
    finished graph."""
    import torch

    if source.model is None:
        return {"seconds": None}
    batch = torch.zeros(workload.pipeline.input_shape)
    times: list[tuple[float, float]] = []
    taken = taken_from_now()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        # Of less than half a second the kernel hardly tells what others took.
        while len(times) < TIMED_CALLS or sum(wall_s for wall_s, _ in times) < LONG_ENOUGH_S:
            began, cpu_began = time.perf_counter(), time.process_time()
            source.model(batch)
            times.append((time.perf_counter() - began, time.process_time() - cpu_began))
    wall_s, cpu_s = min(times)
    return {"seconds": wall_s, "cpu_s": cpu_s, "taken": taken()}


def _with_load(build: Callable[[Path], Mapping[str, Any]], folder: Path) -> Mapping[str, Any]:
    """What `build` reports, with the share of the cores that others took: its seconds are not those of a quiet host."""
    taken = taken_from_now()
    report = build(folder)
    return {**report, "taken": taken()} if "seconds" in report else report


def _rank(job: _Job, folder: Path) -> Mapping[str, Any]:
    assert job.parent is not None
    began = time.perf_counter()
    ranks = sensitivity.rank(job.parent.path, job.workload, job.settings["weight_bits"])
    return {**sensitivity.write(ranks, folder), "seconds": time.perf_counter() - began}


def _step(job: _Job, folder: Path) -> Mapping[str, Any]:
    assert job.parent is not None
    report = graph_step(job.stage).apply(job.settings, job.parent, job.workload, folder)
    return {**report, "cost": _cost(folder, job.workload.pipeline)}


def _fuse_pre_post(job: _Job, folder: Path) -> Mapping[str, Any]:
    assert job.parent is not None
    tile = export.training_tile(job.workload)
    report = fuse_pre_post.fuse_pre_post(job.parent.path, job.workload.pipeline, tile, folder)
    return {**report, "cost": _cost(folder, job.workload.pipeline)}


def _cost(folder: Path, pipeline: Pipeline) -> dict[str, int] | None:
    """Arithmetic and traffic of one call of the graph in `folder`; None of a format that is not counted."""
    try:
        return asdict(cost(folder, pipeline.input_shape))
    except Unsupported:
        return None


def _give_memory_back() -> None:
    """Compressors leave cycles and a fragmented heap: without this the maker grows with every request."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # not glibc
            ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    serve(Jobs().handlers(), before_answer=_give_memory_back)
