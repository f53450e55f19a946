"""The names that a model's file has for its answers, in order, as exporters write them into its metadata."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

KEYS = ("names", "classes", "class_names", "labels", "label_names", "categories", "id2label", "class_to_idx")
"""Under which of these a file may have them, in lower case; `names` is Ultralytics', `id2label` Hugging Face's."""
LONGEST = 100_000


def names_said(notes: Mapping[str, str], classes: int | None) -> tuple[str, ...]:
    """The names of the answers, one for each class; empty where the metadata have none, or not as many."""
    by_key = {key.lower(): value for key, value in notes.items()}
    for key in KEYS:
        names = _names(by_key.get(key, ""))
        if len(names) > 1 and len(set(names)) == len(names) == (classes or len(names)):
            return tuple(names)
    return ()


def _names(text: str) -> list[str]:
    """The names in a list, in a table from number to name or from name to number, or between commas or line ends."""
    value = _value(text[:LONGEST])
    if isinstance(value, list | tuple):
        return [str(item).strip() for item in value]
    if isinstance(value, dict):
        if all(isinstance(number, int) for number in value.values()):
            value = {number: name for name, number in value.items()}
        numbered = {str(number): str(name).strip() for number, name in value.items()}
        return [numbered[str(number)] for number in range(len(numbered)) if str(number) in numbered]
    return [part.strip() for part in text.replace("\n", ",").split(",") if part.strip()]


def _value(text: str) -> Any:
    """The text as JSON, or as Python writes lists and tables; None for any other text."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None
