"""Studies of one workload side by side: their fronts on one picture, their hypervolumes, what a drop of 0.01 buys.

    autoopt search --workload histo --data DIR --budget 16 --study int8
    autoopt search --workload histo --data DIR --space cpu-full --budget 50 --max-drop 0.05 --study full
    python -m benchmarks.fronts int8 full [--home mlruns] [--png FILE]

The hypervolume is the area in log10 of the speed-up over PyTorch FP32 times the primary metric, from 1x and the
reference less 0.05. All studies must be of the same host and reference.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

from autoopt import api
from autoopt.core.pareto import hypervolume
from autoopt.core.records import TrialRecord
from autoopt.study.result import StudyResult

FLOOR = 0.05
DROPS = (0.01, 0.02)


def points(study: StudyResult) -> dict[int, tuple[float, float]]:
    """Speed-up over PyTorch FP32 and primary metric of every trial that was measured and scored whole, by number."""
    reference = study.reference
    assert reference is not None and reference.quality is not None
    cases = len(reference.quality.cases)
    found = {}
    for record in study.judged:
        if record.quality is not None and record.measurement is not None and len(record.quality.cases) == cases:
            numbers = study.headline(record)
            found[record.number] = (numbers["speedup_vs_torch_f32"], record.quality.value)
    return found


def volume(study: StudyResult) -> float:
    """The hypervolume of a study."""
    assert study.reference is not None and study.reference.quality is not None
    floor = study.reference.quality.value - FLOOR
    return hypervolume([(-math.log10(speed), -value) for speed, value in points(study).values()], (0.0, -floor))


def fastest(study: StudyResult, drop: float) -> TrialRecord | None:
    """The fastest trial whose mean drop on val, and where it was confirmed on test, is at most `drop`."""
    whole = points(study)
    numbers = {record.number: study.headline(record) for record in study.judged if record.number in whole}
    found = [
        record
        for record in study.judged
        if record.number in whole
        and numbers[record.number]["drop"] <= drop
        and numbers[record.number].get("test_drop", 0.0) <= drop
    ]
    return min(found, key=lambda record: numbers[record.number]["latency_p25_ms"], default=None)


def describe(study: StudyResult) -> None:
    """Print the hypervolume of a study and what its best trials are."""
    print(f"{study.card.name} ({study.card.title}): {len(study.records)} trials, hypervolume {volume(study):.4f}")
    for drop in DROPS:
        record = fastest(study, drop)
        if record is not None:
            numbers = study.headline(record)
            shown = ", ".join(
                f"{name} {numbers[name]:.4g}"
                for name in (
                    "latency_p25_ms",
                    "speedup_vs_torch_f32",
                    "speedup_vs_openvino_f32",
                    "drop",
                    "drop_upper",
                    "test_drop",
                    "size_mb",
                )
                if name in numbers
            )
            print(f"  drop of at most {drop}: #{record.number} {shown}\n    {record.configuration}")


def draw(studies: list[StudyResult], path: Path) -> None:
    """The fronts of the studies, every trial behind them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    figure = Figure(figsize=(9, 5.4), dpi=110, layout="constrained")
    axes: Any = figure.subplots()
    for study, color in zip(studies, ("#2a7f9e", "#d1495b", "#e0a030", "#6a4c93"), strict=False):
        found = list(points(study).values())
        axes.scatter(*zip(*found, strict=True), s=16, color=color, alpha=0.35, linewidth=0)
        best = sorted(p for p in found if not any(q[0] > p[0] and q[1] >= p[1] for q in found))
        label = f"{study.card.name}: {len(study.records)} trials, hypervolume {volume(study):.3f}"
        axes.step(*zip(*best, strict=True), where="pre", color=color, marker="o", markersize=5, label=label)
    reference = studies[0].reference
    assert reference is not None and reference.quality is not None
    value = reference.quality.value
    axes.axhline(value, color="grey", linewidth=0.8)
    axes.axhline(value - DROPS[0], color="grey", linewidth=0.8, linestyle="--", label=f"a drop of {DROPS[0]}")
    axes.set(xscale="log", ylim=(value - FLOOR, None), xlim=(1, None))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}x"))
    axes.set_xlabel("speed-up over PyTorch FP32 (p25 of a call)")
    axes.set_ylabel(f"{studies[0].card.primary} on val")
    axes.set_title(studies[0].card.title, loc="left", weight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left")
    FigureCanvasAgg(figure)
    figure.savefig(path)


def main() -> int:
    """Describe the studies that are named, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+")
    parser.add_argument("--home", type=Path, default=Path("mlruns"))
    parser.add_argument("--png", type=Path, default=None)
    options = parser.parse_args()
    found = [api.front(study=name, home=options.home) for name in options.studies]
    for study in found:
        describe(study)
    if options.png is not None:
        draw(found, options.png)
    return 0


if __name__ == "__main__":
    sys.exit(main())
