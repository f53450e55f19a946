"""Making artifacts: the parent's side of the maker process (maker_process.py), which holds torch and the compressors.

The parent knows the key of an artifact before it exists: the digest of its settings, its parent, the workload,
the version of the code and of the libraries that make it. What the store has is never made again.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from autoopt import nets
from autoopt.compress import export, fuse_pre_post, graph_steps, net_steps, selectors, sensitivity
from autoopt.compress import step as step_module
from autoopt.compress.identity import identity, versions
from autoopt.compress.known_failures import KnownFailures
from autoopt.compress.sensitivity import Rank
from autoopt.core import memory
from autoopt.core.configuration import Scalar, digest
from autoopt.core.host import Host
from autoopt.core.process import USUAL_TIMEOUT_S, Child, Requests, thread_limits
from autoopt.core.store import KIND, MANIFEST, Artifact, Store
from autoopt.errors import TrialError, Unsupported, WorkloadError
from autoopt.inference.formats import format_of, graph_format
from autoopt.inference.formats.names import Node
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.runtimes import EXACT
from autoopt.inference.runtimes.shared import trains_bf16
from autoopt.measure.target import LocalTarget, Target
from autoopt.measure.undisturbed import Timed, timed_of
from autoopt.nets.weight_parts import digest_of_all
from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import imports_of

_log = logging.getLogger("autoopt")

TRAINING_TIMEOUT_S = 7200.0
TIMEOUTS_S: Mapping[str, float] = {
    "export": USUAL_TIMEOUT_S,
    "quantize": 900.0,
}
"""Seconds that a stage may take by default; `TRAINING_TIMEOUT_S` for what changes a network, since that trains it."""
KEEPS_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
"""For the memory allocator of glibc: tensors that are made anew in each training step reuse the pages of the last one.
Fetching fresh pages from the system took a tenth of a step (docs/benchmarks.md)."""
OTHER_TIMEOUT_S = 900.0
MAKE = "make"
"""Stands for every stage that makes an artifact, where limits of time are given."""


class Maker:
    """Makes the artifacts of one workload with one set of weights; use it as a context manager.

    `builder` is the host that makes, this one; `target` the one that measures, by default the builder. `made` and
    `reused` count artifacts by stage: made in the child, or found in the store; what failed twice is in
    `known_failures`, which others may use for parts of their own. `timeout_s` replaces limits of `TIMEOUTS_S` in
    seconds, `MAKE` all of them; `memory_bytes` is what a stage may hold where it is not `memory.limit_bytes`. `child`
    is one that `warm_child` started.
    """

    def __init__(
        self,
        workload: Workload,
        weights: Path,
        store: Store,
        builder: Host,
        *,
        target: Target | None = None,
        timeout_s: Mapping[str, float] | None = None,
        memory_bytes: Mapping[str, int] | None = None,
        child: Requests | None = None,
    ) -> None:
        if workload.origin is None:
            raise WorkloadError(
                f"{workload.name} must come from load_workload: the maker process loads it again by its origin"
            )
        self._origin = workload.origin
        self._weights = weights.resolve()
        self._store = store
        self._builder = builder
        self._target = target or LocalTarget(builder)
        given = timeout_s or {}
        usual = {} if MAKE in given else {**dict.fromkeys(net_steps(), TRAINING_TIMEOUT_S), **TIMEOUTS_S}
        self._timeouts_s = {"check": USUAL_TIMEOUT_S, **usual, **given}
        self._memory_bytes = dict(memory_bytes or {})
        self._pipeline = workload.pipeline
        self._identity = identity(workload)
        self._data_digest = workload.data_digest
        self._recipe = workload.recipe.identity()
        self._weights_digest = digest_of_all(workload, weights, workload.weights_key)
        self._child = child or warm_child(builder, imports_of(workload.origin.source))
        self._warming = True
        self._checking = False
        self._begun: str | None = None
        self.known_failures = KnownFailures()
        self._verified: set[str] = set()
        self.made: Counter[str] = Counter()
        self.reused: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the maker process."""
        self._child.close()

    def begin_check(self) -> None:
        """Let the child import its libraries, build the model and load the weights while the parent goes on."""
        if not self._checking:
            self._warmed_up()
            self._child.send("check", self._request({}), stage="check")
            self._checking = True

    def check(self) -> None:
        """Build the model and load the weights once, and tell what is to be known of its answers.

        A process that a signal ended is started again once. Raises WeightsError or WorkloadError when they do not fit.
        """
        try:
            self.begin_check()
            found = self._receive("check")
        except TrialError as error:
            if not error.by_signal:
                raise
            self._checking = False
            self.begin_check()
            found = self._receive("check")
        for remark in found["remarks"]:
            _log.warning(remark)

    def call_time(self) -> Timed | None:
        """How long a call of the network takes here, as trainings compute it; None for a finished graph.

        Raises WeightsError or WorkloadError when network and weights do not fit.
        """
        self._send("check", "time", {"bf16": trains_bf16(self._builder)})
        found = self._receive("check")
        return None if found["seconds"] is None else timed_of(found)

    def begin_export(self, name: str, precision: str = "f32") -> None:
        """Let the child begin what `export` will ask for while the parent goes on; nothing where the store has it."""
        made_by = self._export_identity(name, precision, self._pipeline)
        key = digest(made_by)
        if graph_format(name).PARENT is None and self._begun is None and self._store.get(KIND, key) is None:
            request = {"source": None, "pipeline": self._pipeline.to_json()}
            self._send("export", "export", {**request, "key": key, "made_by": made_by})
            self._begun = key

    def net(
        self, name: str, part: Mapping[str, Scalar], parent: Artifact | None, pipeline: Pipeline | None = None
    ) -> Artifact:
        """The network that step `name` makes of `parent`, or of the workload's own, with a part of its settings.

        Raises TrialError.
        """
        module, pipeline = step_module(name), self._of_graph(pipeline)
        made_by = {
            "stage": name,
            "settings": dict(part),
            "parent": self._weights_digest if parent is None else parent.key,
            "weights": self._weights_digest,  # of the teacher
            # How far tiles overlap is nothing that a network is trained for.
            "workload": {
                **self._identity,
                "pipeline": replace(pipeline, overlap=0.0).to_json(),
                "data": self._data_digest,
            },
            "recipe": self._recipe,
            "version": [module.VERSION, nets.VERSION],
            "versions": versions(module.DISTRIBUTIONS),
        }
        request = {"source": None if parent is None else parent.key, "pipeline": pipeline.to_json()}
        return self._find(name, made_by) or self._make(name, made_by, "net", request)

    def export(
        self,
        name: str,
        precision: str = "f32",
        pipeline: Pipeline | None = None,
        net: Artifact | None = None,
    ) -> Artifact:
        """The model as graph files of the format called `name`, with the tile of `pipeline`.

        The workload's own pipeline and network are the default; `in_graph` has no effect here, see `fuse_pre_post`.
        Raises TrialError.
        """
        pipeline = self._of_graph(pipeline)
        made_by = self._export_identity(name, precision, pipeline, net)
        found = self._find("export", made_by)
        if found is not None:
            return found
        parent = graph_format(name).PARENT
        source = None if parent is None else self.export(parent, EXACT, pipeline, net)
        request = {
            "source": None if source is None else source.key,
            "net": None if net is None else net.key,
            "pipeline": pipeline.to_json(),
        }
        return self._make("export", made_by, "export", request)

    def step(
        self, name: str, settings: Mapping[str, Scalar], source: Artifact, pipeline: Pipeline | None = None
    ) -> Artifact:
        """The artifact that step `name` makes of `source` with its canonical `settings`. Raises TrialError."""
        module, pipeline = step_module(name), self._of_graph(pipeline)
        keep = int(settings.get("keep_float") or 0)
        if keep and graph_format(format_of(source.path)).NETWORK:
            settings = self._kept_in_float(settings, keep, source, pipeline)
        made_by = {
            "stage": name,
            "settings": dict(settings),
            "parent": source.key,
            "workload": {**self._identity, "pipeline": pipeline.to_json(), "data": self._data_digest},
            "version": module.VERSION,
            "versions": versions(module.DISTRIBUTIONS),
        }
        request = {"source": source.key, "pipeline": pipeline.to_json()}
        return self._find(name, made_by) or self._make(name, made_by, "step", request)

    def layers(self, source: Artifact) -> list[Node]:
        """The layers of a graph, in its order, as selectors name them. Raises TrialError."""
        self._send("check", "layers", {"source": source.key})
        return [Node(*map(tuple, item)) for item in self._receive("check")["layers"]]

    def refusals(self, asked: Sequence[tuple[str, Mapping[str, Scalar]]]) -> list[str]:
        """Why the network refuses each step with these settings, as its `refusal` tells; "" where it takes it.

        Raises TrialError.
        """
        self._send("check", "refusals", {"asked": [[name, dict(settings)] for name, settings in asked]})
        return list(map(str, self._receive("check")["refusals"]))

    def ranking(self, source: Artifact, weight_bits: Scalar, pipeline: Pipeline | None = None) -> list[Rank]:
        """The groups of layers of a float graph, those first that are worth keeping in float. Raises TrialError."""
        pipeline = self._of_graph(pipeline)
        made_by = {
            "stage": sensitivity.STAGE,
            "settings": {"weight_bits": weight_bits},
            "parent": source.key,
            "host": self._target.host.fingerprint,  # its milliseconds decide
            "workload": {**self._identity, "pipeline": pipeline.to_json(), "data": self._data_digest},
            "version": sensitivity.VERSION,
            "versions": versions(sensitivity.DISTRIBUTIONS),
        }
        request = {"source": source.key, "pipeline": pipeline.to_json()}
        found = self._find(sensitivity.STAGE, made_by)
        if found is None:
            if self._builder.fingerprint != self._target.host.fingerprint:
                raise Unsupported(
                    "keep_float must be 0 where another machine measures: the ranking times layers where they are made",
                    stage=sensitivity.STAGE,
                )
            with self._target.exclusive():  # its calls are timed
                found = self._make(sensitivity.STAGE, made_by, "rank", request)
        return sensitivity.read(found)

    def _kept_in_float(
        self, settings: Mapping[str, Scalar], count: int, source: Artifact, pipeline: Pipeline
    ) -> dict[str, Scalar]:
        """The settings with the first groups of the ranking among the ignored layers."""
        layers = sensitivity.kept(self.ranking(source, settings.get("weight_bits"), pipeline), count)
        others = {name: value for name, value in settings.items() if name != "keep_float"}
        return {**others, "ignored_layers": selectors.canonical(f"{settings.get('ignored_layers') or ''},{layers}")}

    def fuse_pre_post(self, source: Artifact, pipeline: Pipeline) -> Artifact:
        """`source` with what `pipeline.in_graph` names inside its graph: the last thing done to it. Raises TrialError.

        It is `source` itself where nothing is.
        """
        if not pipeline.takes_pixels:
            return source
        written = graph_format(format_of(source.path))
        made_by = {
            "stage": fuse_pre_post.STAGE,
            "settings": {"in_graph": pipeline.in_graph},
            "parent": source.key,
            "workload": {"pipeline": replace(pipeline, overlap=0.0).to_json()},
            "version": [fuse_pre_post.VERSION, written.VERSION],
            "versions": versions(written.DISTRIBUTIONS),
        }
        request = {"source": source.key, "pipeline": pipeline.to_json()}
        found = self._find(fuse_pre_post.STAGE, made_by)
        return found or self._make(fuse_pre_post.STAGE, made_by, "fuse_pre_post", request)

    def _of_graph(self, pipeline: Pipeline | None) -> Pipeline:
        """A pipeline, the workload's by default, with nothing of a configuration's that no network or graph depends on.

        So one artifact serves all ways of calling it.
        """
        own = self._pipeline
        return replace(pipeline or own, in_graph="none", mirror=own.mirror, restore=own.restore)

    def _export_identity(
        self, name: str, precision: str, pipeline: Pipeline, net: Artifact | None = None
    ) -> dict[str, Any]:
        written = graph_format(name)
        parent = self._weights_digest if net is None else net.key
        if written.PARENT is not None:
            parent = digest(self._export_identity(written.PARENT, EXACT, pipeline, net))
        return {
            "stage": "export",
            "settings": {"format": name, "precision": export.precision_of(name, precision)},
            "parent": parent,
            "workload": {**self._identity, "pipeline": replace(pipeline, overlap=0.0).to_json()},
            "version": [export.VERSION, written.VERSION],
            "versions": versions(written.DISTRIBUTIONS),
        }

    def _find(self, stage: str, made_by: Mapping[str, Any]) -> Artifact | None:
        key = digest(made_by)
        artifact = None if key == self._begun else self._store.get(KIND, key)
        if artifact is None:
            return None
        if key not in self._verified:
            self._store.verify(artifact)
            self._verified.add(key)
        elif not all((artifact.path / name).is_file() for name in artifact.files):
            (artifact.path / MANIFEST).unlink(missing_ok=True)  # a file vanished since: it counts as not made
            return None
        self.reused[stage] += 1
        return artifact

    def _make(self, stage: str, made_by: dict[str, Any], do: str, request: dict[str, Any]) -> Artifact:
        key = digest(made_by)
        self.known_failures.check(key)
        try:
            if key != self._begun:
                self._send(stage, do, {**request, "key": key, "made_by": made_by})
            self._begun = None
            self._receive(stage)
        except TrialError as error:
            self.known_failures.note(key, error)
            raise
        artifact = self._store.get(KIND, key)
        assert artifact is not None
        self._verified.add(key)
        self.made[stage] += 1
        return artifact

    def _send(self, stage: str, do: str, request: Mapping[str, Any]) -> None:
        if self._checking:
            self.check()
        self._warmed_up()
        if self._begun is not None:  # nobody asked for it in the end; what was wrong with it will be said when one does
            self._begun = None
            with contextlib.suppress(TrialError):
                self._receive("export")
        self._child.send(do, self._request(request), stage=stage)

    def _warmed_up(self) -> None:
        if self._warming:
            self._warming = False
            try:
                self._wait("check")
            except TrialError as error:
                if not error.by_signal:  # else the next request starts another one
                    raise

    def _request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **request,
            "origin": asdict(self._origin),
            "data_digest": self._data_digest,
            "weights": str(self._weights),
            "store": str(self._store.root.resolve()),
            "threads": self._builder.cores,
        }

    def _receive(self, stage: str) -> dict[str, Any]:
        self._checking = False
        return self._wait(stage)

    def _wait(self, stage: str) -> dict[str, Any]:
        timeout_s = self._timeouts_s.get(stage, self._timeouts_s.get(MAKE, OTHER_TIMEOUT_S))
        most = self._memory_bytes.get(stage, memory.limit_bytes(self._builder.memory_bytes))
        return self._child.receive(stage=stage, timeout_s=timeout_s, memory_bytes=most)


def stages() -> tuple[str, ...]:
    """The names for which a limit of time may be given: `MAKE`, or a single stage."""
    return (MAKE, "export", *net_steps(), sensitivity.STAGE, *graph_steps(), fuse_pre_post.STAGE)


def warm_child(builder: Host, imports: Sequence[str] = ()) -> Child:
    """A maker process that imports torch and `imports` while the parent reads data: for a `Maker`, or to be closed."""
    child = Child("autoopt.compress.maker_process", environment={**thread_limits(builder.cores), **KEEPS_FREED_MEMORY})
    child.send("warm", {"imports": list(imports)}, stage="check")
    return child
