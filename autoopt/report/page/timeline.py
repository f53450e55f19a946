"""The study in time: what each trial spent on making, measuring and scoring, and the best latency so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from autoopt.core.records import CONTROL, Status, TrialRecord
from autoopt.report.number_text import counted, percent
from autoopt.report.page.axes import Axis, axis
from autoopt.report.page.html import Child, element, joined, paragraph
from autoopt.report.page.subject import Subject
from autoopt.report.page.svg import BOTTOM, LEFT, RIGHT, TOP, WIDTH, figure, line, mark, path, text
from autoopt.study.result import StudyResult
from autoopt.study.words import row_name

KINDS = {"make": "making", "measure": "measuring", "score": "scoring"}
"""What a trial spends its time on, and how it is called."""
MADE_S = 0.5
"""A trial that took less for making found its model in the store."""
MOST_IDLE_S = 600.0
"""A longer time without a trial is cut out: the search was not running."""
HEIGHT, LANE = 360, 30
_UNITS = ((7200.0, 3600.0, "hours"), (120.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


@dataclass(frozen=True)
class Span:
    """A trial in time: when it began, in seconds of the search without its pauses, and what it spent by kind."""

    record: TrialRecord
    start_s: float
    seconds: dict[str, float]

    @property
    def end_s(self) -> float:
        """When it ended."""
        return self.start_s + sum(self.seconds.values())


@dataclass(frozen=True)
class Course:
    """All trials in time; `pauses` are where the search was not running: when, and for how many seconds."""

    spans: tuple[Span, ...]
    pauses: tuple[tuple[float, float], ...]


def course(records: Sequence[TrialRecord]) -> Course:
    """The trials that say when they began, in the order in which they did."""
    timed = sorted(((_began(record), record) for record in records if record.started_at), key=lambda item: item[0])
    spans: list[Span] = []
    pauses: list[tuple[float, float]] = []
    cut_s, first_s = 0.0, timed[0][0] if timed else 0.0
    for began_s, record in timed:
        start_s, seconds = began_s - first_s - cut_s, {kind: record.seconds.get(kind, 0.0) for kind in KINDS}
        before_s = spans[-1].end_s if spans else 0.0
        if start_s - before_s > MOST_IDLE_S:
            pauses.append((before_s, start_s - before_s))
            cut_s += start_s - before_s
            start_s = before_s
        spans.append(Span(record, start_s, seconds))
    return Course(tuple(spans), tuple(pauses))


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which it is at least two, such as: 3.5 hours."""
    unit_s, unit = next((unit_s, name) for least_s, unit_s, name in _UNITS if seconds >= least_s)
    return f"{seconds / unit_s:.3g} {unit}"


def render(subject: Subject) -> Markup:
    """The figure and a sentence; nothing where no trial says when it began."""
    result = subject.result
    found = course(result.judged)
    if not found.spans:
        return Markup("")
    last_s = max(span.end_s for span in found.spans) or 1.0
    unit_s, unit = next((unit_s, name) for least_s, unit_s, name in _UNITS if last_s >= least_s)
    x = Axis(0.0, last_s / unit_s, LEFT, WIDTH - RIGHT)
    drawn = figure(
        _ticks(x, unit),
        *_pauses(found, x, unit_s),
        *_latencies(result, found, x, unit_s),
        *(_bars(span, x, unit_s) for span in found.spans),
        title="The study in time: best latency so far above, below what each trial spent its time on",
        height=HEIGHT,
    )
    return joined([paragraph(_sentence(found)), drawn, _legend()])


def _began(record: TrialRecord) -> float:
    return datetime.fromisoformat(record.started_at).timestamp()


def _sentence(found: Course) -> str:
    total = {kind: sum(span.seconds[kind] for span in found.spans) for kind in KINDS}
    all_s = sum(total.values()) or 1.0
    spent = ", ".join(f"{percent(total[kind] / all_s)} {name}" for kind, name in KINDS.items())
    reused = sum(not _made(span) for span in found.spans)
    paused = sum(seconds for _, seconds in found.pauses)
    times = "once" if len(found.pauses) == 1 else f"{len(found.pauses)} times"
    pauses = f" The search paused {times}, for {duration(paused)}." if found.pauses else ""
    return f"{counted(len(found.spans), 'trial')} took {duration(all_s)}: {spent}. {_reused(reused)}{pauses}"


def _reused(count: int) -> str:
    whose = "its model was" if count == 1 else "their models were"
    return f"{count} of them made nothing new{f': {whose} in the store' if count else ''}."


def _made(span: Span) -> bool:
    return span.seconds["make"] >= MADE_S


def _ticks(x: Axis, unit: str) -> Markup:
    low = HEIGHT - BOTTOM
    parts: list[Child] = []
    for value in x.ticks():
        place = x.at(value)
        parts += [line((place, low), (place, TOP), "grid"), text(place, low + 18, x.text(value), "middle")]
    parts.append(line((x.start, low), (x.end, low), "axis"))
    parts.append(text((x.start + x.end) / 2, low + 42, f"{unit} of search", "middle", class_="title"))
    return element("g", *parts, class_="frame", aria_hidden="true")


def _pauses(found: Course, x: Axis, unit_s: float) -> list[Markup]:
    """A dashed line where the search was not running."""
    drawn = []
    for at_s, seconds in found.pauses:
        place = x.at(at_s / unit_s)
        words = element("title", f"paused for {duration(seconds)}")
        drawn.append(element("g", words, line((place, TOP), (place, HEIGHT - BOTTOM), "pause")))
    return drawn


def _latencies(result: StudyResult, found: Course, x: Axis, unit_s: float) -> list[Markup]:
    """The latency of each trial when it ended, and the best so far of those that keep the limits."""
    low = HEIGHT - BOTTOM - LANE - 16
    timed = [(span, span.record.measured.latency_p25_s * 1e3) for span in found.spans if span.record.measurement]
    drawn: list[Markup] = []
    if timed:
        y = axis([latency for _, latency in timed], low, TOP, log=True)
        parts: list[Child] = []
        for value in y.ticks(5):
            place = y.at(value)
            parts += [line((x.start, place), (x.end, place), "grid")]
            parts += [text(x.start - 8, place + 4, y.text(value), "end")]
        middle = (low + TOP) / 2
        parts.append(text(14, middle, "p25 ms (log)", "middle", class_="title", transform=f"rotate(-90 14 {middle:g})"))
        drawn = [element("g", *parts, class_="frame", aria_hidden="true"), _best(timed, x, y, unit_s)]
        front = {record.number for record in result.front}
        drawn += [_latency(span, latency, x, y, unit_s, front) for span, latency in timed]
    return drawn


def _best(timed: Sequence[tuple[Span, float]], x: Axis, y: Axis, unit_s: float) -> Markup:
    """The best latency so far, as steps."""
    steps: list[tuple[float, float]] = []
    best = float("inf")
    for span, latency in timed:
        if span.record.status is Status.COMPLETE and span.record.origin != CONTROL and latency < best:
            place = x.at(span.end_s / unit_s)
            steps += [(place, y.at(best))] if steps else []
            best = latency
            steps.append((place, y.at(best)))
    return path([*steps, (x.end, y.at(best))], "best") if steps else Markup("")


def _latency(span: Span, latency: float, x: Axis, y: Axis, unit_s: float, front: set[int]) -> Markup:
    record = span.record
    on_front = record.number in front
    class_ = "on-front" if on_front else record.status.value
    drawn = mark(x.at(span.end_s / unit_s), y.at(latency), "circle", 4 if on_front else 2.5, f"dot {class_}")
    return element("g", drawn, data_n=record.number)


def _bars(span: Span, x: Axis, unit_s: float) -> Markup:
    """What a trial spent, as bars one after the other; a mark below where nothing was made, a cross where it failed."""
    low = HEIGHT - BOTTOM - 8
    start_s, parts = span.start_s, []
    for kind, seconds in span.seconds.items():
        if seconds > 0:
            left, right = x.at(start_s / unit_s), x.at((start_s + seconds) / unit_s)
            size: dict[str, Child] = {
                "x": f"{left:g}",
                "width": f"{max(right - left, 0.4):.3g}",
                "y": f"{low - LANE:g}",
                "height": LANE,
            }
            parts.append(element("rect", **size, class_=f"k-{kind}"))
        start_s += seconds
    middle = x.at((span.start_s + span.end_s) / 2 / unit_s)
    if span.record.failure is not None:
        parts.append(mark(middle, low - LANE - 6, "plus", 3.5, "broke"))
    elif not _made(span):
        parts.append(mark(middle, low + 4, "down", 2.5, "reused"))
    spent = ", ".join(f"{KINDS[kind]} {duration(seconds)}" for kind, seconds in span.seconds.items() if seconds > 0)
    words, number = element("title", f"{row_name(span.record)}: {spent or 'nothing'}"), span.record.number
    # Not reached by the tabulator key: hundreds of stops on the way to the next section, and the table has them all.
    return element("a", words, *parts, href=f"#t{number}", data_n=number, tabindex=-1)


def _legend() -> Markup:
    """What the colours and marks mean."""

    def sample(class_: str, words: str) -> Markup:
        box = element("span", class_=f"swatch {class_}")
        return element("li", box, f" {words}")

    return element(
        "ul",
        *(sample(f"k-{kind}", name) for kind, name in KINDS.items()),
        element("li", "▾ made nothing new"),
        element("li", "✚ failed"),
        element("li", element("span", "●", class_="front-dot"), " on the front"),
        element("li", "○ breaks a limit"),
        element("li", "line: best latency so far that keeps the limits"),
        class_="legend",
    )
