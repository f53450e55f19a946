"""The difference of two trials as lines for people, as JSON, and its cases as CSV."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from autoopt.core import stats
from autoopt.core.configuration import finite
from autoopt.core.measurement import Measurement
from autoopt.core.records import Status
from autoopt.core.scores import Quality
from autoopt.report.csv_text import csv_text
from autoopt.report.number_text import ms
from autoopt.report.trial_diff import OFF, Setting, Side, TrialDiff
from autoopt.study import uncertainty
from autoopt.study.result import StudyResult
from autoopt.study.words import in_words

SAID: tuple[tuple[str, str, Callable[[Measurement], int]], ...] = (
    ("size", "size", lambda measured: measured.artifact_bytes),
    ("memory", "peak of memory", lambda measured: measured.peak_rss_bytes),
)
"""Numbers in bytes: key in JSON, words, how to read it."""


def diff_text(diff: TrialDiff) -> list[str]:
    """The lines that `autoopt diff` prints."""
    before, after = diff.before, diff.after
    lines = [_of(before.study)] if before.study.card == after.study.card else []
    lines += [_title(diff, before), _title(diff, after), ""]
    lines += _settings("settings that differ", diff.settings) or ["no setting differs"]
    lines += _settings("what really ran differs", diff.effective, none="unknown")
    lines += ["", *_latency(diff), *_quality(diff)]
    for _, words, read in SAID:
        one, other = read(before.record.measured), read(after.record.measured)
        share = f" ({other / one:.2f} times)" if one else ""
        lines.append(f"{words}: {one / 1e6:.4g} MB -> {other / 1e6:.4g} MB{share}")
    lines += ["", *_cases(diff)]
    return lines


def diff_json(diff: TrialDiff) -> dict[str, Any]:
    """Plain JSON: times in seconds, sizes in bytes; a bound that is infinite is null."""
    before, after = diff.before.record, diff.after.record
    return {
        "before": _side_json(diff.before),
        "after": _side_json(diff.after),
        "settings": [asdict(item) for item in diff.settings],
        "effective": [asdict(item) for item in diff.effective],
        "latency_ratio": None if diff.latency is None else _ratio_json(diff.latency),
        "no_latency_ratio": diff.no_latency,
        "metric": diff.metric,
        "drop": _drop_json(diff.drop, before.quality, after.quality),
        "drop_on_test": _drop_json(diff.test_drop, before.test, after.test),
        "cases": {"paired": len(diff.cases), **diff.tally},
        "worst_cases": [asdict(case) for case in diff.worst],
    }


def cases_csv(diff: TrialDiff) -> str:
    """All paired cases of val, those that lost most first; cases without a defined score last."""
    rows = sorted(diff.cases, key=lambda case: (case.lost is None, -(case.lost or 0.0)))
    header = ("case", "group", f"{diff.metric} before", f"{diff.metric} after", "lost")
    return csv_text(header, [(case.id, case.group, case.before, case.after, case.lost) for case in rows])


def _title(diff: TrialDiff, side: Side) -> str:
    """The trial in words, with its study where they are of two."""
    record = side.record
    label = f" ({record.label})" if record.label else ""
    state = "" if record.status is Status.COMPLETE else f"; it is {record.status}"
    which = "before" if side is diff.before else "after "
    where = "" if diff.before.study.card == diff.after.study.card else f"; {_of(side.study)}"
    return f"{which} {side.name}{label}: {in_words(record.configuration)}{state}{where}"


def _of(study: StudyResult) -> str:
    card = study.card
    return f"study {card.name}, {card.title}, on {card.host.cpu} ({card.host.cores} cores)"


def _settings(heading: str, settings: Sequence[Setting], none: str = OFF) -> list[str]:
    """The settings below a heading; `none` is the word for None."""
    if not settings:
        return []
    width = max(len(item.name) for item in settings)
    return [heading, *(line for item in settings for line in _setting(item, width, none))]


def _setting(item: Setting, width: int, none: str) -> Iterator[str]:
    """One line; of two lists, such as kernels with their numbers, what only one of them has."""
    before, after = (none if value is None else str(value) for value in (item.before, item.after))
    if "," in before and "," in after:
        first, second = (dict.fromkeys(text.split(",")) for text in (before, after))
        yield f"  {item.name:<{width}}  - {', '.join(word.strip() for word in first if word not in second)}"
        yield f"  {'':<{width}}  + {', '.join(word.strip() for word in second if word not in first)}"
    else:
        yield f"  {item.name:<{width}}  {before} -> {after}"


def _latency(diff: TrialDiff) -> list[str]:
    before, after, unit = diff.before, diff.after, diff.before.study.card.latency
    times = [ms(side.record.measured.latency_p25_s) for side in (before, after)]
    measured = f"p25 of a {unit} {times[0]} -> {times[1]}"
    if diff.latency is None:
        ends = [_interval_ms(side) for side in (before, after)]
        return [f"latency: {measured} (95 %: {ends[0]} and {ends[1]} ms); no ratio: {diff.no_latency}"]
    low, high = diff.latency.interval()
    told = "" if not low <= 1 <= high else "; the noise explains the difference"
    ratio, words = diff.latency.ratio, "takes {} times as long as"
    if ratio < 1:
        (ratio, low, high), words = (1 / ratio, 1 / high, 1 / low), "is {} times as fast as"
    said = f"{after.name} {words.format(f'{ratio:.3g}')} {before.name}"
    return [f"latency: {said} (95 %: {low:.3g} to {high:.3g}){told}; {measured}"]


def _interval_ms(side: Side) -> str:
    low, high = uncertainty.latency_interval(side.record.measured, side.study.sigma)
    return f"{low * 1e3:.3g} to {high * 1e3:.3g}"


def _quality(diff: TrialDiff) -> list[str]:
    before, after = diff.before.record, diff.after.record
    assert before.quality is not None and after.quality is not None
    lines = [_scores(diff.metric, before.quality, after.quality, diff.drop)]
    if diff.before.study.card.less_is_better:
        lines.append(f"  (less {diff.metric} is better: the drop is by how much it rose)")
    if before.quality.left_out or after.quality.left_out:
        lines.append("  (one of them was scored on some of the cases only: what was lost is that on the cases of both)")
    if before.test is not None and after.test is not None:
        lines.append(_scores(diff.metric, before.test, after.test, diff.test_drop))
    return lines


def _scores(metric: str, before: Quality, after: Quality, drop: stats.Drop | None) -> str:
    told = _drop(drop, before.worth - after.worth, _patients(before, after))
    return f"{metric} on {before.split}: {before.value:.4f} -> {after.value:.4f}; {told}"


def _patients(before: Quality, after: Quality) -> int:
    """How many patients have a score in both."""
    return len(before.worth_by_group().keys() & after.worth_by_group().keys())


def _drop(found: stats.Drop | None, value: float, patients: int) -> str:
    if found is None:
        return f"drop {_signed(value)}, without an interval: no values of single patients are known"
    if not math.isfinite(found.low + found.high):
        return f"drop {_signed(found.value)}, without an interval: one patient says nothing of others"
    paired = f"{patients} patients" if found.groups == patients else f"{found.groups} cases of one patient"
    if not any(found.differences):
        return f"no drop: none of {paired} differs"
    told = "; no difference can be told" if found.tied else ""
    ends = f"95 %: {_signed(found.low)} to {_signed(found.high)}"
    return f"drop {_signed(found.value)} ({ends}; {paired}, Wilcoxon p = {found.p_value:.2g}){told}"


def _signed(value: float) -> str:
    """With four decimals and a sign, none where they are all zero."""
    text = f"{value:+.4f}"
    return text[1:] if float(text) == 0 else text


def _cases(diff: TrialDiff) -> list[str]:
    if not diff.cases:
        return [f"cases: {diff.metric} is a metric of a whole split, single cases have none"]
    tally = diff.tally
    undefined = f", {tally['undefined']} without a score" if tally["undefined"] else ""
    counts = f"{tally['better']} are better in {diff.after.name}, {tally['worse']} worse, {tally['equal']} equal"
    lines = [f"cases: of {len(diff.cases)} on val {counts}{undefined}"]
    if not diff.worst:
        return lines
    width = max(len(case.id) for case in diff.worst)
    lines.append(f"  {'lost most':<{width}}  {diff.before.name:>8}  {diff.after.name:>8}      lost")
    return lines + [f"  {c.id:<{width}}  {c.before:8.4f}  {c.after:8.4f}  {c.lost:+8.4f}" for c in diff.worst]


def _side_json(side: Side) -> dict[str, Any]:
    record = side.record
    assert record.quality is not None
    low, high = uncertainty.latency_interval(record.measured, side.study.sigma)
    return {
        "study": side.study.card.name,
        "demo": side.study.card.demo,
        "host": side.study.card.host.fingerprint,
        "trial": record.number,
        "label": record.label,
        "status": str(record.status),
        "words": in_words(record.configuration),
        "configuration": record.configuration.sections(),
        "latency_p25_s": record.measured.latency_p25_s,
        "latency_p25_s_interval": [finite(low), finite(high)],
        "quality": record.quality.value,
        "quality_on_test": None if record.test is None else record.test.value,
        **{f"{key}_bytes": read(record.measured) for key, _, read in SAID},
    }


def _ratio_json(ratio: stats.LogRatio) -> dict[str, Any]:
    low, high = ratio.interval()
    return {"value": ratio.ratio, "low": finite(low), "high": finite(high)}


def _drop_json(drop: stats.Drop | None, before: Quality | None, after: Quality | None) -> dict[str, Any] | None:
    if drop is None or before is None or after is None:
        return None
    ends = {"low": finite(drop.low), "high": finite(drop.high)}
    return {"value": drop.value, **ends, "patients": _patients(before, after), "wilcoxon_p": drop.p_value}
