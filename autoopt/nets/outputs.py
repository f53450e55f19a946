"""One answer of a network that gives several: lists, tuples, dicts and stacks of heads, always or only in training.

A network that is trained with deep supervision answers otherwise in training than when it is used. What is trained
here is what will be used: its full-size answer. `build` changes the class of such a network, as a reduced resolution
does, so that whatever trains, cuts or exports it sees a network with one answer; its layers keep their names.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from autoopt.errors import WorkloadError
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

MOST_NAMES = 5
BINARY = 2
REFUSALS = (RuntimeError, NotImplementedError, ValueError, TypeError, IndexError, KeyError, AssertionError)
"""What networks raise on tensors without data, or of a shape that they do not take."""


@dataclass(frozen=True)
class Answers:
    """How a network answers: whether a head must be picked, and which modules must not know that they are trained.

    `remarks` are what users should be told of it, a sentence each.
    """

    picks: bool = False
    held: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


_KNOWN: WeakKeyDictionary[Callable[[], Any], Answers] = WeakKeyDictionary()
"""What was found of the networks of a function that builds them."""


def build(workload: Workload) -> torch.nn.Module:
    """The network of the workload with fresh weights, with one answer of full size, (n, classes[, *sizes]).

    Raises WorkloadError when it is a finished graph, or cannot be built.
    """
    model = _built(workload)
    answers = _answers(model, workload)
    if answers.picks or answers.held:
        _give_one_answer(model, answers, len(workload.labels), dense=workload.task == "segmentation")
    return model


def remarks(workload: Workload) -> tuple[str, ...]:
    """What users should be told of the answers of the workload's network, a sentence each; nothing of a graph."""
    return () if workload.build is None else _answers(None, workload).remarks


def full_size(output: Any, image: torch.Tensor, classes: int, *, dense: bool) -> torch.Tensor | None:
    """The first full-size head in what a network answers to an image, (n, classes[, *sizes]); None where none is.

    `output` is a tensor, a list, tuple or dict of such (also inside each other), or heads stacked along a second axis,
    (n, heads, classes[, *sizes]). With `dense` the sizes must be those of the image. Of two classes one channel is
    enough: a logit of the second class, beside which the first one has 0.
    """
    sizes = (classes, *image.shape[2:]) if dense else (classes,)
    for item in _tensors(output):
        if tuple(item.shape[1:]) == sizes:
            return item
        if item.ndim == len(sizes) + 2 and tuple(item.shape[2:]) == sizes:
            return item[:, 0]
    return _with_background(output, sizes) if classes == BINARY else None


def _with_background(output: Any, sizes: Sequence[int]) -> torch.Tensor | None:
    """The first full-size head of one channel with a background beside it: softmax of (0, x) is the sigmoid of x."""
    import torch

    for item in _tensors(output):
        if tuple(item.shape[1:]) == (1, *sizes[1:]):
            return torch.nn.functional.pad(item, [*([0, 0] * (item.ndim - 2)), 1, 0])
    return None


def _built(workload: Workload) -> torch.nn.Module:
    if workload.build is None:
        raise WorkloadError(
            f"{workload.name} is a finished graph: there is no network to change or train, take the one it came from"
        )
    try:
        return workload.build()
    except Exception as error:  # the user's own code: name it, keep its traceback as the cause
        raise WorkloadError(f"the model of {workload.name} cannot be built: {type(error).__name__}: {error}") from error


def _answers(model: torch.nn.Module | None, workload: Workload) -> Answers:
    """How the network of the workload answers, asked once for each function that builds one."""
    build = workload.build
    assert build is not None
    with suppress(TypeError):  # a callable object may have no hash, or not be referred to weakly
        if build in _KNOWN:
            return _KNOWN[build]
    found = _asked(_built(workload) if model is None else model, workload)
    if found is None:  # whoever calls it next says what is wrong
        return Answers()
    with suppress(TypeError):
        _KNOWN[build] = found
    return found


def _asked(model: torch.nn.Module, workload: Workload) -> Answers | None:
    """Ask copies of the network in evaluation and in training; None where it has no answer for images of this size."""
    classes, dense = len(workload.labels), workload.task == "segmentation"
    shape = (2, workload.pipeline.channels, *workload.pipeline.tile)  # two, because some norms need more than one value

    def taken(training: bool, held: Sequence[str] = ()) -> tuple[Any, bool, bool]:
        output, image = _output(model, shape, training, held)
        head = full_size(output, image, classes, dense=dense)
        return output, head is output, head is not None

    try:
        used, plain, found = taken(training=False)
    except REFUSALS:
        return None
    if not found:
        return None
    said = [] if plain else [f"the model of {workload.name} answers with {_described(used)}: {_taken(used, classes)}"]
    try:
        learnt, same, _ = taken(training=True)
    except REFUSALS as error:
        said.append(
            f"the model of {workload.name} cannot be trained, it fails with {type(error).__name__}: "
            f"{str(error).splitlines()[0][:200] if str(error) else 'no message'}; what trains it will fail"
        )
        return Answers(not plain, (), tuple(said))
    if same and plain:
        return Answers()
    if not plain and _described(learnt) == _described(used):
        return Answers(True, (), tuple(said))
    how = f"the model of {workload.name} answers with {_described(learnt)} in training"
    for held in ([""], _containers(model)):
        output, alone, any_head = taken(training=True, held=held)
        if alone or (any_head and _described(output) == _described(used)):
            said.append(f"{how}: it is trained on its first answer of full size alone, as it is used")
            return Answers(not plain, tuple(held), tuple(said))
    if taken(training=True)[2]:
        said.append(f"{how}: the first of full size is trained on")
        return Answers(True, (), tuple(said))
    said.append(f"{how}, none of them of full size: what trains it will fail")
    return Answers(not plain, (), tuple(said))


def _taken(output: Any, classes: int) -> str:
    """What is made of an answer that is not one of full size."""
    import torch

    if isinstance(output, torch.Tensor) and output.shape[1] == 1 and classes == BINARY:
        return "a background is put beside it"
    return "the first of full size is taken"


def _output(
    model: torch.nn.Module, shape: Sequence[int], training: bool, held: Sequence[str]
) -> tuple[Any, torch.Tensor]:
    """What a copy of the model answers to an image, and that image: without data where it can do so, else of zeros."""
    import torch

    def ask(device: str) -> tuple[Any, torch.Tensor]:
        asked, image = copy.deepcopy(model).to(device).train(training), torch.zeros(tuple(shape), device=device)
        with torch.no_grad(), torch.random.fork_rng(devices=[]), unaware(asked, held):
            return asked(image), image

    try:
        return ask("meta")
    except REFUSALS:
        return ask("cpu")


@contextmanager
def unaware(model: torch.nn.Module, names: Sequence[str]) -> Iterator[None]:
    """Inside the block, let these modules behave as in evaluation; norms and dropouts inside them go on training."""
    before = [(module, module.training) for module in map(model.get_submodule, names)]
    for module, _ in before:
        module.training = False
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def _containers(model: torch.nn.Module) -> list[str]:
    """The names of all modules that have parts and are not PyTorch's own."""
    return [
        name
        for name, module in model.named_modules()
        if any(True for _ in module.children()) and not type(module).__module__.startswith("torch.nn")
    ]


def _give_one_answer(model: torch.nn.Module, answers: Answers, classes: int, *, dense: bool) -> None:
    whole = type(model)

    def forward(self: Any, image: torch.Tensor) -> torch.Tensor:
        with unaware(self, answers.held if self.training else ()):
            output: Any = whole.forward(self, image)
        if not answers.picks:
            return output  # type: ignore[no-any-return]
        head = full_size(output, image, classes, dense=dense)
        if head is None:
            raise ValueError(f"the model must have an answer of full size, it gives {_described(output)}")
        return head

    model.__class__ = type(whole.__name__, (whole,), {"forward": forward, "__module__": whole.__module__})


def _tensors(output: Any) -> Iterator[torch.Tensor]:
    import torch

    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, Mapping):
        for item in output.values():
            yield from _tensors(item)
    elif isinstance(output, list | tuple):
        for item in output:
            yield from _tensors(item)


def _described(output: Any) -> str:
    """What a network answers with, for people: its form and the shapes in it, without the batch."""
    import torch

    if isinstance(output, torch.Tensor):
        return f"a tensor (n, {', '.join(map(str, output.shape[1:]))})"
    found = list(_tensors(output))
    shapes = [f"({', '.join(['n', *map(str, item.shape[1:])])})" for item in found[:MOST_NAMES]]
    names = list(map(str, output))[:MOST_NAMES] if isinstance(output, Mapping) else []
    parts = [f"{name} {shape}" for name, shape in zip(names, shapes, strict=False)] if names else shapes
    more = ["..."] if len(found) > MOST_NAMES else []
    return f"a {type(output).__name__} of {', '.join([*parts, *more])}" if found else f"a {type(output).__name__}"
