"""Whether plain INT8 loses quality in a study: else no trial is spent on a network that is trained for it."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.compress import net_steps
from autoopt.compress.quantize import TRAINED, integers
from autoopt.core.configuration import Configuration, canonical_json
from autoopt.core.records import TrialRecord
from autoopt.core.scores import Quality
from autoopt.study import uncertainty
from autoopt.study.space import Space
from autoopt.study.space.seeds import QUANTIZE, SCHEME

SURELY = 0.001
"""The share of the quality that INT8 loses where training may gain, if the cases tell the two apart (95 %)."""
LIKELY = 0.01
"""The share from which on it is believed without that: few patients tell little."""


def trains(configuration: Configuration) -> bool:
    """Whether a network is trained for INT8 in this configuration."""
    return _scheme(configuration) == TRAINED


def may_train(space: Space) -> bool:
    """Whether a space has configurations whose networks are trained for INT8, besides others."""
    dimension = space.dimension(f"{QUANTIZE}.scheme")
    return dimension is not None and TRAINED in dimension.choices and SCHEME in dimension.choices


def int8_loses(record: TrialRecord, others: Sequence[TrialRecord]) -> bool:
    """Whether `record` shows that plain INT8 loses quality: beside one of `others`, of the same network.

    One of the two is in float, the other in plain INT8; anything else shows nothing.
    """
    scheme = _scheme(record.configuration)
    if record.quality is None or scheme not in (None, SCHEME):
        return False
    wanted, network = (SCHEME if scheme is None else None), _network(record.configuration)
    for other in others:
        if other.quality is None or _scheme(other.configuration) != wanted:
            continue
        if _network(other.configuration) == network:
            floating, rounded = (record, other) if scheme is None else (other, record)
            assert floating.quality is not None and rounded.quality is not None
            if _loses(floating.quality, rounded.quality):
                return True
    return False


def _loses(before: Quality, after: Quality) -> bool:
    found = uncertainty.drop(before, after)
    if found is None:
        return before.worth - after.worth > LIKELY * abs(before.worth)
    whole = abs(before.worth)
    return found.value > LIKELY * whole or (found.low > 0 and found.value > SURELY * whole)


def _scheme(configuration: Configuration) -> str | None:
    section = configuration.section(QUANTIZE)
    return None if section is None else TRAINED if section.get("scheme") == TRAINED else integers(section)


def _network(configuration: Configuration) -> str:
    return canonical_json([configuration.section(name) for name in ("pipeline", *net_steps())])
