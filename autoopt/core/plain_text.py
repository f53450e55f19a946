"""Plain data in text of somebody else: JSON and YAML, read in little time and memory whatever the text says.

A few lines of YAML can stand for billions of values (aliases of aliases) or for a list that holds itself, and lists may
be nested deeper than any program goes. Such texts are refused before anything is made of them.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MOST_BYTES = 16_000_000
MOST_VALUES = 20_000
"""Of a YAML text, aliases counted as often as they are used."""
DEEPEST = 60
LONGEST_SHOWN = 100


def short(value: Any, most: int = LONGEST_SHOWN) -> str:
    """The value as Python writes it, for a message: cut where it is longer than `most` characters."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def kind_of(value: Any) -> str:
    """What a value of a text is, for a message: nothing, a list, a mapping, or the value itself."""
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, Mapping) else short(value)


def close_match(word: str, names: Iterable[str]) -> str:
    """The end of a sentence that suggests the name most like `word`, such as " (did you mean low?)"; or nothing."""
    close = difflib.get_close_matches(word[:LONGEST_SHOWN], list(names), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def read_bounded(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a file. Raises OSError, and ValueError for more than `most_bytes`, which are not read."""
    with path.open("rb") as stream:
        data = stream.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"it has more than {most_bytes / 1e6:g} MB")
    return data


def parse_json(text: str | bytes) -> Any:
    """The value in a JSON text. Raises ValueError, also for one that is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its lists and mappings are nested too deeply") from error


def parse_yaml(text: str) -> tuple[Any, Any]:
    """The value in a YAML text, and its tree of nodes, which knows the lines and the keys that are there twice.

    Raises ValueError for more than `MOST_VALUES` values, for nesting beyond `DEEPEST`, and for a value that its tag
    does not allow; yaml.YAMLError for a text that is no YAML.
    """
    import yaml

    kind: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    _check_size(text, kind)
    loader = kind(text)
    try:
        root = loader.get_single_node()
        return (None if root is None else loader.construct_document(root)), root
    except (KeyError, IndexError, AttributeError, TypeError, OverflowError, ValueError) as error:
        raise ValueError(f"a value is not what its tag says ({type(error).__name__}: {short(str(error))})") from error
    finally:
        loader.dispose()


def _check_size(text: str, kind: Any) -> None:
    """Raise ValueError for a text that stands for too many values, or nests them too deeply or without an end."""
    import yaml

    sizes: dict[str | None, int] = {}
    opened: list[tuple[str | None, int]] = []
    count = 0
    for event in yaml.parse(text, Loader=kind):
        where = "" if event.start_mark is None else f"line {event.start_mark.line + 1}: "
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in opened):
                raise ValueError(f"{where}a value must not hold itself, *{event.anchor} does")
            count += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        if count > MOST_VALUES:
            raise ValueError(f"it must have at most {MOST_VALUES} values, aliases counted as often as they are used")
        if len(opened) > DEEPEST:
            raise ValueError(f"{where}lists and mappings must be nested at most {DEEPEST} deep")
