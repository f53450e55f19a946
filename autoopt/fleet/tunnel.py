"""The way of a search to one target of a fleet: what ssh is elsewhere, a program whose pipe leads to a keeper.

    python -m autoopt.fleet.tunnel HUB NAME CERTS

Messages come on standard input and go through the fleet to the target NAME, answers come back on standard output. It
ends with the pipe, and, saying why, when the target or the hub is lost: who started it may start it again.
"""

from __future__ import annotations

import io
import os
import platform
import select
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import IO

from autoopt.core.scratch import scratch_folder
from autoopt.errors import AutooptError
from autoopt.fleet.address import Certificates, place_of
from autoopt.fleet.fleet import Fleet
from autoopt.fleet.keeper_work import MESSAGE, STAGE
from autoopt.measure.remote import messages

LONGEST_S = 7 * 24 * 3600.0
"""The keeper has limits of time of its own."""
ENDS_S = 1.0


def carry(fleet: Fleet, name: str, source: IO[bytes], sink: IO[bytes]) -> None:
    """Let the target `name` answer messages until `source` ends. Raises AutooptError where it is lost."""
    session = uuid.uuid4().hex
    with scratch_folder() as folder:
        while True:
            try:
                message, parts = messages.receive(source, folder)
            except messages.Closed:
                return
            line = io.BytesIO()
            messages.send(line, message, parts)
            messages.empty(folder)
            request = {"do": MESSAGE, "session": session, "run": f"{message.get('do')} {message.get('run', '')[:8]}"}
            _, answer = fleet.call(name, request, line.getvalue(), stage=STAGE, timeout_s=LONGEST_S)
            sink.write(answer)
            sink.flush()


def main(hub: str, name: str, certs: str) -> None:
    """Serve the search at the other end of standard input and output."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not reach the search as an answer
    threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    try:
        search = f"process {os.getppid()} on {platform.node()}"
        with Fleet(place_of(hub, "the hub"), Certificates.read(Path(certs)), search) as fleet:
            fleet.claim(name)
            carry(fleet, name, sys.stdin.buffer, pipe)
    except (AutooptError, messages.Malformed) as error:
        sys.exit(str(error))


def _end_with_the_pipe() -> None:
    """End at once when the search is gone, also in the middle of a run: the target is to be free for the next one."""
    waiting = select.poll()
    waiting.register(0, 0)  # hang-ups are always told
    waiting.poll()
    time.sleep(ENDS_S)  # who waits for a message ends by itself
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
