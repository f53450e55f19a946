"""What crosses as JSON comes back as it was."""

from __future__ import annotations

import json

from autoopt.core import stats
from autoopt.measure.concurrency import Concurrency
from autoopt.measure.host_load import Load
from autoopt.measure.merging import Taken
from autoopt.measure.remote import wire
from autoopt.measure.timing import Turn
from autoopt.measure.turns import FarFrom, never
from tests.measure.setups import HOST, Setup


def crossed(value: object) -> object:
    return json.loads(json.dumps(value))


def test_comes_back(setup: Setup) -> None:
    """Subjects, rules, what a process gave, concurrency and hosts are equal on the other side."""
    subject = setup.fake(1.0)
    artifacts = {(item.kind, item.key): item for item in (setup.artifact, setup.cases)}
    back = wire.subject_from_json(crossed(wire.subject_to_json(subject)), lambda kind, key: artifacts[kind, key])  # type: ignore[arg-type]
    assert back == subject
    far = FarFrom((stats.LogRatio(0.1, 0.02, (0.1, 0.2)),), 0.03)
    assert wire.clear_from_json(crossed(wire.clear_to_json(far))) == far  # type: ignore[arg-type]
    assert wire.clear_from_json(wire.clear_to_json(never)) is never
    turn = Turn((0.1, 0.2), (0.4,), 0.3)
    load = Load(1.0, 0.1, None, 2)
    for taken in (Taken({"steady": True}, [turn], []), Taken({}, [turn], [turn], "ab", "busy", load, (0.1,))):
        assert wire.taken_from_json(crossed(wire.taken_to_json(taken))) == taken  # type: ignore[arg-type]
    many = Concurrency((((0.1, 0.2),),), (), 4)
    assert wire.concurrency_from_json(crossed({"turns_s": many.turns_s, "reference_s": (), "requests": 4})) == many  # type: ignore[arg-type]
    host = {**HOST.__dict__}
    assert wire.host_from_json(crossed(host)) == HOST  # type: ignore[arg-type]
