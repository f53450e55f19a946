"""Training a smaller network again."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from autoopt.compress import training_settings  # noqa: E402
from autoopt.errors import Numeric  # noqa: E402
from autoopt.nets import fake_quantization, recovery  # noqa: E402
from autoopt.nets.files import read_net  # noqa: E402
from autoopt.workloads.contract import IGNORED, Case, Sample  # noqa: E402
from tests import tiny  # noqa: E402

PLAN = recovery.Recovery(steps=40, batch=4, learning_rate=2e-2)


def case(index: int, group: str) -> Case:
    return Case(f"c{index}", group, lambda: Sample(np.zeros((4, 4, 3)), np.zeros((4, 4), int)))


@pytest.fixture
def teacher(tmp_path_factory: pytest.TempPathFactory) -> torch.nn.Module:
    return read_net(tiny.workload(), tiny.weights(tmp_path_factory.mktemp("tiny") / "w.safetensors"))


@given(groups=st.lists(st.integers(0, 8), min_size=2, max_size=40))
def test_patients_are_held_out_whole(groups: list[int]) -> None:
    """Nothing is learnt of a patient that is held out, both parts have cases, and they are the same each time."""
    cases = [case(index, f"p{group}") for index, group in enumerate(groups)]
    learnt, held = recovery.parted(cases)
    assert learnt and held
    assert [[c.id for c in part] for part in recovery.parted(cases)] == [[c.id for c in learnt], [c.id for c in held]]
    if len(set(groups)) > 1:
        assert not {c.group for c in learnt} & {c.group for c in held}
    else:
        assert not {c.id for c in learnt} & {c.id for c in held}


def test_a_damaged_network_learns_from_the_whole_one(teacher: torch.nn.Module) -> None:
    """The loss on the hold-out falls, the answers come nearer to the teacher's, and the teacher is untouched."""
    workload = tiny.workload()
    before = copy.deepcopy(teacher.state_dict())
    student = copy.deepcopy(teacher)
    with torch.no_grad():
        student.get_submodule("head").weight.mul_(0.1)
    answers = recovery.Answers(teacher, workload, 2)
    far = answers.distance(student)
    report = recovery.recover(student, teacher, workload, PLAN)
    assert report["loss_after"] < report["loss_before"]
    assert answers.distance(student) < far / 2
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not any(item.requires_grad for item in student.parameters()) and not student.training


def test_what_does_not_get_better_is_not_kept(teacher: torch.nn.Module) -> None:
    """A training that only harms leaves the weights from before it."""
    student = copy.deepcopy(teacher)
    report = recovery.recover(student, teacher, tiny.workload(), replace(PLAN, steps=80, learning_rate=10.0))
    assert report["loss_after"] == report["loss_before"]
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in student.named_parameters())


def test_the_teacher_teaches_where_nobody_knows_the_answer(teacher: torch.nn.Module) -> None:
    """Without a single reference the student still learns: the distance to the teacher is part of the loss."""
    workload = tiny.workload()

    def unknown(case: Case) -> Case:
        def read() -> Sample:
            sample = case.read()
            return Sample(sample.image, np.full(sample.reference.shape, IGNORED, np.uint8))

        return replace(case, read=read)

    train = tuple(map(unknown, workload.splits.train))
    student = copy.deepcopy(teacher)
    with torch.no_grad():
        student.get_submodule("head").weight.mul_(0.1)
    answers = recovery.Answers(teacher, workload, 2)
    far = answers.distance(student)
    recovery.recover(student, teacher, replace(workload, splits=replace(workload.splits, train=train)), PLAN)
    assert answers.distance(student) < far / 2


def test_a_training_that_takes_too_long_ends(teacher: torch.nn.Module) -> None:
    """After its seconds it ends at the next look at the hold-out, with the best weights so far."""
    student = copy.deepcopy(teacher)
    report = recovery.recover(student, teacher, tiny.workload(), replace(PLAN, seconds=0.0))
    assert report["steps"] == PLAN.steps // recovery.CHECKS and report["of_steps"] == PLAN.steps


def test_no_steps_renew_batch_norms_alone(teacher: torch.nn.Module) -> None:
    """Without steps the running statistics become those of training tiles, and no weight changes."""
    student = copy.deepcopy(teacher)
    norm = student.get_submodule("norm")
    norm.running_mean.fill_(7.0)
    report = recovery.recover(student, teacher, tiny.workload(), replace(PLAN, steps=0))
    assert report["norms_renewed"] == 1 and report["steps"] == 0
    assert float(norm.running_mean.abs().max()) < 1.0
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in student.named_parameters())


def test_statistics_that_are_worse_are_not_kept(teacher: torch.nn.Module) -> None:
    """A whole network keeps its running statistics where those of the cases to learn from lose on the hold-out."""
    workload = tiny.workload()
    learnt, _ = recovery.parted(workload.splits.train)

    def strange(case: Case) -> Case:
        def read() -> Sample:
            sample = case.read()
            return Sample(np.zeros_like(sample.image), sample.reference)

        return replace(case, read=read) if case.id in {item.id for item in learnt} else case

    train = tuple(map(strange, workload.splits.train))
    student, plan = copy.deepcopy(teacher), replace(PLAN, steps=0)
    report = recovery.recover(student, teacher, replace(workload, splits=replace(workload.splits, train=train)), plan)
    assert report["norms_renewed"] == 0 and report["loss_after"] == report["loss_before"]
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in student.state_dict().items())


@pytest.mark.parametrize(("size", "drawn"), [(64, 12), (16, 16), (4, 64)])
def test_statistics_are_of_enough_values(size: int, drawn: int) -> None:
    """The smaller the maps of a norm, the more batches it is given: 8192 values a channel, in 12 to 64 batches."""
    model, seen = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 1), torch.nn.BatchNorm2d(3)), []
    batches = (seen.append(number) or torch.randn(2, 1, size, size) + 5.0 for number in itertools.count())
    assert recovery.renew_norms(model, batches) == 1 and len(seen) == drawn
    weight, bias = model[0].weight.detach().flatten(), model[0].bias.detach()
    assert torch.allclose(model[1].running_mean, 5.0 * weight + bias, atol=0.2)


@pytest.mark.parametrize("bf16", [False, True])
def test_as_integers_norms_are_fixed(teacher: torch.nn.Module, bf16: bool) -> None:
    """A quantizer folds norms into the layers before them: training as integers changes no running statistics."""
    student, plan = copy.deepcopy(teacher), replace(PLAN, steps=10, bf16=bf16)
    recovery.recover(student, teacher, tiny.workload(), replace(plan, as_integers=True))
    renewed = copy.deepcopy(teacher)
    recovery.recover(renewed, teacher, tiny.workload(), replace(plan, steps=0))
    assert torch.equal(student.get_submodule("norm").running_var, renewed.get_submodule("norm").running_var)
    assert not torch.equal(student.get_submodule("head").weight, teacher.get_submodule("head").weight)


def test_begun_anew_is_another_network_each_time_the_same(teacher: torch.nn.Module) -> None:
    """The control has none of the weights that were trained, and is reproducible."""
    one, other = copy.deepcopy(teacher), copy.deepcopy(teacher)
    recovery.begin_anew(one)
    recovery.begin_anew(other)
    for name, value in one.named_parameters():
        assert torch.equal(value, other.state_dict()[name])
    assert not torch.allclose(one.get_submodule("stem").weight, teacher.get_submodule("stem").weight, atol=1e-2)


def test_a_loss_that_is_no_number_is_said(teacher: torch.nn.Module) -> None:
    """A student that answers NaN fails as numeric instead of being trained on."""
    student = copy.deepcopy(teacher)
    with torch.no_grad():
        student.get_submodule("head").bias.fill_(float("nan"))
    with pytest.raises(Numeric, match="finite"):
        recovery.recover(student, teacher, tiny.workload(), PLAN)


@given(seed=st.integers(0, 100), multilabel=st.booleans())
def test_the_distance_is_zero_for_the_same_answer_only(seed: int, multilabel: bool) -> None:
    """Equal answers are at zero, others farther."""
    random = torch.Generator().manual_seed(seed)
    one, other = (torch.randn(2, 3, 4, 4, generator=random) for _ in range(2))
    assert abs(float(recovery.distance(one, one, multilabel))) < 1e-5
    assert float(recovery.distance(one, other, multilabel)) > 1e-3


def test_trained_as_integers_it_is_in_float_again(teacher: torch.nn.Module) -> None:
    """Inside the block layers round, gradients pass; afterwards the names and kinds of the weights are as before."""
    student = copy.deepcopy(teacher)
    batch = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 16, 16))).float()
    names, whole = list(student.state_dict()), student(batch)
    with fake_quantization.as_integers(student):
        rounded = student(batch)
        student.requires_grad_(True)
        student(batch).sum().backward()
        grads = [item.grad for item in student.parameters()]
    student.requires_grad_(False)
    assert 0 < float((rounded - whole).abs().max()) < 0.2
    assert all(grad is not None for grad in grads) and any(float(grad.abs().max()) > 0 for grad in grads)
    assert sorted(student.state_dict()) == sorted(names)
    assert torch.equal(student(batch), whole)


@given(seed=st.integers(0, 50), shift=st.floats(-3, 3))
def test_rounding_is_to_a_step_of_the_range(seed: int, shift: float) -> None:
    """An input is moved by at most half a step of 255 in its range, which has zero in it; a weight by half of 63."""
    random = torch.Generator().manual_seed(seed)
    layer = torch.nn.Linear(6, 4, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(4, 6, generator=random))
    given_to: list[torch.Tensor] = []
    weight, value = layer.weight.detach().clone(), torch.randn(5, 6, generator=random) + shift
    with fake_quantization.as_integers(layer):
        layer.register_forward_pre_hook(lambda module, inputs: given_to.append(inputs[0]))
        layer(value)
        step = weight.abs().amax(dim=1, keepdim=True) / 63
        assert bool(((layer.weight.detach() - weight).abs() <= step / 2 + 1e-6).all())
    reach = max(float(value.max()), 0.0) - min(float(value.min()), 0.0)
    assert float((given_to[0] - value).abs().max()) <= reach / 255 + 1e-6


def test_an_outlier_answers_for_the_steps_of_all() -> None:
    """The largest input sets the size of a step: what the others lose by that is its gradient."""
    value = torch.tensor([[0.3, 0.1, 0.2, 40.0]], requires_grad=True)
    with fake_quantization.as_integers(layer := torch.nn.SiLU()):
        given_to: list[torch.Tensor] = []
        layer.register_forward_pre_hook(lambda module, inputs: given_to.append(inputs[0]))
        layer(value)
    (gradient,) = torch.autograd.grad(given_to[0].sum(), value)
    step = 40.0 / 255
    lost = sum(round(item / step) - item / step for item in (0.3, 0.1, 0.2)) / 255
    assert gradient[0].tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0 + lost], abs=1e-5) and abs(lost) > 1e-4


def test_ranges_grow_at_once_and_shrink_slowly() -> None:
    """A value that was in range stays so for a while: a quantizer counts the largest it has seen."""
    given_to: list[torch.Tensor] = []
    with fake_quantization.as_integers(layer := torch.nn.SiLU()):
        layer.register_forward_pre_hook(lambda module, inputs: given_to.append(inputs[0]))
        for largest in (10.0, 1000.0, 10.0):
            layer(torch.tensor([0.5, largest]))
        assert [round(float(item[0]), 1) for item in given_to] == [0.5, 0.0, 0.0]
        assert float(given_to[1][1]) == pytest.approx(1000.0)
        for _ in range(200):
            layer(torch.tensor([0.5, 10.0]))
    assert float(given_to[-1][0]) == pytest.approx(0.5, abs=0.05)


def test_what_a_quantizer_computes_within_a_layer_is_not_rounded() -> None:
    """Norms and ReLU are given what they are given, outliers or not."""
    parts, image = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.ReLU()).eval(), torch.rand(1, 1, 2, 2)
    image[0, 0, 0, 0] = 1000.0
    whole = parts(image)
    with fake_quantization.as_integers(parts):
        assert torch.equal(parts(image), whole)


def test_ranges_are_those_of_what_is_learnt_before_the_hold_out_is_looked_at(teacher: torch.nn.Module) -> None:
    """Outliers that only the cases to learn from have are in the loss that a training as integers has to beat."""
    workload, plan = tiny.workload(), replace(PLAN, steps=0)
    learnt = {case.id for case in recovery.parted(workload.splits.train)[0]}

    def outlying(case: Case) -> Case:
        def read() -> Sample:
            sample = case.read()
            return Sample(sample.image * 1000.0, sample.reference)

        return replace(case, read=read) if case.id in learnt else case

    train = tuple(map(outlying, workload.splits.train))
    strange = replace(workload, splits=replace(workload.splits, train=train))
    losses = [
        recovery.recover(copy.deepcopy(teacher), teacher, strange, replace(plan, as_integers=integers))["loss_before"]
        for integers in (False, True)
    ]
    assert losses[1] > losses[0] + 0.1


def test_a_network_that_integers_hurt_learns_to_bear_them(teacher: torch.nn.Module) -> None:
    """A huge weight makes all others round to nothing; trained as integers the answer is near again."""
    hurt = copy.deepcopy(teacher)
    with torch.no_grad():
        hurt.get_submodule("head").weight[:, 2] += 200.0
        hurt.get_submodule("norm").weight[2] = 0.0001
        hurt.get_submodule("norm").bias[2] = 0.0
    answers = recovery.Answers(hurt, tiny.workload(), 3)

    def rounded(model: torch.nn.Module) -> float:
        with fake_quantization.as_integers(model):
            return answers.distance(model)

    before = rounded(copy.deepcopy(hurt))
    trained = copy.deepcopy(hurt)
    recovery.recover(trained, hurt, tiny.workload(), replace(PLAN, steps=120, learning_rate=5e-2, as_integers=True))
    assert rounded(trained) < before / 2


def test_rate_and_batch_are_those_of_the_recipe_or_of_the_step() -> None:
    """Without a rate a step learns as fast as the workload's own training, with one as fast as that; its batch too."""
    workload, settings = tiny.workload(), {"steps": 10, "batch": 2, "training_precision": "f32"}
    assert training_settings.plan_of(settings, workload).learning_rate == workload.recipe.learning_rate
    assert training_settings.plan_of({**settings, "learning_rate": 0.25}, workload).learning_rate == 0.25
    wide = replace(workload, recipe=replace(workload.recipe, batch=16))
    assert training_settings.plan_of(settings, wide).batch == 2
    assert training_settings.plan_of({**settings, "batch": None}, wide).batch == 16


def test_steps_may_be_counted_in_epochs() -> None:
    """An epoch is every case that is learnt from, not those held out, `batch` at a time."""
    workload, settings = tiny.workload(), {"steps": 9, "unit": "epochs", "training_precision": "f32"}
    learnt, held = recovery.parted(workload.splits.train)
    assert (len(learnt), len(held)) == (2, 1)
    asked = {batch: training_settings.plan_of({**settings, "batch": batch}, workload).steps for batch in (2, 4)}
    assert asked == {2: 9, 4: 5}
    assert training_settings.plan_of({**settings, "unit": "steps", "batch": 4}, workload).steps == 9


def test_the_hold_out_is_looked_at_in_batches() -> None:
    """All tiles are in the exam once, in their order, so many at once."""
    workload = tiny.workload()
    singles = recovery.exam(workload.splits.train, workload)
    batches = recovery.exam(workload.splits.train, workload, batch=2)
    assert len(singles) == 3 and [len(images) for images, _ in batches] == [2, 1]
    for place in (0, 1):
        assert torch.equal(torch.cat([pair[place] for pair in batches]), torch.cat([pair[place] for pair in singles]))
