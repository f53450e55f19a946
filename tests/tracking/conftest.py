"""What several tests of this folder look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.study.sink import opened
from autoopt.tracking import Tracker, default_tracking_uri
from tests.report.page.planted import planted_study


@pytest.fixture(scope="session")
def decorated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with the planted study, written to MLflow as a search writes it; copied by whoever changes it."""
    home = tmp_path_factory.mktemp("decorated") / "mlruns"
    with opened([Tracker(default_tracking_uri(home), home)], planted_study(12, id="1d")):
        pass
    return home
