"""One search twice, the second with another seed and beside a program that takes a core now and then: do they agree?

    python -m benchmarks.two_searches [--workload histo] [--data DIR --weights FILE] [--budget 30]
                                      [--keep DIR] [--json FILE]

Compared are speed-ups over OpenVINO FP32, with the intervals that each study states: those of the configurations that
both tried, and those of the fastest members of the fronts. What a study itself calls noisy, because the host was busy
three times, is not compared. Without --data it is the demo search.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import autoopt
from autoopt.core import stats
from autoopt.core.stats import LogRatio
from autoopt.measure.host import current_host
from autoopt.study.result import StudyResult
from autoopt.study.short_names import describe
from benchmarks.load import beside

LEAST_AGREEING = 0.9
"""Of the speed-ups that both studies state: intervals of 95 % miss one in twenty, and few are compared."""
LOAD = """
import random, time
chance = random.Random(0)
while True:
    end = time.monotonic() + chance.uniform(5, 30)
    while time.monotonic() < end:
        pass
    time.sleep(chance.uniform(5, 30))
"""
SEEDS = (0, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both searches, print what they agree on, return 0 when they do."""
    options = _parser().parse_args(arguments)
    print(f"host      {current_host().cpu}, {current_host().cores} cores")
    studies = []
    for seed in SEEDS:
        with _home(options.keep, seed) as home, beside(None if seed == SEEDS[0] else LOAD):
            given = {"budget": options.budget, "data": options.data, "weights": options.weights}
            found = autoopt.search(options.workload, seed=seed, home=home, **given)
        studies.append(found.study)
        _told(found.study, seed, found.seconds["total"])
    outcome = compare(*studies)
    for line in outcome["lines"]:
        print(line)
    print(f"{outcome['agree']} of {outcome['both']} speed-ups that both state agree (goal: {LEAST_AGREEING:.0%})")
    print(f"the fastest members of the fronts {'agree' if outcome['fastest_agree'] else 'DISAGREE'}")
    if options.json is not None:
        options.json.write_text(json.dumps(outcome, indent=1) + "\n")
    return 0 if outcome["agree"] >= LEAST_AGREEING * outcome["both"] and outcome["fastest_agree"] else 1


def compare(first: StudyResult, second: StudyResult) -> dict[str, Any]:
    """What two studies of one space say of the same configurations, and of the fastest member of their fronts."""
    sides = [_speed_ups(study) for study in (first, second)]
    names = {record.configuration.digest: describe(record.configuration) for record in first.complete}
    lines, agree = [], 0
    both = [digest for digest in sides[0] if digest in sides[1]]
    for digest in both:
        one, other = sides[0][digest], sides[1][digest]
        same = agreeing(one, other)
        agree += same
        said = f"{one.ratio:6.3f} +- {one.error:.3f}  {other.ratio:6.3f} +- {other.error:.3f}"
        lines.append(f"{'same  ' if same else 'DIFFER'} {said}  {names[digest]}")
    fastest = [
        next(side[record.configuration.digest] for record in study.front if record.configuration.digest in side)
        for side, study in zip(sides, (first, second), strict=True)
    ]
    return {
        "both": len(both),
        "agree": agree,
        "lines": lines,
        "fastest_agree": agreeing(*fastest),
        "fastest": [[item.ratio, *item.interval()] for item in fastest],
        "front": [[record.configuration.digest for record in study.front] for study in (first, second)],
    }


def agreeing(one: LogRatio, other: LogRatio) -> bool:
    """Whether the noise of both explains their difference (at 95 %)."""
    low, high = LogRatio(one.value - other.value, (one.error**2 + other.error**2) ** 0.5).interval()
    return low <= 1.0 <= high


def _speed_ups(study: StudyResult) -> dict[str, LogRatio]:
    """Speed-up over OpenVINO FP32 by configuration, with the error that its interval states; not of noisy trials."""
    found = {}
    for record in study.complete:
        numbers = study.headline(record)
        noisy = record.measurement is None or record.measurement.contended
        if "speedup_vs_openvino_f32_low" in numbers and not noisy:
            low, value, high = (numbers[f"speedup_vs_openvino_f32{end}"] for end in ("_low", "", "_high"))
            reach = stats.normal_quantile(0.5 + stats.CONFIDENCE / 2)
            found[record.configuration.digest] = LogRatio(math.log(value), math.log(high / low) / (2 * reach))
    return found


def _told(study: StudyResult, seed: int, seconds: float) -> None:
    print(f"seed {seed}: {len(study.records)} trials in {seconds:.0f} s, {len(study.front)} on the front; the fastest:")
    best = study.front[0]
    numbers = study.headline(best)
    print(
        "  {speedup_vs_openvino_f32:.2f}x OpenVINO FP32 ({speedup_vs_openvino_f32_low:.2f} to "
        "{speedup_vs_openvino_f32_high:.2f}), drop {drop:+.4f}, at most {drop_upper:+.4f}, ".format(**numbers)
        + f"on test {numbers.get('test_drop', float('nan')):+.4f}: {describe(best.configuration)}"
    )


@contextmanager
def _home(keep: Path | None, seed: int) -> Iterator[Path]:
    if keep is not None:
        yield keep / f"seed-{seed}"
        return
    with tempfile.TemporaryDirectory(prefix="autoopt-") as folder:
        yield Path(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.two_searches", description=__doc__.splitlines()[0])
    parser.add_argument("--workload", default="histo")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--budget", type=int, default=30)
    parser.add_argument("--keep", type=Path, help="keep both home folders here")
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
