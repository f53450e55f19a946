"""The script of a report, in a real browser where there is one (Debian's chromium and playwright)."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoopt.report.page.limit_choices import choices
from autoopt.report.page.page import report_html
from autoopt.report.page.subject import Subject
from tests.report.page.planted import planted_study

BROWSER = shutil.which("chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
    *("--no-first-run", "--disable-component-update", "--disable-sync"),
)
STUDY = planted_study(30)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The report of `STUDY` in a narrow window; what it asked for and what went wrong are in `page.told`."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BROWSER is None:
        pytest.skip("chromium is not installed")
    file: Path = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(report_html(Subject(STUDY)), encoding="utf-8")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=list(FLAGS))
        opened = browser.new_page(viewport={"width": 390, "height": 800})
        opened.told = []
        opened.on("request", lambda request: opened.told.append(request.url))
        opened.on("pageerror", lambda error: opened.told.append(str(error)))
        opened.on("console", lambda message: opened.told.append(message.text))
        opened.goto(file.as_uri())
        yield opened
        browser.close()


def test_the_page_fits_a_phone_and_asks_nobody(page: Any) -> None:
    """At 390 pixels nothing is wider than the window, and nothing is asked for but the file."""
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert len(page.told) == 1 and page.told[0].startswith("file:")


def test_the_sliders_say_what_is_picked(page: Any) -> None:
    """Each place of the sliders names the trial that the table holds for it, and the command with its limits."""
    found = choices(STUDY)
    assert found is not None
    for place, other, pick in ((3, 5, "fastest"), (8, 2, "balanced"), (0, 0, "smallest")):
        page.select_option("#pick", pick)
        for name, value in (("latency", place), ("drop", other)):
            page.evaluate(
                "([n, v]) => { const s = document.getElementById('most-' + n); s.value = v;"
                " s.dispatchEvent(new Event('input', {bubbles: true})); }",
                [name, value],
            )
        number, said = found.picked[pick][place][other], page.text_content("#limits .picked")
        assert (f"#{number} " in said) if number is not None else ("No trial keeps" in said)
        options = f"{found.latencies[place].option} {found.drops[other].option}"
        assert f"--pick {pick} {options} -o deploy/" in page.text_content("#limits code")


def test_tables_are_sorted_and_trials_are_highlighted_everywhere(page: Any) -> None:
    """A click on a heading sorts by number, twice the other way round; pointing at a row lights its point."""
    table = "#front table.sortable >> nth=0"
    values = f"{json.dumps(table.partition(' >>')[0])}"
    for state in ("ascending", "descending"):
        page.click(f"{table} >> th:nth-child(3) button")
        assert page.get_attribute(f"{table} >> th:nth-child(3)", "aria-sort") == state
        shown = page.evaluate(
            f"[...document.querySelector({values}).tBodies[0].rows].map(r => r.cells[2].dataset.sort)"
        )
        numbers = [float(item) for item in shown]
        assert numbers == sorted(numbers, reverse=state == "descending")
    page.hover(f"{table} >> tbody tr:first-child td:nth-child(2)")
    number = page.get_attribute(f"{table} >> tbody tr:first-child", "data-n")
    assert page.locator(f'#scatter a.hot[data-n="{number}"]').count() == 1


def test_the_command_is_copied(page: Any) -> None:
    """The button beside a command says that it was copied, or selects it to be copied by hand."""
    page.click("article >> nth=0 >> button.copy")
    page.wait_for_function("document.querySelector('article .copy').textContent !== 'Copy'")
    assert re.match("Copied|Selected", page.inner_text("article >> nth=0 >> button.copy"))


def test_it_works_in_a_sandboxed_frame(page: Any) -> None:
    """In a frame that may only run scripts, as in MLflow, sliders pick and links lead to their part of the page."""
    outer = page.context.browser.new_page()
    outer.set_content("<iframe sandbox='allow-scripts'></iframe>")
    outer.evaluate("text => { document.querySelector('iframe').srcdoc = text; }", report_html(Subject(STUDY)))
    frame = outer.frame_locator("iframe")
    frame.locator("nav a").last.click()
    inner = outer.frames[1]
    inner.wait_for_function("scrollY > 100")
    assert inner.text_content("#limits .picked")
