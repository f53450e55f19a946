"""What `autoopt ui` opens: the ready views of the experiment that was searched last, asked of a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoopt.core.plain_text import short
from autoopt.deploy.http import Refused, Server
from autoopt.deploy.mlflow_rest import API
from autoopt.errors import TrackingError
from autoopt.tracking import addresses
from autoopt.tracking.relocate import EXPERIMENT
from autoopt.tracking.views import SHARED, SHOWN_AT

PAGE = "1000"
MOST_PAGES = 20


@dataclass(frozen=True)
class Ready:
    """The addresses of a workload's pages: its table of trials first; `charts` is empty where there are no views."""

    workload: str
    table: str
    charts: str
    models: str


def ready(url: str, workload: str | None = None) -> Ready:
    """The pages at the server `url` of the workload searched last, or of `workload`.

    Raises TrackingError where no study was written there.
    """
    server, base = Server(url), f"{url.rstrip('/')}/"
    found = {str(item.get("name", "")).removeprefix(EXPERIMENT): item for item in _experiments(server)}
    if not found or workload not in (None, *found):
        there = ", ".join(sorted(found)) or "none"
        wanted = "no study" if workload is None else f"no study of {short(workload)}"
        raise TrackingError(
            f"MLflow at {server.place} has {wanted} (workloads there: {short(there)}): run autoopt search first"
        )
    name = workload or max(found, key=lambda key: (_shown_at(found[key]), key))
    identity = str(found[name].get("experiment_id", ""))
    has_views = f"{SHARED}{addresses.FRONT}" in _tags(found[name])
    return Ready(
        name,
        base + (addresses.view(identity) if has_views else addresses.runs(identity)),
        base + addresses.view(identity, charts=True) if has_views else "",
        base + addresses.registry(),
    )


def _experiments(server: Server) -> list[Mapping[str, Any]]:
    """The experiments that searches wrote."""
    query = {"filter": f"name LIKE '{EXPERIMENT}%'", "max_results": PAGE}
    found: list[Mapping[str, Any]] = []
    for _ in range(MOST_PAGES):
        try:
            page = server.json(f"{API}/experiments/search", **query)
        except Refused as error:
            raise TrackingError(
                f"MLflow at {server.place} failed with HTTP {error.status} ({error.message})"
            ) from error
        listed = page.get("experiments", [])
        found += [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
        query["page_token"] = str(page.get("next_page_token", ""))
        if not query["page_token"]:
            break
    return found


def _tags(experiment: Mapping[str, Any]) -> dict[str, str]:
    tags = experiment.get("tags", [])
    listed = [item for item in tags if isinstance(item, dict)] if isinstance(tags, list) else []
    return {str(item.get("key")): str(item.get("value")) for item in listed}


def _shown_at(experiment: Mapping[str, Any]) -> int:
    """When a search wrote it last, in milliseconds since 1970; earlier versions did not say, then MLflow's time."""
    text = _tags(experiment).get(SHOWN_AT) or str(experiment.get("last_update_time", ""))
    return int(text) if text.isdigit() else 0
