"""What a person sees who opens the address that `autoopt ui` prints, in a browser that was never there before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from autoopt.core.store import Store
from autoopt.study.sink import opened
from autoopt.tracking import Tracker, addresses, default_tracking_uri
from autoopt.tracking.register import register
from tests.report.page.planted import planted_study
from tests.tracking.fronts import HERE, home_of, study
from tests.tracking.test_ui_server import shown

if TYPE_CHECKING:
    from mlflow.entities import Run

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
PATIENCE_MS = 60_000
STUDY = planted_study(24, id="1d")


@dataclass(frozen=True)
class Pages:
    """The addresses that were printed, by the words before them, and the runs by the numbers of their trials."""

    printed: dict[str, str]
    runs: dict[str, Run]

    @property
    def base(self) -> str:
        return self.printed["trials of histo"].partition("#")[0]

    def run(self, trial: str, file: str = "") -> str:
        info = self.runs[trial].info
        return self.base + addresses.run(info.experiment_id, info.run_id, file)


@dataclass
class Seen:
    """What went wrong while pages were looked at: errors of their scripts, requests to others than the server."""

    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def pages(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """`autoopt ui` on a home with the planted study of histo and the registered demo study of another workload."""
    import mlflow

    registered = study("tiles", demo=True)
    home = home_of(tmp_path_factory.mktemp("ui"), registered)
    uri = default_tracking_uri(home)
    with opened([Tracker(uri, home)], registered):
        pass
    register(registered, Store(home / "store"), uri, home, HERE, self_test=False)
    with opened([Tracker(uri, home)], STUDY):
        pass
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("autoopt-histo").experiment_id
    runs = {run.data.tags.get("autoopt.trial", "study"): run for run in client.search_runs([experiment])}
    with shown(home) as (_, lines):
        yield Pages(dict(line.split(": ", 1) for line in lines if ": http" in line), runs)


@contextmanager
def opened_page(browser: Any, pages: Pages, address: str, width: int = 1500) -> Iterator[tuple[Any, Seen]]:
    """The page at an address in a new profile; fails where a script failed or another host was asked."""
    context, seen = browser.new_context(viewport={"width": width, "height": 900}), Seen()
    page = context.new_page()
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    inside = (pages.base, "data:", "blob:", "about:")
    page.on("request", lambda asked: asked.url.startswith(inside) or seen.outside.append(asked.url))
    page.goto(address)
    yield page, seen
    context.close()
    assert seen == Seen()


def wait(page: Any, text: str) -> None:
    page.get_by_text(text).first.wait_for(timeout=PATIENCE_MS)


def picture(page: Any, name: str, folder: Path) -> None:
    """For people who look at how it looks; no test compares it."""
    page.screenshot(path=str(folder / f"{name}.png"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


def test_the_first_visit_shows_the_trials(browser: Any, pages: Pages, pictures: Path) -> None:
    """The printed address shows the trials by latency among the pages for trained models, with the chosen columns."""
    with opened_page(browser, pages, pages.printed["trials of histo"]) as (page, _):
        wait(page, "#000")
        text = page.inner_text("body")
        assert "Model registry" in text and "Judges" not in text
        assert "trials by latency" in text, "the note of the experiment"
        for column in ("latency_p25_ms", "dice_macro", "drop"):
            assert column in text
        first = min(STUDY.judged, key=lambda r: r.measured.latency_p25_s if r.measurement else 1e9)
        names = [line for line in text.splitlines() if line.startswith("#0")]
        assert names[0].startswith(f"#{first.number:03d}")
        picture(page, "table", pictures)


def test_the_chart_shows_the_trade_off(browser: Any, pages: Pages, pictures: Path) -> None:
    """The second printed address shows the scatter of latency and quality, and the settings as parallel lines."""
    with opened_page(browser, pages, pages.printed["as a chart"]) as (page, _):
        wait(page, "Trade-offs")
        page.locator(".js-plotly-plot .scatterlayer").first.wait_for(timeout=PATIENCE_MS)
        axes = " ".join(page.locator(".js-plotly-plot .infolayer").all_text_contents())
        assert "latency_p25_ms" in axes and "dice_macro" in axes
        picture(page, "charts", pictures)


def test_a_failed_trial_says_why(browser: Any, pages: Pages, pictures: Path) -> None:
    """Its page shows the cause, the message as text, and the end of its log."""
    with opened_page(browser, pages, pages.run("7")) as (page, _):
        wait(page, "Failed in measure: crash.")
        assert 'the worker died <b>of "signal 11"</b>' in page.inner_text("body")
        picture(page, "failed", pictures)


def test_the_page_of_a_study_shows_the_answer_and_the_front(browser: Any, pages: Pages, pictures: Path) -> None:
    """The answer is the first line, and the picture of the front is found by its relative address."""
    with opened_page(browser, pages, pages.run("study")) as (page, _):
        wait(page, "Deploy")
        image = page.locator("img[src*='front.png']").first
        image.wait_for(state="attached", timeout=PATIENCE_MS)
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        picture(page, "study", pictures)


def test_the_report_is_shown_inside(browser: Any, pages: Pages, pictures: Path) -> None:
    """The link of the note opens the report in a frame."""
    with opened_page(browser, pages, pages.run("study", "report.html")) as (page, _):
        page.frame_locator("iframe").get_by_text("Verdict").first.wait_for(timeout=PATIENCE_MS)
        picture(page, "report", pictures)


def test_the_registry_shows_the_aliases(browser: Any, pages: Pages, pictures: Path) -> None:
    """The registered demo study has its model, with the aliases that policies pick."""
    with opened_page(browser, pages, pages.printed["registered models"]) as (page, _):
        wait(page, "autoopt-tiles")
    with opened_page(browser, pages, f"{pages.base}#/models/autoopt-tiles?{addresses.MODELS}") as (page, _):
        wait(page, "demo-fastest")
        picture(page, "registry", pictures)


def test_a_telephone_shows_the_trials_too(browser: Any, pages: Pages, pictures: Path) -> None:
    """At 390 pixels the trials are there."""
    with opened_page(browser, pages, pages.printed["trials of histo"], width=390) as (page, _):
        wait(page, "trials by latency")
        page.get_by_text("#0").first.wait_for(state="attached", timeout=PATIENCE_MS)
        picture(page, "narrow", pictures)
