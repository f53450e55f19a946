"""How long the trainings of a search may take: the steps of a shipped space follow from what they cost here.

A space says how many steps a training is worth where they cost little. Where all trainings together would take more
than there is time for, all of them are shortened alike, and the user is told. A space of the user's own is done as it
is.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from autoopt.compress import net_steps
from autoopt.core.records import TrialRecord
from autoopt.measure.undisturbed import Timed
from autoopt.study.plan import SearchPlan, TimeCall, known_trials, plan_search, timed_call, training_seconds
from autoopt.study.prepare import Prepared
from autoopt.study.quantization_loss import may_train, trains
from autoopt.study.space import Dimension, Space
from autoopt.study.space.seeds import QUANTIZE

_log = logging.getLogger("autoopt")

SHARES = (1.0, 0.5, 0.25, 0.125)
"""Of the steps of a space: few, so that a search on a host that is a little slower finds the same networks made."""
OF_TIME = 0.5
"""The share of `--time` that trainings may take."""
USUAL_S = 3600.0
"""What trainings may take where no time was given."""


def fitting(
    prepared: Prepared,
    known: Sequence[TrialRecord],
    call_time: Callable[[], Timed | None],
    *,
    on_remark: Callable[[str], None] = _log.warning,
) -> Space:
    """The space of a request with as many training steps as there is time for; `on_remark` is told if these are fewer.

    A study whose trials so far are `known` goes on with the steps that it has. `call_time` times a call of the network,
    and is asked only where something would be trained that was not yet.
    """
    space = prepared.space
    if not space.shipped or not _may_train(space):
        return space
    trained = [record.configuration for record in known if _has_training(record)]
    for share in SHARES if trained else ():
        shortened = with_share(space, share)
        if any(shortened.raw_for(configuration) is not None for configuration in trained):
            return shortened
    timed = call_time()
    if timed is None:
        return space
    time_s = prepared.request.time_s
    most_s = USUAL_S if time_s is None else OF_TIME * time_s
    whole_s = training_seconds(prepared, timed.quiet_s)
    if whole_s <= most_s:
        return space
    for share in SHARES:
        shortened = with_share(space, share)
        seconds = training_seconds(replace(prepared, space=shortened), timed.quiet_s)
        if seconds <= most_s:
            break
    more = "a larger --time gives" if time_s is not None else "--time gives"
    on_remark(
        f"trainings have {share:.3g} of the steps of the space {space.name}, about {seconds / 60:.0f} min in all; "
        f"with all of them it would be about {whole_s / 60:.0f} min here: {more} them more"
    )
    return shortened


def planned(prepared: Prepared, *, time_call: TimeCall = timed_call) -> SearchPlan:
    """What a search would do and cost, with the training steps that it would take; see `plan.plan_search`."""
    once = functools.cache(partial(time_call, prepared))
    space = fitting(prepared, known_trials(prepared), once)
    return plan_search(replace(prepared, space=space), time_call=lambda shortened: once())


def with_share(space: Space, share: float) -> Space:
    """The space with this share of the steps of each training, at least one."""
    return replace(space, dimensions=tuple(_shortened(item, share) for item in space.dimensions))


def _shortened(dimension: Dimension, share: float) -> Dimension:
    if not _is_steps(dimension) or share == 1.0:
        return dimension
    steps = (max(1, round(value * share)) if isinstance(value, int) and value else value for value in dimension.choices)
    return replace(dimension, choices=tuple(dict.fromkeys(steps)))


def _may_train(space: Space) -> bool:
    return may_train(space) or any(item.section in net_steps() and _is_steps(item) for item in space.dimensions)


def _is_steps(dimension: Dimension) -> bool:
    if dimension.name == f"{QUANTIZE}.qat_steps":
        return True
    return dimension.key == "steps" and dimension.section in net_steps() and bool(dimension.choices)


def _has_training(record: TrialRecord) -> bool:
    done = any(record.configuration.section(name) is not None for name in net_steps())
    return done or trains(record.configuration)
