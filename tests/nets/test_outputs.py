"""Networks that answer with several heads, always or only in training."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoopt.errors import WorkloadError
from autoopt.nets import outputs
from autoopt.workloads.contract import Workload
from tests import tiny

torch = pytest.importorskip("torch")


class Heads(torch.nn.Module):  # type: ignore[misc, name-defined]
    """The tiny network with a second head at half the resolution; `form` is what it answers with, and when."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.body = tiny.build()
        self.aux = torch.nn.Conv2d(tiny.WIDTH, 2, 1)

    def forward(self, image: Any) -> Any:
        features = self.body[:3](image)
        answer = self.body.head(features)
        if "always" not in self.form and not self.training:
            return answer
        aux = self.aux(features)
        small = torch.nn.functional.avg_pool2d(aux, 2)
        kind = self.form.partition(" ")[0]
        if kind == "stack":
            return torch.stack([answer, aux], dim=1)
        if kind == "dict":
            return {"small": small, "out": answer}
        if kind == "nested":
            return {"logits": (small, [answer])}
        if kind == "lone":
            return small
        return [answer, small] if kind == "list" else (small, answer)


class OneChannel(torch.nn.Module):  # type: ignore[misc, name-defined]
    """The tiny network with the foreground alone as its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = tiny.build()
        self.body.head = torch.nn.Conv2d(tiny.WIDTH, 1, 1)

    def forward(self, image: Any) -> Any:
        return self.body(image)


class Nested(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Has its several answers from a part of it, so that the whole does not know of them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Heads("list")
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, image: Any) -> Any:
        return self.inner(self.dropout(image))


def workload(build: Callable[[], Any], **changes: Any) -> Workload:
    return replace(tiny.workload(), build=build, **changes)


def heads(form: str) -> Callable[[], Any]:
    return lambda: Heads(form)


FORMS = ("list", "tuple", "dict", "nested", "stack")


@pytest.mark.parametrize("when", ["in training", "always"])
@pytest.mark.parametrize("form", FORMS)
def test_it_answers_with_its_full_size_head(form: str, when: str) -> None:
    """In evaluation and in training there is one tensor, that of the full-size head, and it is said that it is."""
    made = workload(heads(f"{form} {when}"))
    model = outputs.build(made)
    image = torch.randn(2, 3, 16, 16)
    for training in (False, True):
        model.train(training)
        features = model.body[:3](image)
        torch.testing.assert_close(model(image), model.body.head(features))
    (said,) = outputs.remarks(made)
    assert said.startswith("the model of tiny answers with ") and "of full size" in said
    assert ("in training" in said) == (when == "in training")
    assert set(model.state_dict()) == set(Heads(form).state_dict())


def test_a_network_with_one_answer_is_left_alone() -> None:
    """Nothing is said of it, and its class stays."""
    made = workload(tiny.build)
    assert type(outputs.build(made)) is torch.nn.Sequential and outputs.remarks(made) == ()


def test_what_is_known_of_a_builder_is_not_asked_again() -> None:
    """Its network is run once, however often it is built."""
    calls = []

    class Counted(Heads):
        def forward(self, image: Any) -> Any:
            calls.append(image.device.type)
            return super().forward(image)

    made = workload(lambda: Counted("list"))
    outputs.build(made)
    first = len(calls)
    outputs.build(made)
    assert len(calls) == first and set(calls) == {"meta"}


def test_parts_are_held_too_and_dropout_is_not() -> None:
    """Where the heads come from a part, the part is held; norms and dropouts go on training."""
    model = outputs.build(workload(Nested)).train()
    image = torch.randn(2, 3, 16, 16)
    before = model.inner.body.norm.num_batches_tracked.item()
    assert model(image).shape == (2, 2, 16, 16) and not torch.equal(model(image), model(image))
    assert model.inner.body.norm.num_batches_tracked.item() > before
    assert model.training and model.inner.training


def test_one_channel_of_two_classes_has_a_background_beside_it() -> None:
    """Its logit is that of the foreground, the softmax of both is its sigmoid; that is said once."""
    made = workload(OneChannel)
    model, image = outputs.build(made).eval(), torch.randn(2, 3, 16, 16)
    answer, alone = model(image), model.body(image)
    assert answer.shape == (2, 2, 16, 16) and torch.equal(answer[:, 1:], alone) and not answer[:, 0].any()
    torch.testing.assert_close(answer.softmax(1)[:, 1:], alone.sigmoid())
    (said,) = outputs.remarks(made)
    assert said.endswith("a tensor (n, 1, 16, 16): a background is put beside it")


@pytest.mark.parametrize("build", [heads("list"), OneChannel])
def test_it_is_pruned_and_trained(tmp_path: Path, build: Callable[[], Any]) -> None:
    """A network with a second head, or with one channel for two classes, is pruned, recovered, stored and read back."""
    from autoopt.compress import step
    from autoopt.nets.files import read_net, write_net
    from autoopt.nets.weights import WeightsInfo, save_weights

    made = workload(build)
    weights = save_weights(outputs.build(made), tmp_path, WeightsInfo("tiny", "", {}))
    prune = step("prune")
    settings = {name: item.default for name, item in prune.PARAMETERS.items()}
    part = {**settings, "ratio": 0.5, "from": 0.0, "steps": 2, "criterion": "taylor"}
    model, teacher = read_net(made, weights), read_net(made, weights)
    changed = prune.change(part, model, teacher, made)
    assert changed.report["channels_removed"] > 0 and changed.report["recovery"]["steps"] == 2
    (tmp_path / "net").mkdir()
    write_net(changed.model, tmp_path / "net")
    image = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(read_net(made, weights, tmp_path / "net")(image), changed.model(image))


@pytest.mark.parametrize("form", ["list in training", "stack always"])
def test_train_takes_it(form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`autoopt train` trains the full-size head, and says so."""
    from autoopt.nets.baseline import train

    caplog.set_level(logging.WARNING)
    result = train(workload(heads(form)), tmp_path, seed=1, threads=1)
    assert result.path.is_file() and 0 <= result.val.value <= 1
    assert "of full size" in caplog.text


def test_what_cannot_be_trained_is_said_and_still_used() -> None:
    """A network that fails in training, or has no full-size answer then, can be quantized all the same."""

    class Fails(Heads):
        def forward(self, image: Any) -> Any:
            if self.training:
                raise RuntimeError("needs a second input")
            return super().forward(image)

    failing, lone = workload(lambda: Fails("list")), workload(heads("lone"))
    assert outputs.build(failing).eval()(torch.zeros(1, 3, 16, 16)).shape == (1, 2, 16, 16)
    assert "cannot be trained, it fails with RuntimeError: needs a second input" in outputs.remarks(failing)[0]
    (said,) = outputs.remarks(lone)
    assert "answers with a tensor (n, 2, 8, 8) in training: it is trained on its first answer of full size" in said


def test_a_finished_graph_has_no_network(tmp_path: Path) -> None:
    """It is refused where a network is needed, and nothing is to be said of its answers."""
    made = replace(tiny.workload(), build=None, graph=tmp_path / "net.onnx")
    assert outputs.remarks(made) == ()
    with pytest.raises(WorkloadError, match="finished graph: there is no network to change or train"):
        outputs.build(made)


def test_deep_supervision_of_monai() -> None:
    """MONAI's DynUNet, which stacks its heads in training and computes them always, is cut and trained."""
    nets = pytest.importorskip("monai.networks.nets")
    from autoopt.nets import surgery
    from autoopt.nets.recovery import Recovery, recover

    def build() -> Any:
        torch.manual_seed(0)
        filters = {"filters": [8, 8, 8], "deep_supervision": True, "deep_supr_num": 1}
        return nets.DynUNet(2, 3, 2, [3, 3, 3], [1, 2, 2], [2, 2], **filters)

    made = workload(build)
    assert "(n, 2, 2, 16, 16) in training" in outputs.remarks(made)[0]
    model, teacher = (outputs.build(made).eval().requires_grad_(False) for _ in range(2))
    image = torch.randn(1, 3, 16, 16)
    found = surgery.removable(model, image)
    surgery.cut(model, {place: range(len(group) // 2) for place, group in enumerate(found)}, found)
    report = recover(model, teacher, made, Recovery(steps=2, batch=2, learning_rate=1e-3))
    assert report["steps"] == 2 and model(image).shape == (1, 2, 16, 16)
