"""Folders of generated demo data: written whole or not at all, and made again when their generator changed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from autoopt.core.scratch import hidden_folder
from autoopt.errors import StorageError
from autoopt.workloads.data.cases import DEMO


def write_demo(folder: Path, generator: str, version: int, fill: Callable[[Path], str]) -> None:
    """Let `fill` write demo data and return the digest of its content; return at once when it is already there.

    The folder appears in one step, complete, with demo.json. Raises StorageError where it cannot be written.
    """
    if _is_complete(folder, generator, version):
        return
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = hidden_folder(folder.parent)
        card = {"generator": generator, "version": version, "demo": True, "digest": fill(temporary)}
        (temporary / DEMO).write_text(json.dumps(card, indent=1) + "\n")
        os.chmod(temporary, 0o755)
        if folder.exists() and not _is_complete(folder, generator, version):
            os.rename(folder, temporary / "replaced")  # an older version, or a folder that never was finished
        try:
            os.rename(temporary, folder)
        except OSError:
            if not _is_complete(folder, generator, version):  # another process may have been first: it is as good
                raise
        shutil.rmtree(folder / "replaced", ignore_errors=True)
    except OSError as error:
        raise StorageError(
            f"the demo data needs a writable folder with 60 MB free: {folder} gave {error.strerror or error}"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _is_complete(folder: Path, generator: str, version: int) -> bool:
    try:
        card = json.loads((folder / DEMO).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and (card.get("generator"), card.get("version")) == (generator, version)
