"""A child process for tests of a fleet: it sleeps, echoes, and notes in a journal when it begins and ends."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from autoopt.core.process import serve
from autoopt.errors import Unsupported


def sleep(request: dict[str, Any]) -> dict[str, Any]:
    """Note the begin, sleep, note the end."""
    began = time.time()
    with Path(request["journal"]).open("a") as file:
        file.write(f"{request['name']} {os.getpid()}\n")
    time.sleep(float(request["seconds"]))
    return {"began": began, "ended": time.time(), "pid": os.getpid()}


def refuse(request: dict[str, Any]) -> dict[str, Any]:
    """What a runtime does with a graph that it cannot do."""
    raise Unsupported("no such thing")


if __name__ == "__main__":
    serve({"sleep": sleep, "refuse": refuse, "echo": lambda request: request})
