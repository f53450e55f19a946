"""Where a target is: its address, and the command whose pipe reaches the keeper there."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from urllib.parse import unquote

from autoopt.errors import UsageError

KEEPER = "autoopt-keeper"
"""The console script of keeper.py; what an entry of authorized_keys may allow alone."""
HERE = "local://"
"""The address of a keeper that is a child of this process: to try one without ssh."""
SSH = (
    *("ssh", "-T", "-a", "-x"),
    *("-o", "BatchMode=yes", "-o", "ConnectTimeout=20"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"),
)
"""No terminal, no forwarding, no question; a target that is silent for a minute is cut off."""
_PATTERN = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z_][A-Za-z0-9_.-]*)@)?"
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:]+\])(?::(?P<port>[0-9]{1,5}))?/?"
)
FLEET = "autoopt.fleet.tunnel"
"""The program that leads to the keeper of a target in a fleet, as ssh leads to others."""
_OF_FLEET = re.compile(
    r"(?P<hub>tls://(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?)"
    r"/(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\?certs=(?P<certs>[^?&]+)"
)
_HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Address:
    """The address `text` of a target, and the `command` that reaches its keeper."""

    text: str
    command: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Address:
        """The address that a user wrote. Raises UsageError; nothing in it can become an option of ssh."""
        if text == HERE:
            return cls(text, (sys.executable, "-m", "autoopt.measure.remote.keeper"))
        member = _OF_FLEET.fullmatch(text)
        if member is not None:
            command = (sys.executable, "-m", FLEET, member["hub"], member["name"], unquote(member["certs"]))
            return cls(f"{member['name']} of {member['hub']}", command)
        found = _PATTERN.fullmatch(text)
        if found is None or not 0 < int(found["port"] or 22) <= _HIGHEST_PORT:
            raise UsageError(
                f"a target must be ssh://HOST, ssh://USER@HOST:PORT, tls://HUB:PORT/NAME?certs=DIR or {HERE}, "
                f"got {text[:100]!r}"
            )
        user = ("-l", found["user"]) if found["user"] else ()
        port = ("-p", found["port"]) if found["port"] else ()
        return cls(text.rstrip("/"), (*SSH, *user, *port, "--", found["host"].strip("[]"), KEEPER))
