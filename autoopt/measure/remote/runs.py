"""Runs of a target by name: each is measured once at most, and its result is kept until it is known to be stored.

runs/NAME/begun      made first, and only if it is not there
runs/NAME/result/    what came out: result.json and the arrays; complete or not there
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from autoopt.core.scratch import hidden_folder
from autoopt.core.store import write_atomic
from autoopt.errors import TargetLost, UsageError

NAME = re.compile(r"[0-9a-f]{8,64}")
"""A digest: nothing else can be the name of a run, so that none leads out of the folder."""
RESULT = "result.json"
OLD_S = 7 * 24 * 3600.0

Work = Callable[[Path], Mapping[str, Any]]
"""Writes files into a folder and returns the answer."""


class Runs:
    """The runs below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def once(self, name: str, work: Work) -> tuple[dict[str, Any], list[Path]]:
        """The answer of a run and its files, by name: of `work`, or of the same run earlier.

        Raises TargetLost where it was begun before and did not end; what `work` raises leaves nothing behind, so that
        the run may be asked for again.
        """
        folder = self._folder(name)
        done = folder / "result"
        if not done.is_dir():
            self._begin(folder)
            try:
                filled = hidden_folder(folder)
                answer = work(filled)
                write_atomic(filled / RESULT, json.dumps(answer).encode())
                os.rename(filled, done)
            except Exception:  # an answer too: the driver is told, and decides
                shutil.rmtree(folder, ignore_errors=True)
                raise
        files = sorted(path for path in done.iterdir() if path.name != RESULT)
        return json.loads((done / RESULT).read_text()), files

    def forget(self, names: Iterable[str]) -> None:
        """Remove runs whose results are stored elsewhere."""
        for name in names:
            shutil.rmtree(self._folder(name), ignore_errors=True)

    def forget_old(self) -> None:
        """Remove runs that no driver asked for in a week."""
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            if folder.stat().st_mtime < time.time() - OLD_S:
                shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise UsageError(f"the name of a run must be hexadecimal digits, got {name[:40]!r}")
        return self._root / name

    def _begin(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            os.close(os.open(folder / "begun", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            raise TargetLost("the target began this run before and did not end it: it was interrupted") from None
