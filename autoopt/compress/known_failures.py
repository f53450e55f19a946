"""What failed repeatedly for one cause, or was refused, is not tried again: parts of configurations, not whole ones."""

from __future__ import annotations

from autoopt.errors import Numeric, TrialError, Unsupported

TWICE, THRICE = 2, 3
"""Once may be chance, such as memory that another program held; a process that a signal ended gets one more try."""
CERTAIN = (Unsupported, Numeric)
"""What fails this way once would fail so again."""

FAILED_BEFORE = "failed before: "
"""How the message of a failure that was not tried again begins."""


class KnownFailures:
    """Failures by part, such as the key of an artifact to be made, or an artifact on a runtime."""

    def __init__(self) -> None:
        self._failures: dict[str, list[TrialError]] = {}

    def note(self, part: str, error: TrialError) -> None:
        """Remember that `part` failed."""
        self._failures.setdefault(part, []).append(error)

    def check(self, part: str) -> None:
        """Raise the failure of `part` again, in its own words, where it failed for good."""
        failures = self._failures.get(part, [])
        causes = [(error.cause, error.stage) for error in failures]
        for error in failures:
            enough = THRICE if error.by_signal else TWICE
            if isinstance(error, CERTAIN) or causes.count((error.cause, error.stage)) >= enough:
                raise type(error)(f"{FAILED_BEFORE}{error.message}", stage=error.stage, log_tail=error.log_tail)
