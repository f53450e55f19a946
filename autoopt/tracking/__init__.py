"""Trial records to MLflow: one parent run per study, one child run per trial. The one place that knows MLflow.

`tracker.py` says what is written when, `runs.py` what a run holds, `front.py` how the front looks as a file,
`server.py` how a tracking server is reached. `register.py` puts a front into the model registry, `model_files.py` says
what such a model is made of, `served.py` what MLflow serves, `client_registry.py` how the registry is read.
"""

from __future__ import annotations

from autoopt.tracking.server import check_tracking, default_tracking_uri, warm_up_in_background
from autoopt.tracking.tracker import Tracker, read_trials

__all__ = ["Tracker", "check_tracking", "default_tracking_uri", "read_trials", "warm_up_in_background"]
