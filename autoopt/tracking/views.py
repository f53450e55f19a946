"""Ready views of an experiment's trials for MLflow's pages: a table and charts, as tags of the experiment.

MLflow keeps such a view under `mlflow.sharedViewState.NAME`; its fields are not a public interface (they are those of
MLflow 3.17), so tests/browser looks at the pages, and a view that MLflow does not understand costs nobody a trial.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from autoopt.core.card import StudyCard
from autoopt.study.result import StudyResult
from autoopt.tracking import addresses, runs
from autoopt.tracking.note_text import plain, shortened

SHARED = "mlflow.sharedViewState."
KIND, KIND_OF_MODEL = "mlflow.experimentKind", "custom_model_development"
"""Says that trained models are in the experiment, so that MLflow does not ask."""
SHOWN_AT = "autoopt.shown_at"
"""When the views were written, in milliseconds since 1970: `autoopt ui` opens the experiment of the last one."""
MOST_CHARACTERS = 5000
"""Of a tag of an experiment in MLflow before 3."""
MOST_SETTINGS = 5
BASELINE_SPEEDUP = "speedup_vs_openvino_f32"
"""The fair comparison on a CPU."""
_SECTION = "11111111-1111-4111-8111-111111111111"
_LATENCY = ("latency_p25_ms", "latency_low_ms", "latency_high_ms")
_WIDTHS = {"metrics": 110, "params": 130, "tags": 110, "attributes": 110}


def key(card: StudyCard) -> str:
    """The name of the view that shows the trials of one study."""
    return f"study-{re.sub(r'[^A-Za-z0-9]', '', card.id) or 'trials'}"


def settings(result: StudyResult) -> list[str]:
    """The parameters that all trials have and that differ between them, steps first: at most `MOST_SETTINGS`.

    MLflow draws no line for a trial that lacks one of them.
    """
    values: dict[str, list[str]] = {}
    for record in result.records:
        for name, value in runs.trial_params(record).items():
            values.setdefault(name, []).append(str(value))
    found = [name for name, seen in values.items() if len(seen) == len(result.records) and len(set(seen)) > 1]
    return sorted(found, key=lambda name: (name.startswith("runtime."), name))[:MOST_SETTINGS]


def experiment_tags(result: StudyResult, experiment: str, parent: str) -> dict[str, str]:
    """The tags that make the pages of an experiment readable, views of this study among them."""
    card = result.card
    trials = f"tags.`{runs.KIND}` = 'trial'"
    own = f"{trials} and tags.`{runs.STUDY_ID}` = '{card.id}'" if card.id else trials
    study = _text(_view(result, own, parent))
    views = {
        addresses.FRONT: study,
        key(card): study,
        addresses.ALL: _text(_view(result, trials, parent)),
        addresses.STUDIES: _text(_studies(card)),
    }
    return {KIND: KIND_OF_MODEL, **{f"{SHARED}{name}": text for name, text in views.items()}}


def experiment_note(result: StudyResult, experiment: str, parent: str) -> str:
    """The note that stands above the runs of an experiment: links to the ready views."""
    card = result.card
    links = (
        ("trials by latency", addresses.view(experiment)),
        ("as a chart", addresses.view(experiment, charts=True)),
        ("its answer and front", addresses.run(experiment, parent)),
        ("all studies", addresses.view(experiment, addresses.STUDIES)),
        ("trials of all studies", addresses.view(experiment, addresses.ALL)),
    )
    text = " · ".join(f"[{words}]({address})" for words, address in links)
    return shortened(f"**{plain(card.title)}**, study {plain(card.name)}: {text}")


def _view(result: StudyResult, wanted: str, parent: str) -> dict[str, Any]:
    """The trials that `wanted` filters, fastest first: a table and four charts."""
    primary = result.card.primary
    varied = [f"params.`{runs.param(name)}`" for name in settings(result)]
    names = (_LATENCY[0], primary, "drop", BASELINE_SPEEDUP, "size_mb", *_LATENCY[1:])
    metrics = [f"metrics.`{name}`" for name in names]
    tags = [f"tags.`autoopt.{name}`" for name in ("on_front", "status", "held_on_test")]
    columns = [*metrics, *tags, *varied, "attributes.`Dataset`"]
    return {
        **_empty(wanted),
        "orderByKey": "metrics.`latency_p25_ms`",
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {name: _WIDTHS[name.partition(".")[0]] for name in columns},
        "runsExpanded": {parent: True},
        "compareRunCharts": _charts(result, primary),
        "compareRunSections": [
            {
                "uuid": _SECTION,
                "name": "Trade-offs",
                "display": True,
                "isReordered": True,
                "deleted": False,
                "isGenerated": False,
            }
        ],
    }


def _studies(card: StudyCard) -> dict[str, Any]:
    """The parent runs, the latest first."""
    names = ("trials", "front_size", "best_latency_p25_ms", f"best_{card.primary}")
    columns = [f"metrics.`{name}`" for name in names] + [f"tags.`{name}`" for name in (runs.STATE, "autoopt.host")]
    return {
        **_empty(f"tags.`{runs.KIND}` = 'study'"),
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": dict.fromkeys(columns, 130),
    }


def _empty(wanted: str) -> dict[str, Any]:
    """A view of the runs that the filter `wanted` finds, with nothing chosen."""
    return {
        "searchFilter": wanted,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [],
        "compareRunSections": [],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
    }


def _charts(result: StudyResult, primary: str) -> list[dict[str, Any]]:
    """Latency against quality and size, the settings as parallel lines, latencies as bars."""

    def axis(name: str) -> Mapping[str, str]:
        return {"key": name, "type": "METRIC"}

    latency = _LATENCY[0]
    chosen: list[dict[str, Any]] = [
        {"type": "SCATTER", "xaxis": axis(latency), "yaxis": axis(primary)},
        {"type": "SCATTER", "xaxis": axis(latency), "yaxis": axis("size_mb")},
        {"type": "BAR", "metricKey": latency},
    ]
    if names := [runs.param(name) for name in settings(result)]:
        lines = {"type": "PARALLEL", "selectedParams": names, "selectedMetrics": [primary, latency]}
        chosen.insert(1, {**lines, "showAllRuns": True})
    common = {"metricSectionId": _SECTION, "deleted": False, "isGenerated": False, "runsCountToCompare": 100}
    return [{"uuid": f"autoopt-{place}", **chart, **common} for place, chart in enumerate(chosen)]


def _text(view: Mapping[str, Any]) -> str:
    """The view as JSON; without charts where it would be too long for a tag."""
    text = json.dumps(view, separators=(",", ":"))
    return text if len(text) <= MOST_CHARACTERS else json.dumps({**view, "compareRunCharts": []})
