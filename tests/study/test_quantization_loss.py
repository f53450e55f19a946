"""Networks are trained for INT8 only in a study in which plain INT8 loses something."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.core.configuration import Configuration
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.study.proposals import Proposal
from autoopt.study.quantization_loss import int8_loses, may_train, trains
from autoopt.study.study import Study
from tests.worlds import InMemory, card_of, measured, space_of

SPACE = """
prune: {ratio: [null, 0.3, 0.5, 0.7, 0.9]}
quantize: {scheme: [null, int8, int8-qat], ignored_layers: [null, 'end:first']}
runtime: {name: [openvino, onnxruntime], threads: [1, 2]}
"""


def quality(*scores: float) -> Quality:
    cases = tuple(CaseScore(f"c{n}", f"p{n}", {"dice_macro": score}, {}) for n, score in enumerate(scores))
    return Quality("val", "dice_macro", "mean", {"dice_macro": sum(scores) / len(scores)}, cases)


def trial(found: Quality, scheme: str | None, **sections: object) -> TrialRecord:
    quantized = None if scheme is None else {"scheme": scheme}
    configuration = Configuration.of({**sections, "quantize": quantized, "runtime": {"name": "openvino"}})  # type: ignore[dict-item]
    return TrialRecord(configuration, Status.COMPLETE, quality=found)


WHOLE = (0.90, 0.91, 0.92, 0.93, 0.94, 0.95)


@pytest.mark.parametrize(
    ("scores", "loses"),
    [
        (WHOLE, False),
        (tuple(score - 0.004 for score in WHOLE), True),  # each patient loses
        (tuple(score - 0.0004 for score in WHOLE), False),  # so little that training is no gain
        ((0.94, 0.87, 0.93, 0.92, 0.95, 0.94), False),  # some gain, some lose
        ((0.80, 0.91, 0.92, 0.93, 0.94, 0.95), True),  # one patient loses much
    ],
)
def test_a_loss_is_seen_beside_the_same_network_in_float(scores: tuple[float, ...], loses: bool) -> None:
    """INT8 loses where patients tell the two apart, or where the mean loses more than a hundredth."""
    floating, rounded = trial(quality(*WHOLE), None), trial(quality(*scores), "int8")
    assert int8_loses(rounded, [floating]) is loses and int8_loses(floating, [rounded]) is loses
    pruned = trial(quality(0.5, 0.5), "int8", prune={"ratio": 0.5, "rungs": None, "steps": 0})
    assert not int8_loses(pruned, [floating]) and not int8_loses(trial(quality(*scores), "int8-qat"), [floating])


def told(study: Study, budget: int, lost: float) -> list[Proposal]:
    """The proposals of a search in which INT8 loses so much."""
    found = []
    for proposal in study.proposals(budget):
        quantized = proposal.configuration.section("quantize")
        pruned = (proposal.configuration.section("prune") or {}).get("ratio") or 0.0
        worse = lost if quantized is not None and quantized["scheme"] == "int8" else 0.0
        seconds = 0.1 * (1 - 0.5 * float(pruned)) * (0.5 if quantized else 1.0)  # type: ignore[arg-type]
        study.begin(proposal)
        record = TrialRecord(
            proposal.configuration,
            Status.COMPLETE,
            origin=proposal.origin,
            label=proposal.label,
            measurement=measured(seconds),
            quality=quality(*(score - worse - 0.01 * float(pruned) for score in WHOLE)),  # type: ignore[arg-type]
        )
        study.tell(proposal, record)
        found.append(proposal)
    return found


@pytest.mark.parametrize(("lost", "tried"), [(0.0, False), (0.03, True)])
def test_training_for_int8_is_tried_where_int8_loses(lost: float, tried: bool, tmp_path: Path) -> None:
    """The search spends no trial on it where plain INT8 is as good; a study that is continued remembers that."""
    space = space_of(tmp_path, SPACE)
    stored = InMemory(card_of(space))
    first = told(Study(stored, space), 24, lost)
    assert any(trains(proposal.configuration) for proposal in first) is tried
    rest = told(Study(stored, space), 40, lost)
    assert len(rest) == 16 and any(trains(proposal.configuration) for proposal in rest) is tried
    assert may_train(space) and not may_train(space_of(tmp_path, SPACE.replace(", int8-qat", "")))
