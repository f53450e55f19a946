"""Every error autoopt raises on purpose.

AutooptError                  the root; never raised itself
|-- UsageError                bad input: says what must hold, what came, what to do (exit code 2)
|   |-- SpaceError            a space file, all its problems at once, each with its path
|   |-- WorkloadError         a workload that cannot be found or breaks the contract
|   |-- DataError             a data folder, manifest, image or mask
|   |-- WeightsError          weights that are missing, altered or do not fit the model
|   |-- StorageError          study storage, store or home folder that cannot be used
|   |   `-- NoStudy           the storage is fine but does not hold the study
|   |-- TrackingError         a tracking server that cannot be used
|   |-- BundleError           a bundle that is incomplete or was altered
|   |-- NeedsPackage          a package that is not installed; says what to type
|   `-- BusyError             somebody else holds what this command needs
|-- NothingFits               no trial satisfies the limits (exit code 3)
`-- TrialError                one trial cannot go on; the study does. `cause` names the kind:
    |-- Unsupported           a combination that the library or the host refuses
    |-- Numeric               NaN, infinity, a wrong shape, an export that differs from its source
    |-- Crash                 the child process died of a signal or an unexpected error
    |-- OutOfMemory           the child process ran out of memory
    |-- Timeout               a stage took longer than its limit
    |-- BadData               a case that cannot be read or scored
    |-- ReferenceDied         the process beside which a trial is measured died, not the trial's
    `-- TargetLost            the machine that measures was cut off or restarted meanwhile
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM met work that keeps a part of itself; the message says what is kept."""


class AutooptError(Exception):
    """The root of all errors of this package."""

    exit_code: ClassVar[int] = 1


class UsageError(AutooptError):
    """Bad input; `problems` lists everything that is wrong, one sentence each."""

    exit_code: ClassVar[int] = 2

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


class SpaceError(UsageError):
    """A space file that cannot be used."""


class WorkloadError(UsageError):
    """A workload that cannot be found or breaks the contract."""


class DataError(UsageError):
    """A data folder, manifest, image or mask that cannot be used."""


class WeightsError(UsageError):
    """Weights that are missing, altered or do not fit the model."""


class StorageError(UsageError):
    """A study storage, artifact store or home folder that cannot be used."""


class NoStudy(StorageError):
    """The study storage can be used but does not hold the study that was asked for."""


class TrackingError(UsageError):
    """A tracking server that cannot be used."""


class BundleError(UsageError):
    """A deployment bundle that is incomplete, altered or from a newer version."""


class NeedsPackage(UsageError):
    """A package that is not installed; the message names the extra or the package that pip is to install."""


class BusyError(UsageError):
    """Another process holds what this command needs."""


class NothingFits(AutooptError):
    """No trial satisfies the limits; the message names the limit that binds and the nearest trials."""

    exit_code: ClassVar[int] = 3


class TrialError(AutooptError):
    """One trial cannot go on: `stage` says where, `log_tail` what the child printed last.

    `by_signal` says that the process which did the work was ended by a signal: perhaps not through its own fault.
    """

    cause: ClassVar[str] = "failure"

    def __init__(self, message: str, *, stage: str = "", log_tail: str = "", by_signal: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.stage = stage
        self.log_tail = log_tail
        self.by_signal = by_signal


class Unsupported(TrialError):
    """A combination that a library or the host refuses."""

    cause = "unsupported"


class Numeric(TrialError):
    """NaN, infinity, a wrong shape, or an export that differs from its source."""

    cause = "numeric"


class Crash(TrialError):
    """The child process died of a signal or an unexpected error."""

    cause = "crash"


class OutOfMemory(TrialError):
    """The child process ran out of memory."""

    cause = "out-of-memory"


class Timeout(TrialError):
    """A stage took longer than its limit."""

    cause = "timeout"


class BadData(TrialError):
    """A case that cannot be read, predicted or scored."""

    cause = "data"


class ReferenceDied(TrialError):
    """The process of the reference died beside a trial, started anew too: that is not the trial's fault."""

    cause = "reference"


class TargetLost(TrialError):
    """The machine that measures was cut off or restarted during a trial: that is not the trial's fault."""

    cause = "target"


CHILD_ERRORS: Mapping[str, type[UsageError] | type[TrialError]] = {
    kind.__name__: kind
    for kind in (
        UsageError,
        SpaceError,
        WorkloadError,
        DataError,
        WeightsError,
        StorageError,
        NoStudy,
        TrackingError,
        BundleError,
        NeedsPackage,
        BusyError,
        Unsupported,
        Numeric,
        Crash,
        OutOfMemory,
        Timeout,
        BadData,
        ReferenceDied,
        TargetLost,
    )
}
"""By name, every error that a child process can raise in its parent. Nothing that a child says raises another class."""


_FIELDS = ("message", "stage", "log_tail")


def to_json(error: UsageError | TrialError) -> dict[str, Any]:
    """The error as plain data; a class that is not in `CHILD_ERRORS` is replaced by its nearest base class there."""
    known = (kind.__name__ for kind in type(error).__mro__ if CHILD_ERRORS.get(kind.__name__) is kind)
    name = next(known, Crash.__name__)
    if isinstance(error, UsageError):
        return {"kind": name, "problems": list(error.problems)}
    return {"kind": name, **{field: getattr(error, field) for field in _FIELDS}, "by_signal": error.by_signal}


def from_json(value: Mapping[str, Any]) -> UsageError | TrialError:
    """The error that `to_json` wrote; a `Crash` that says so where `value` names a class that is not in the table."""
    kind = CHILD_ERRORS.get(str(value.get("kind")))
    if kind is None:
        return Crash(f"a child process may not raise {str(value.get('kind'))[:100]!r}")
    if issubclass(kind, UsageError):
        return kind(*map(str, value.get("problems") or ()))
    message, stage, log_tail = (str(value.get(name) or "") for name in _FIELDS)
    return kind(message, stage=stage, log_tail=log_tail, by_signal=value.get("by_signal") is True)
