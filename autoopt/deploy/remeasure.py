"""Bundles measured again, here or with other versions: which promises hold, and which of them are still worth having.

Each is run as `check` runs it, beside the probe, so that hosts of different speed can be compared; a bundle is still on
the front where no other bundle is surely faster and at least as good. The slim install is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autoopt.core.stats import LogRatio
from autoopt.deploy.check import Checked, Finding, check_and_time
from autoopt.deploy.layout import read_card
from autoopt.deploy.self_test import PLAN
from autoopt.errors import UsageError
from autoopt.measure.gate import slowdown
from autoopt.measure.target import LocalTarget, Target
from autoopt.measure.timing import MeasuringPlan

LATENCY_LIMITS = ("latency_bound_s", "latency_s")
"""The limits of a pick that a new host may break by itself; quality goes with the answers."""


@dataclass(frozen=True)
class Again:
    """A bundle that was measured again.

    `now_ms` is the quartile of its calls here, `then_ms` what the bundle says; `ratio` the time of a call over that of
    the probe, None where it could not be timed, `foreign_share` what others took of the cores. `promises` are the
    limits of its pick that it breaks here, in words; `behind` the folder of a bundle that is surely faster and at least
    as good. With `less_is_better` the quality is an error.
    """

    checked: Checked
    trial: int | None
    quality: float | None
    then_ms: float | None
    now_ms: float | None
    ratio: LogRatio | None
    sigma: float = 0.0
    foreign_share: float = 0.0
    promises: tuple[str, ...] = ()
    behind: Path | None = None
    less_is_better: bool = False

    @property
    def worth(self) -> float | None:
        """The quality, with its sign turned where less of it is better; None where it is not known."""
        return None if self.quality is None else -self.quality if self.less_is_better else self.quality

    @property
    def stays(self) -> bool:
        """Whether it runs and answers as it did, keeps its promises and is not behind another bundle."""
        return self.checked.passed and not self.promises and self.behind is None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            **self.checked.to_json(),
            "trial": self.trial,
            "quality": self.quality,
            "then_ms": self.then_ms,
            "now_ms": self.now_ms,
            "ratio_to_probe": None if self.ratio is None else asdict(self.ratio),
            "broken_promises": list(self.promises),
            "behind": None if self.behind is None else str(self.behind),
            "stays": self.stays,
        }


def remeasure(
    bundles: Sequence[str | Path],
    *,
    stand_ins: bool = False,
    target: Target | None = None,
    plan: MeasuringPlan = PLAN,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> tuple[Again, ...]:
    """Measure the bundles in these folders again on `target`, by default this host, in their order.

    Raises UsageError for no bundle, for one that is named twice, and for bundles of different workloads; what is wrong
    with a single one is in its findings.
    """
    folders = [Path(item) for item in bundles]
    if not folders or len({item.resolve() for item in folders}) < len(folders):
        raise UsageError("bundles to measure must be named, each once")
    cards = [read_card(folder) for folder in folders]
    workloads = {str(card.get("workload")) for card in cards}
    if len(workloads) > 1:
        raise UsageError(f"bundles must be of one workload to be compared, they are of {', '.join(sorted(workloads))}")
    host = target or LocalTarget()
    found = []
    for folder, card in zip(folders, cards, strict=True):
        on_stage(f"measuring {folder} again")
        found.append(_again(folder, card, host, plan, stand_ins=stand_ins))
    return tuple(_compared(item, found) for item in found)


def _again(folder: Path, card: Mapping[str, Any], target: Target, plan: MeasuringPlan, *, stand_ins: bool) -> Again:
    checked, ran, sigma = check_and_time(folder, target=target, plan=plan, stand_ins=stand_ins)
    numbers = card.get("numbers") if isinstance(card.get("numbers"), Mapping) else {}
    quality = card.get("quality") if isinstance(card.get("quality"), Mapping) else {}
    now_s = None if ran is None else ran.model_s
    assert isinstance(numbers, Mapping) and isinstance(quality, Mapping)
    return Again(
        checked,
        trial=_whole(card.get("trial")),
        quality=_number(numbers.get(str(quality.get("primary")))),
        less_is_better=quality.get("less_is_better") is True,
        then_ms=_number(numbers.get("latency_p25_ms")),
        now_ms=None if now_s is None else 1e3 * now_s,
        ratio=None if ran is None else ran.ratio,
        sigma=sigma,
        foreign_share=0.0 if ran is None else ran.foreign_share or 0.0,
        promises=_broken(card, now_s),
    )


def _compared(item: Again, every: Sequence[Again]) -> Again:
    """The same with the bundle that it is behind, where there is one."""
    for other in every:
        if other is item or item.ratio is None or other.ratio is None or not other.checked.passed:
            continue
        at_least_as_good = item.worth is not None and other.worth is not None and other.worth >= item.worth
        busy = (other.foreign_share, item.foreign_share)
        slower = slowdown(other.ratio, item.ratio, max(item.sigma, other.sigma), busy, session_error=0.0)
        by_clock = item.now_ms is not None and other.now_ms is not None and item.now_ms > other.now_ms
        if at_least_as_good and slower.significant and by_clock:
            return replace(item, behind=other.checked.folder)
    return item


def _broken(card: Mapping[str, Any], now_s: float | None) -> tuple[str, ...]:
    """The limits on the latency with which the bundle was picked and that it does not keep here."""
    choice = card.get("choice")
    limits = choice.get("limits") if isinstance(choice, Mapping) else None
    if not isinstance(limits, Mapping) or now_s is None:
        return ()
    found = {_number(limits.get(name)) for name in LATENCY_LIMITS} - {None}
    return tuple(
        f"a call takes {1e3 * now_s:.2f} ms here, it was picked for at most {1e3 * most_s:.2f} ms"
        for most_s in sorted(item for item in found if item is not None)
        if now_s > most_s
    )


def in_words(found: Sequence[Again]) -> list[str]:
    """What was found, a line for each bundle, and what is wrong with it below."""
    lines = []
    for item in found:
        times = "not timed" if item.now_ms is None else f"{item.now_ms:.2f} ms"
        then = "" if item.then_ms is None else f" (then {item.then_ms:.2f} ms)"
        slower = item.checked.slowdown
        beside = "" if slower is None else f"; {slower} beside a probe"
        lines.append(f"{'stays' if item.stays else 'goes':6}{item.checked.folder}: {times}{then}{beside}")
        lines += [f"      {text}" for text in _reasons(item)]
    return lines


def _reasons(item: Again) -> list[str]:
    matters: list[Finding] = [finding for finding in item.checked.findings if finding.matters]
    behind = [] if item.behind is None else [f"{item.behind} is surely faster here and at least as good"]
    return [*(f"{finding.about}: {finding.text}" for finding in matters), *item.promises, *behind]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
