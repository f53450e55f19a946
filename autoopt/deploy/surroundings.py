"""In what this machine differs from the one that a bundle tells of: host, libraries, settings that really ran.

Numbers of a bundle come from its file, which anybody may have written: nothing of them is trusted to be there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoopt.core.host import Host
from autoopt.core.plain_text import short

MOST_SHOWN = 80
"""What is quoted of a bundle, in characters."""
SETTINGS = ("threads", "streams", "kernels")
"""What else runtimes read back that says how a graph really ran."""
FEWER_BITS = "low_precision_share"


def host_differences(told: Any, host: Host) -> list[str]:
    """In what `host` differs from the host that a bundle tells of; nothing where it tells of none."""
    if not isinstance(told, Mapping):
        return []
    here = {"cpu": host.cpu, "arch": host.arch, "cores": host.cores, "system": host.system}
    found = [
        f"{name} is {short(value, MOST_SHOWN)}, there it was {short(told[name], MOST_SHOWN)}"
        for name, value in here.items()
        if name in told and told[name] != value
    ]
    isa = told.get("isa")
    if isinstance(isa, Sequence) and not isinstance(isa, str):
        there = {str(item)[:MOST_SHOWN] for item in isa}
        if missing := sorted(there - set(host.isa)):
            found.append(f"the instruction sets {', '.join(missing[:10])} are missing")
        if more := sorted(set(host.isa) - there):
            found.append(f"there are the further instruction sets {', '.join(more)}")
    return found


def version_differences(told: Any, here: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """The libraries of those `names` whose version is another one than a bundle tells of."""
    if not isinstance(told, Mapping):
        return []
    return [
        f"{name} is {here.get(name, 'not installed')}, there it was {str(told[name])[:MOST_SHOWN]}"
        for name in names
        if name in told and told[name] != here.get(name)
    ]


def precision_difference(told: Any, effective: Mapping[str, Any]) -> str:
    """What is said where a graph really runs in another precision than a bundle tells of; empty where it does not."""
    if not isinstance(told, Mapping):
        return ""
    before, now = told.get("precision"), effective.get("precision")
    if before is not None and now is not None and before != now:
        return f"the graph really runs in {short(now, MOST_SHOWN)}, there it ran in {short(before, MOST_SHOWN)}"
    share, left = told.get(FEWER_BITS), effective.get(FEWER_BITS)
    if isinstance(share, int | float) and share > 0 and left == 0:
        return f"no layer runs with fewer bits, there {share:.0%} of the time was spent in layers that did"
    return ""


def setting_differences(told: Any, effective: Mapping[str, Any]) -> list[str]:
    """The other settings that the runtime reads back differently; nothing where one of the two is not known."""
    if not isinstance(told, Mapping):
        return []
    return [
        f"{name} really is {short(effective.get(name), MOST_SHOWN)}, there it was {short(told[name], MOST_SHOWN)}"
        for name in SETTINGS
        if told.get(name) is not None and effective.get(name) is not None and told[name] != effective[name]
    ]
