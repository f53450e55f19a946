"""How to repeat a study: its host, versions, digests, limits and space, and the commands as they must be typed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

from markupsafe import Markup

from autoopt.core.card import StudyCard
from autoopt.core.records import TrialRecord
from autoopt.core.urls import without_secrets
from autoopt.report.next_commands import Place, trial_command
from autoopt.report.number_text import counted
from autoopt.report.page.html import Child, Row, command, details, element, joined, paragraph, table
from autoopt.report.page.subject import Subject
from autoopt.report.page.timeline import duration
from autoopt.study.limits import DROP, RELATIVE_DROP, in_words, limit
from autoopt.study.result import StudyResult
from autoopt.study.space.writing import card_space, space_file
from autoopt.workloads.loading import MODEL

SPACE_FILE = "space.yaml"
"""What the space of the study is called in the command that searches it again."""
NO_DROP_LIMIT = "100%"


def render(subject: Subject) -> Markup:
    """What the study was made of, and how it is done again."""
    result, place = subject.result, subject.place
    card = result.card
    rows = [Row([name, value]) for name, value in facts(result).items()]
    space = space_file(card.space)
    example = (result.front or result.records)[:1]
    parts: list[Child] = [
        table(["what", "as it was"], rows, caption="What the study is", texts=[1], sortable=False),
        element("h3", "Again"),
        paragraph("The same search. It goes on where this one stopped; in another --home it begins anew."),
        command(search_command(result, place), name="the search"),
        _space(space),
        *(_of_trial(card, place, record) for record in example),
    ]
    return joined(parts)


def facts(result: StudyResult) -> dict[str, str]:
    """What makes the study this study, in words, by what it is."""
    card = result.card
    host = card.host
    versions = ", ".join(f"{name} {version}" for name, version in sorted(host.versions.items()))
    found = {
        "study": f"{card.name}, seed {card.seed}, {counted(len(result.records), 'trial')}",
        "workload": card.title,
        "objectives": ", ".join(card.objectives),
        "limits": in_words(card.limits) or "none",
        "space": _size(card),
        "host": f"{host.cpu}, {host.cores} cores, {host.memory_bytes / 1e9:.1f} GB, {host.system}",
        "instruction sets": ", ".join(host.isa),
        "fingerprint of the host": host.fingerprint,
        "versions": versions,
        "digest of the data": card.data_digest,
        "digest of the weights": card.weights_digest,
        "weights": card.weights_remark,
        "time": _time(result),
    }
    return {name: value for name, value in found.items() if value}


def search_command(result: StudyResult, place: Place) -> str:
    """The command of the search, as far as the card of the study knows it; the space is in `SPACE_FILE`."""
    card = result.card
    origin = card.origin
    source = without_secrets(str(origin.get("source") or card.workload))
    named = (
        f"--model {_quoted(source.removeprefix(MODEL))}"
        if source.startswith(MODEL)
        else f"--workload {_quoted(source)}"
    )
    words = ["autoopt search", named]
    words += _options(origin.get("options") or {}, model=source.startswith(MODEL))
    if origin.get("data"):
        words.append(f"--data {_quoted(str(origin['data']))}")
    if origin.get("weights") and not card.demo:
        words.append(f"--weights {_quoted(str(origin['weights']))}")
    if origin.get("weights_key"):
        words.append(f"--weights-key {_quoted(str(origin['weights_key']))}")
    if space_file(card.space):
        words.append(f"--space {SPACE_FILE}")
    words += [f"--objectives {','.join(card.objectives)}", *_limits(card)]
    words += [f"--seed {card.seed}", f"--budget {len(result.records)}", f"--study {_quoted(card.name)}"]
    return " ".join(words) + place.flags


def _options(options: Mapping[str, object], *, model: bool) -> list[str]:
    """The options of the workload; of a model what has an option of its own by that."""
    own: dict[str, object] = dict(options)
    task, trusted = (own.pop(name, None) if model else None for name in ("task", "trust"))
    found = [f"--task {_quoted(str(task))}"] if task else []
    found += ["--trust-bundle"] if trusted else []
    return found + [f"--option {_quoted(f'{name}={_plain(value)}')}" for name, value in own.items()]


def _limits(card: StudyCard) -> list[str]:
    """The options of the limits, with all digits; a wide one where the drop has none, as it would by default."""
    found = []
    for name, bound in sorted(card.limits.items()):
        one = limit(name)
        found.append(_quoted_value(one.option.format(f"{bound * one.scale:.10g}")))
    if DROP not in card.limits and RELATIVE_DROP not in card.limits:
        found.append(f"--max-drop {NO_DROP_LIMIT}")
    return found


def _quoted_value(option: str) -> str:
    name, _, value = option.partition(" ")
    return f"{name} {_quoted(value)}"


def _space(text: str) -> Markup | None:
    if not text:
        return None
    return details(f"The space, to be saved as {SPACE_FILE}", element("pre", text, class_="file"))


def _of_trial(card: StudyCard, place: Place, record: TrialRecord) -> Markup:
    """The commands of one trial, as an example of all."""
    what = f"trial {record.number}"
    return joined(
        [
            paragraph(f"One trial measured again and compared with its record, here #{record.number}:"),
            command(trial_command("replay", card.name, record.number, place), name=f"the replay of {what}"),
            paragraph("Why it is as fast as it is, layer by layer:"),
            command(trial_command("explain", card.name, record.number, place), name=f"the explanation of {what}"),
        ]
    )


def _size(card: StudyCard) -> str:
    """How many configurations the space has."""
    space = card_space(card)
    if space is None:
        return ""
    count = space.count(20_000)
    varying = sum(not dimension.fixed for dimension in space.dimensions)
    raw = "" if space.raw_size == float("inf") else f" ({space.raw_size:.0f} combinations, of which many mean the same)"
    return f"{'' if count.exact else 'at least '}{count.n} configurations of {varying} settings that vary{raw}"


def _time(result: StudyResult) -> str:
    started = sorted(record.started_at for record in result.records if record.started_at)
    seconds = sum(sum(record.seconds.values()) for record in result.records)
    return (
        f"{duration(seconds)} of trials, the first begun at {started[0]}, the last at {started[-1]}" if started else ""
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    return shlex.quote(text)
