"""What `autoopt ui` prints and opens once the pages are there."""

from __future__ import annotations

import pytest

from autoopt.commands.ui import has_display, show
from autoopt.tracking.ready import Ready

PAGES = Ready("histo", "http://127.0.0.1:1/#/t", "http://127.0.0.1:1/#/c", "http://127.0.0.1:1/#/m")


def test_a_browser_is_opened_only_where_it_has_a_window() -> None:
    """Without a display a browser would take over the terminal."""
    assert has_display({"DISPLAY": ":0"}, "linux") and has_display({"WAYLAND_DISPLAY": "w"}, "linux")
    assert has_display({}, "darwin") and not has_display({"DISPLAY": ""}, "linux")


def test_the_addresses_are_printed_and_nothing_is_opened_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    """Every address is one line with what it shows; of an experiment without views there is no chart."""
    asked: list[str] = []
    show(PAGES, opens=False, browse=asked.append)
    show(Ready("brain", "http://127.0.0.1:1/#/r", "", PAGES.models), opens=False, browse=asked.append)
    assert not asked
    assert capsys.readouterr().out.splitlines() == [
        "trials of histo: http://127.0.0.1:1/#/t",
        "as a chart: http://127.0.0.1:1/#/c",
        "registered models: http://127.0.0.1:1/#/m",
        "trials of brain: http://127.0.0.1:1/#/r",
        "registered models: http://127.0.0.1:1/#/m",
    ]
