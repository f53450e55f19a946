"""The addresses of MLflow's pages, relative to its server; all open the pages for trained models.

Without the parameter `workflowType` MLflow 3 opens its pages for language models. The views are stored as tags of an
experiment (see `views`).
"""

from __future__ import annotations

FRONT, ALL, STUDIES = "front", "all", "studies"
"""The views of an experiment: the trials of the study that was searched last, those of all studies, the studies."""
MODELS = "workflowType=machine_learning"


def view(experiment: str, name: str = FRONT, *, charts: bool = False) -> str:
    """The address of a view of an experiment: its table, or its charts."""
    more = "&compareRunsMode=CHART" if charts else ""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={name}&{MODELS}{more}"


def runs(experiment: str) -> str:
    """The address of the runs of an experiment that has no views."""
    return f"#/experiments/{experiment}/runs?{MODELS}"


def run(experiment: str, run_id: str, file: str = "") -> str:
    """The address of a run, or of one of its files as it is shown there."""
    return f"#/experiments/{experiment}/runs/{run_id}{f'/artifacts/{file}' if file else ''}?{MODELS}"


def picture(run_id: str, file: str) -> str:
    """Where a note finds a picture among the files of a run."""
    return f"get-artifact?path={file}&run_uuid={run_id}"


def registry() -> str:
    """The address of the registered models."""
    return f"#/models?{MODELS}"
