"""What MLflow's pages say of a study and of its trials in words, and in which colours charts draw them."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.core.records import TrialRecord
from autoopt.deploy.nothing_fits import nothing_fits
from autoopt.deploy.pick import picked
from autoopt.study.limits import in_words as limits_in_words
from autoopt.study.result import StudyResult
from autoopt.study.words import in_words
from autoopt.tracking import addresses, views
from autoopt.tracking.note_text import block, plain, shortened
from autoopt.tracking.views import BASELINE_SPEEDUP

COLOUR = "mlflow.runColor"
FRONT, REFERENCE, OTHER = "#D55E00", "#0072B2", "#B0B7BD"
"""The colours of front, references and all other trials: told apart also by who sees few colours."""
PICK = "balanced"
"""What the note of a study answers with, as `autoopt pull` does where nothing is asked for."""
LOG_LINES = 15
MOST_ROWS = 12
PICTURE, REPORT = "front.png", "report.html"
"""The files of a study's run that its note shows and links."""


def colour(record: TrialRecord, result: StudyResult) -> str:
    """The colour of a trial in MLflow's charts."""
    if any(member.number == record.number for member in result.front):
        return FRONT
    references = (result.reference, result.openvino_f32)
    return REFERENCE if any(r is not None and r.number == record.number for r in references) else OTHER


def trial_note(record: TrialRecord, result: StudyResult) -> str:
    """The note of a trial: of a failed one why it failed and the end of its log, else its numbers and its verdict."""
    words = plain(in_words(record.configuration))
    name = f"**#{record.number}** {words}{f' ({plain(record.label)})' if record.label else ''}"
    if (failure := record.failure) is not None:
        why = f"**Failed in {plain(failure.stage)}: {plain(failure.cause)}.** {plain(failure.message)}"
        parts = [why, *([block(failure.log_tail, LOG_LINES)] if failure.log_tail.strip() else []), name]
        return shortened("\n\n".join(parts))
    said = [f"{name}: {_numbers(record, result)}.", _verdict(record, result)]
    said += [plain(f"Doubts: {'; '.join(doubts)}.")] if (doubts := _doubts(record)) else []
    return shortened("\n\n".join(line for line in said if line))


def study_note(result: StudyResult, experiment: str, run_id: str) -> str:
    """The note of a study: its answer, the picture of its front, a table, links."""
    links = (
        ("report", addresses.run(experiment, run_id, REPORT)),
        ("all trials", addresses.view(experiment, views.key(result.card))),
        ("as a chart", addresses.view(experiment, views.key(result.card), charts=True)),
    )
    parts = [
        answer(result),
        f"![front]({addresses.picture(run_id, PICTURE)})",
        _table(result),
        " · ".join(f"[{words}]({address})" for words, address in links),
        _about(result),
    ]
    return shortened("\n\n".join(part for part in parts if part))


def answer(result: StudyResult) -> str:
    """What to deploy, in one line of Markdown, or why nothing can be."""
    demo = "**Demo data.** " if result.card.demo else ""
    if not result.records:
        return f"{demo}No trial has ended yet."
    if not result.front:
        return f"{demo}{plain(nothing_fits(result))}"
    record = picked(result, PICK)
    numbers = _numbers(record, result)
    return f"{demo}Deploy **#{record.number}** ({plain(in_words(record.configuration))}): {numbers}."


def _about(result: StudyResult) -> str:
    """Trials, limits, host and what to know of the weights and the reference."""
    card = result.card
    limits = limits_in_words(card.limits) or "none"
    words = [
        f"Study {card.name} of {card.title}: {len(result.records)} trials, limits: {limits}",
        f"{card.host.cpu}, {card.host.cores} cores",
        *(text for text in (result.stand_in, card.weights_remark) if text),
    ]
    return plain("; ".join(words))


def _numbers(record: TrialRecord, result: StudyResult) -> str:
    """Latency with its interval, speed-up, quality, drop with its bound, on test, size."""
    found, primary = result.headline(record), result.card.primary
    said = []
    if "latency_p25_ms" in found:
        ends = [found.get(f"latency_{end}_ms") for end in ("low", "high")]
        between = "" if None in ends else f" ({ends[0]:.4g} to {ends[1]:.4g})"
        said.append(f"{found['latency_p25_ms']:.4g} ms{between}")
    if BASELINE_SPEEDUP in found:
        said.append(f"{found[BASELINE_SPEEDUP]:.2f} x OpenVINO FP32")
    if primary in found:
        said.append(f"{plain(primary)} {found[primary]:.4f}")
    for before, words in (("", "drop"), ("test_", "on test")):
        if f"{before}drop" in found:
            upper = found.get(f"{before}drop_upper")
            said.append(f"{words} {found[f'{before}drop']:+z.4f}{'' if upper is None else f' (at most {upper:+z.4f})'}")
    if "size_mb" in found:
        said.append(f"{found['size_mb']:.4g} MB")
    return ", ".join(said) or "nothing was measured"


def _verdict(record: TrialRecord, result: StudyResult) -> str:
    """Where a trial stands in its study, in one sentence or more."""
    same, tie = result.duplicates.get(record.number), result.ties.get(record.number)
    said = ["On the front."] if tie is not None else []
    if tie is not None and tie != record.number:
        said.append(f"Not told from #{tie}, which is as fast and as good within the noise.")
    if record.violated:
        broken = {name: result.card.limits[name] for name in record.violated}
        said.append(f"Breaks a limit: {plain(limits_in_words(broken))}.")
    if result.confirmed_on_test(record) is False:
        said.append("Did not hold on test.")
    said += [] if same is None else [f"Ran the same as #{same}."]
    return " ".join(said)


def _doubts(record: TrialRecord) -> Sequence[str]:
    return () if record.measurement is None else record.measurement.doubts


def _table(result: StudyResult) -> str:
    """The front in five columns, fastest first."""
    if not result.front:
        return ""
    card = result.card
    rows = [_row(record, result) for record in result.front[:MOST_ROWS]]
    left = len(result.front) - len(rows)
    lines = [f"| trial | what | p25 ms | {plain(card.primary)} | drop |", "| --- | --- | ---: | ---: | ---: |", *rows]
    return "\n".join([*lines, *([f"\nand {left} more, see front.md"] if left else [])])


def _row(record: TrialRecord, result: StudyResult) -> str:
    found = result.headline(record)

    def cell(name: str, form: str) -> str:
        return form.format(found[name]) if name in found else "-"

    cells = (
        f"#{record.number}",
        plain(in_words(record.configuration)),
        f"{cell('latency_p25_ms', '{:.4g}')} ({cell('latency_low_ms', '{:.4g}')}-{cell('latency_high_ms', '{:.4g}')})",
        cell(result.card.primary, "{:.4f}"),
        cell("drop", "{:+z.4f}"),
    )
    return f"| {' | '.join(cells)} |"
