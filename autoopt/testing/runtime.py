"""What every runtime must do: the contract of `inference.runtimes.base`."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from autoopt.compress.quantize import WEIGHTS_ALONE
from autoopt.core.configuration import Scalar
from autoopt.errors import Unsupported
from autoopt.inference.formats import FORMATS, graph_format
from autoopt.inference.runtimes import RUNTIMES, has_network, runtime
from autoopt.inference.runtimes.base import Runtime, Session
from autoopt.testing.example import (
    ARM_HOST,
    NEW_HOST,
    OLD_HOST,
    Exported,
    exported,
    loaded_by_importing,
    refused,
    workload,
)

HOSTS = (OLD_HOST, NEW_HOST, ARM_HOST)
EFFECTIVE = {"precision", "threads", "streams", "kernels", "low_precision_share"}
"""The keys of `Session.effective`."""
CLOSE = 1e-3
"""The largest error of a single number in float32."""
SAME_SIGN = 0.95
"""The least share of pixels that keep their label when a graph is quantized."""


class RuntimeContract:
    """What every runtime must do. Set `name`, a key of `RUNTIMES`."""

    name: str

    @property
    def module(self) -> Runtime:
        """The runtime."""
        return runtime(self.name)

    @property
    def example(self) -> Exported:
        """A small network in the format that the runtime takes."""
        return exported(self.module.FORMAT)

    def opened(self, **settings: Scalar) -> Session:
        """A session of the example on a small host."""
        return self.module.open(self.example.artifact.path, self.module.canonical(settings, OLD_HOST))

    def test_it_says_what_it_takes(self) -> None:
        """Its format is in the table, its schemes are known ones, and so is the number of bits of their weights."""
        assert self.module.FORMAT in FORMATS
        assert set(self.module.SCHEMES) <= {"int8", *WEIGHTS_ALONE}
        assert all(self.module.weight_bits(host) in (7, 8) for host in HOSTS)
        assert self.module.DISTRIBUTION is None or isinstance(self.module.DISTRIBUTION, str)

    def test_output_equals_the_reference(self) -> None:
        """In f32 a runtime gives the model's outputs to within 1e-3, float32, and again when called again."""
        session = self.opened()
        first, second = session.run(self.example.batch), session.run(self.example.batch)
        session.close()
        assert first.dtype == np.float32
        assert first.shape == self.example.expected.shape
        assert np.array_equal(first, second)
        if has_network(self.name):
            assert np.abs(first - self.example.expected).max() < CLOSE

    def test_an_answer_is_not_overwritten(self) -> None:
        """A later call leaves the outputs of an earlier one as they were."""
        session = self.opened()
        first = session.run(self.example.batch)
        kept = first.copy()
        session.run(-self.example.batch)
        session.close()
        assert np.array_equal(first, kept)

    def test_it_runs_the_quantized_graphs_that_it_takes(self, tmp_path: Path) -> None:
        """A graph of each scheme that a tool can make for it runs, and decides nearly as the float graph does."""
        from autoopt.compress import quantize

        for scheme in self.module.SCHEMES:
            wanted: dict[str, Scalar] = {"scheme": scheme, "calibration_cases": 2}
            settings = quantize.canonical(wanted, {"name": self.name}, OLD_HOST)
            if settings is None:
                continue
            folder = tmp_path / scheme
            folder.mkdir()
            try:
                quantize.apply(settings, self.example.artifact, workload(), folder)
            except Unsupported:  # such as four bits, which convolutions cannot have
                continue
            session = self.module.open(folder, self.module.canonical({}, OLD_HOST))
            got = session.run(self.example.batch)
            session.close()
            assert got.shape == self.example.expected.shape and np.isfinite(got).all()
            if has_network(self.name):
                assert np.mean(got.argmax(1) == self.example.expected.argmax(1)) >= SAME_SIGN

    def test_effective_reads_back(self) -> None:
        """After a call, `effective` has the agreed keys, the threads asked for and plain scalars."""
        for threads in (1, 2):
            session = self.opened(threads=threads)
            session.run(self.example.batch)
            effective = session.effective()
            session.close()
            assert set(effective) == EFFECTIVE
            assert (effective["precision"], effective["threads"], effective["streams"]) == ("f32", threads, 1)
            assert effective["low_precision_share"] in (None, 0.0)
            assert json.loads(json.dumps(effective)) == effective

    def test_it_answers_many_calls_at_once(self) -> None:
        """For throughput it uses the threads asked for in all, answers each call, and says how many run at once."""
        for threads in (1, 2):
            settings = self.module.canonical({"threads": threads}, OLD_HOST)
            many = self.module.open_concurrent(self.example.artifact.path, settings)
            first, second = Counter[int](), Counter[int]()
            many.run(self.example.batch, 5, partial(first.update, [1]))
            many.run(self.example.batch, 1, partial(second.update, [1]))
            assert (first[1], second[1]) == (5, 1)
            effective = many.effective()
            many.close()
            assert set(effective) == {"requests", "streams", "threads"}
            assert effective["requests"] == many.requests >= 1
            assert 1 <= int(effective["streams"] or 0) <= int(effective["threads"] or 0) <= threads

    def test_profile_tells_the_layers(self) -> None:
        """A profile names each executed layer once in f32 with its time, and leaves later answers as they were."""
        session = self.opened()
        before = session.run(self.example.batch)
        layers = session.profile(self.example.batch, calls=3)
        after = session.run(self.example.batch)
        session.close()
        assert np.array_equal(before, after)
        assert layers and all(layer.seconds >= 0 and layer.type and layer.kernel for layer in layers)
        assert sum(layer.seconds for layer in layers) > 0
        assert {layer.precision for layer in layers if not layer.conversion} <= {"f32", ""}
        assert len({(layer.name, layer.type) for layer in layers}) == len(layers)
        if has_network(self.name):
            assert sum("conv" in (layer.name + layer.type + layer.kernel).lower() for layer in layers) >= 2

    def test_closing_twice_is_harmless(self) -> None:
        """A closed session may be closed again, also one that never ran."""
        session = self.opened()
        session.close()
        session.close()

    def test_a_bad_folder_is_unsupported(self, tmp_path: Path) -> None:
        """A folder without a model, or with a broken one, raises Unsupported at `open`."""
        for damage in ("missing", "garbage"):
            folder = tmp_path / damage
            folder.mkdir()
            if damage == "garbage":
                for name in {graph_format(self.module.FORMAT).FILE, *self.example.artifact.files}:
                    (folder / name).write_bytes(b"\x00not a model")
            with refused("must"):
                self.module.open(folder, self.module.canonical({}, OLD_HOST))

    def test_the_defaults_are_allowed(self) -> None:
        """Every default passes its own parameter's check and survives canonicalisation on a large host."""
        parameters = self.module.PARAMETERS
        defaults = {key: parameter.default for key, parameter in parameters.items()}
        assert all(parameters[key].problem(value) is None for key, value in defaults.items())
        assert self.module.canonical({}, NEW_HOST) == defaults

    def test_canonical(self) -> None:
        """The canonical form is idempotent, keeps the name, clips threads, drops what is not its own."""
        for host in HOSTS:
            for precision in ("f32", "bf16", "f16"):
                raw: dict[str, Scalar] = {
                    "name": self.name,
                    "precision": precision,
                    "threads": 999,
                    "streams": 999,
                    "foreign": 1,
                }
                settings = self.module.canonical(raw, host)
                assert self.module.canonical(settings, host) == settings
                assert set(settings) == {"name", *self.module.PARAMETERS}
                assert settings["threads"] == host.cores
                assert settings.get("streams", 1) in (1, host.cores)
                assert settings["precision"] == (precision if precision in self.module.precisions(host) else "f32")

    def test_no_precision_without_hardware(self) -> None:
        """A host with AVX2 only has f32 only; every runtime has f32 everywhere."""
        assert self.module.precisions(OLD_HOST) == ("f32",)
        assert all(self.module.precisions(host)[0] == "f32" for host in HOSTS)

    def test_importing_it_loads_no_heavy_library(self) -> None:
        """Importing the module of a runtime leaves its library, and all others, unloaded."""
        assert loaded_by_importing(RUNTIMES[self.name].partition(":")[0]) == []
