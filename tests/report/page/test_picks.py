"""What to take, by policy."""

from __future__ import annotations

from pathlib import Path

from autoopt.deploy.pick import choose
from autoopt.deploy.policies import PICKS
from autoopt.report.next_commands import Place
from autoopt.report.page import picks
from autoopt.report.page.subject import Subject
from tests.report.page.planted import planted_study


def test_every_policy_has_its_trial_and_its_command() -> None:
    """Each card names the trial that `autoopt pull` takes with that policy, and the command as it must be typed."""
    study = planted_study()
    cards = picks.render(Subject(study, Place(Path("my home")))).split("<article")[1:]
    assert len(cards) == len(PICKS)
    for pick, card in zip(PICKS, cards, strict=True):
        assert f' data-n="{choose(study, pick=pick).record.number}">' in card
        assert f"autoopt pull --study planted --pick {pick} -o deploy/ --home &#39;my home&#39;</code>" in card
    assert "above the limit on test" in cards[PICKS.index("fastest")]
