"""The program on a target, `autoopt-keeper`: does what a driver asks over a pipe, and ends with it.

It needs numpy and one runtime. It runs nothing that it is sent but graphs in its runtimes: jobs come from a fixed
table, files are named by their digests, and all that it keeps lies in its home folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from autoopt import __version__, errors
from autoopt.core.configuration import digest
from autoopt.core.host_problem import host_problem
from autoopt.core.scratch import scratch_folder
from autoopt.core.store import Artifact, Store
from autoopt.errors import BusyError, Crash, StorageError, TrialError, UsageError
from autoopt.measure.files import array_name
from autoopt.measure.head_to_head import take_together
from autoopt.measure.lock import host_lock
from autoopt.measure.measuring import predictions
from autoopt.measure.reference_worker import ReferenceWorker
from autoopt.measure.remote import messages, wire
from autoopt.measure.remote.listening import listen
from autoopt.measure.remote.runs import Runs
from autoopt.measure.subject import Subject
from autoopt.measure.taking import Answered, LocalTaking
from autoopt.measure.target import LocalTarget
from autoopt.measure.timing import MeasuringPlan
from autoopt.measure.workers import Workers

HOME = "AUTOOPT_TARGET_HOME"
"""The environment variable that says where a target keeps what it was sent."""
USUAL_HOME = Path("~/.autoopt-target")
LEAST_FREE_BYTES = 200_000_000
"""Free disk space that stays on the target whatever it is sent."""
BEFORE_S = 60.0
"""How long a keeper waits for the one before it, whose driver is gone, to end its run."""

Job = Callable[[Mapping[str, Any], Sequence[Path]], tuple[Mapping[str, Any], Sequence[Path]]]
"""Does one request, given with the files that came with it; returns the answer and the files that go with it."""


class Keeper:
    """Does the jobs of one driver on this machine; a context manager that ends all processes.

    `home` is where artifacts and results of runs are kept.
    """

    def __init__(self, home: Path, target: LocalTarget | None = None) -> None:
        self._home, self._target = home, target or LocalTarget()
        self._store, self._runs = Store(home / "store"), Runs(home / "runs")
        self._store.remove_left_behind()
        self._runs.forget_old()
        self._held = ExitStack()
        self._trial = ExitStack()
        self._takings: dict[str, LocalTaking] = {}
        self._reference: ReferenceWorker | None = None
        self._reference_key = ""
        self.jobs: dict[str, Job] = {
            "hello": self._hello,
            "has": self._has,
            "put": self._put,
            "reference": self._open_reference,
            "first": self._first,
            "others": self._others,
            "another": self._another,
            "concurrency": self._concurrency,
            "together": self._together,
            "predictions": self._predictions,
            "told": self._told,
            "noise": self._noise,
            "forget": self._forget,
        }

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._trial.close()
        self._held.close()

    def _hello(self, request: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], list[Path]]:
        return {
            "protocol": messages.PROTOCOL,
            "autoopt": __version__,
            "host": asdict(self._target.host),
            "free_bytes": shutil.disk_usage(self._home).free,
            "why_no_energy": self._target.why_no_energy(),
            "kept_bytes": self._store.size_bytes(),
        }, []

    def _has(self, request: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], list[Path]]:
        """Which artifacts are missing here. Raises StorageError where there is no room for them."""
        missing, needed_bytes = [], 0
        for kind, key, content, size_bytes in request["artifacts"]:
            artifact = self._store.get(*_named([kind, key]))
            if artifact is None or artifact.content != content:
                missing.append([kind, key])
                needed_bytes += int(size_bytes)
        free = shutil.disk_usage(self._home).free
        if missing and free < needed_bytes + LEAST_FREE_BYTES:
            raise StorageError(
                f"{(needed_bytes + LEAST_FREE_BYTES) / 1e6:.0f} MB must be free on the disk of {self._home}, "
                f"{free / 1e6:.0f} MB are: free some space, or remove what it keeps with `autoopt target forget`"
            )
        return {"missing": missing}, []

    def _put(self, request: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], list[Path]]:
        """Keep an artifact, whose files were sent; one that was altered on the way is refused."""
        kind, key = _named(request["artifact"])
        told: Mapping[str, str] = request["sha256"]
        for path, (name, sha256) in zip(files, told.items(), strict=True):
            if messages.sha256(path) != sha256:
                raise StorageError(f"{name} of {kind} {key[:12]} was altered on its way to the target: it was not kept")

        def build(folder: Path) -> Mapping[str, Any]:
            for path, name in zip(files, told, strict=True):
                place = folder / name
                if not place.resolve().is_relative_to(folder.resolve()):
                    raise UsageError(f"a file of an artifact must lie in its folder, {name[:100]!r} does not")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, place)
            return {}

        other = self._store.get(kind, key)
        if other is not None:  # the builder made it again, and its bytes differ
            shutil.rmtree(other.path)
        self._store.put(kind, key, {}, build)
        return {}, []

    def _open_reference(self, request: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], list[Path]]:
        reference = self._reference_of(request["reference"])
        assert reference is not None
        reference.open()
        return {"reference_latency_s": reference.reference_latency_s}, []

    def _first(self, request: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], list[Path]]:
        def work(folder: Path) -> Mapping[str, Any]:
            taking = self._taking(request, anew=True)
            taken, answered = taking.first(request["wanted"])
            told = _keep(answered, folder)
            return {**told, "taken": wire.taken_to_json(taken), "reference_latency_s": taking.reference_latency_s}

        return self._runs.once(request["run"], work)

    def _others(self, request: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], list[Path]]:
        """Predictions of the process that waits; of a fresh one where it is gone, which times nothing."""

        def work(folder: Path) -> Mapping[str, Any]:
            taking = self._takings.get(request["trial"])
            if taking is not None:
                return _keep(taking.others(request["cases"]), folder)
            subject = self._subject(request["subject"])
            found = predictions(subject, self._target, timeout_s=request["timeout_s"], only=request["cases"])
            return _keep(Answered(dict(zip(request["cases"], found, strict=True)), {}), folder)

        return self._runs.once(request["run"], work)

    def _another(self, request: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], list[Path]]:
        def work(folder: Path) -> Mapping[str, Any]:
            taking = self._taking(request)
            taken = taking.another()
            return {"taken": wire.taken_to_json(taken), "reference_latency_s": taking.reference_latency_s}

        return self._runs.once(request["run"], work)

    def _concurrency(self, request: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], list[Path]]:
        return self._runs.once(request["run"], lambda folder: asdict(self._taking(request).concurrency()))

    def _together(self, request: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], list[Path]]:
        def work(folder: Path) -> Mapping[str, Any]:
            subjects = [self._subject(item) for item in request["subjects"]]
            reference = self._reference_of(request["reference"])
            plan = MeasuringPlan.from_json(request["plan"])
            taken = take_together(subjects, self._target, plan=plan, reference_worker=reference)
            latency_s = None if reference is None else reference.reference_latency_s
            return {"taken": [wire.taken_to_json(item) for item in taken], "reference_latency_s": latency_s}

        return self._runs.once(request["run"], work)

    def _predictions(self, request: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], list[Path]]:
        def work(folder: Path) -> Mapping[str, Any]:
            found = predictions(self._subject(request["subject"]), self._target, timeout_s=request["timeout_s"])
            return _keep(Answered(dict(enumerate(found)), {}), folder)

        return self._runs.once(request["run"], work)

    def _told(self, request: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], list[Path]]:
        self._runs.forget(request["runs"])
        return {}, []

    def _noise(self, request: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], list[Path]]:
        """What else this machine does for some seconds, and how far apart equal computations take."""
        return asdict(listen(self._target, float(request["seconds"]))), []

    def _forget(self, request: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], list[Path]]:
        """Remove everything that was sent and measured here."""
        self._trial.close()
        self._held.close()
        self._takings, self._reference, self._reference_key = {}, None, ""
        kept = self._store.size_bytes()
        for name in ("store", "runs"):
            shutil.rmtree(self._home / name, ignore_errors=True)
        return {"removed_bytes": kept}, []

    def _subject(self, value: Mapping[str, Any]) -> Subject:
        return wire.subject_from_json(value, self._artifact)

    def _artifact(self, kind: str, key: str) -> Artifact:
        found = self._store.get(*_named([kind, key]))
        if found is None:
            raise Crash(f"{kind} {key[:12]} was not sent to the target, or was forgotten there", by_signal=True)
        return found

    def _taking(self, request: Mapping[str, Any], *, anew: bool = False) -> LocalTaking:
        """What measures the trial of a request: begun before, unless it is begun `anew` or another keeper began it."""
        trial = str(request["trial"])
        if anew or trial not in self._takings:
            self._trial.close()  # the trial before has ended
            self._trial, self._takings = ExitStack(), {}
            subject = self._subject(request["subject"])
            self._takings[trial] = LocalTaking(
                subject,
                self._trial.enter_context(Workers(subject.runtime, self._target)),
                plan=MeasuringPlan.from_json(request["plan"]),
                reference_worker=self._reference_of(request["reference"]),
                clear=wire.clear_from_json(request["clear"]),
                timeout_s=request["timeout_s"],
                memory_bytes=request["memory_bytes"],
            )
        return self._takings[trial]

    def _reference_of(self, value: Mapping[str, Any] | None) -> ReferenceWorker | None:
        """The process of the reference that a request names, which stays open from one request to the next."""
        if value is None:
            return None
        key = digest([value["subject"], value["plan"]])
        if self._reference is None or key != self._reference_key:
            self._held.close()
            self._held = ExitStack()
            reference = ReferenceWorker(
                self._subject(value["subject"]),
                self._target,
                MeasuringPlan.from_json(value["plan"]),
                reference_latency_s=value["reference_latency_s"],
                timeout_s=value["timeout_s"],
            )
            self._reference, self._reference_key = self._held.enter_context(reference), key
        return self._reference


def _named(value: Sequence[Any]) -> tuple[str, str]:
    """Kind and key of an artifact. Raises UsageError for a name that could lead out of the store."""
    kind, key = str(value[0]), str(value[1])
    if not (kind.isidentifier() and key.isalnum()):
        raise UsageError(f"an artifact must be named by a kind and a digest, got {kind[:40]!r} and {key[:40]!r}")
    return kind, key


def _keep(answered: Answered, folder: Path) -> dict[str, Any]:
    """Write predictions to a folder, and say of which cases they are."""
    for index, array in answered.predictions.items():
        np.save(folder / array_name(index), array, allow_pickle=False)
    effective = None if answered.effective is None else dict(answered.effective)
    return {"cases": sorted(answered.predictions), "effective": effective}


class Ending:
    """When a keeper ends by a signal: at once while it waits for a request, else after its answer."""

    def __init__(self) -> None:
        self.busy = self.asked = False

    def __call__(self, *_: object) -> None:
        """Handle the signal."""
        self.asked = True
        if not self.busy:
            raise SystemExit(0)


def serve(keeper: Keeper, source: IO[bytes], sink: IO[bytes], folder: Path, ending: Ending | None = None) -> None:
    """Answer requests until the driver closes the pipe; `folder` is for the files of requests.

    A run that is being measured when the driver goes away is measured to its end and kept. Raises Malformed for what is
    no message: nothing after it can be understood.
    """
    ending = ending or Ending()
    while not ending.asked:
        try:
            request, files = messages.receive(source, folder)
            ending.busy = True
            reply, parts = _reply(keeper, request, files)
            messages.send(sink, reply, parts)
        except messages.Closed:
            return
        except OSError as error:  # the disk is full: what comes next in the pipe would be the rest of a file
            messages.send(sink, {"error": errors.to_json(StorageError(host_problem(error) or str(error)))})
            return
        messages.empty(folder)
        ending.busy = False


def _reply(keeper: Keeper, request: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], Sequence[Path]]:
    try:
        job = keeper.jobs.get(str(request.get("do")))
        if job is None:
            asked = str(request.get("do"))[:40]
            raise UsageError(f"a keeper does {', '.join(keeper.jobs)}, it was asked to do {asked!r}")
        answer, parts = job(request, files)
        return {"answer": dict(answer)}, parts
    except (TrialError, UsageError) as error:
        return {"error": errors.to_json(error)}, ()
    except Exception as error:  # the border: the driver turns it into a failed trial with this traceback
        problem = host_problem(error)
        if problem is not None:
            return {"error": errors.to_json(StorageError(problem))}, ()
        told = Crash(f"the keeper failed with {type(error).__name__}: {error}", log_tail=traceback.format_exc())
        return {"error": errors.to_json(told)}, ()


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Be the only keeper of a home folder: one whose driver is gone is told to end after its run.

    Raises BusyError where it does not within a minute.
    """

    def end(holder: int | None) -> None:
        if holder is not None:
            os.kill(holder, signal.SIGTERM)

    try:
        with host_lock("keeper", timeout_s=BEFORE_S, on_wait=end, folder=home):
            yield
    except ProcessLookupError:  # it ended by itself meanwhile
        with host_lock("keeper", timeout_s=BEFORE_S, folder=home):
            yield


def main() -> None:
    """Serve the driver at the other end of standard input and output."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not reach the driver as an answer
    home = Path(os.environ.get(HOME) or USUAL_HOME).expanduser()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with alone(home), scratch_folder() as folder, Keeper(home) as keeper:
            ending = Ending()
            signal.signal(signal.SIGTERM, ending)
            serve(keeper, sys.stdin.buffer, pipe, folder, ending)
    except (BusyError, messages.Malformed) as error:
        sys.exit(f"autoopt-keeper: {error}")


if __name__ == "__main__":
    main()
