"""The report as a whole."""

from __future__ import annotations

import re

from autoopt.report.page.page import report_html
from autoopt.report.page.subject import Subject
from tests.report.page.planted import planted_study


def test_the_page_asks_for_no_other_file() -> None:
    """A page names no address to load from and forbids it, and every anchor that it names is in it."""
    text = report_html(Subject(planted_study()))
    assert not re.search(r'(?:src|href)="(?!#|data:)', text) and "@import" not in text and "url(" not in text
    assert "default-src &#39;none&#39;" in text
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(re.findall(r'id="([^"]+)"', text))


def test_names_from_outside_are_text() -> None:
    """Names of workloads are shown as they are, never as markup."""
    text = report_html(Subject(planted_study(workload="<script>alert(1)</script>")))
    assert "<script>alert(1)" not in text and "&lt;script&gt;alert(1)" in text


def test_demo_data_are_called_so() -> None:
    """A bar says that the images are invented; a study of real ones has none."""
    assert 'class="demo"' in report_html(Subject(planted_study(12)))
    assert 'class="demo"' not in report_html(Subject(planted_study(12, demo=False)))


def test_a_page_of_many_trials_is_small() -> None:
    """A report of 200 trials has at most 1 MB, and no anchor twice."""
    text = report_html(Subject(planted_study(200)))
    anchors = re.findall(r' id="([^"]+)"', text)
    assert len(text.encode()) <= 1e6 and len(set(anchors)) == len(anchors)


def test_a_study_without_anything_has_a_page() -> None:
    """A study in which no trial could be measured has a page that says so."""
    study = planted_study(12, limits={"latency_s": 1e-6})
    text = report_html(Subject(study))
    assert "Verdict" in text and 'id="limits"' not in text and "What to take" not in text
