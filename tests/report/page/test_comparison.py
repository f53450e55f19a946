"""The page that compares two studies."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from typer.testing import CliRunner

from autoopt.cli import app
from autoopt.errors import NoStudy
from autoopt.report.compare_studies import StudyComparison
from autoopt.report.next_commands import Place
from autoopt.report.page import comparison_facts, comparison_picture
from autoopt.report.page.comparison import FAIR, comparison_html
from tests.report.page.planted import CARD, planted_study
from tests.report.test_trial_diff import stored
from tests.worlds import HOST

FIRST = planted_study(40)
SECOND = planted_study(name="other <b>", host=replace(HOST, cpu="fast", versions={"python": "3.12"}), seed=1)
BOTH = StudyComparison(FIRST, SECOND)


def test_doubts_come_first_and_the_page_asks_for_nothing() -> None:
    """The first section says what makes the comparison doubtful; names are text; links stay in the page."""
    text = comparison_html(BOTH, ("planted", "far home/other"), Place(Path("home")))
    sections = re.findall(r'<section id="([^"]+)"', text)
    assert sections[0] == "doubts" and "different hosts, cpu (2 cores) and fast (2)" in text
    assert "other &lt;b&gt;" in text and "other <b>" not in text
    assert not re.search(r'(?:src|href)="(?!#|data:)', text)
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(re.findall(r'id="([^"]+)"', text))
    assert "autoopt report planted &#39;far home/other&#39; --home home" in text
    assert "autoopt diff planted/5 &#39;far home/other/5&#39; --home home" in text
    assert "Demo data" in text


def test_a_fair_comparison_says_so() -> None:
    """Where nothing differs there is no doubt and neither study reaches more."""
    text = comparison_html(StudyComparison(FIRST, FIRST), ("a", "b"))
    assert FAIR in text and "Both fronts reach the same." in text and "Nothing differs." in text


def test_every_member_of_both_fronts_is_drawn_and_listed() -> None:
    """Members of both studies are told apart by letter, shape and colour, and each leads to its row."""
    picture, text = comparison_picture.render(BOTH), comparison_html(BOTH, ("a", "b"))
    for letter, study in zip("ab", BOTH.studies, strict=True):
        for record in study.front:
            assert f'href="#{letter}{record.number}"' in picture and f'id="{letter}{record.number}"' in text
    assert "<circle" in picture and 'class="c1"' in picture


def test_what_differs_is_told_apart_from_what_is_the_same() -> None:
    """Host, versions, dimensions of the space and digests stand side by side; what one study lacks is a dash."""
    space = '{"dimensions": {"runtime.threads": {"choices": [1, 2]}, "prune.ratio": {"low": 0, "high": 1}}}'
    other = planted_study(data_digest="5" * 64, space=space, limits={})
    found = {fact.name: fact for fact in comparison_facts.facts(StudyComparison(FIRST, other))}
    assert (found["data"].first, found["data"].second) == (CARD.data_digest, "5" * 12)
    assert (found["space: runtime.threads"].first, found["space: runtime.threads"].second) == ("-", "1, 2")
    assert found["space: prune.ratio"].second == '{"high":1,"low":0}'
    assert found["limits"].second == "none" and found["limits"].differs and not found["processor"].differs
    shown = comparison_facts.render(BOTH, ("A", "B"))
    differing, same = shown.split("<details>")
    assert "version of python" in differing and "weights" in same and "weights" not in differing


def test_the_command_compares_two_stored_studies(tmp_path: Path) -> None:
    """Two names write one page, also of another home folder; a name that leads nowhere leaves no file."""
    few = planted_study(12)  # each record that is stored takes a transaction
    stored(tmp_path, few)
    stored(tmp_path / "far", replace(few, card=replace(SECOND.card, name="other")))
    out, home = tmp_path / "both.html", ["--home", str(tmp_path)]
    done = CliRunner().invoke(app, ["report", "planted", f"{tmp_path}/far/other", "-o", str(out), *home])
    assert done.exit_code == 0 and "Which is better where" in out.read_text()
    failed = CliRunner().invoke(app, ["report", "planted", "gone", "-o", str(tmp_path / "none.html"), *home])
    assert isinstance(failed.exception, NoStudy) and not (tmp_path / "none.html").exists()
    refused = CliRunner().invoke(app, ["report", "a", "b", "--workload", "histo", *home])
    assert "--workload, --images and --profile are for one study" in str(refused.exception)


def test_without_a_front_the_page_says_why() -> None:
    """A study without a front is compared by what it is, and the page says that neither is better."""
    text = comparison_html(StudyComparison(FIRST, planted_study(limits={"latency_s": 1e-6})), ("a", "b"))
    assert "Neither can be called better: study planted has no front." in text and "Side by side" in text


def test_words_fit_what_is_compared() -> None:
    """One trial is one, two studies have, and of an error a drop is a rise."""
    none = planted_study(12, limits={"latency_s": 1e-6})
    text = comparison_html(StudyComparison(none, replace(none, card=replace(none.card, name="b"))), ("planted", "b"))
    assert "study planted and study b have no front" in text
    error = planted_study(12, less_is_better=True, limits={})
    one = replace(error, records=error.records[:1])
    text = comparison_html(StudyComparison(error, one), ("planted", "b"))
    assert "rise from A to B" in text and "drop" not in text.split('id="facts"')[0].split("</style>")[1].lower()
    assert "1 trial, 1 on the front" in text
