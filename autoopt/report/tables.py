"""The front of a study as CSV and Markdown, and its rows for every other table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from autoopt.core.records import TrialRecord
from autoopt.measure.merging import TAKEN_AWAY
from autoopt.report.csv_text import csv_text
from autoopt.study.floor import control_of, floor_of
from autoopt.study.intervals import ITSELF
from autoopt.study.limits import in_words
from autoopt.study.number import PRIMARY, Column
from autoopt.study.numbers import NUMBERS, objectives
from autoopt.study.reference_level import quiet_share
from autoopt.study.result import StudyResult
from autoopt.study.words import differing
from autoopt.study.words import in_words as configuration_words

FIRST = (
    *("latency_p25_ms", "drop", "speedup_vs_openvino_f32", PRIMARY, "size_mb", "test_drop", "peak_rss_mb"),
    *("speedup_vs_best_float", "speedup_vs_torch_f32", "front_probability"),
)
"""The numbers that a narrow table shows first."""
SHORTEST_WORDS, LONGEST_WORDS = 24, 36
"""Characters that a configuration has in a narrow and in a wide table before most other columns get their own."""
LEAST_WORDS = 13
"""Characters that a configuration has before latency and drop get theirs: a table without numbers says nothing."""


def front_csv(result: StudyResult) -> str:
    """The front as CSV: one row a member, flat configuration and headline numbers; `demo` in every row."""
    rows = [
        {"trial": r.number, "demo": result.card.demo, **r.configuration.flat(), **result.headline(r)}
        for r in result.front
    ]
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["trial"]
    return csv_text(names, ([row.get(name) for name in names] for row in rows))


def front_markdown(result: StudyResult) -> str:
    """The front as a Markdown table with the references below it: speed-ups, drop, memory, size."""
    card = result.card
    limits = in_words(card.limits) or "none"
    header = columns(result)
    members = [*front_rows(result), *reference_rows(result)]
    lines = [
        f"### Pareto front of {card.title}",
        "",
        f"study {card.name}, {len(result.records)} trials, limits: {limits}; {card.host.cpu}, {card.host.cores} cores",
        *(text for text in (result.stand_in, card.weights_remark) if text),
        "",
        f"| {' | '.join(header)} |",
        f"| --- | --- {'| ---: ' * (len(header) - 2)}|",
        *(f"| {' | '.join(_in_markdown(cell) for cell in cells)} |" for cells in members),
        "",
        *(f"- {note}" for note in front_notes(result)),
    ]
    return "\n".join(lines) + "\n"


def columns(result: StudyResult) -> tuple[str, ...]:
    """The header of the rows of `front_rows` and `reference_rows`."""
    titles = (column.title.format(primary=result.card.primary) for _, column in _columns(result))
    return ("trial", "configuration", *titles)


def natural_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """The characters of the longest line of each column, header included."""
    return [max(len(line) for cell in cells for line in cell.splitlines() or [""]) for cells in zip(*rows, strict=True)]


def fitting(result: StudyResult, widths: Sequence[int], width: int) -> tuple[list[int], int]:
    """Which columns a table of at most `width` characters has, by place, and how many the configuration has there.

    `widths` are the characters that each column needs, three more stand between two. Trial and configuration are always
    there, then latency, drop (which tells of the quality) and speed-up, the other objectives, the others of `FIRST`,
    and the rest of the table, each as far as there is room. The configuration may be broken into lines, short ones
    where latency and drop would have no room otherwise.
    """
    keys = [key for key, _ in _columns(result)]
    asked = (objectives()[name].key for name in result.card.objectives)
    wanted = (
        key.format(primary=result.card.primary)
        for key in (*FIRST[:3], *(key for key in asked if key != PRIMARY), *FIRST)
    )
    least = min(widths[1], max(SHORTEST_WORDS, min(width // 4, LONGEST_WORDS)))
    shown, room = {0, 1}, width - 1 - (widths[0] + 3) - 3
    for key in dict.fromkeys((*wanted, *keys)):
        place = keys.index(key) + 2 if key in keys else 0
        words = min(widths[1], LEAST_WORDS) if key in FIRST[:2] else least
        if place and widths[place] + 3 + words <= room:
            shown.add(place)
            room -= widths[place] + 3
    return sorted(shown), min(widths[1], max(LEAST_WORDS, room))


def front_rows(result: StudyResult) -> list[list[str]]:
    """The members of the front as formatted cells, fastest first."""
    fine = differing(record.configuration for record in result.records)
    return [_cells(result, record, configuration_words(record.configuration, fine=fine)) for record in result.front]


def reference_rows(result: StudyResult) -> list[list[str]]:
    """The references and the best float trial, where they are not on the front themselves, as formatted cells."""
    fine = differing(record.configuration for record in result.records)
    return [
        _cells(result, r, f"{configuration_words(r.configuration, fine=fine)} ({role})") for r, role in _beside(result)
    ]


def row_of(result: StudyResult, record: TrialRecord) -> list[str]:
    """Any trial of the study as formatted cells, as its members are."""
    fine = differing(record.configuration for record in result.records)
    return _cells(result, record, configuration_words(record.configuration, fine=fine))


def front_notes(result: StudyResult, titles: Collection[str] | None = None) -> list[str]:
    """What the rows need beside them: what stands below a number, what the speed-ups are over, why intervals lack.

    `titles` are the columns that are shown, by default all.
    """
    shown = columns(result) if titles is None else titles
    best = result.best_float
    over = "no trial in float is complete" if best is None else f"over #{best.number}, the fastest float trial"
    peaks = ", below the peak of memory the least and the most of the processes" if "peak MB" in shown else ""
    notes = [f"Below a number its 95 % interval, below a drop what it is at most (one-sided, 95 %){peaks}."]
    notes[0] += f" x float: {over}." if "x float" in shown else ""
    if result.card.less_is_better:
        notes.append(f"Less {result.card.primary} is better: the drop is by how much it rose.")
    floor = floor_of(result)
    notes += [] if floor is None else [floor.words(result.card.primary)]
    notes += host_notes(result)
    without: dict[str, list[str]] = {}
    for record in (*result.front, *(record for record, _ in _beside(result))):
        reasons = result.without_interval(record)
        for key, column in _columns(result):
            title = column.title.format(primary=result.card.primary)
            if title in shown and column.below and reasons.get(key, ITSELF) != ITSELF:
                without.setdefault(f"{title}: {reasons[key]}", []).append(f"#{record.number}")
    return notes + [f"? {reason} ({', '.join(trials)})." for reason, trials in without.items()]


def host_notes(result: StudyResult) -> list[str]:
    """What the host did: latencies that the reference corrects, and a host that was never left alone."""
    notes, slowed, seen = [], result.level.slowed, len(result.level.seen_s)
    if slowed:
        notes.append(
            f"The host was slower beside {slowed} of {seen} trials: their latencies are corrected by the reference."
        )
    share = quiet_share(result.records)
    if share is not None and share > TAKEN_AWAY:
        notes.append(
            f"Other programs took {share:.0%} of the cores even beside the quietest trials: latencies are those of a "
            "busy host; ratios hold better."
        )
    return notes


def reasons_text(reasons: Mapping[str, str]) -> list[str]:
    """Why numbers have no interval, a sentence for each reason, such as: size_mb, gmacs: it is counted."""
    keys: dict[str, list[str]] = {}
    for key, reason in reasons.items():
        keys.setdefault(reason, []).append(key)
    return [f"{', '.join(names)}: {reason}" for reason, names in keys.items()]


def _beside(result: StudyResult) -> list[tuple[TrialRecord, str]]:
    """What the front is compared with and what each is, without those on it."""
    roles = (
        (result.reference, "reference"),
        (result.openvino_f32, "reference"),
        (result.best_float, "best float"),
        (control_of(result), "control"),
    )
    seen = {record.number for record in result.front}
    found = []
    for record, role in roles:
        if record is not None and record.number not in seen:
            seen.add(record.number)
            found.append((record, role))
    return found


def _in_markdown(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", "<br>")


def _cells(result: StudyResult, record: TrialRecord, name: str) -> list[str]:
    numbers, reasons = result.headline(record), result.without_interval(record)
    values = [_cell(numbers, key, column, reasons) for key, column in _columns(result)]
    if result.confirmed_on_test(record) is False:
        name = f"{name} (did not hold on test)"
    tie = result.ties.get(record.number)
    if tie is not None and tie != record.number:
        name = f"{name} (tied with #{tie})"
    return [f"#{record.number}", name, *values]


def _columns(result: StudyResult) -> list[tuple[str, Column]]:
    """The numbers that have a column, by key."""
    shown = [*result.front, *(record for record, _ in _beside(result))]
    return [
        (number.name(result.card.primary), number.column)
        for number in NUMBERS.values()
        if number.column and (not number.column.where_known or any(map(number.known, shown)))
    ]


def _cell(numbers: Mapping[str, float], key: str, column: Column, reasons: Mapping[str, str]) -> str:
    """The number, and in a second line its interval; "?" where that is missing, nothing where it has none by nature."""
    if key not in numbers:
        return "-"
    text = column.format.format(numbers[key])
    primary = key if PRIMARY in column.title else ""
    below = [name.format(primary=primary) for name in column.below]
    if not below or reasons.get(key) == ITSELF:
        return text
    if not all(name in numbers for name in below):
        return f"{text}\n?"
    ends = [column.below_format.format(numbers[name]) for name in below]
    return f"{text}\n{'-'.join(ends) if len(ends) > 1 else f'<= {ends[0]}'}"
