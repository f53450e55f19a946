"""The numbers of a trial: declared once, in their units, and the same everywhere."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.core.configuration import Configuration
from autoopt.core.records import Status, TrialRecord
from autoopt.inference.runtimes import BASELINE_LABEL, REFERENCE_LABEL
from autoopt.study import uncertainty
from autoopt.study.number import Comparison, Number
from autoopt.study.numbers import NUMBERS, headline, objectives, without_interval
from tests.worlds import REFERENCE_S, measured, scored

DOCUMENT = Path(__file__).parents[2] / "docs" / "mlflow.md"


def trial(number: int, latency_s: float, value: float, label: str = "", processes: int = 2) -> TrialRecord:
    configuration = Configuration.of({"runtime": {"name": "fake", "number": number}})
    measurement = replace(
        measured(latency_s, processes=processes),
        cost={"macs": 2_000_000_000, "weights": 500_000},
        energy_j=0.25,
        concurrent_s=(((latency_s / 1.6,), (latency_s / 1.6,)),),
        concurrent_reference_s=(((REFERENCE_S,), (REFERENCE_S,)),),
        concurrent_requests=2,
        peak_rss_bytes=300_000_000,
        artifact_bytes=7_000_000,
        load_s=0.2,
        first_call_s=0.3,
        cpu_s=(0.05,) * processes,
    )
    return TrialRecord(
        configuration,
        Status.COMPLETE,
        number,
        label=label,
        measurement=measurement,
        quality=scored(value),
        test=scored(value - 0.02, "test"),
    )


TORCH = trial(0, 0.2, 0.9, REFERENCE_LABEL)
OPENVINO = trial(1, 0.1, 0.9, BASELINE_LABEL)
FAST = trial(2, 0.02, 0.89)
OPENVINO = replace(
    OPENVINO,
    measurement=replace(
        OPENVINO.measured, cost={"macs": 2_000_000_000, "weights": 1_000_000}, artifact_bytes=14_000_000
    ),
)
FLOAT = trial(3, 0.08, 0.9)
BESIDE = Comparison(TORCH, OPENVINO, FLOAT, sigma=0.01, front_probability=0.75, roofline=0.4)


def test_every_number_is_in_its_unit() -> None:
    """Seconds are shown as milliseconds, bytes as 1e6 bytes, and so on; speed-ups and drops are against the seeds."""
    found = headline(FAST, "dice_macro", BESIDE)
    expected = {
        "latency_p25_ms": 20,
        "latency_raw_p25_ms": 20,
        "latency_p50_ms": 20,
        "latency_p95_ms": 20,
        "latency_p99_ms": 20,
        "throughput_per_s": 50,
        "concurrent_per_s": 80,
        "cpu_ms_per_call": 50,
        "load_ms": 200,
        "first_call_ms": 300,
        "peak_rss_mb": 300,
        "size_mb": 7,
        "energy_mj_per_call": 250,
        "gmacs": 2,
        "weights_m": 0.5,
        "weights_ratio": 2,
        "macs_ratio": 1,
        "size_ratio": 2,
        "processes": 2,
        "calls": 24,
        "speedup_vs_torch_f32": 10,
        "speedup_vs_openvino_f32": 5,
        "speedup_vs_best_float": 4,
        "dice_macro": 0.89,
        "drop": 0.01,
        "drop_upper": 0.01,
        "test_dice_macro": 0.87,
        "test_drop": 0.01,
        "front_probability": 0.75,
        "roofline_fraction": 0.4,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=0.01)
    assert found["latency_low_ms"] < 20 < found["latency_high_ms"]
    low, high = uncertainty.latency_interval(FAST.measurement, 0.01)  # type: ignore[arg-type]
    assert (found["latency_low_ms"], found["latency_high_ms"]) == pytest.approx((low * 1e3, high * 1e3))
    assert found["speedup_vs_torch_f32_low"] < 10 < found["speedup_vs_torch_f32_high"]
    assert found["speedup_vs_openvino_f32_low"] < 5 < found["speedup_vs_openvino_f32_high"]


def test_what_does_not_exist_is_left_out() -> None:
    """A trial alone has no speed-up, drop or probability; a reference no interval to itself; a failed one nothing."""
    alone = headline(replace(FAST, test=None), "dice_macro")
    for name in ("speedup", "drop", "test_", "front_probability", "roofline"):
        assert not any(key.startswith(name) for key in alone)
    itself = headline(TORCH, "dice_macro", BESIDE)
    assert itself["speedup_vs_torch_f32"] == 1.0 and "speedup_vs_torch_f32_low" not in itself
    assert headline(replace(FAST, measurement=None, quality=None, test=None), "dice_macro", BESIDE) == {
        "front_probability": 0.75,
        "roofline_fraction": 0.4,
    }
    assert "weights_m" not in headline(
        replace(FAST, measurement=replace(measured(0.1), cost={"macs": 1, "weights": 0})), "dice_macro"
    )


def test_every_number_has_an_interval_or_a_reason() -> None:
    """Of each number of a trial there are both ends, or a sentence says why not; ends and probabilities need none."""
    found, reasons = headline(FAST, "dice_macro", BESIDE), without_interval(FAST, "dice_macro", BESIDE)
    assert set(reasons) <= set(found) and all(len(reason) > 5 for reason in reasons.values())
    assert reasons["latency_p99_ms"].startswith("24 calls were timed, it needs 368")
    for number in NUMBERS.values():
        key = number.name("dice_macro")
        if number.interval is None or key not in found or key in reasons or key in ("drop", "test_drop"):
            continue
        unit = f"_{key.rpartition('_')[2]}" if number.unit else ""
        unit = "_per_s" if number.unit == "calls/s" else unit
        stem = key.removesuffix(unit).removesuffix("_p25")
        ends = [found.get(f"{stem}{side}{unit}") for side in ("_low", "_high")]
        assert None not in ends, key
        assert ends[0] - 1e-9 <= found[key] <= ends[1] + 1e-9, key  # type: ignore[operator]
    itself = without_interval(TORCH, "dice_macro", BESIDE)
    assert itself["speedup_vs_torch_f32"] == "it is the trial that others are compared with"


def test_a_number_from_outside_says_that_it_has_none() -> None:
    """A number that is declared without an interval is shown with the remark that nothing was said of one."""
    plain = Number("stutter", "", "the slowest call over the usual one", lambda record, beside: 1.0)
    assert plain.why_no_interval(FAST) == "what declares the number says nothing of one"


def test_a_speedup_over_pytorch_needs_pytorch() -> None:
    """Where another seed stands in for PyTorch, drops are against it but no speed-up is called one over PyTorch."""
    found = headline(FAST, "dice_macro", replace(BESIDE, reference=OPENVINO))
    assert "speedup_vs_torch_f32" not in found
    assert found["drop"] == pytest.approx(0.01)


def test_infinite_bounds_are_no_numbers() -> None:
    """One patient has no bound of a drop: what is not finite is left out, for JSON and MLflow have no such numbers."""

    def single(value: float) -> TrialRecord:
        quality = scored(value)
        return replace(FAST, quality=replace(quality, cases=quality.cases[:1]))

    found = headline(single(0.89), "dice_macro", replace(BESIDE, reference=single(0.9)))
    assert found["drop"] == pytest.approx(0.01)
    assert "drop_upper" not in found


@pytest.mark.parametrize("number", NUMBERS.values(), ids=list(NUMBERS))
def test_a_key_says_its_unit(number: Number) -> None:
    """A number in a unit names it in its key, and every number says what it means."""
    words = {"ms": "_ms", "MB": "_mb", "mJ": "_mj", "calls/s": "_per_s", "1e9": "g", "1e6": "_m"}
    assert number.unit == "" or words[number.unit] in number.key
    assert len(number.meaning) > 5
    assert number.log or not number.objective or number.objective == "quality"


def test_objectives_are_minimised_in_si_units() -> None:
    """What is optimised is in seconds and bytes, and quality with its sign turned; what is missing is an error."""
    assert set(objectives()) == {"latency", "quality", "memory", "size", "throughput", "energy"}
    values = {name: number.minimised(FAST) for name, number in objectives().items()}
    expected = {"latency": 0.02, "quality": -0.89, "memory": 3e8, "size": 7e6, "throughput": -80.0, "energy": 0.25}
    assert values == pytest.approx(expected, rel=1e-3)
    with pytest.raises(ValueError, match="trial 2 has no memory"):
        objectives()["memory"].minimised(replace(FAST, measurement=None))


def test_documentation_lists_every_number() -> None:
    """The table of docs/mlflow.md has every number with its unit and its meaning, in this order."""
    table = re.findall(r"^\| `(\S+)` \| ([^|]*) \| ([^|]*) \|$", DOCUMENT.read_text(), re.MULTILINE)
    wanted = [(number.name("dice_macro"), number.unit, number.meaning) for number in NUMBERS.values()]
    assert [(key, unit.strip(), meaning.strip()) for key, unit, meaning in table] == wanted


def test_samplers_are_told_logarithms_of_which_less_is_better() -> None:
    """Where ratios count the logarithm is told, its sign turned where more is better: twice the throughput is log 2
    less, as half the latency is."""
    chosen = objectives()
    assert chosen["throughput"].told(FAST) == pytest.approx(-math.log(80), abs=1e-3)
    assert chosen["latency"].told(FAST) == pytest.approx(math.log(0.02), abs=1e-3)
    assert chosen["quality"].told(FAST) == pytest.approx(-0.89)
    alone = replace(FAST, measurement=measured(0.02))
    assert chosen["throughput"].known(FAST) and not chosen["throughput"].known(alone)
