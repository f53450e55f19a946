"""What every test gets: a host that is not this one, quiet libraries, its own temporary folder, patience."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterator

import pytest
from hypothesis import settings

from autoopt.core.host import Host
from autoopt.core.process import QUIET

os.environ.update({name: value for name, value in QUIET.items() if not name.startswith("PYTHON")})

if threading.current_thread() is threading.main_thread():  # tests below nohup would start commands that ignore these
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A busy machine is slow, not wrong; and a failure must be the same one on the next run.
settings.register_profile("autoopt", deadline=None, derandomize=True, max_examples=60, print_blob=True)
settings.load_profile("autoopt")


@pytest.fixture
def host() -> Host:
    """A two-core x86-64 host with AVX2 and nothing newer."""
    return Host("a cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {"python": "3.11"})


@pytest.fixture(scope="session", autouse=True)
def _temporary_folder_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The lock of measurements lies in it: tests of two processes wait for each other only where they mean to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("temporary")))
        patch.setattr(tempfile, "tempdir", None)
        yield
