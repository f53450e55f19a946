"""The sentences of an explanation: why one trial is faster or slower than another, from their profiles.

Profiles in, sentences out; nothing is measured here. A cause is named only where the layers' times show it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from autoopt.inference.runtimes.layers import Layer
from autoopt.measure.profiling import CONVERSIONS, Profile
from autoopt.report.explanation import PRECISION_WORDS, Explanation, Side
from autoopt.report.layer_pairs import (
    Pair,
    clean_name,
    family,
    has_weights,
    longest_first,
    main_layer,
    pair_layers,
    total_s,
)
from autoopt.report.number_text import ms, percent, signed_ms
from autoopt.study.result import StudyResult
from autoopt.study.words import in_words

SAME = 0.10
"""Latencies, and layers, that differ by less than this fraction count as equal."""
WORTH = 0.10
"""A part of the difference that is smaller than this fraction of it is left out."""
MUCH = 0.05
"""A fraction of a trial's time that deserves a sentence of its own."""
LITTLE = 0.01
"""Layers that INT8 slows down by less than this fraction of the trial's time are left out."""
MOVED = 0.25
"""A time of now that differs from the recorded one by more than this fraction is pointed out."""
UNACCOUNTED = 0.15
"""The reader is told when the layers' times and a plain call differ by more than this fraction."""
NAMED = 3
"""How many layers one sentence names."""


def explained(study: StudyResult, trial: Side, against: Side | None, notes: Sequence[str] = ()) -> Explanation:
    """The explanation of `trial` beside `against` (None: alone), from their profiles."""
    pairs = () if against is None else pair_layers(trial.profile.working, against.profile.working)
    sentences = (*diagnose(trial, against, pairs), *_faster_elsewhere(study, trial, against))
    return Explanation(study, trial, against, pairs, sentences, tuple(notes))


def diagnose(trial: Side, against: Side | None, pairs: Sequence[Pair] = ()) -> tuple[str, ...]:
    """The sentences that explain `trial`, most important first."""
    sentences = [] if against is None else _headline(trial, against)
    sentences += [text for side in (trial, against) if side is not None for text in _stages_of_a_case(side)]
    sentences += _where_the_time_is(trial)
    if against is not None:
        sentences += _difference(trial, against, pairs)
        if trial.quantized and not against.quantized:
            sentences += _slower_integers(trial, pairs)
    sentences += _conversions(trial)
    sides = [side for side in (trial, against) if side is not None]
    return (*sentences, *_slower_host(sides), *(text for side in sides for text in _unaccounted(side)))


def _stages_of_a_case(side: Side) -> list[str]:
    """How much of a whole case the network is, and what the rest is."""
    case = side.profile.case
    if case is None or case.total_s <= 0:
        return []
    network, before, after = (
        percent(seconds / case.total_s) for seconds in (case.network_s, case.prepare_s, case.finish_s)
    )
    calls = "1 call" if case.calls == 1 else f"{case.calls} calls"
    shares = (
        f"a case of {side.title} takes {ms(case.total_s)}: {calls} of the network {network}, before it {before} "
        f"(reading the grid, scaling, cutting), after it {after} (joining, putting back, deciding)."
    )
    return [shares]


def _headline(trial: Side, against: Side) -> list[str]:
    """Which of the two is faster now, and by how much."""
    mine, theirs = trial.profile.call_s, against.profile.call_s
    if min(mine, theirs) <= 0:
        return []
    times = f"{ms(mine)} instead of {ms(theirs)} a call, measured in turns now"
    change = _change(mine, theirs)
    if not change:
        equal = f"{trial.title} is as fast as {against.title} within {SAME * 100:.0f} % ({times})"
        sentences = [f"{equal}: no cause is claimed for so little."]
    elif change > 0:
        sentences = [f"{trial.title} is slower than {against.title}: {mine / theirs:.2f} times the latency ({times})."]
    else:
        sentences = [f"{trial.title} is faster than {against.title} by {theirs / mine:.2f}x ({times})."]
    return sentences + _recorded_otherwise(trial, against, mine / theirs)


def _recorded_otherwise(trial: Side, against: Side, now: float) -> list[str]:
    """What the study recorded, where that contradicts `now`, the ratio of the two calls of now."""
    if trial.recorded_call_s is None or against.recorded_call_s is None:
        return []
    then = trial.recorded_call_s / against.recorded_call_s
    if _change(then, 1) == _change(now, 1) and max(then / now, now / then) <= 1 + MOVED:
        return []
    recorded = f"{then:.2f} times the latency ({ms(trial.recorded_call_s)} and {ms(against.recorded_call_s)})"
    return [f"The study recorded {recorded}, now it is {now:.2f} times: replay both trials before acting on this."]


def _where_the_time_is(trial: Side) -> list[str]:
    """The shares of time by precision, and the layers of a quantized trial that run in float."""
    profile, shares = trial.profile, trial.profile.shares
    if not shares:
        return ["The runtime recorded no time for any layer."]
    parts = [
        f"{percent(part)} in {PRECISION_WORDS[name]} kernels" for name, part in shares.items() if name != CONVERSIONS
    ]
    if CONVERSIONS in shares:
        parts.append(f"{percent(shares[CONVERSIONS])} in {_counted(profile.conversions, 'conversion')}")
    sentences = [f"Where its time is: {', '.join(parts)}."]
    if not trial.quantized:
        return sentences
    weighted = [layer for layer in profile.working if has_weights(layer)]
    floats = longest_first([layer for layer in weighted if layer.precision not in ("i8", "")])
    if floats and not any(layer.precision == "i8" for layer in profile.working):
        sentences.append(
            "No layer runs in an INT8 kernel although the trial is quantized: its layers with weights run in float, "
            f"{_counted(floats, 'layer')} in {_kernels(floats)}, so INT8 can save no arithmetic here."
        )
    elif floats:
        names = ", ".join(f"{clean_name(layer.name)} ({ms(layer.seconds)}, {layer.kernel})" for layer in floats[:NAMED])
        sentences.append(
            f"{len(floats)} of {len(weighted)} layers with weights run in float, {ms(total_s(floats))} in all; "
            f"the longest: {names}."
        )
    return sentences


def _difference(trial: Side, against: Side, pairs: Sequence[Pair]) -> list[str]:
    """What makes the difference, largest parts first."""
    more = trial.profile.layers_s - against.profile.layers_s
    change = _change(trial.profile.call_s, against.profile.call_s)
    if not change:
        return []
    if more * change <= 0:
        totals = f"{ms(trial.profile.layers_s)}, those of #{against.record.number} to {ms(against.profile.layers_s)}"
        return [f"The layers do not show why: they add up to {totals}."]
    parts = _parts(trial, against, pairs)
    along = [text for seconds, text in parts if seconds * change > 0 and abs(seconds) >= WORTH * abs(more)]
    contrary = [text for seconds, text in parts if seconds * change < 0 and abs(seconds) >= WORTH * abs(more)]
    words = ("more", "saves") if change > 0 else ("less", "loses")
    sentences = [f"Its layers take {ms(abs(more))} {words[0]}: {'; '.join(along)}."] if along else []
    return sentences + ([f"It {words[1]} elsewhere: {'; '.join(contrary)}."] if contrary else [])


def _parts(trial: Side, against: Side, pairs: Sequence[Pair]) -> list[tuple[float, str]]:
    """The parts of the difference as (seconds, text), largest first: conversions, operations, layers of one alone."""
    here, there = trial.profile.conversions, against.profile.conversions
    seconds = total_s(here) - total_s(there)
    other = f"{ms(total_s(there))} in {len(there)}" if there else "none"
    parts = [(seconds, f"{signed_ms(seconds)} in {_counted(here, 'conversion')} (there: {other})")]
    for name in dict.fromkeys(pair.family for pair in pairs if pair.matched):
        same = [pair for pair in pairs if pair.matched and pair.family == name]
        seconds = sum(pair.mine_s - pair.theirs_s for pair in same)
        sign = 1 if seconds > 0 else -1
        longest = sorted(same, key=lambda pair: -sign * (pair.mine_s - pair.theirs_s))[:NAMED]
        names = ", ".join(f"{pair.name} {signed_ms(pair.mine_s - pair.theirs_s)}" for pair in longest)
        most = f", most in {names}" if len(same) > NAMED else f": {names}"
        parts.append((seconds, f"{signed_ms(seconds)} in {len(same)} {name} ({_kernels_of(same)}){most}"))
    for sign, number, layers in (
        (1, trial.record.number, [layer for pair in pairs if not pair.theirs for layer in pair.mine]),
        (-1, against.record.number, [layer for pair in pairs if not pair.mine for layer in pair.theirs]),
    ):
        if layers:
            seconds = sign * total_s(layers)
            parts.append((seconds, f"{signed_ms(seconds)} in {_counted(layers, 'layer')} that only #{number} has"))
    return sorted(parts, key=lambda part: -abs(part[0]))


def _slower_integers(trial: Side, pairs: Sequence[Pair]) -> list[str]:
    """The layers whose INT8 kernel is slower than the float kernel, by operation, and what to try."""
    integers = [
        pair
        for pair in pairs
        if pair.matched
        and main_layer(pair.mine).precision == "i8"
        and main_layer(pair.theirs).precision not in ("i8", "")
    ]
    sentences = []
    for name in dict.fromkeys(pair.family for pair in integers):
        same = [pair for pair in integers if pair.family == name]
        slower = [pair for pair in same if pair.mine_s > (1 + SAME) * pair.theirs_s]
        slower.sort(key=lambda pair: pair.theirs_s - pair.mine_s)
        mine, theirs = sum(pair.mine_s for pair in slower), sum(pair.theirs_s for pair in slower)
        if mine - theirs < LITTLE * trial.profile.layers_s:
            continue
        every = len(slower) == len(same)
        selector = f"type:{name}" if every else ",".join(f"name:{pair.name}" for pair in slower[:NAMED])
        which = f"All {len(same)}" if every and len(same) > 1 else f"{len(slower)} of {len(same)}"
        verb = "is" if len(slower) == 1 else "are"
        times = f"{ms(mine)} instead of {ms(theirs)} ({_kernels_of(slower)})"
        sentence = f"{which} {name} {verb} slower in INT8 than in float: {times}."
        if mine - theirs >= MUCH * trial.profile.layers_s:
            saved = f"saves at most {ms(mine - theirs)}, less the conversions that this adds"
            sentence += f" To try: ignored_layers: {selector!r} keeps them in float and {saved}."
        sentences.append(sentence)
    return sentences


def _conversions(trial: Side) -> list[str]:
    """The longest conversions, where they take much, and the float layers executed next to them."""
    profile = trial.profile
    if profile.shares.get(CONVERSIONS, 0.0) < MUCH:
        return []
    longest = longest_first(profile.conversions)
    names = ", ".join(f"{layer.name} ({layer.type}, {ms(layer.seconds)})" for layer in longest[:NAMED])
    sentence = f"The longest conversions: {names}."
    beside = _beside_conversions(profile)
    if not beside or not any(layer.precision == "i8" for layer in profile.working):
        return [sentence]
    kinds = Counter(family(layer.type) for layer in beside)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(NAMED))
    neighbours = f"Executed next to conversions, and in float: {listed}, such as {clean_name(beside[0].name)}."
    advice = "To try: another preset or tool, or ignored_layers that keep whole blocks around them in float."
    return [f"{sentence} {neighbours} {advice}"]


def _faster_elsewhere(study: StudyResult, trial: Side, against: Side | None) -> list[str]:
    """Where INT8 is slower than float: a quantized trial of another runtime that is faster, the fastest of them."""
    if not trial.quantized or against is None or _change(trial.profile.call_s, against.profile.call_s) <= 0:
        return []
    name = trial.record.configuration.runtime.name
    others = [
        (record.measurement.latency_p25_s, record)
        for record in study.judged
        if record.measurement is not None
        and record.configuration.section("quantize") is not None
        and record.configuration.runtime.name != name
    ]
    fastest = min(others, key=lambda item: item[0], default=None)
    if fastest is None or trial.recorded_s is None or _change(fastest[0], trial.recorded_s) >= 0:
        return []
    title = fastest[1].label or in_words(fastest[1].configuration)
    times = f"{ms(fastest[0])} for #{fastest[1].number} {title}, {ms(trial.recorded_s)} for this one"
    return [f"In another runtime INT8 is faster: the study recorded {times}."]


def _beside_conversions(profile: Profile) -> list[Layer]:
    """The float layers that are executed right before or after a conversion, longest first."""
    layers = profile.layers
    return longest_first(
        [
            layer
            for index, layer in enumerate(layers)
            if not layer.conversion
            and layer.precision not in ("i8", "")
            and any(other.conversion for other in (*layers[max(0, index - 1) : index], *layers[index + 1 : index + 2]))
        ]
    )


def _slower_host(sides: Sequence[Side]) -> list[str]:
    """A warning where this host is slower now than when the study was made."""
    slow = [side for side in sides if side.profile.call_s > (1 + MOVED) * (side.recorded_call_s or math.inf)]
    if not slow:
        return []
    times = " and ".join(f"#{s.record.number} {ms(s.profile.call_s)} for {ms(s.recorded_call_s or 0)}" for s in slow)
    return [
        f"This host is slower now than when the study was made ({times}): trust ratios and shares, not milliseconds."
    ]


def _unaccounted(side: Side) -> list[str]:
    """A warning where the layers' times do not add up to a plain call."""
    call_s, layers_s = side.profile.call_s, side.profile.layers_s
    if abs(layers_s - call_s) <= UNACCOUNTED * call_s:
        return []
    total = f"The layers of #{side.record.number} add up to {ms(layers_s)}, a plain call takes {ms(call_s)}"
    if layers_s > call_s:
        return [f"{total}: being profiled costs time, so trust the shares more than the milliseconds."]
    return [f"{total}: the rest is in no layer, but between layers or in waiting for a busy host."]


def _counted(layers: Sequence[Layer], noun: str) -> str:
    """Such as: 14 conversions (8 Reorder, 6 FakeQuantize). At most `NAMED` + 1 kinds are listed."""
    kinds = Counter(layer.type for layer in layers).most_common(NAMED + 1)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds)
    return f"{len(layers)} {noun}{'' if len(layers) == 1 else 's'}{f' ({listed})' if listed else ''}"


def _kernels_of(pairs: Sequence[Pair]) -> str:
    """The kernels of the pairs' main layers in either trial, such as: jit_i8 against jit_f32."""
    mine, theirs = [main_layer(pair.mine) for pair in pairs], [main_layer(pair.theirs) for pair in pairs]
    return f"{_kernels(mine)} against {_kernels(theirs)}"


def _kernels(layers: Sequence[Layer]) -> str:
    """The two kernels that most of the layers run in."""
    counts = Counter(layer.kernel for layer in layers if layer.kernel)
    return ", ".join(kernel for kernel, _ in counts.most_common(2)) or "unknown kernels"


def _change(mine: float, theirs: float) -> int:
    """1 for slower, -1 for faster, 0 within `SAME`."""
    if mine > (1 + SAME) * theirs:
        return 1
    return -1 if theirs > (1 + SAME) * mine else 0
