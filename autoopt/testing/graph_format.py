"""What every graph format must do: the contract of `inference.formats.base`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from autoopt.compress.export import TOLERANCE, export
from autoopt.compress.fuse_pre_post import fuse_pre_post
from autoopt.core.store import Artifact
from autoopt.errors import Unsupported
from autoopt.inference.formats import FORMATS, can_hold, cost, finished_format, format_of, graph_format
from autoopt.inference.formats.base import GraphFormat
from autoopt.inference.formats.names import is_counted
from autoopt.testing.example import MACS, PIPELINE, exported, files_of, loaded_by_importing, refused, source, workload

MODULES = {"stem", "head"}
"""The modules of the example that have weights."""


class FormatContract:
    """What every graph format must do. Set `name`, a key of `FORMATS`."""

    name: str

    @property
    def module(self) -> GraphFormat:
        """The format."""
        return graph_format(self.name)

    @property
    def artifact(self) -> Artifact:
        """A small network in this format."""
        return exported(self.name).artifact

    def test_it_says_how_it_is_made(self) -> None:
        """Its parents are in the table and end at one that has none, f32 is its first precision."""
        chain, parent = [self.name], self.module.PARENT
        while parent is not None:
            assert parent in FORMATS and parent not in chain
            chain.append(parent)
            parent = graph_format(parent).PARENT
        assert self.module.PRECISIONS[0] == "f32"
        assert isinstance(self.module.VERSION, int)
        assert all(isinstance(item, str) for item in self.module.DISTRIBUTIONS)

    def test_its_file_tells_it(self) -> None:
        """A folder with its file is of this format, and of no other."""
        assert (self.artifact.path / self.module.FILE).is_file()
        assert format_of(self.artifact.path) == self.name

    def test_it_answers_as_the_network(self) -> None:
        """In every precision that its files have, a graph gives the network's outputs, float32, to its tolerance."""
        if not self.module.NETWORK:
            return
        found = source()
        for precision in self.module.PRECISIONS:
            example = exported(self.name, precision)
            assert example.artifact.report["precision"] == precision
            call, tolerance = self.module.call(example.artifact.path), TOLERANCE.get(precision, max(TOLERANCE.values()))
            for name, batch in found.batches.items():
                got, size = call(batch), float(np.sqrt(np.mean(found.answers[name] ** 2)))
                assert got.dtype == np.float32 and got.shape == found.answers[name].shape
                assert np.sqrt(np.mean((got - found.answers[name]) ** 2)) <= tolerance * size

    def test_it_is_written_the_same_each_time(self, tmp_path: Path) -> None:
        """Written again in the same process it has the same bytes: no counter, time or path gets into the files."""
        parent = self.module.PARENT
        folder = None if parent is None else exported(parent).artifact.path
        export(self.name, "f32", workload(), tmp_path, tmp_path, source=source(), parent=folder)
        assert files_of(tmp_path) == {name: item["sha256"] for name, item in self.artifact.files.items()}

    def test_layers_are_called_by_their_modules(self) -> None:
        """Each module with weights is found by its name, and no name has a counter of its process."""
        layers = self.module.layers(self.artifact.path)
        aliases = {alias for node in layers for alias in node.aliases}
        assert all(node.names and node.aliases and node.types for node in layers)
        assert not [name for node in layers for name in node.names if is_counted(name)]
        if self.module.NETWORK:
            assert {alias.rpartition("/")[0] for alias in aliases} >= MODULES

    def test_a_float_graph_has_no_quantizers(self) -> None:
        """The layers with weights are counted, and none is quantized."""
        expected = {"quantizers": 0, "quantized_layers": 0, "layers": len(MODULES) if self.module.NETWORK else 0}
        assert self.module.counts(self.artifact.path) == expected

    def test_arithmetic_is_counted_or_refused(self) -> None:
        """A call costs the multiply-accumulates of its layers; a format that is not counted says so."""
        try:
            found = cost(self.artifact.path, PIPELINE.input_shape)
        except Unsupported:
            return
        assert found.macs == MACS and found.bytes > 0 and found.int8_macs == 0

    def test_the_pipeline_goes_inside_or_is_refused(self, tmp_path: Path) -> None:
        """A graph that normalises, and one that also decides, answer as with the pipeline around them."""
        pixels = np.random.default_rng(0).integers(0, 256, size=(1, *PIPELINE.tile, PIPELINE.channels), dtype=np.uint8)
        outside = replace(PIPELINE, overlap=0.0, scale=255.0, mean=(0.5, 0.45, 0.55), std=(0.25, 0.2, 0.3))
        for inside in (replace(outside, in_graph="input"), replace(outside, in_graph="both")):
            folder = tmp_path / inside.in_graph
            folder.mkdir()
            try:
                report = fuse_pre_post(self.artifact.path, inside, pixels, folder)
            except Unsupported:
                continue
            assert report["format"] == format_of(folder) == self.name

    def test_a_finished_graph_is_taken_or_refused(self, tmp_path: Path) -> None:
        """A graph that somebody brings answers in this format as it did, or the format says that it cannot hold it."""
        for brought in FORMATS:
            file = exported(brought).artifact.path / graph_format(brought).FILE
            if finished_format(file) != brought:
                continue
            finished, folder = replace(workload(), build=None, graph=file), tmp_path / brought
            folder.mkdir()
            if can_hold(self.name, file):
                assert export(self.name, "f32", finished, file, folder)["format"] == self.name
            else:
                with refused("finished graph"):
                    export(self.name, "f32", finished, file, folder)

    def test_importing_it_loads_no_heavy_library(self) -> None:
        """Importing the module of a format leaves its library, and all others, unloaded."""
        assert loaded_by_importing(FORMATS[self.name].partition(":")[0]) == []
