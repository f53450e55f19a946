"""How large the report of a study is, how long it takes to make, and how long a browser takes to show it.

    python -m benchmarks.report_size [TRIALS ...]

The studies are invented (tests/report/page/planted.py). A browser is asked where playwright and Debian's chromium are.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from importlib import import_module, util
from pathlib import Path

from autoopt.report.page.page import report_html
from autoopt.report.page.subject import Subject
from tests.report.page.planted import planted_study

TRIALS = (50, 200, 1000)
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
    *("--no-first-run", "--disable-component-update", "--disable-sync"),
)


def made(trials: int) -> tuple[str, float]:
    """The report of a study of so many trials, read anew as a command does, and the seconds to make it."""
    study = planted_study(trials)
    began = time.perf_counter()
    text = report_html(Subject(study))
    return text, time.perf_counter() - began


def shown_s(text: str, folder: Path) -> float | None:
    """The seconds from opening the file to the end of its script in a browser; None where there is none."""
    chromium = shutil.which("chromium")
    if chromium is None or util.find_spec("playwright") is None:
        return None
    sync_playwright = import_module("playwright.sync_api").sync_playwright  # no dependency, also not of our types
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_page()
        times = []
        for _ in range(3):
            page.goto(file.as_uri())
            times.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1e3)
        browser.close()
    return float(min(times))


def main() -> None:
    """Print a row for each number of trials."""
    made(12)  # imports
    print("| trials | kB | s to make | s to show |\n| ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for trials in tuple(map(int, sys.argv[1:])) or TRIALS:
            text, seconds = made(trials)
            shown = shown_s(text, Path(folder))
            told = "-" if shown is None else f"{shown:.2f}"
            print(f"| {trials} | {len(text.encode()) / 1e3:.0f} | {seconds:.2f} | {told} |", flush=True)


if __name__ == "__main__":
    main()
