"""The report as a whole."""

from __future__ import annotations

import re

from autoopt.report.page.page import report_html
from autoopt.report.page.subject import Subject
from tests.report.page.planted import planted_study


def test_the_page_asks_for_no_other_file() -> None:
    """A page names no address to load from, and every anchor that it names is in it."""
    text = report_html(Subject(planted_study()))
    assert not re.search(r'(?:src|href)="(?!#|data:)', text) and "@import" not in text and "url(" not in text
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(re.findall(r'id="([^"]+)"', text))


def test_names_from_outside_are_text() -> None:
    """Names of workloads are shown as they are, never as markup."""
    text = report_html(Subject(planted_study(workload="<script>alert(1)</script>")))
    assert "<script>alert(1)" not in text and "&lt;script&gt;alert(1)" in text
