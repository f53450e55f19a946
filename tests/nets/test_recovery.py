"""Training a changed network to answer as the whole one."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from autoopt.errors import Numeric  # noqa: E402
from autoopt.nets import recovery  # noqa: E402
from autoopt.nets.fake_quantization import fake_quantized  # noqa: E402
from autoopt.nets.files import read_net  # noqa: E402
from autoopt.nets.holdout import split  # noqa: E402
from autoopt.workloads.contract import IGNORED, Case, Sample  # noqa: E402
from tests import tiny  # noqa: E402

PLAN = recovery.Recovery(steps=40, batch=4, learning_rate=2e-2)


@pytest.fixture
def teacher(tmp_path_factory: pytest.TempPathFactory) -> torch.nn.Module:
    return read_net(tiny.workload(), tiny.weights(tmp_path_factory.mktemp("tiny") / "w.safetensors"))


def test_a_damaged_network_learns_from_the_whole_one(teacher: torch.nn.Module) -> None:
    """The loss on the hold-out falls, the answers come nearer to the teacher's, and the teacher is untouched."""
    workload = tiny.workload()
    before = copy.deepcopy(teacher.state_dict())
    student = copy.deepcopy(teacher)
    with torch.no_grad():
        student.get_submodule("head").weight.mul_(0.1)
    answers = recovery.OriginalAnswers(teacher, workload, 2)
    far = answers.distance(student)
    report = recovery.recover(student, teacher, workload, PLAN)
    assert report["loss_after"] < report["loss_before"]
    assert answers.distance(student) < far / 2
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not any(item.requires_grad for item in student.parameters()) and not student.training


@pytest.mark.parametrize(("tile", "pixels"), [((128, 128), 0.25), ((16, 16), 1.0)], ids=str)
def test_pictures_are_learnt_from_windows_of_their_tiles(tile: tuple[int, int], pixels: float) -> None:
    """Each step sees a window where a tile is larger than one; the hold-out is judged on whole tiles."""
    small = tiny.workload()
    workload = replace(small, pipeline=replace(small.pipeline, tile=tile))
    student, sizes = torch.nn.Conv2d(tiny.CHANNELS, 2, 3, padding=1), set()
    teacher = copy.deepcopy(student).eval()
    student.register_forward_hook(lambda module, given, answer: sizes.add((module.training, tuple(answer.shape[2:]))))
    report = recovery.recover(student, teacher, workload, replace(PLAN, steps=2))
    seen = tuple(round(size * pixels**0.5) for size in tile)
    assert report["pixels"] == pixels
    assert {size for training, size in sizes if training} == {seen} and (False, tile) in sizes


def test_what_does_not_get_better_is_not_kept(teacher: torch.nn.Module) -> None:
    """A training that only harms leaves the weights from before it."""
    student = copy.deepcopy(teacher)
    report = recovery.recover(student, teacher, tiny.workload(), replace(PLAN, steps=80, learning_rate=10.0))
    assert report["loss_after"] == report["loss_before"]
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in student.named_parameters())


def test_the_teacher_teaches_where_nobody_knows_the_answer(teacher: torch.nn.Module) -> None:
    """Without a single reference the student learns as well: the distance to the teacher is all of the loss."""
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
    answers = recovery.OriginalAnswers(teacher, workload, 2)
    far = answers.distance(student)
    recovery.recover(student, teacher, replace(workload, splits=replace(workload.splits, train=train)), PLAN)
    assert answers.distance(student) < far / 2


def test_without_distillation_the_references_teach(teacher: torch.nn.Module) -> None:
    """A teacher that knows nothing is not asked: the student comes nearer to the references, not to its answers."""
    workload, ignorant = tiny.workload(), copy.deepcopy(teacher)
    with torch.no_grad():
        for item in ignorant.parameters():
            item.zero_()
    asked: list[int] = []
    ignorant.register_forward_hook(lambda *call: asked.append(len(call[1][0])))
    student = copy.deepcopy(teacher)
    recovery.begin_anew(student)
    report = recovery.recover(student, ignorant, workload, replace(PLAN, distil=False))
    assert report["loss_after"] < 0.8 * report["loss_before"] and len(asked) <= 2  # the sizes of windows and answers
    far = recovery.OriginalAnswers(teacher, workload, 2)
    taught = copy.deepcopy(teacher)
    recovery.begin_anew(taught)
    recovery.recover(taught, ignorant, workload, PLAN)
    assert far.distance(student) < far.distance(taught)


def test_a_network_that_lost_nothing_loses_nothing(teacher: torch.nn.Module) -> None:
    """The whole network keeps its weights to the bit, whatever the references say and however long it is trained."""
    student = copy.deepcopy(teacher)
    report = recovery.recover(student, teacher, tiny.workload(), PLAN)
    assert report["steps"] == PLAN.steps and report["loss_before"] == pytest.approx(0.0, abs=1e-6)
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in student.state_dict().items())


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
    learnt, _ = split(workload.splits.train)

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


@pytest.mark.parametrize("bf16", [False, True])
def test_with_fake_quantization_norms_are_fixed(teacher: torch.nn.Module, bf16: bool) -> None:
    """Quantizers fold norms into the layers before them: quantization-aware training changes no running statistics."""
    damaged, plan = copy.deepcopy(teacher), replace(PLAN, steps=10, bf16=bf16)
    with torch.no_grad():
        damaged.get_submodule("head").weight.mul_(0.1)
    student, renewed = copy.deepcopy(damaged), copy.deepcopy(damaged)
    recovery.recover(student, teacher, tiny.workload(), replace(plan, qat=True))
    recovery.recover(renewed, teacher, tiny.workload(), replace(plan, steps=0))
    assert torch.equal(student.get_submodule("norm").running_var, renewed.get_submodule("norm").running_var)
    assert not torch.equal(student.get_submodule("head").weight, damaged.get_submodule("head").weight)


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


def test_ranges_are_those_of_what_is_learnt_before_the_hold_out_is_looked_at(teacher: torch.nn.Module) -> None:
    """Outliers that only the cases to learn from have are in the loss that quantization-aware training has to beat."""
    workload, plan = tiny.workload(), replace(PLAN, steps=0)
    learnt = {case.id for case in split(workload.splits.train)[0]}

    def outlying(case: Case) -> Case:
        def read() -> Sample:
            sample = case.read()
            return Sample(sample.image * 1000.0, sample.reference)

        return replace(case, read=read) if case.id in learnt else case

    train = tuple(map(outlying, workload.splits.train))
    strange = replace(workload, splits=replace(workload.splits, train=train))
    losses = [
        recovery.recover(copy.deepcopy(teacher), teacher, strange, replace(plan, qat=qat))["loss_before"]
        for qat in (False, True)
    ]
    assert losses[1] > losses[0] + 0.1


def test_a_network_that_rounding_hurts_learns_to_be_rounded(teacher: torch.nn.Module) -> None:
    """A huge weight makes all others round to nothing; after quantization-aware training the answer is near again."""
    hurt = copy.deepcopy(teacher)
    with torch.no_grad():
        hurt.get_submodule("head").weight[:, 2] += 200.0
        hurt.get_submodule("norm").weight[2] = 0.0001
        hurt.get_submodule("norm").bias[2] = 0.0
    answers = recovery.OriginalAnswers(hurt, tiny.workload(), 3)

    def rounded(model: torch.nn.Module) -> float:
        with fake_quantized(model):
            return answers.distance(model)

    before = rounded(copy.deepcopy(hurt))
    trained = copy.deepcopy(hurt)
    recovery.recover(trained, hurt, tiny.workload(), replace(PLAN, steps=120, learning_rate=5e-2, qat=True))
    assert rounded(trained) < before / 2


def test_a_mirrored_teacher_is_not_its_own_single_call(teacher: torch.nn.Module) -> None:
    """Where calls are mirrored the loss on the hold-out is the distance to their mean, which one call lacks."""
    plain = tiny.workload()
    mirrored = replace(plain, pipeline=replace(plain.pipeline, mirror=(0, 1)))
    lost = [
        recovery.recover(copy.deepcopy(teacher), teacher, workload, replace(PLAN, steps=0))["loss_before"]
        for workload in (plain, mirrored)
    ]
    assert lost[0] == pytest.approx(0, abs=1e-6) and lost[1] > 1e-4
