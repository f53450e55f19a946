"""What a space lacks where another machine measures than the one that makes artifacts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from autoopt.core.host import Host
from autoopt.inference.runtimes import BASELINE, REFERENCE, runtime, runtime_title
from autoopt.study.space.points import Space

_log = logging.getLogger("autoopt")

TIMED_BY_BUILDER = "quantize.keep_float"
"""The setting whose ranking of layers is timed where artifacts are made."""


def measured_elsewhere(
    space: Space, builder: Host, target: str, *, on_remark: Callable[[str], None] = _log.warning
) -> Space:
    """The space of the machine `target` without what only `builder` could do; `on_remark` is told what is left out.

    The same machine with the same versions lacks nothing.
    """
    if REFERENCE in space.without and REFERENCE in builder.versions:
        on_remark(
            f"{target} has no {runtime_title(REFERENCE)}: it is left out, and all is compared with "
            f"{runtime_title(BASELINE)} FP32"
        )
    others = [name for name in space.without if name != REFERENCE and runtime(name).DISTRIBUTION in builder.versions]
    if others:
        on_remark(f"{target} has no {' and no '.join(map(runtime_title, others))}, which is left out of the space")
    found = space.dimension(TIMED_BY_BUILDER)
    if found is None or space.host.fingerprint == builder.fingerprint or found.choices == (0,):
        return space
    on_remark(
        f"{TIMED_BY_BUILDER} is left out of the space {space.name}, since layers would be timed on this host, and "
        f"{target} measures"
    )
    off = replace(found, choices=(0,), low=None, high=None, step=None, log=False)
    return replace(
        space,
        dimensions=tuple(off if item is found else item for item in space.dimensions),
        arms=tuple(arm for arm in space.arms if not arm.settings.get(TIMED_BY_BUILDER)),
    )
