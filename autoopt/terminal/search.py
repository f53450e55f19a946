"""What a search prints when it is done, or before it begins: the front, where the time goes, the next commands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from autoopt.core.records import Status, TrialRecord
from autoopt.core.urls import without_secrets
from autoopt.deploy.nothing_fits import numbers_text
from autoopt.deploy.pick import picked
from autoopt.report.next_commands import Place, pull_command, report_path, trial_command
from autoopt.study.request import SearchRequest
from autoopt.study.result import StudyResult
from autoopt.study.words import in_words
from autoopt.terminal.console import console_of, counts_text, duration, wrapped
from autoopt.terminal.front_table import front
from autoopt.tracking.server import is_server

if TYPE_CHECKING:
    from autoopt.study.events import SearchResult
    from autoopt.study.plan import SearchPlan

BALANCED = "balanced"
"""The policy whose choice is shown first."""
BUSIER = 1.1
"""A plan says that the host was busy where that makes it so many times longer."""


def search_result(result: SearchResult, request: SearchRequest) -> None:
    """Print the front, where the time went, and the next commands."""
    console = console_of()
    front(result.study)
    counts = {status: sum(record.status is status for record in result.records) for status in Status}
    tally = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    wrapped(console, f"{len(result.records)} trials ({tally}); {result.stopped}.")
    for text in (*_uncertainty(result.study), *warnings(result.study)):
        wrapped(console, text)
    if result.exhaustive:
        wrapped(console, "The canonical space is not larger than the budget: the search is exhaustive.")
    _failures(console, result.records)
    if result.made or result.reused:
        wrapped(console, f"Artifacts made: {counts_text(result.made)}; reused: {counts_text(result.reused)}.")
    total = result.seconds.get("total", 0.0)
    shares = [f"{kind} {duration(seconds)}" for kind, seconds in result.seconds.items() if kind != "total"]
    wrapped(console, f"Time: {duration(total)} = {' + '.join(shares)}.")
    console.print(
        "Next:", *(f"  {command}" for command in next_commands(result.study, request)), sep="\n", markup=False
    )


def answer(result: SearchResult, request: SearchRequest) -> None:
    """Print what `--quiet` leaves: the answer in one line on standard output, warnings on standard error before it."""
    study = result.study
    for text in (*([study.card.weights_remark] if study.card.weights_remark else []), *warnings(study)):
        console_of(stderr=True).print(f"warning: {text}", markup=False)
    if not study.front:
        console_of().print(f"{study.card.name}: nothing fits after {len(result.records)} trials.", markup=False)
        return
    record = picked(study, BALANCED)
    command = pull_command(study.card.name, BALANCED, Place(request.home, request.storage))
    console_of().print(
        f"{study.card.name}: {len(study.front)} of {len(result.records)} trials on the front; {BALANCED} is "
        f"#{record.number} ({in_words(record.configuration)}): {numbers_text(study, record)}; {command}",
        markup=False,
    )


def plan(planned: SearchPlan) -> None:
    """Print what a search would do and cost."""
    console = console_of()
    card = planned.card
    basis = "from this study so far" if planned.measured_here else "a guess: no trial was measured here yet"
    size = f"{planned.count.n}" if planned.count.exact else f"at least {planned.count.n}"
    lines = [
        f"study        {card.name} ({card.title})",
        f"space        {size} canonical points of {planned.raw_size:.0f}: the rest has no effect on this host",
        f"search       {'exhaustive' if planned.exhaustive else f'seeds, then the sampler {planned.sampler}'}",
        f"seeds        {', '.join(planned.seeds)}",
        f"trials       {planned.trials_done} done, {planned.trials_to_run} to run",
        f"artifacts    about {counts_text(planned.artifacts)}, each made once",
        f"time         about {duration(planned.seconds)} ({basis}){_busy(planned)}{_stop(planned)}",
        f"disk         about {planned.disk_bytes / 1e6:.0f} MB",
    ]
    console.print("\n".join(lines), markup=False)
    if card.weights_remark:
        console.print(card.weights_remark, markup=False)


def _busy(planned: SearchPlan) -> str:
    """A remark that what the estimate is made of was timed on a busy host, with the time where it stays as busy."""
    if planned.busy_s <= BUSIER * planned.seconds:
        return ""
    return f" if the host is left alone; it was busy when this was timed, and {duration(planned.busy_s)} if it stays so"


def _stop(planned: SearchPlan) -> str:
    """A remark that the search is stopped by `--time`, where that is before the estimated end."""
    cut = planned.time_s is not None and planned.time_s < planned.seconds
    return f", but --time stops it after {duration(planned.time_s or 0.0)}" if cut else ""


def _uncertainty(study: StudyResult) -> list[str]:
    """The noise that the intervals contain."""
    if study.reference_latency_s is None:
        return []
    return [
        (
            f"Fresh processes of one model differ by {study.sigma:.1%} here: that is in every interval. "
            "`on front` is the chance to be there, given the noise."
        )
    ]


def warnings(study: StudyResult) -> list[str]:
    """The trials that broke the limit on test, and the noisy ones, a sentence each."""
    broken = [record for record in study.front if study.confirmed_on_test(record) is False]
    noisy = [record for record in study.judged if any(note.startswith("noisy") for note in record.notes)]
    lost = "lost more there than the limit that it kept on val."
    found = [f"Did not hold on test: {', '.join(f'#{record.number}' for record in broken)} {lost}"] if broken else []
    found += [f"Noisy, the host was busy: {', '.join(f'#{record.number}' for record in noisy)}."] if noisy else []
    return found


def _failures(console: Console, records: Sequence[TrialRecord]) -> None:
    causes: dict[str, int] = {}
    for record in records:
        if record.failure is not None:
            causes[f"{record.failure.cause} in {record.failure.stage}"] = (
                causes.get(f"{record.failure.cause} in {record.failure.stage}", 0) + 1
            )
    if causes:
        wrapped(
            console,
            "Failed: " + ", ".join(f"{count} x {cause}" for cause, count in sorted(causes.items())) + ".",
        )


def next_commands(study: StudyResult, request: SearchRequest) -> list[str]:
    """What can be typed next, each command as it must be typed where the search was."""
    place, uri = Place(request.home, request.storage), request.tracking_uri
    name = shlex.quote(study.card.name)
    where = Place(request.home).flags if uri is None else f" --tracking-uri {shlex.quote(without_secrets(uri))}"
    commands = [f"autoopt ui{where}"]
    if (page := report_path(request.home, study.card.name)).is_file():
        commands.append(f"xdg-open {shlex.quote(str(page))}   # the report, in a browser")
    else:
        commands.append(f"autoopt report {name}{place.flags} -o report.html")
    commands.append(f"autoopt front --study {name}{place.flags}")
    if study.front:
        commands.append(trial_command("replay", study.card.name, study.front[0].number, place))
        commands.append(pull_command(study.card.name, "balanced", place))
        if uri is not None and is_server(uri):  # its front was registered
            server, workload = shlex.quote(without_secrets(uri)), shlex.quote(study.card.workload)
            commands.append(f"autoopt pull --workload {workload} --tracking-uri {server} -o deploy/   # on any machine")
    return commands
