"""The driver's end of the pipe to a keeper: connects, asks, and asks for the same again where the pipe was cut."""

from __future__ import annotations

import logging
import select
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, Self

import numpy as np

from autoopt import __version__, errors
from autoopt.core.host import Host
from autoopt.core.scratch import scratch_folder
from autoopt.core.store import Artifact
from autoopt.errors import AutooptError, TargetLost, TrialError, UsageError
from autoopt.measure.remote import messages, wire
from autoopt.measure.remote.address import KEEPER, Address
from autoopt.measure.remote.messages import PROTOCOL
from autoopt.measure.remote.shipping import Shipment, shipment

_log = logging.getLogger("autoopt")

HELLO_S = 120.0
"""A keeper waits a minute for the one before it, and a shell may be slow."""
GONE_S = 600.0
"""How long a target that was reached before is asked to come back."""
BETWEEN_S = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Seconds between tries to reach it again; the last one repeats."""
ENDS_S = 5.0
SAID_BYTES = 4000
FREE_TO_DIFFER = ("python", "numpy")
"""Versions that change no number of a measurement."""
REMEDIES = (
    ("not found", f"install it there (autoopt target pack) so that `{KEEPER}` is found by a shell without a login"),
    ("No such file", f"install it there (autoopt target pack), and name the whole path of {KEEPER} in authorized_keys"),
    ("Permission denied", "put your public key into authorized_keys there, or load it with ssh-add"),
    ("Host key verification failed", "connect once by hand with ssh, and compare the fingerprint of its key"),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "ask who runs it whether its key was changed"),
    ("Could not resolve hostname", "check the name of the host"),
    ("Connection refused", "check the port, and that sshd runs there"),
    ("timed out", "check that it is switched on and that the network lets port 22 through"),
    ("No route to host", "check that it is switched on and in this network"),
)
"""What ssh or a shell says, and what to do then."""


@dataclass(frozen=True)
class Hello:
    """What a keeper says of itself: see `Keeper`."""

    host: Host
    free_bytes: int
    kept_bytes: int
    why_no_energy: str


@dataclass(frozen=True)
class Reply:
    """What a keeper answered, and the arrays that came with it."""

    answer: Mapping[str, Any]
    arrays: Sequence[np.ndarray] = ()


class Link(Protocol):
    """A way to a keeper: over a pipe (`PipeLink`), or whatever else carries requests, answers and files."""

    @property
    def name(self) -> str:
        """What messages call the target."""
        ...

    def hello(self) -> Hello:
        """What the keeper said of itself. Raises UsageError where it cannot be reached, or has other versions."""
        ...

    def ask(self, do: str, request: Mapping[str, Any], artifacts: Sequence[Artifact] = ()) -> Reply:
        """The answer to a request, which needs these artifacts on the target: those that it lacks are sent before.

        What is asked may be asked again after a cut: a run by its name. Raises the errors of the keeper, and TargetLost
        where the target is gone.
        """
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class PipeLink:
    """See `Link`: the keeper at the other end of the pipe of `address.command`.

    `builder` are the versions of the libraries on the host that makes artifacts; where both have a library, both must
    have the same version. `on_wait` is told once per cut that the target is waited for, at most `gone_s` seconds.
    """

    def __init__(
        self,
        address: Address,
        builder: Mapping[str, str],
        *,
        gone_s: float = GONE_S,
        between_s: Sequence[float] = BETWEEN_S,
        on_wait: Callable[[str], None] = _log.warning,
    ) -> None:
        self.name = address.text
        self._command, self._builder, self._on_wait = address.command, builder, on_wait
        self._gone_s, self._between_s = gone_s, between_s
        self._scratch = scratch_folder()
        folder = self._scratch.__enter__()
        self._folder, self._to_send = folder / "came", folder / "to-send"
        for each in (self._folder, self._to_send):
            each.mkdir()
        self._shipments: dict[tuple[str, str], Shipment] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._hello: Hello | None = None
        self._given_up = False
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def hello(self) -> Hello:
        """See `Link`."""
        if self._hello is None:
            with self._one_at_a_time:
                try:
                    self._connect()
                except messages.Closed as error:
                    raise UsageError(f"the target {self.name} cannot be reached: {error}") from error
        assert self._hello is not None
        return self._hello

    def ask(self, do: str, request: Mapping[str, Any], artifacts: Sequence[Artifact] = ()) -> Reply:
        """See `Link`."""
        self.hello()
        with self._one_at_a_time:
            return self._persistently({"do": do, **request}, artifacts)

    def close(self) -> None:
        """See `Link`: the keeper ends when its pipe closes."""
        self._drop()
        self._scratch.__exit__(None, None, None)

    def _persistently(self, request: Mapping[str, Any], artifacts: Sequence[Artifact]) -> Reply:
        cut_at: float | None = None
        tries = 0
        while True:
            try:
                if self._child is None:
                    self._connect()
                self._send_missing(artifacts)
                return self._once(request)
            except (messages.Closed, messages.Malformed) as error:
                why = self._why() or str(error)
                self._drop()
                cut_at = cut_at or time.monotonic()
                if self._given_up or time.monotonic() - cut_at > self._gone_s:
                    self._given_up = True  # who asks next need not wait as long again
                    raise TargetLost(
                        f"the target {self.name} did not come back within {self._gone_s:g} s ({why}): "
                        "run the command again when it can be reached"
                    ) from error
                if tries == 0:
                    self._on_wait(f"autoopt: the connection to {self.name} was cut ({why}): waiting for it to return")
                time.sleep(self._between_s[min(tries, len(self._between_s) - 1)])
                tries += 1
            except (UsageError, TrialError):  # an answer: the pipe is as it was
                raise
            except BaseException:  # what comes next in the pipe would be the answer to this one
                self._drop()
                raise

    def _send_missing(self, artifacts: Sequence[Artifact]) -> None:
        """Send the artifacts that the target lacks."""
        if not artifacts:
            return
        shipments = [self._shipment(artifact) for artifact in artifacts]
        named = [[item.artifact.kind, item.artifact.key, item.content, item.size_bytes] for item in shipments]
        missing = [tuple(item) for item in self._once({"do": "has", "artifacts": named}).answer["missing"]]
        for item in shipments:
            name = (item.artifact.kind, item.artifact.key)
            if name in missing:
                self._once({"do": "put", "artifact": name, "sha256": item.sha256}, list(item.files.values()))

    def _shipment(self, artifact: Artifact) -> Shipment:
        key = (artifact.kind, artifact.key)
        if key not in self._shipments:
            self._shipments[key] = shipment(artifact, self._to_send)
        return self._shipments[key]

    def _once(self, request: Mapping[str, Any], files: Sequence[Path] = ()) -> Reply:
        child = self._child
        assert child is not None and child.stdin is not None and child.stdout is not None
        messages.empty(self._folder)
        with suppress(messages.Closed):  # it may have said why it ended, such as that its disk is full
            messages.send(child.stdin, request, files)
        reply, came = messages.receive(child.stdout, self._folder)
        if "error" in reply:
            raise self._named(errors.from_json(reply["error"]))
        return Reply(reply["answer"], [np.load(path, allow_pickle=False) for path in came])

    def _connect(self) -> None:
        """Start the command, hear what the keeper is. Raises Closed saying why not; UsageError for other versions."""
        self._drop()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the child
        try:
            # In a session of its own: Ctrl-C is for this process, which closes the pipe.
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise UsageError(f"the target {self.name} needs the program {self._command[0]}: install it here") from error
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            with suppress(messages.Closed):  # what it said before it ended tells more
                messages.send(self._child.stdin, {"do": "hello"})
            if not select.select([self._child.stdout], [], [], HELLO_S)[0]:
                raise messages.Closed(f"no answer within {HELLO_S:g} s: check that {KEEPER} runs there")
            reply, _ = messages.receive(self._child.stdout, self._folder)
            answer = reply["answer"]
            self._check_versions(answer)
            self._hello = Hello(
                wire.host_from_json(answer["host"]),
                answer["free_bytes"],
                answer["kept_bytes"],
                answer["why_no_energy"],
            )
            self._given_up = False
        except messages.Closed as error:
            why = self._why() or str(error)
            self._drop()
            raise messages.Closed(why) from error
        except (messages.Malformed, KeyError, TypeError) as error:
            self._drop()
            raise UsageError(
                f"the target {self.name} must answer as {KEEPER} does, it does not ({error}): let its shell print "
                "nothing by itself, and check what authorized_keys starts there"
            ) from error

    def _check_versions(self, answer: Mapping[str, Any]) -> None:
        """Raise UsageError unless the keeper speaks as this version does, and its runtimes are those of the builder."""
        remedy = "install there what `autoopt target pack` writes here"
        if (answer["protocol"], answer["autoopt"]) != (PROTOCOL, __version__):
            raise UsageError(
                f"the target {self.name} must have autoopt {__version__} (protocol {PROTOCOL}), it has "
                f"{answer['autoopt']} (protocol {answer['protocol']}): {remedy}"
            )
        there, here = answer["host"]["versions"], self._builder
        differ = [
            f"{name} {there[name]} where this host has {here[name]}"
            for name in there
            if name in here and name not in FREE_TO_DIFFER and there[name] != here[name]
        ]
        if differ:
            raise UsageError(f"the target {self.name} has {', '.join(differ)}: {remedy}")

    def _named(self, error: AutooptError) -> AutooptError:
        """An error of the keeper that says where it happened, unless it is about one trial."""
        if isinstance(error, TrialError):
            return error
        assert isinstance(error, UsageError)
        return type(error)(*(f"on the target {self.name}: {problem}" for problem in error.problems))

    def _why(self) -> str:
        """Why the child ended, and what to do, by what it wrote to stderr."""
        child, said = self._child, self._said
        if child is None or said is None:
            return ""
        try:
            child.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            return ""
        said.seek(0)
        lines = [line.strip() for line in said.read()[-SAID_BYTES:].decode(errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), f"it ended with exit code {child.returncode}")
        for words, remedy in REMEDIES:
            if any(words in line for line in lines):
                return f"{last.rstrip('.')}: {remedy}"
        return last

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    try:
                        stream.close()
                    except OSError:  # what was not sent yet
                        continue
            try:
                child.wait(ENDS_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self._said is not None:
            self._said.close()
            self._said = None
