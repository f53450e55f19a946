"""What every compression step must do: the contract of `compress.base`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autoopt.compress import STEPS, graph_step, graph_steps, net_step, net_steps, step
from autoopt.compress.base import NetStep, Step
from autoopt.core.configuration import Scalar, canonical_json
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.inference.runtimes import RUNTIMES, has_network, runtime
from autoopt.testing.example import NEW_HOST, OLD_HOST, exported, files_of, loaded_by_importing, weights, workload

DRAWS = 100
"""Settings that are drawn at random for a check."""
TEXTS = ("a.conv/Conv", "type:Conv, name:b", "pattern:.*", "")


class StepContract:
    """What every compression step must do. Set `name`, a key of `STEPS`; for a step on the network also `settings`."""

    name: str
    settings: Mapping[str, Scalar] = {}
    """Settings with which the step changes the small network of the suites, quickly; defaults fill in the others."""
    shrinks = True
    """Whether a step on the network leaves less arithmetic than it was given."""

    @property
    def module(self) -> Step:
        """The step."""
        return step(self.name)

    def executing(self) -> list[dict[str, Scalar]]:
        """The settings of every runtime in the table."""
        return [{"name": name, "precision": "f32", "threads": 2} for name in RUNTIMES]

    def check_canonical(self, settings: Mapping[str, Scalar], executes: Mapping[str, Scalar], host: Host) -> None:
        """The canonical form keeps only known settings, allowed values, and is its own canonical form."""
        before = canonical_json([settings, executes])
        once = self.module.canonical(settings, executes, host)
        assert canonical_json([settings, executes]) == before
        assert self.module.canonical(settings, executes, host) == once
        if once is not None:
            assert self.module.canonical(once, executes, host) == once
            assert all(self.module.PARAMETERS[key].problem(value) is None for key, value in once.items())

    def test_canonical_is_pure_and_idempotent(self) -> None:
        """Of settings drawn at random the canonical form is its own, for every runtime, on old hosts and new ones."""
        rng = np.random.default_rng(0)
        for _ in range(DRAWS):
            settings = {key: drawn(parameter, rng) for key, parameter in self.module.PARAMETERS.items()}
            for executes in self.executing():
                for host in (OLD_HOST, NEW_HOST):
                    self.check_canonical(settings, executes, host)

    def test_switched_off_is_none(self) -> None:
        """A step whose switch is null has no settings at all, whatever else is asked."""
        for executes in self.executing():
            assert self.module.canonical({self.module.SWITCH: None}, executes, OLD_HOST) is None

    def test_foreign_settings_are_dropped(self) -> None:
        """A setting of another step has no effect and is not kept."""
        for executes in self.executing():
            own = self.module.canonical({}, executes, OLD_HOST)
            assert self.module.canonical({"not_mine": 3}, executes, OLD_HOST) == own

    def test_it_is_of_one_kind(self) -> None:
        """A step changes either the network or the exported graph."""
        assert (self.name in net_steps()) != (self.name in graph_steps())

    def test_apply_writes_the_same_files_each_time_and_only_there(self, tmp_path: Path) -> None:
        """Applied twice, a step on the graph makes bit-identical files in its folder, and leaves the source as it was.

        In the format of every runtime for which it does something.
        """
        if self.name not in graph_steps():
            return
        module = graph_step(self.name)
        for executes in (name for name in RUNTIMES if has_network(name)):
            settings = module.canonical(self.settings, {"name": executes}, OLD_HOST)
            if settings is None:
                continue
            source, made = exported(runtime(executes).FORMAT).artifact, []
            before, root = files_of(source.path), tmp_path / executes
            for attempt in ("first", "second"):
                (root / attempt).mkdir(parents=True)
                report = module.apply(settings, source, workload(), root / attempt)
                assert canonical_json(report)
                made.append(files_of(root / attempt))
            assert made[0] == made[1] != {}
            assert files_of(source.path) == before
            assert sorted(path.name for path in root.iterdir()) == ["first", "second"]

    def test_change_makes_the_same_network_each_time(self, tmp_path: Path) -> None:
        """Each part of a step on the network takes up what the one before made; twice the same settings are
        bit-identical files, which give the network back, a smaller one; the network it came from is left alone."""
        if self.name not in net_steps():
            return
        import torch

        from autoopt.nets.files import read_net, size_of

        small, stored = workload(), weights(tmp_path / "tiny.safetensors")
        settings = self.module.canonical(self.settings, self._executing_the_network(), OLD_HOST)
        assert settings is not None
        teacher, batch = read_net(small, stored), torch.zeros(small.pipeline.input_shape)
        wanted = {key: value.clone() for key, value in teacher.state_dict().items()}
        first, second = (
            _changed(net_step(self.name), settings, teacher, stored, tmp_path / attempt) for attempt in "ab"
        )
        assert files_of(first) == files_of(second) != {}
        if self.shrinks:
            assert size_of(read_net(small, stored, second), batch).macs < size_of(teacher, batch).macs
        assert all(torch.equal(value, wanted[key]) for key, value in teacher.state_dict().items())

    def test_nothing_asked_is_nothing_made(self) -> None:
        """Without settings a step on the network has no parts."""
        if self.name in net_steps():
            assert net_step(self.name).parts({}) == []

    def test_importing_it_is_light(self) -> None:
        """Importing a step loads no heavy library: the parent process asks it for canonical forms."""
        assert loaded_by_importing(STEPS[self.name].partition(":")[0]) == []

    def _executing_the_network(self) -> dict[str, Scalar]:
        return next(settings for settings in self.executing() if has_network(str(settings["name"])))


def _changed(module: NetStep, settings: Mapping[str, Scalar], teacher: object, stored: Path, root: Path) -> Path:
    """The folder of the network that all parts of the settings make, one after the other, of the stored weights."""
    import torch

    from autoopt.nets.files import read_net, write_net

    assert isinstance(teacher, torch.nn.Module)
    small, folder = workload(), None
    batch = torch.zeros(small.pipeline.input_shape)
    for index, part in enumerate(module.parts(settings)):
        changed = module.change(part, read_net(small, stored, folder), teacher, small)
        assert canonical_json(changed.report)
        folder = root / str(index)
        folder.mkdir(parents=True)
        write_net(changed.model, folder)
        torch.testing.assert_close(read_net(small, stored, folder)(batch), changed.model(batch))
    assert folder is not None
    return folder


def drawn(parameter: Parameter, rng: np.random.Generator) -> Scalar:
    """A value that the parameter allows, at random; None now and then where that is allowed."""
    if parameter.nullable and rng.random() < 1 / 4:
        return None
    low, high = parameter.low or 0.0, parameter.high or 1.0
    if parameter.kind == "choice":
        return parameter.allowed[int(rng.integers(len(parameter.allowed)))]
    if parameter.kind == "integer":
        return int(rng.integers(int(low), int(parameter.high or 100), endpoint=True))
    if parameter.kind == "number":
        return float(rng.uniform(low, high))
    if parameter.kind == "flag":
        return bool(rng.random() < 1 / 2)
    if parameter.kind == "text":
        return TEXTS[rng.integers(len(TEXTS))]
    return ",".join(str(value) for value in rng.uniform(low, high, size=rng.integers(1, 5)))
