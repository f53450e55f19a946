"""What was found of a study that was measured again, in lines for people."""

from __future__ import annotations

from autoopt.core.records import TrialRecord
from autoopt.study.again import MemberAgain, StudyAgain
from autoopt.study.number import PRIMARY
from autoopt.study.numbers import NUMBERS
from autoopt.study.result import StudyResult
from autoopt.study.words import in_words

SHOWN = ("latency_p25_ms", PRIMARY)
"""The numbers that are told of each member."""


def again_text(found: StudyAgain) -> list[str]:
    """A line for each member of the front, what is wrong with it below; first where all of it is stored."""
    then, now = found.before, found.after
    lines = [f"{then.card.name}, workload {then.card.title}, measured again as {now.card.name} on {now.card.host.cpu}"]
    for member in found.members:
        what = f"#{member.then.number} {in_words(member.then.configuration)}"
        lines.append(f"{'stays' if member.stays else 'goes':6}{what}: {_numbers(found, member)}")
        beside = [] if member.slower is None else [f"beside the reference a call takes {member.slower}"]
        lines += [f"      {text}" for text in (*member.reasons, *member.changed, *beside)]
    return lines


def _numbers(found: StudyAgain, member: MemberAgain) -> str:
    """The latency and the quality, now and then."""
    primary, texts = found.before.card.primary, []
    for key in SHOWN:
        number = NUMBERS[key]
        name, column = number.name(primary), number.column
        assert column is not None  # what is shown of every front
        now = _shown(found.after, member.now, name, column.format)
        then = _shown(found.before, member.then, name, column.format)
        texts.append(f"{column.title.format(primary=primary)} {now} (then {then})")
    return ", ".join(texts)


def _shown(study: StudyResult, record: TrialRecord | None, name: str, form: str) -> str:
    value = None if record is None else study.headline(record).get(name)
    return "unknown" if value is None else form.format(value)
