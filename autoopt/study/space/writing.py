"""A space as a file again: what the card of a study holds, in the form that `reading.py` reads."""

from __future__ import annotations

import json
from typing import Any

from autoopt.core.card import StudyCard
from autoopt.study.space.dimension import Dimension
from autoopt.study.space.pipeline import PIPELINE
from autoopt.study.space.points import Space


def space_file(text: str) -> str:
    """The file of the space with this canonical text, as JSON, which is YAML too; empty for a text of no dimensions.

    On the same host and for the same workload it is read as the same space. Named arms are no part of a space.
    """
    dimensions: dict[str, dict[str, Any]] = json.loads(text).get("dimensions", {})
    document: dict[str, dict[str, Any]] = {}
    for name, allowed in dimensions.items():
        section, _, key = name.partition(".")
        document.setdefault(section, {})[key] = _written(allowed)
    if not document:
        return ""
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(settings)}" for name, settings in document.items())
    return f'{{"schema": 1,\n{lines}}}'


def _written(allowed: dict[str, Any]) -> Any:
    """One setting: the value of one choice, a list of several, a range."""
    choices = allowed.get("choices")
    if choices is not None:
        return choices[0] if len(choices) == 1 else choices
    return {key: allowed[key] for key in ("low", "high", "step", "log") if allowed.get(key) not in (None, False)}


def card_space(card: StudyCard) -> Space | None:
    """The space of a study, to be counted; None where it has none, or its points depend on an image of the workload."""
    dimensions: dict[str, dict[str, Any]] = json.loads(card.space).get("dimensions", {})
    if not dimensions or any(name.startswith(f"{PIPELINE}.") for name in dimensions):
        return None
    return Space(card.name, tuple(_dimension(name, allowed) for name, allowed in dimensions.items()), card.host)


def _dimension(name: str, allowed: dict[str, Any]) -> Dimension:
    choices = allowed.get("choices")
    if choices is not None:
        return Dimension(name, "choice", tuple(choices))
    return Dimension(name, **allowed)
