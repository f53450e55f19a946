"""The sliders of a report."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from autoopt.report.page import limit_sliders
from autoopt.report.page.limit_choices import choices
from autoopt.report.page.subject import Subject
from tests.report.page.planted import planted_study


def test_the_page_holds_every_answer() -> None:
    """The answers are in the page as JSON that no name can end, with words for each trial that may be picked."""
    study = planted_study(24, name="a</script><b>")
    made = limit_sliders.render(Subject(study))
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', made)
    data, found = json.loads(text), choices(study)
    assert found is not None and data["picked"] == found.picked
    numbers = {str(n) for rows in found.picked.values() for row in rows for n in row if n is not None}
    assert set(data["words"]) == numbers
    assert data["command"] == "autoopt pull --study 'a</script><b>' --pick PICK LATENCY DROP -o deploy/"


def test_without_answers_there_are_no_sliders() -> None:
    """A study of which no drop is known has no sliders."""
    study = planted_study(12)
    assert limit_sliders.render(Subject(replace(study, records=study.records[3:7]))) == ""
