"""Check a bundle where it is to be used: its files, its signature, this host, its answers, its speed. Each in words.

What differs either matters (an altered file, another answer, another precision, a call that surely takes longer) or is
a remark (another host, another library with equal answers). What is not known is a remark, and fails where it was asked
for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoopt.deploy.goldens import deviation, goldens
from autoopt.deploy.layout import MODEL, SIGNATURE, pipeline_of
from autoopt.deploy.predictor import verified_card
from autoopt.deploy.self_test import PLAN, Answer, Examined, examine
from autoopt.deploy.stored_self_test import Stored, stored_self_test
from autoopt.deploy.surroundings import (
    FEWER_BITS,
    host_differences,
    precision_difference,
    setting_differences,
    version_differences,
)
from autoopt.errors import BundleError, TrialError, UsageError
from autoopt.inference.runtimes import runtime
from autoopt.measure import probe
from autoopt.measure.gate import Slowdown, slowdown
from autoopt.measure.target import LocalTarget, Target
from autoopt.measure.timing import MeasuringPlan

BUSY = 0.1
"""The share of the processor that other programs may take before it is told."""
LARGEST_GATE = 1000.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `about` what, in words, whether it is a `difference` and whether that `matters`."""

    about: str
    text: str
    difference: bool = True
    matters: bool = False


@dataclass(frozen=True)
class Checked:
    """All that was found of the bundle in `folder`; `slowdown` of its calls where they were timed, there and here."""

    folder: Path
    findings: tuple[Finding, ...]
    slowdown: Slowdown | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing that was found matters."""
        return not any(item.matters for item in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "folder": str(self.folder),
            "passed": self.passed,
            "slowdown": None if self.slowdown is None else asdict(self.slowdown),
            "findings": [asdict(item) for item in self.findings],
        }


def check(
    folder: str | Path,
    *,
    verify: str | Path | None = None,
    gate: float | None = None,
    timed: bool = True,
    stand_ins: bool = False,
    target: Target | None = None,
    plan: MeasuringPlan = PLAN,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Checked:
    """Check the bundle in `folder` on `target`, by default this host.

    With `verify`, the file of a public key, it must be signed by its owner. With `gate`, such as 1.1, a call that takes
    surely longer than when the bundle was written, and by more than so many times, is a difference that matters on any
    host; without it only on a host like that of the bundle, outside of the bundle's band. Nothing is timed unless it is
    `timed`. Raises UsageError for arguments that make no sense; whatever is wrong with the bundle is a finding.
    """
    _check_arguments(gate, timed=timed)
    return check_and_time(
        Path(folder),
        verify=verify,
        gate=gate,
        timed=timed,
        stand_ins=stand_ins,
        target=target or LocalTarget(),
        plan=plan,
        on_stage=on_stage,
    )[0]


def check_and_time(
    folder: Path,
    *,
    target: Target,
    verify: str | Path | None = None,
    gate: float | None = None,
    timed: bool = True,
    stand_ins: bool = False,
    plan: MeasuringPlan = PLAN,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> tuple[Checked, Examined | None, float]:
    """As `check`, with what its processes found (None where it was not run) and the noise between processes."""
    host = target
    on_stage("reading all files")
    try:
        card = verified_card(folder, verify=None if verify is None else Path(verify), stand_ins=stand_ins)
        stored = stored_self_test(folder, card)
    except BundleError as error:
        return Checked(folder, (Finding("files", str(error), matters=True),)), None, 0.0
    found = [_good("files", f"all {len(card['files'])} files are as they were written")]
    found += [_signature(folder, verify), *_surroundings(card, stored, host)]
    pipeline = pipeline_of(folder, card)
    inputs = tuple(item.golden for item in stored.goldens) or goldens(pipeline)
    on_stage("answering the golden inputs" + (" and timing" if timed else ""))
    try:
        # Without a latency in the bundle there is nothing to compare with.
        here = timed and stored.ratio is not None
        model, settings, repeats = folder / MODEL, card["runtime"], stored.repeats
        ran = examine(model, settings, pipeline, inputs, host, plan=plan, timed=here, repeats=repeats)
    except (TrialError, BundleError) as error:
        failed = Finding("answers", f"it cannot be run on this host: {error}", matters=True)
        return Checked(folder, (*found, failed)), None, stored.sigma
    found += _settings(card, stored, ran)
    found += answer_findings(stored, ran.answers[0])
    slower, latency = _latency(stored, ran, host, gate, timed=timed)
    return Checked(folder, (*found, *latency), slower), ran, stored.sigma


def _check_arguments(gate: float | None, *, timed: bool) -> None:
    if gate is not None and not 1 <= gate <= LARGEST_GATE:
        raise UsageError(f"--gate must be a ratio from 1 to {LARGEST_GATE:g}, such as 1.1, got {gate:g}")
    if gate is not None and not timed:
        raise UsageError("--gate needs the latency, --no-latency leaves it out: give one of them")


def _good(about: str, text: str) -> Finding:
    return Finding(about, text, difference=False)


def _signature(folder: Path, verify: str | Path | None) -> Finding:
    """Who signed a bundle, whose signature was verified where that was asked for."""
    if verify is not None:
        return _good("signature", f"it is signed by the owner of {verify}")
    signed = (folder / SIGNATURE).is_file()
    return _good("signature", "it is signed, --verify PUBKEY tells by whom" if signed else "it is not signed")


def _remarks(about: str, texts: Sequence[str], good: str) -> list[Finding]:
    return [Finding(about, text) for text in texts] or [_good(about, good)]


def _surroundings(card: Mapping[str, Any], stored: Stored, target: Target) -> list[Finding]:
    """This host and its libraries against those of the bundle's numbers and of its golden answers."""
    package = runtime(str(card["runtime"]["name"])).DISTRIBUTION
    names = [name for name in (package, "numpy", "python") if name is not None]
    here = target.host
    hosts = [*host_differences(card.get("host"), here)]
    hosts += [text for text in host_differences(stored.facts.get("host"), here) if text not in hosts]
    versions = version_differences(card.get("versions"), here.versions, names)
    versions += [
        text for text in version_differences(stored.facts.get("versions"), here.versions, names) if text not in versions
    ]
    if not isinstance(card.get("host"), Mapping):
        hosts.append("the bundle does not say on which host it was measured")
    return [
        *_remarks("host", hosts, "this host is like the bundle's"),
        *_remarks("libraries", versions, "the libraries are those of the bundle"),
    ]


def _settings(card: Mapping[str, Any], stored: Stored, ran: Examined) -> list[Finding]:
    told = stored.facts.get("effective") or card.get("effective")
    if not told:
        return [Finding("precision", "the bundle does not say in which precision it ran")]
    precision = precision_difference(told, ran.effective)
    others = setting_differences(told, ran.effective)
    return [
        Finding("precision", precision, matters=True)
        if precision
        else _good("precision", f"the graph really runs in {_precision(ran.effective)}"),
        *[Finding("settings", text) for text in others],
    ]


def _precision(effective: Mapping[str, Any]) -> str:
    share = effective.get(FEWER_BITS)
    fewer = f", {share:.0%} of the time in layers of fewer bits" if share else ""
    return f"{effective.get('precision')}{fewer}"


def answer_findings(stored: Stored, answers: Mapping[str, Answer]) -> list[Finding]:
    """The golden inputs whose output or answer is too far from the stored one."""
    if not stored.goldens:
        return [
            Finding(
                "self-test",
                "the bundle has no golden answers: it runs here, but whether it answers as it did is not known. Pull "
                "it again",
            )
        ]
    found = []
    for item in stored.goldens:
        name, answer = item.golden.name, answers[item.golden.name]
        parts = (
            ("output of the network", deviation(item.output, answer.output), item.output_tolerance),
            ("answer", deviation(item.answer, answer.answer), item.answer_tolerance),
        )
        for what, off, tolerance in parts:
            right = off.within(tolerance)
            text = f"the {what} for the golden input {name} is {'as' if right else 'not as'} it was: "
            found.append(Finding("answers", text + off.in_words(tolerance), difference=not right, matters=not right))
    return found


def _latency(
    stored: Stored, ran: Examined, target: Target, gate: float | None, *, timed: bool
) -> tuple[Slowdown | None, list[Finding]]:
    """How much longer a call takes than there, against the probe that took turns with it.

    On a host like the bundle's the clock must say so too: the probe is not as steady from one minute to the next as a
    model on a quiet host, and on a busy one the clock is not as steady as their ratio.
    """
    if not timed:
        return None, [Finding("latency", "nothing was timed, as asked")]
    if stored.ratio is None or ran.ratio is None:
        text = "the bundle holds no latency to compare with: pull it again"
        return None, [Finding("latency", text, matters=gate is not None)]
    if stored.probe != probe.VERSION:
        text = f"the bundle was timed beside probe {stored.probe}, this version has {probe.VERSION}: pull it again"
        return None, [Finding("latency", text, matters=gate is not None)]
    foreign = (stored.foreign_share, ran.foreign_share or 0.0)
    slower = slowdown(stored.ratio, ran.ratio, stored.sigma, foreign)
    text = f"a call takes {slower} that it took in the bundle, each against a probe beside it"
    if ran.foreign_share is not None and ran.foreign_share > BUSY:
        text += f"; other programs took {ran.foreign_share:.0%} of the processor meanwhile, look again when it is quiet"
    host = host_differences(stored.facts.get("host"), target.host)
    numpy = version_differences(stored.facts.get("versions"), target.host.versions, ["numpy"])
    alike = not (host or numpy)
    if not alike:
        text += f"; with another {'host' if host else 'numpy, which does the probe,'} that says little"
    clock = ran.model_s / stored.model_s if alike and ran.model_s and stored.model_s else None
    if clock is not None:
        text += f"; by the clock it takes {clock:.2f} times the time"
    if gate is not None:
        failed = slower.fails(gate) and (clock is None or clock > gate)
        judged = f"{text}; --gate {gate:g} {'fails' if failed else 'holds'}"
        return slower, [Finding("latency", judged, difference=failed, matters=failed)]
    surely = slower.outside(stored.band)
    slow = surely and slower.ratio > 1 and (clock is None or clock > stored.band[1])
    text += f"; the bundle's band is {stored.band[0]:.2f} to {stored.band[1]:.2f}"
    return slower, [Finding("latency", text, difference=surely, matters=slow and alike)]
