"""A study of 1000 trials: what one more proposal, one more record, the front and their memory cost.

    python -m benchmarks.large_study [--trials 1000] [--space FILE] [--json FILE]

The trials are invented, their storage is a real SQLite file, and the space has more points than there are trials: else
nothing would be left to propose. Exits 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from autoopt.core.card import StudyCard
from autoopt.core.measurement import Measurement
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.measure.host import current_host
from autoopt.report.front_json import front_json
from autoopt.study.proposals import Proposal
from autoopt.study.space import load_space
from autoopt.study.storage import read_study
from autoopt.study.study import open_study

MOST_PROPOSAL_S, MOST_FRONT_S, MOST_TELL_S = 1.0, 2.0, 0.1
CASES, CALLS = 60, 30
LAST = 20
"""The last proposals and records, whose median counts."""


def invented(proposal: Proposal, random: np.random.Generator) -> TrialRecord:
    """A trial whose latency and quality follow from its configuration, with some noise."""
    weight = int(proposal.configuration.digest[:8], 16) / 2**32
    latency_s = 0.01 + 0.09 * weight
    turns = tuple(tuple(random.normal(latency_s, 1e-4, CALLS).tolist()) for _ in range(2))
    beside = tuple(tuple(random.normal(0.1, 1e-4, CALLS).tolist()) for _ in range(2))
    value = 0.9 - 0.02 * (1 - weight) - 0.02 * int(proposal.configuration.digest[8:16], 16) / 2**32
    cases = tuple(
        CaseScore(f"c{index}", f"g{index // 2}", {"dice_macro": value + 0.02 * (index % 5 - 2)})
        for index in range(CASES)
    )
    measurement = Measurement(
        turns_s=(turns, turns),
        warmups_s=((), ()),
        cpu_s=(latency_s, latency_s),
        load_s=0.1,
        first_call_s=0.1,
        peak_rss_bytes=10**8,
        artifact_bytes=10**6,
        effective={},
        host="host",
        reference_s=(beside, beside),
        reference_workers=("r", "r"),
        reference_latency_s=0.1,
    )
    quality = Quality("val", "dice_macro", "mean", {"dice_macro": value}, cases)
    return TrialRecord(
        proposal.configuration,
        Status.COMPLETE,
        origin=proposal.origin,
        label=proposal.label,
        measurement=measurement,
        quality=quality,
    )


def run(trials: int, space_name: str, folder: Path) -> dict[str, float]:
    """Fill a study, and time what a search and `autoopt front` do with it: seconds, and bytes a trial."""
    host = current_host()
    space = load_space(space_name, host)
    card = StudyCard(
        "large", "histo", True, "dice_macro", "d", "w", space.text, ("latency", "quality"), 0, host, {"drop": 0.01}
    )
    url, random = f"sqlite:///{folder / 'study.db'}", np.random.default_rng(0)
    asked, told, held = [], [], []
    with open_study(url, card, space) as study:
        proposals = study.proposals(trials)
        while True:
            began = time.perf_counter()
            proposal = next(proposals, None)
            asked.append(time.perf_counter() - began)
            if proposal is None:
                break
            record = invented(proposal, random)
            began = time.perf_counter()
            study.tell(proposal, record)
            told.append(time.perf_counter() - began)
            held.append(psutil.Process().memory_info().rss)
    began = time.perf_counter()
    front_json(read_study(url, "large"))
    front_s = time.perf_counter() - began
    if len(told) < trials:
        raise SystemExit(f"the space has only {len(told)} points: {trials} trials need a larger one")
    half = len(held) // 2
    return {
        "trials": float(len(told)),
        "proposal_s": statistics.median(asked[-LAST - 1 : -1]),
        "tell_s": statistics.median(told[-LAST:]),
        "front_s": front_s,
        "bytes_a_trial": (held[-1] - held[half]) / max(1, len(held) - half),
    }


def main() -> int:
    """Run it, print the figures beside the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--space", default=str(Path(__file__).with_name("large_space.yaml")))
    parser.add_argument("--json", type=Path)
    options: Any = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(options.trials, options.space, Path(folder))
    goals = {"proposal_s": MOST_PROPOSAL_S, "tell_s": MOST_TELL_S, "front_s": MOST_FRONT_S}
    for name, value in found.items():
        goal = f" (goal: at most {goals[name]:g})" if name in goals else ""
        print(f"{name:<14} {value:.4g}{goal}")
    if options.json is not None:
        options.json.write_text(json.dumps(found))
    return int(any(found[name] > most for name, most in goals.items()))


if __name__ == "__main__":
    sys.exit(main())
