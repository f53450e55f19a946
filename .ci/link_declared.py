"""Put what a wheel declares to need, and nothing else, into another environment: linked from the one that runs this.

    .venv/bin/python .ci/link_declared.py WHEEL SITE_PACKAGES

`pip install` would unpack the same files once more, which takes minutes. What the wheel does not declare, such as
pytest, is not linked: where the wheel needs it, it fails there as it would on the machine of a user. `pip check` in the
other environment says whether anything is missing.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
import zipfile
from collections.abc import Iterable
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def main(wheel: Path, site_packages: Path) -> None:
    """Link the files of everything that `wheel` needs into `site_packages`, and print what that is."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        declared = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist") or []
    found = needed(declared)
    for distribution in found.values():
        for file in distribution.files or ():
            if not file.parts[0].startswith(".."):  # commands are written with the path of their environment
                link(Path(str(distribution.locate_file(file))), site_packages / file)
    print(f"linked {len(found)} distributions: {' '.join(sorted(found))}")


def needed(declared: Iterable[str]) -> dict[str, importlib.metadata.Distribution]:
    """The installed distributions that these requirements and, in turn, their own ask for, by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), "") for text in declared]
    while waiting:
        requirement, asked_by = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": asked_by}):
            continue
        name = canonicalize_name(requirement.name)
        found[name] = importlib.metadata.distribution(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [(Requirement(text), extra) for text in found[name].requires or ()]
    return found


def link(source: Path, target: Path) -> None:
    """One file, with what Python has compiled of it."""
    if not source.is_file() or target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)
    if source.suffix == ".py":
        compiled = (Path(importlib.util.cache_from_source(str(path))) for path in (source, target))
        link(next(compiled), next(compiled))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
