"""Put what a wheel declares to need, and nothing else, into another environment: linked from the one that runs this.

    .venv/bin/python .ci/link_declared.py WHEEL SITE_PACKAGES [EXTRA...]

`pip install` would unpack the same files once more, which takes minutes. What the wheel does not declare, for itself or
for one of the extras, is not linked: where the wheel needs it, it fails there as it would on the machine of a user.
`pip check` in the other environment says whether anything is missing. With - for SITE_PACKAGES nothing is linked. How
much the distributions take on the disk is printed either way.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def main(wheel: Path, site_packages: Path | None, extras: Sequence[str]) -> None:
    """Link the files of all that `wheel` with `extras` needs into `site_packages`, and print what that is."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
        own = sum(item.file_size for item in archive.infolist())
    found = needed(metadata["Name"], metadata.get_all("Requires-Dist") or [], extras)
    sizes = {}
    for name, distribution in found.items():
        files = [file for file in distribution.files or () if not file.parts[0].startswith("..")]
        # Files above are commands, which are written with the path of their environment.
        places = {file: Path(str(distribution.locate_file(file))) for file in files if file.suffix != ".pyc"}
        sizes[name] = sum(place.stat().st_size for place in places.values() if place.is_file())
        for file, place in places.items() if site_packages is not None else ():
            link(place, site_packages / file)
    whole = (sum(sizes.values()) + own) / 1e6
    largest = ", ".join(f"{name} {sizes[name] / 1e6:.0f}" for name in sorted(sizes, key=sizes.__getitem__)[:-6:-1])
    print(f"{len(found)} distributions and the wheel, {whole:.0f} MB ({largest}): {' '.join(sorted(found))}")


def needed(own: str, declared: Sequence[str], extras: Sequence[str]) -> dict[str, importlib.metadata.Distribution]:
    """The installed distributions that a wheel called `own` and, in turn, what it declares ask for, by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(Requirement(f"{own}[{','.join(extras)}]"), "")]
    while waiting:
        requirement, asked_by = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": asked_by}):
            continue
        name = canonicalize_name(requirement.name)
        if name != canonicalize_name(own):
            found[name] = importlib.metadata.distribution(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                lines = found[name].requires or () if name in found else declared
                waiting += [(Requirement(text), extra) for text in lines]
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
    main(Path(sys.argv[1]), None if sys.argv[2] == "-" else Path(sys.argv[2]), sys.argv[3:])
