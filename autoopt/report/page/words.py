"""The numbers of a trial in words for a report, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping

from autoopt.core.records import TrialRecord
from autoopt.study.number import PRIMARY, Number
from autoopt.study.numbers import objectives
from autoopt.study.result import StudyResult
from autoopt.study.words import in_words

OVER = {"openvino_f32": "OpenVINO FP32", "torch_f32": "PyTorch FP32"}
"""The ends of the keys of speed-ups, the fair comparison first, and what each is over."""
DIGITS = 4
"""Decimals of a drop."""
VERBS = {"drop": "loses", "gain": "gains", "rise": "rises by", "fall": "falls by"}
"""What a model does, or its error, by what the drop is called."""
USUAL = ("latency_p25_ms", PRIMARY, "size_mb")


def latency_words(numbers: Mapping[str, float]) -> str:
    """Such as: 5.94 ms (5.72-6.17)."""
    if "latency_p25_ms" not in numbers:
        return "not timed"
    ends = (numbers.get("latency_low_ms"), numbers.get("latency_high_ms"))
    between = "" if None in ends else f" ({ends[0]:.3g}-{ends[1]:.3g})"
    return f"{numbers['latency_p25_ms']:.3g} ms{between}"


def speedup_words(numbers: Mapping[str, float], over: str) -> str:
    """Such as: 8.33 (7.91-8.78); empty where it is not known, and over itself. `over` is a key of `OVER`."""
    key = f"speedup_vs_{over}"
    ends = (numbers.get(f"{key}_low"), numbers.get(f"{key}_high"))
    if key not in numbers or None in ends:  # only the ratio to itself has no interval
        return ""
    return f"{numbers[key]:.3g} ({ends[0]:.3g}-{ends[1]:.3g})"


def drop_words(numbers: Mapping[str, float], before: str = "", *, less_is_better: bool = False) -> tuple[str, str]:
    """What a drop is called and its words, such as: drop, 0.0080 (at most 0.0104); no words where it is not known.

    It is called a gain where the bound says so, or where there is none the drop; of an error a rise and a fall.
    `before` is "test_" for the drop there.
    """
    name, opposite = ("rise", "fall") if less_is_better else ("drop", "gain")
    if f"{before}drop" not in numbers:
        return name, ""
    drop, upper = numbers[f"{before}drop"], numbers.get(f"{before}drop_upper")
    sign, bound = 1, "at most"
    if round(drop if upper is None else upper, DIGITS) < 0:
        name, sign, bound = opposite, -1, "at least"
    return name, f"{_decimal(sign * drop)}{'' if upper is None else f' ({bound} {_decimal(sign * upper)})'}"


def loss_words(numbers: Mapping[str, float], before: str = "", *, less_is_better: bool = False) -> tuple[str, str]:
    """The same for a sentence: a verb and its words, such as: loses, nothing (at most 0.0009)."""
    name, words = drop_words(numbers, before, less_is_better=less_is_better)
    shown, _, rest = words.partition(" ")
    return VERBS[name], words if not words or float(shown) > 0 else f"nothing {rest}".rstrip()


def _decimal(value: float) -> str:
    return f"{value:z.{DIGITS}f}"


def other_objectives(result: StudyResult) -> list[Number]:
    """The objectives of a study besides latency, quality and size, which every table has: those with a column."""
    asked = (objectives()[name] for name in result.card.objectives)
    return [number for number in asked if number.key not in USUAL and number.column is not None]


def other_words(result: StudyResult, record: TrialRecord) -> dict[str, str]:
    """The numbers of these by the titles of their columns, such as: peak MB to 152 (150-152)."""
    numbers, found = result.headline(record), {}
    for number in other_objectives(result):
        column, value = number.column, numbers.get(number.key)
        if column is not None and value is not None:
            ends = [column.below_format.format(numbers[key]) for key in column.below if key in numbers]
            between = f" ({'-'.join(ends)})" if ends else ""
            found[column.title] = f"{column.format.format(value)}{between}"
    return found


def size_words(numbers: Mapping[str, float]) -> str:
    """Such as: 2.04 MB."""
    return f"{numbers['size_mb']:.2f} MB" if "size_mb" in numbers else ""


def named(record: TrialRecord) -> str:
    """A trial as a person says it: its label, else its configuration."""
    return record.label or in_words(record.configuration)


def point_words(result: StudyResult, record: TrialRecord) -> str:
    """What a point of a figure tells: number, latency and quality, status, configuration."""
    words = [f"#{record.number} {named(record)}"]
    if record.measurement is not None:
        words.append(f"p25 {record.measurement.latency_p25_s * 1e3:.3g} ms")
    if record.quality is not None:
        words.append(f"{result.card.primary} {record.quality.value:.4f}")
    return ", ".join([*words, str(record.status.value)])
