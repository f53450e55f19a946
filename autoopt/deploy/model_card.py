"""The MODEL_CARD.md of a bundle: what is known of the model, in words and the numbers of bundle.json, and what is not.

Every number is the study's. What a bundle does not tell is said to be not known; nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

UNKNOWN = "not known"
SPLITS = {"val": ("", "quality"), "test": ("test_", "test")}
"""Splits by name: what stands before the names of their numbers, and their key in bundle.json."""
NUMBERS = {
    "latency_p25_ms": ("p25 latency of a call", "{:.4g} ms"),
    "latency_p95_ms": ("95th percentile", "{:.4g} ms"),
    "speedup_vs_torch_f32": ("times faster than PyTorch FP32", "{:.2f}"),
    "speedup_vs_openvino_f32": ("times faster than OpenVINO FP32", "{:.2f}"),
    "concurrent_per_s": ("calls per second, many at once", "{:.4g}"),
    "peak_rss_mb": ("most memory of a measuring process", "{:.4g} MB"),
    "size_mb": ("graph files", "{:.4g} MB"),
    "energy_mj_per_call": ("energy of the processor per call", "{:.4g} mJ"),
}
"""The numbers of a card that do not depend on the split: words and format."""
ENDS = {
    "latency_p25_ms": ("latency_low_ms", "latency_high_ms"),
    "latency_p95_ms": ("latency_p95_low_ms", "latency_p95_high_ms"),
    "peak_rss_mb": ("peak_rss_low_mb", "peak_rss_high_mb"),
    "concurrent_per_s": ("concurrent_low_per_s", "concurrent_high_per_s"),
}
"""The keys of the two ends of intervals that are not called like their number."""


def model_card(card: Mapping[str, Any]) -> str:
    """The text for a bundle with this bundle.json; it begins with the warning where the data is synthetic."""
    workload = card["workload"]
    lines = [
        *(["**DEMO: made from synthetic data. Not for patients.**\n"] if card["demo"] else []),
        f"# Model card: {workload}\n",
        *_section("What it is", _identity(card)),
        *_section("Data", _data(card)),
        *_section("Quality", _quality(card)),
        *_section("Speed and memory", _speed(card)),
        *_section("How it was chosen", _choice(card)),
        *_section("What it was not tested on", _untested(card)),
        *_section("Intended use", [_USE]),
        *_section("Versions", _versions(card)),
        *_section("How to verify it", _VERIFY),
    ]
    return "\n".join(lines)


def number(card: Mapping[str, Any], key: str, form: str = "{:.4f}") -> str:
    """A number of the card with its interval, or the reason why it has none; not known where it is not there."""
    numbers, reasons = _mapping(card, "numbers"), _mapping(card, "no_interval")
    if key not in numbers:
        return UNKNOWN
    low, high = ENDS.get(key, (f"{key}_low", f"{key}_high"))
    text = form.format(numbers[key])
    if low in numbers and high in numbers:
        return f"{text} (95 % interval {form.format(numbers[low])} to {form.format(numbers[high])})"
    return f"{text} (no interval: {reasons[key]})" if key in reasons else text


_USE = (
    "To be written by whoever puts it to use: which patients, which scanners, by whom, for which decision. Nothing in "
    "this bundle is an approval as a medical device."
)
_VERIFY = [
    "- `sha256sum -c bundle.sha256` in its folder: bundle.json is as it was written, with all digests",
    "- `autoopt check DIR`: all files, this host, the golden answers, the latency",
    "- `autoopt check DIR --verify PUBKEY`: where bundle.sig is there, it is signed by the owner of that key",
]


def _section(title: str, lines: Any) -> Iterator[str]:
    yield f"## {title}\n"
    yield from lines
    yield ""


def _identity(card: Mapping[str, Any]) -> Iterator[str]:
    pipeline, runtime = card["pipeline"], card["runtime"]
    settings = ", ".join(f"{name} {value}" for name, value in sorted(runtime.items()) if name != "name")
    yield f"- a {pipeline['task']} model with the classes {', '.join(map(str, card['labels']))}"
    yield f"- trial {card.get('trial', UNKNOWN)} of the study {card.get('study', UNKNOWN)}"
    yield f"- runs in {runtime['name']} ({settings or 'no settings'})"
    effective = _mapping(card, "effective")
    if effective:
        told = ", ".join(
            f"{name} {effective[name]}" for name in ("precision", "threads", "streams") if name in effective
        )
        yield f"- what really ran: {told}"
    for section, values in _mapping(card, "configuration").items():
        if section != "runtime" and values is not None:
            yield f"- {section}: {', '.join(f'{name} {value}' for name, value in sorted(values.items()))}"
    for name, value in _mapping(card, "digests").items():
        yield f"- digest of the {name}: {value}"


def _data(card: Mapping[str, Any]) -> Iterator[str]:
    origin = "synthetic demo data" if card["demo"] else "data that is not in this bundle"
    yield f"- workload {card['workload']}: {origin}"
    for split, (_, key) in SPLITS.items():
        quality = _mapping(card, key)
        groups = f", of {quality['groups']} patients or groups" if "groups" in quality else ""
        yield f"- {split}: {quality['cases']} cases{groups}" if "cases" in quality else f"- {split}: {UNKNOWN}"
    if remark := card.get("weights_remark"):
        yield f"- {remark}"


def _quality(card: Mapping[str, Any]) -> Iterator[str]:
    primary = _mapping(card, "quality").get("primary")
    if not primary:
        yield f"- {UNKNOWN}"
        return
    rule = _mapping(card, "quality").get("rule", UNKNOWN)
    reference = _mapping(card, "reference")
    against = reference.get("label") or "the reference of the study"
    yield f"The primary metric is {primary} ({rule}); the drop is what it lost against {against} on the same cases.\n"
    if reference.get("remark"):
        yield f"Note: {reference['remark']}.\n"
    yield "| split | metric | drop | one-sided 95 % bound of the drop |\n| --- | --- | --- | --- |"
    for split, (prefix, _) in SPLITS.items():
        if f"{prefix}{primary}" in _mapping(card, "numbers"):
            drops = (number(card, f"{prefix}{key}", "{:+z.4f}") for key in _DROPS)
            cells = [number(card, f"{prefix}{primary}"), *drops]
            yield f"| {split} | {' | '.join(cells)} |"
        else:
            yield f"| {split} | {UNKNOWN}: it was not scored there | | |"
    yield ""
    yield from _undefined(card)
    yield from _subgroups(card, primary)


_DROPS = ("drop", "drop_upper")


def _undefined(card: Mapping[str, Any]) -> Iterator[str]:
    for split, (_, key) in SPLITS.items():
        for metric, count in _mapping(_mapping(card, key), "undefined").items():
            if count:
                yield f"- {metric} is not defined for {count} cases of {split}: they do not count"


def _subgroups(card: Mapping[str, Any], primary: str) -> Iterator[str]:
    subgroups = _mapping(card, "subgroups")
    if not any(subgroups.values()):
        yield "Subgroups: not known, the cases are in none or in too small ones."
        return
    yield f"Subgroups (means of what was seen, without a bound; {primary}):\n"
    yield "| split | subgroup | patients | metric | drop |\n| --- | --- | --- | --- | --- |"
    for split, columns in subgroups.items():
        for column, values in columns.items():
            for value, item in values.items():
                metric, drop = (
                    UNKNOWN if item.get(key) is None else form.format(item[key])
                    for key, form in (("metric", "{:.4f}"), ("drop", "{:+z.4f}"))
                )
                yield f"| {split} | {column} {value} | {item['groups']} | {metric} | {drop} |"


def _speed(card: Mapping[str, Any]) -> Iterator[str]:
    host = _mapping(card, "host")
    told = (
        f"{host['cpu']}, {host['cores']} cores, {host['system']}"
        if {"cpu", "cores", "system"} <= set(host)
        else UNKNOWN
    )
    yield f"Measured on this host: {told}. On another one these numbers do not hold.\n"
    numbers = _mapping(card, "numbers")
    for key, (words, form) in NUMBERS.items():
        if key in numbers:
            yield f"- {words}: {number(card, key, form)}"
    for doubt in card.get("doubts") or ():
        yield f"- in doubt: {doubt}"


def _choice(card: Mapping[str, Any]) -> Iterator[str]:
    choice = _mapping(card, "choice")
    yield f"- limits that held: {choice.get('limits_in_words') or ('none' if choice else UNKNOWN)}"
    if choice.get("explanation"):
        yield f"- {choice['explanation']}"


def _untested(card: Mapping[str, Any]) -> Iterator[str]:
    yield "- other hosts, other versions of the libraries and other settings than those above"
    yield "- data of another origin than the splits above: other sites, scanners, stains, protocols or patients"
    if "test" not in card or card["test"] is None:
        yield "- the test split: it was chosen by val, so the metric on val may flatter it"
    if not any(_mapping(card, "subgroups").values()):
        yield "- subgroups of patients"
    if card["demo"]:
        yield "- any real image"


def _versions(card: Mapping[str, Any]) -> Iterator[str]:
    versions = _mapping(card, "versions")
    yield ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) or UNKNOWN


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """What is called `key`, empty where it is not there."""
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}
