"""Pictures of what a study looks like: its report, and MLflow's pages on it. For docs/pictures, of demo data only.

    python -m benchmarks.screenshots HOME [OUT]

HOME is the home folder of a finished search on demo data. Needs playwright and Debian's chromium.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from autoopt import api
from autoopt.tracking import addresses, default_tracking_uri
from tests.tracking.test_ui_server import shown

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
    *("--no-first-run", "--disable-component-update", "--disable-sync", "--enable-unsafe-swiftshader"),
)
PATIENCE_MS = 60_000
CLOSED = """
localStorage.setItem('mlflow.workflowType_v1', '"machine_learning"');
localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
"""
"""What a browser remembers once its user has closed the panel of MLflow's assistant."""


def main(home: Path, out: Path) -> None:
    """Write report.png, table.png, chart.png, study.png and, where a trial failed, failed.png to `out`."""
    import mlflow

    result = api.front(home=home)
    if not result.card.demo:
        raise SystemExit(f"only studies of demo data are shown, {result.card.name} is one of {result.card.title}")
    out.mkdir(parents=True, exist_ok=True)
    client = mlflow.MlflowClient(default_tracking_uri(home))
    experiment = client.get_experiment_by_name(f"autoopt-{result.card.workload}").experiment_id
    runs = {run.data.tags.get("autoopt.trial", "study"): run.info.run_id for run in client.search_runs([experiment])}
    failed = next((record.number for record in result.records if record.failure is not None), None)
    with import_module("playwright.sync_api").sync_playwright() as driver, shown(home) as (_, lines):
        printed = dict(line.split(": ", 1) for line in lines if ": http" in line)
        base = next(iter(printed.values())).partition("#")[0]
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1200, "height": 1900})
        page.set_content(api.report(result.card.name, home=home, images=False))
        page.screenshot(path=str(out / "report.png"))
        picture(page, "section#cases", out / "report-cases.png")
        page = browser.new_page(viewport={"width": 1400, "height": 820})
        page.add_init_script(CLOSED)
        visit(page, printed[f"trials of {result.card.workload}"], "latency_p25_ms", out / "table.png")
        visit(page, printed["as a chart"], "Trade-offs", out / "chart.png", seconds=30)
        visit(page, base + addresses.run(experiment, runs["study"], ""), "Deploy", out / "study.png", seconds=5)
        if failed is not None:
            visit(page, base + addresses.run(experiment, runs[str(failed)], ""), "Failed", out / "failed.png")
        browser.close()


def visit(page: Any, address: str, text: str, file: Path, *, seconds: float = 3) -> None:
    """A picture of the page at an address, so many seconds after a text is there: MLflow's pages never come to rest."""
    page.goto("about:blank")
    page.goto(address)
    page.get_by_text(text).first.wait_for(timeout=PATIENCE_MS)
    page.wait_for_timeout(seconds * 1000)
    page.screenshot(path=str(file))


def picture(page: Any, selector: str, file: Path) -> None:
    """A picture of one part of a page, if it is there."""
    if page.locator(selector).count():
        page.locator(selector).screenshot(path=str(file))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "docs/pictures"))
