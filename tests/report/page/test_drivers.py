"""What drives the objectives, as the report shows it."""

from __future__ import annotations

import re
from dataclasses import replace

from autoopt.core.configuration import Configuration
from autoopt.report.page import drivers
from autoopt.report.page.html import text_of
from autoopt.report.page.parallel import MOST_LINES, MOST_SETTINGS, parallel_coordinates
from autoopt.report.page.subject import Subject
from autoopt.study.importance import comparable, importances
from tests.report.page.planted import planted_study
from tests.study.test_importance import driven_study


def test_each_objective_has_its_bars() -> None:
    """The longest bar of each objective is the setting that drives it, and the number of trials is told."""
    study = driven_study()
    shown = drivers.render(Subject(study))
    latency, quality = shown.split("<h3>")[1:3]
    assert latency.startswith("latency") and quality.startswith("quality")
    assert re.findall(r"<text[^>]*>([a-z_.]+)</text>", latency)[0] == "runtime.threads"
    assert re.findall(r"<text[^>]*>([a-z_.]+)</text>", quality)[0] == "prune.ratio"
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="\d+" class="share"', latency)]
    assert widths == sorted(widths, reverse=True) and len(widths) == 5
    assert f"Of {len(comparable(study))} trials" in latency


def test_few_trials_have_lines_but_no_bars() -> None:
    """A small study shows its trials as lines, and says why nothing is said of importance."""
    shown = drivers.render(Subject(planted_study(12)))
    assert "Too few trials to say" in text_of(shown) and 'class="share"' not in shown and 'class="line' in shown


def test_the_front_is_drawn_last() -> None:
    """Every comparable trial is a line; those of the front are links and lie above all others."""
    study = planted_study()
    shown = parallel_coordinates(study, importances(study))
    lines = re.findall(r'class="line ([a-z-]+)"', shown)
    assert len(lines) == len(comparable(study))
    assert lines[-len(study.front) :] == ["on-front"] * len(study.front) and lines.count("on-front") == len(study.front)
    assert all(f'href="#t{record.number}"' in shown for record in study.front) and "breaks a limit" in shown


def test_a_large_study_stays_readable() -> None:
    """Of many trials some are drawn, of many settings the most important ones, and both are said."""
    study = planted_study(2 * MOST_LINES)
    records = [
        replace(
            record,
            configuration=Configuration.of(
                {
                    **record.configuration.sections(),
                    "runtime": {
                        **record.configuration.runtime,
                        **{f"x{bit}": record.number >> bit & 1 for bit in range(8)},
                    },
                }
            ),
        )
        for record in study.records
    ]
    wide = replace(study, records=tuple(records))
    shown = parallel_coordinates(wide, importances(wide))
    assert shown.count('class="line') <= MOST_LINES + len(study.front)
    assert f"of {len(comparable(wide))} trials are drawn" in shown and f"{MOST_SETTINGS} settings" in shown
    assert shown.count('class="axis"') == MOST_SETTINGS + 2


def test_nothing_to_compare_draws_nothing() -> None:
    """A study in which nothing was measured has no lines."""
    study = planted_study(12)
    failed = replace(study, records=study.records[7:8])
    assert not parallel_coordinates(failed, importances(failed))
