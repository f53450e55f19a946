"""The numbers of a trial in words for a report, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping

from autoopt.core.records import TrialRecord
from autoopt.study.result import StudyResult
from autoopt.study.words import in_words

OVER = {"openvino_f32": "OpenVINO FP32", "torch_f32": "PyTorch FP32"}
"""The ends of the keys of speed-ups, the fair comparison first, and what each is over."""


def latency_words(numbers: Mapping[str, float]) -> str:
    """Such as: 5.94 ms (5.72-6.17)."""
    if "latency_p25_ms" not in numbers:
        return "not timed"
    ends = (numbers.get("latency_low_ms"), numbers.get("latency_high_ms"))
    between = "" if None in ends else f" ({ends[0]:.3g}-{ends[1]:.3g})"
    return f"{numbers['latency_p25_ms']:.3g} ms{between}"


def speedup_words(numbers: Mapping[str, float], over: str) -> str:
    """Such as: 8.33 (7.91-8.78); empty where it is not known. `over` is a key of `OVER`."""
    key = f"speedup_vs_{over}"
    if key not in numbers:
        return ""
    ends = (numbers.get(f"{key}_low"), numbers.get(f"{key}_high"))
    between = "" if None in ends else f" ({ends[0]:.3g}-{ends[1]:.3g})"
    return f"{numbers[key]:.3g}{between}"


def drop_words(numbers: Mapping[str, float], before: str = "") -> str:
    """Such as: 0.0080 (at most 0.0104); empty where it is not known. `before` is "test_" for the drop there."""
    if f"{before}drop" not in numbers:
        return ""
    upper = numbers.get(f"{before}drop_upper")
    return f"{_without_sign_of_zero(numbers[f'{before}drop'])}{'' if upper is None else f' (at most {upper:.4f})'}"


def loss_words(numbers: Mapping[str, float], before: str = "") -> str:
    """The same in a sentence, where what is gained is no loss: nothing (at most 0.0009)."""
    words = drop_words(numbers, before)
    shown, _, rest = words.partition(" ")
    return words if float(shown) > 0 else f"nothing {rest}".rstrip()


def _without_sign_of_zero(value: float) -> str:
    text = f"{value:.4f}"
    return text.removeprefix("-") if float(text) == 0 else text


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
