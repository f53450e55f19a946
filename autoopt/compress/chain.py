"""From a configuration to an artifact: one stage after the other, each made once, each timed and announced."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from autoopt.compress import fuse_pre_post, graph_steps, net_step, net_steps, quantize
from autoopt.compress.export import form_of
from autoopt.compress.maker import Maker
from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.store import Artifact
from autoopt.inference.pipeline import Pipeline


def make(configuration: Configuration, maker: Maker, pipeline: Pipeline, stages: Stages) -> list[Artifact]:
    """The artifacts of a configuration, from the first change of the network to what is measured. Raises TrialError."""
    chain: list[Artifact] = []
    for name, part in net_parts(configuration):
        with stages("make", name):
            chain.append(maker.net(name, part, chain[-1] if chain else None, pipeline))
    with stages("make", "export"):
        chain.append(maker.export(*form_of(configuration.runtime), pipeline, chain[-1] if chain else None))
    for name in graph_steps():
        step_settings = configuration.section(name)
        if step_settings is not None:
            with stages("make", name):
                chain.append(maker.step(name, step_settings, chain[-1], pipeline))
    if pipeline.takes_pixels:
        with stages("make", fuse_pre_post.STAGE):
            chain.append(maker.fuse_pre_post(chain[-1], pipeline))
    return chain


def net_parts(configuration: Configuration) -> Iterator[tuple[str, Mapping[str, Scalar]]]:
    """What is done to the network, in order: the step that does it and its settings, each of which makes an artifact.

    The last is the training that a scheme of integers asks for.
    """
    for name in net_steps():
        for part in net_step(name).parts(configuration.section(name) or {}):
            yield name, part
    if (trained := quantize.training(configuration.section("quantize"))) is not None:
        yield quantize.TRAINER, trained


class Stages:
    """Where a trial is and where its time went: seconds by kind (make, measure, score)."""

    def __init__(self, on_stage: Callable[[str], None]) -> None:
        self._on_stage = on_stage
        self.current = ""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, kind: str, name: str) -> Iterator[None]:
        """Time the block as part of `kind` and announce `name`."""
        self.current = name
        self._on_stage(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - began
