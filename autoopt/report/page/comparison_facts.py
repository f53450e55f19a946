"""What two studies are, side by side: hosts, versions, data, weights, spaces, limits; what differs comes first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from markupsafe import Markup

from autoopt.core.configuration import canonical_json, digest
from autoopt.report.compare_studies import StudyComparison
from autoopt.report.page.html import Row, details, joined, paragraph, table
from autoopt.study.limits import in_words
from autoopt.study.result import StudyResult

DIGITS = 12
"""So many digits of a digest are shown."""
NONE = "-"


@dataclass(frozen=True)
class Fact:
    """One thing about both studies, in words."""

    name: str
    first: str
    second: str

    @property
    def differs(self) -> bool:
        """Whether it is another one in each study."""
        return self.first != self.second


def facts(both: StudyComparison) -> list[Fact]:
    """All that makes a study this study, and what it came to, of both."""
    first, second = (dict(_facts(study)) for study in both.studies)
    names = dict.fromkeys(chain(first, second))
    return [Fact(name, first.get(name, NONE), second.get(name, NONE)) for name in names]


def render(both: StudyComparison, names: tuple[str, str]) -> Markup:
    """A table of what differs, and one to open of what is the same; `names` head the columns."""
    found = facts(both)
    header = ("", *names)
    rows = [
        [Row((fact.name, fact.first, fact.second)) for fact in found if fact.differs is kind] for kind in (True, False)
    ]
    differing = table(header, rows[0], caption="What differs", texts=(1, 2), sortable=False) if rows[0] else None
    same = table(header, rows[1], caption="What is the same", texts=(1, 2), sortable=False)
    nothing = None if rows[0] else paragraph("Nothing differs.")
    return joined([nothing, differing, details(f"What is the same ({len(rows[1])})", same)])


def _facts(study: StudyResult) -> Iterator[tuple[str, str]]:
    card, host, reference = study.card, study.card.host, study.reference
    yield "workload", card.title
    yield "data", card.data_digest[:DIGITS]
    yield "weights", card.weights_digest[:DIGITS]
    yield "metric", f"{card.primary}{' (less is better)' if card.less_is_better else ''}"
    yield "pipeline", digest(dict(card.pipeline))[:DIGITS]
    yield "what is timed", f"one {card.latency}"
    yield "objectives", ", ".join(card.objectives)
    yield "limits", in_words(card.limits) or "none"
    yield "processor", host.cpu
    yield "cores", str(host.cores)
    yield "memory", f"{host.memory_bytes / 1e9:.1f} GB"
    yield "instruction sets", ", ".join(host.isa) or "none"
    yield "system", f"{host.system}, {host.arch}"
    yield "fingerprint of the host", host.fingerprint
    yield from ((f"version of {name}", version) for name, version in sorted(host.versions.items()))
    yield from ((f"space: {name}", values) for name, values in _space(card.space))
    yield "seed", str(card.seed)
    yield "trials", str(len(study.records))
    yield "members of the front", str(len(study.front))
    yield "reference", NONE if reference is None else f"#{reference.number} {reference.label}"
    reference_s = study.reference_latency_s
    yield "latency of the reference", NONE if reference_s is None else f"{reference_s * 1e3:.3g} ms"
    yield "noise between processes", f"{study.sigma:.1%}"


def _space(text: str) -> Iterator[tuple[str, str]]:
    """The dimensions of a space with their values."""
    dimensions: dict[str, Any] = json.loads(text).get("dimensions", {})
    for name, values in dimensions.items():
        choices = values.get("choices") if isinstance(values, dict) else None
        if choices is None:
            yield name, canonical_json(values)
        else:
            yield name, ", ".join("off" if value is None else str(value) for value in choices)
