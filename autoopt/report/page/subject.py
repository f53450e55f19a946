"""What a page is made of: a study, where it is stored, and what was found out for the page alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoopt.report.next_commands import Place
from autoopt.study.result import StudyResult


@dataclass(frozen=True)
class Subject:
    """A study, where it is stored, and `evidence` by name: what sections show that no record holds."""

    result: StudyResult
    place: Place = field(default_factory=Place)
    evidence: Mapping[str, Any] = field(default_factory=dict)
