"""Why one trial is faster or slower than another: their layers side by side, and what the numbers say in plain words.

Pure: profiles in, sentences out. Nothing is named as a cause that the layers' times do not show.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autoopt.core.records import TrialRecord
from autoopt.inference.formats.names import SYNONYMS, WEIGHTED, is_counted
from autoopt.inference.runtimes.layers import Layer
from autoopt.measure.profiling import CONVERSIONS, UNKNOWN, Profile
from autoopt.study.result import StudyResult
from autoopt.study.short_names import describe

SAME = 0.10
"""Latencies that differ by less are called equal, and so are layers."""
WORTH = 0.10
"""A part of the difference that is smaller than this fraction of it is not told."""
MUCH = 0.05
"""A fraction of a trial's time that is worth a sentence of its own."""
LITTLE = 0.01
"""The fraction of a trial's time below which layers that INT8 slows down are not told."""
MOVED = 0.25
"""A time of now that differs from the recorded one by more is pointed out."""
UNACCOUNTED = 0.15
"""The layers' times and a plain call may differ by this fraction before the reader is told."""
NAMED = 3
"""Layers that one sentence names."""
PRECISION_WORDS = {
    "i8": "INT8",
    "bf16": "BF16",
    "f16": "FP16",
    "f32": "FP32",
    UNKNOWN: "other",
    CONVERSIONS: "conversions",
}

_FAMILIES = {
    "Conv": ("conv", "fusedconv", "qlinearconv", "convinteger", "nhwcfusedconv"),
    "ConvTranspose": ("convtranspose", "deconvolution"),
    "Gemm": (
        "fullyconnected",
        "linear",
        "addmm",
        "qlinearmatmul",
        "matmulinteger",
        "qgemm",
        "fusedmatmul",
        "fusedgemm",
    ),
    "Concat": ("cat", "concatenation", "qlinearconcat"),
    "MaxPool": ("pooling",),
}
_SAME_OPERATION = {
    **{name.lower(): names[0] for names in SYNONYMS for name in names},
    **{word: family for family, words in _FAMILIES.items() for word in words},
}
_ADDED = ("/WithoutBiases", "/duplicated", "_nchwc", "_quant")


@dataclass(frozen=True)
class Side:
    """A stored trial and its profile of today; `latency` is what the study timed, a "call" or a "case"."""

    record: TrialRecord
    profile: Profile
    latency: str = "call"

    @property
    def title(self) -> str:
        """Its number and a short name."""
        return f"#{self.record.number} {self.record.label or describe(self.record.configuration)}"

    @property
    def quantized(self) -> bool:
        """Whether the trial asks for integers."""
        return self.record.configuration.section("quantize") is not None

    @property
    def recorded_s(self) -> float | None:
        """The p25 latency in the study, of what the study times: a call or a whole case."""
        return None if self.record.measurement is None else self.record.measurement.latency_p25_s

    @property
    def recorded_call_s(self) -> float | None:
        """The recorded latency where it compares with a call of now."""
        return self.recorded_s if self.latency == "call" else None


@dataclass(frozen=True)
class Pair:
    """The same work in two trials: the layers of each that share an original layer; one of them may be empty.

    What one trial fuses and the other does not is one pair, so their seconds compare.
    """

    mine: tuple[Layer, ...]
    theirs: tuple[Layer, ...]

    @property
    def matched(self) -> bool:
        """Whether both trials have it."""
        return bool(self.mine and self.theirs)

    @property
    def mine_s(self) -> float:
        """Seconds in the trial that is explained."""
        return sum(layer.seconds for layer in self.mine)

    @property
    def theirs_s(self) -> float:
        """Seconds in the trial it is compared with."""
        return sum(layer.seconds for layer in self.theirs)

    @property
    def name(self) -> str:
        """A name that also holds in settings, where either trial has one."""
        names = [clean_name(_lead(layers).name) for layers in (self.mine, self.theirs) if layers]
        return next((name for name in names if "/" in name), names[0])

    @property
    def family(self) -> str:
        """The operation of its longest layer, as ONNX calls it."""
        return family(_lead(self.mine or self.theirs).type)


@dataclass(frozen=True)
class Explanation:
    """One trial explained, beside another or alone; `sentences` say why, `notes` what limits them."""

    study: StudyResult
    trial: Side
    against: Side | None
    pairs: tuple[Pair, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def sides(self) -> tuple[Side, ...]:
        """The trial and, where there is one, what it is compared with."""
        return (self.trial,) if self.against is None else (self.trial, self.against)


def explained(study: StudyResult, trial: Side, against: Side | None, notes: Sequence[str] = ()) -> Explanation:
    """The explanation that follows from the profiles."""
    pairs = () if against is None else pair_layers(trial.profile.working, against.profile.working)
    sentences = (*diagnose(trial, against, pairs), *_elsewhere(study, trial, against))
    return Explanation(study, trial, against, pairs, sentences, tuple(notes))


def family(kind: str) -> str:
    """What an operation is called in ONNX, from any library's word for it; the word itself where none is known."""
    plain = re.sub(r"\dd$", "", kind.lower().replace("_", ""))
    return _SAME_OPERATION.get(plain, _SAME_OPERATION.get(kind.lower(), kind if "_" not in kind else plain))


def clean_name(name: str) -> str:
    """A layer's name without what a library appends to it."""
    for suffix in _ADDED:
        name = name.removesuffix(suffix)
    return name


def pair_layers(mine: Sequence[Layer], theirs: Sequence[Layer]) -> tuple[Pair, ...]:
    """The working layers of two trials side by side, in the order of the first trial.

    Layers belong together that share an original layer or a name. Of the rest those of one operation are paired in
    order where both trials have equally many; the others stay alone.
    """
    layers = [*mine, *theirs]
    pairs = [
        Pair(
            tuple(layers[index] for index in group if index < len(mine)),
            tuple(layers[index] for index in group if index >= len(mine)),
        )
        for group in _linked([_keys(layer) for layer in layers])
    ]
    together = [pair for pair in pairs if pair.matched]
    alone = [[pair for pair in pairs if not pair.matched and pair.mine], [pair for pair in pairs if not pair.mine]]
    counts = [Counter(pair.family for pair in side) for side in alone]
    for name, count in counts[0].items():
        if counts[1][name] == count:
            here, there = ([pair for pair in side if pair.family == name] for side in alone)
            together += [Pair(one.mine, other.theirs) for one, other in zip(here, there, strict=True)]
            alone = [[pair for pair in side if pair.family != name] for side in alone]
    order = {id(layer): index for index, layer in enumerate(layers)}
    return tuple(sorted([*together, *alone[0], *alone[1]], key=lambda pair: order[id((pair.mine or pair.theirs)[0])]))


def diagnose(trial: Side, against: Side | None, pairs: Sequence[Pair] = ()) -> tuple[str, ...]:
    """The sentences that explain `trial`, most important first."""
    sentences = [] if against is None else _headline(trial, against)
    sentences += _where(trial)
    if against is not None:
        sentences += _difference(trial, against, pairs)
        if trial.quantized and not against.quantized:
            sentences += _slower_integers(trial, pairs)
    sentences += _conversions(trial)
    sides = [side for side in (trial, against) if side is not None]
    return (*sentences, *_busy(sides), *(text for side in sides for text in _unaccounted(side)))


def percent(share: float) -> str:
    """A fraction in whole percent; what rounds to all or nothing, but is not, says so."""
    if 0 < share < 0.005:
        return "under 1 %"
    return "over 99 %" if 0.995 <= share < 1 else f"{share * 100:.0f} %"


def milliseconds(seconds: float) -> str:
    """Three digits are more than a busy host keeps."""
    return f"{seconds * 1e3:.3g}" if seconds < 0.1 else f"{seconds * 1e3:.0f}"


def _headline(trial: Side, against: Side) -> list[str]:
    mine, theirs = trial.profile.call_s, against.profile.call_s
    if min(mine, theirs) <= 0:
        return []
    times = f"{_ms(mine)} instead of {_ms(theirs)} a call, measured in turns now"
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
    """What the study recorded, where it says something else than the ratio of `now`."""
    if trial.recorded_call_s is None or against.recorded_call_s is None:
        return []
    then = trial.recorded_call_s / against.recorded_call_s
    if _change(then, 1) == _change(now, 1) and max(then / now, now / then) <= 1 + MOVED:
        return []
    recorded = f"{then:.2f} times the latency ({_ms(trial.recorded_call_s)} and {_ms(against.recorded_call_s)})"
    return [f"The study recorded {recorded}, now it is {now:.2f} times: replay both trials before acting on this."]


def _where(trial: Side) -> list[str]:
    """Where the time is, by precision; what of a quantized trial is not quantized."""
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
    weighted = [layer for layer in profile.working if family(layer.type) in WEIGHTED]
    floats = _longest([layer for layer in weighted if layer.precision not in ("i8", "")])
    if floats and not any(layer.precision == "i8" for layer in profile.working):
        sentences.append(
            "No layer runs in an INT8 kernel although the trial is quantized: its layers with weights run in float, "
            f"{_counted(floats, 'layer')} in {_kernels(floats)}, so INT8 can save no arithmetic here."
        )
    elif floats:
        names = ", ".join(
            f"{clean_name(layer.name)} ({_ms(layer.seconds)}, {layer.kernel})" for layer in floats[:NAMED]
        )
        sentences.append(
            f"{len(floats)} of {len(weighted)} layers with weights run in float, {_ms(_sum(floats))} in all; "
            f"the longest: {names}."
        )
    return sentences


def _difference(trial: Side, against: Side, pairs: Sequence[Pair]) -> list[str]:
    """What the difference of the two is made of, largest parts first."""
    more = trial.profile.layers_s - against.profile.layers_s
    change = _change(trial.profile.call_s, against.profile.call_s)
    if not change:
        return []
    if more * change <= 0:
        totals = f"{_ms(trial.profile.layers_s)}, those of #{against.record.number} to {_ms(against.profile.layers_s)}"
        return [f"The layers do not show why: they add up to {totals}."]
    parts = _parts(trial, against, pairs)
    along = [text for seconds, text in parts if seconds * change > 0 and abs(seconds) >= WORTH * abs(more)]
    contrary = [text for seconds, text in parts if seconds * change < 0 and abs(seconds) >= WORTH * abs(more)]
    words = ("longer", "saves") if change > 0 else ("shorter", "loses")
    sentences = [f"Its layers take {_ms(abs(more))} {words[0]}: {'; '.join(along)}."] if along else []
    return sentences + ([f"It {words[1]} elsewhere: {'; '.join(contrary)}."] if contrary else [])


def _parts(trial: Side, against: Side, pairs: Sequence[Pair]) -> list[tuple[float, str]]:
    """The parts of the difference as (seconds, text): the conversions, each operation, what only one trial has."""
    here, there = trial.profile.conversions, against.profile.conversions
    seconds = _sum(here) - _sum(there)
    other = f"{_ms(_sum(there))} in {len(there)}" if there else "none"
    parts = [(seconds, f"{_signed(seconds)} in {_counted(here, 'conversion')} (there: {other})")]
    for name in dict.fromkeys(pair.family for pair in pairs if pair.matched):
        same = [pair for pair in pairs if pair.matched and pair.family == name]
        seconds = sum(pair.mine_s - pair.theirs_s for pair in same)
        sign = 1 if seconds > 0 else -1
        longest = sorted(same, key=lambda pair: -sign * (pair.mine_s - pair.theirs_s))[:NAMED]
        names = ", ".join(f"{pair.name} {_signed(pair.mine_s - pair.theirs_s)}" for pair in longest)
        kernels = f"{_kernels([_lead(p.mine) for p in same])} against {_kernels([_lead(p.theirs) for p in same])}"
        most = f", most in {names}" if len(same) > NAMED else f": {names}"
        parts.append((seconds, f"{_signed(seconds)} in {len(same)} {name} ({kernels}){most}"))
    for sign, number, layers in (
        (1, trial.record.number, [layer for pair in pairs if not pair.theirs for layer in pair.mine]),
        (-1, against.record.number, [layer for pair in pairs if not pair.mine for layer in pair.theirs]),
    ):
        if layers:
            seconds = sign * _sum(layers)
            parts.append((seconds, f"{_signed(seconds)} in {_counted(layers, 'layer')} that only #{number} has"))
    return sorted(parts, key=lambda part: -abs(part[0]))


def _slower_integers(trial: Side, pairs: Sequence[Pair]) -> list[str]:
    """The layers whose INT8 kernel is slower than the float one, by operation, with what to try."""
    integers = [
        pair
        for pair in pairs
        if pair.matched and _lead(pair.mine).precision == "i8" and _lead(pair.theirs).precision not in ("i8", "")
    ]
    sentences = []
    for name in dict.fromkeys(pair.family for pair in integers):
        same = [pair for pair in integers if pair.family == name]
        slower = [pair for pair in same if pair.mine_s > (1 + SAME) * pair.theirs_s]
        slower.sort(key=lambda pair: pair.theirs_s - pair.mine_s)
        mine, theirs = sum(pair.mine_s for pair in slower), sum(pair.theirs_s for pair in slower)
        if mine - theirs < LITTLE * trial.profile.layers_s:
            continue
        kernels = f"{_kernels([_lead(p.mine) for p in slower])} against {_kernels([_lead(p.theirs) for p in slower])}"
        every = len(slower) == len(same)
        selector = f"type:{name}" if every else ",".join(f"name:{pair.name}" for pair in slower[:NAMED])
        which = f"All {len(same)}" if every and len(same) > 1 else f"{len(slower)} of {len(same)}"
        verb = "is" if len(slower) == 1 else "are"
        sentence = (
            f"{which} {name} {verb} slower in INT8 than in float: {_ms(mine)} instead of {_ms(theirs)} ({kernels})."
        )
        if mine - theirs >= MUCH * trial.profile.layers_s:
            saved = f"saves at most {_ms(mine - theirs)}, less the conversions that this adds"
            sentence += f" To try: ignored_layers: {selector!r} keeps them in float and {saved}."
        sentences.append(sentence)
    return sentences


def _conversions(trial: Side) -> list[str]:
    """The conversions that cost much, and the float layers beside them in the order of execution."""
    profile = trial.profile
    if profile.shares.get(CONVERSIONS, 0.0) < MUCH:
        return []
    longest = _longest(profile.conversions)
    names = ", ".join(f"{layer.name} ({layer.type}, {_ms(layer.seconds)})" for layer in longest[:NAMED])
    sentence = f"The longest conversions: {names}."
    beside = _beside_conversions(profile)
    if not beside or not any(layer.precision == "i8" for layer in profile.working):
        return [sentence]
    kinds = Counter(family(layer.type) for layer in beside)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(NAMED))
    neighbours = f"Executed next to conversions, and in float: {listed}, such as {clean_name(beside[0].name)}."
    advice = "To try: another preset or tool, or ignored_layers that keep whole blocks around them in float."
    return [f"{sentence} {neighbours} {advice}"]


def _elsewhere(study: StudyResult, trial: Side, against: Side | None) -> list[str]:
    """For INT8 that does not pay: the fastest quantized trial of another runtime, if the study has a faster one."""
    if not trial.quantized or against is None or _change(trial.profile.call_s, against.profile.call_s) <= 0:
        return []
    name = trial.record.configuration.runtime.name
    others = [
        (record.measurement.latency_p25_s, record)
        for record in study.records
        if record.measurement is not None
        and record.configuration.section("quantize") is not None
        and record.configuration.runtime.name != name
    ]
    fastest = min(others, key=lambda item: item[0], default=None)
    if fastest is None or trial.recorded_s is None or _change(fastest[0], trial.recorded_s) >= 0:
        return []
    title = fastest[1].label or describe(fastest[1].configuration)
    times = f"{_ms(fastest[0])} for #{fastest[1].number} {title}, {_ms(trial.recorded_s)} for this one"
    return [f"In another runtime INT8 is faster: the study recorded {times}."]


def _beside_conversions(profile: Profile) -> list[Layer]:
    """The float layers that are executed right after or before a conversion, longest first."""
    layers = profile.layers
    return _longest(
        [
            layer
            for index, layer in enumerate(layers)
            if not layer.conversion
            and layer.precision not in ("i8", "")
            and any(other.conversion for other in (*layers[max(0, index - 1) : index], *layers[index + 1 : index + 2]))
        ]
    )


def _busy(sides: Sequence[Side]) -> list[str]:
    """A host that is slower now than it was: milliseconds are not those of the study, ratios and shares may be."""
    slow = [side for side in sides if side.profile.call_s > (1 + MOVED) * (side.recorded_call_s or np.inf)]
    if not slow:
        return []
    times = " and ".join(f"#{s.record.number} {_ms(s.profile.call_s)} for {_ms(s.recorded_call_s or 0)}" for s in slow)
    return [
        f"This host is slower now than when the study was made ({times}): trust ratios and shares, not milliseconds."
    ]


def _unaccounted(side: Side) -> list[str]:
    call_s, layers_s = side.profile.call_s, side.profile.layers_s
    if abs(layers_s - call_s) <= UNACCOUNTED * call_s:
        return []
    total = f"The layers of #{side.record.number} add up to {_ms(layers_s)}, a plain call takes {_ms(call_s)}"
    if layers_s > call_s:
        return [f"{total}: being profiled costs time, so trust the shares more than the milliseconds."]
    return [f"{total}: the rest is in no layer, but between layers or in waiting for a busy host."]


def _linked(keys: Sequence[set[tuple[str, str]]]) -> list[list[int]]:
    """The numbers of the sets in groups, in order: sets that share a key, directly or through others, are one group."""
    groups: list[tuple[set[tuple[str, str]], list[int]]] = []
    for index, own in enumerate(keys):
        touched = [group for group in groups if group[0] & own]
        groups = [group for group in groups if not group[0] & own]
        united = own.union(*(names for names, _ in touched))
        groups.append((united, sorted([index, *(item for _, items in touched for item in items)])))
    return [items for _, items in groups]


def _keys(layer: Layer) -> set[tuple[str, str]]:
    """What names a layer in any trial: module and operation of each original layer."""
    keys = set()
    for name in (layer.name, *layer.origins):
        if not is_counted(name):
            module, _, operation = clean_name(name).rpartition("/")
            kind, dash, number = operation.partition("-")
            keys.add((module, f"{family(kind) if module else kind}{dash}{number}".lower()))
    return keys


def _lead(layers: Sequence[Layer]) -> Layer:
    return max(layers, key=lambda layer: (family(layer.type) in WEIGHTED, layer.seconds))


def _longest(layers: Iterable[Layer]) -> list[Layer]:
    return sorted(layers, key=lambda layer: -layer.seconds)


def _sum(layers: Iterable[Layer]) -> float:
    return sum(layer.seconds for layer in layers)


def _counted(layers: Sequence[Layer], noun: str) -> str:
    """Such as: 14 conversions (8 Reorder, 6 FakeQuantize)."""
    kinds = Counter(layer.type for layer in layers).most_common(NAMED + 1)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds)
    return f"{len(layers)} {noun}{'' if len(layers) == 1 else 's'}{f' ({listed})' if listed else ''}"


def _kernels(layers: Sequence[Layer]) -> str:
    counts = Counter(layer.kernel for layer in layers if layer.kernel)
    return ", ".join(kernel for kernel, _ in counts.most_common(2)) or "unknown kernels"


def _change(mine: float, theirs: float) -> int:
    """1 for slower, -1 for faster, 0 within `SAME`."""
    if mine > (1 + SAME) * theirs:
        return 1
    return -1 if theirs > (1 + SAME) * mine else 0


def _ms(seconds: float) -> str:
    return f"{milliseconds(seconds)} ms"


def _signed(seconds: float) -> str:
    return f"{'+' if seconds >= 0 else '-'}{_ms(abs(seconds))}"
