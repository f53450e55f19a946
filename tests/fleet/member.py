"""A builder or target whose work is `tests.fleet.sleeper`: python -m tests.fleet.member HUB CERTS ROLE NAME HOME."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from autoopt.endings import ended
from autoopt.fleet import member
from autoopt.fleet.address import Certificates, place_of
from autoopt.fleet.agent import Agent
from autoopt.fleet.child_work import ChildWork


def main(hub: str, certs: str, role: str, name: str, home: str) -> None:
    """Serve until it is ended."""
    agent = Agent(name, role, Path(home), lambda: ChildWork("tests.fleet.sleeper"))
    member.serve(place_of(hub, "HUB"), Certificates.read(Path(certs)), agent, ready=partial(print, flush=True))


if __name__ == "__main__":
    ended(partial(main, *sys.argv[1:]))
