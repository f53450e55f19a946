"""Configurations and trials in words that a person reads at a glance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from autoopt.compress import STEPS, step
from autoopt.compress.tools import tool_title
from autoopt.compress.training_settings import PARAMETERS as TRAINING
from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.parameters import Parameter
from autoopt.core.records import TrialRecord
from autoopt.inference.runtimes import EXACT, RUNTIMES, runtime, runtime_initials, runtime_title
from autoopt.study.space.pipeline import PARAMETERS as PIPELINE_PARAMETERS
from autoopt.study.space.pipeline import PIPELINE
from autoopt.study.space.seeds import QUANTIZE

LONGEST_NAME = 22
"""Characters of a run's name that MLflow's table shows."""
FINE = frozenset({"rungs", "steps", "steps_growth", "weight_bits", "qat_steps", *TRAINING} - {"qat", "distil"})
"""Settings that a space gives all its trials alike, or that follow from the host: said only where asked for."""
_PRECISIONS = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}
_SCHEMES = {
    "int8": "INT8",
    "int8-qat": "INT8 after quantization-aware training",
    "int8-weights": "INT8 weights only",
    "int4-weights": "INT4 weights only",
}
_INITIALS = {"int8": "INT8", "int8-qat": "QAT8", "int8-weights": "W8", "int4-weights": "W4"}
_FRACTIONS = {2: "half", 3: "a third of the", 4: "a quarter of the"}
_ENDS = {"end:first": "first layer", "end:last": "last layer", "end:first,end:last": "first and last layers"}

Settings = Mapping[str, Scalar]
_HEADS: Mapping[str, Callable[[Settings], str]] = {
    "control": lambda own: f"{str(own['network']).replace('-', ' ')} instead of the network",
    "ensemble": lambda own: f"{_count(own['members'], 'network')} of the ensemble",
    "resolution": lambda own: f"{_fraction(own['factor'])} resolution",
    "prune": lambda own: f"{_percent(own['ratio'])} of channels pruned",
    "factorize": lambda own: f"low rank ({_percent(own['keep'])} of {_counted(own)})",
    "recover": lambda own: f"trained {_count(own['steps'], str(own.get('unit', 'steps')).removesuffix('s'))}",
    "quantize": lambda own: _SCHEMES.get(str(own["scheme"]), str(own["scheme"])),
}
"""What a step is called, given its settings."""
_IN_HEAD = {"control": ("network",), "factorize": ("keep", "by"), "recover": ("steps", "unit")}
"""The settings that this says, beside the one that switches the step on."""
_SAID: Mapping[tuple[str, Scalar], str] = {
    ("allocation", "global"): "lowest of all layers",
    ("allocation", "sensitivity"): "by sensitivity",
    ("activations", "s8"): "signed activations",
    ("bias_correction", "full"): "full bias correction",
    ("bias_correction", "none"): "no bias correction",
    ("blocks", "channels"): "pixels as channels",
    ("distil", False): "without distillation",
    ("in_graph", "both"): "input and answer in the graph",
    ("in_graph", "input"): "input in the graph",
    ("method", "cp"): "CP",
    ("mirror", "none"): "no mirrors",
    ("preset", "mixed"): "mixed",
    ("qat", True): "quantization-aware training",
    ("rungs", None): "cut at once",
    ("spinning", False): "no spinning",
    ("weights", "fresh"): "weights begun anew",
}
"""What a setting of this value is called."""
_OTHERWISE: Mapping[str, Callable[[Scalar], str]] = {
    "accuracy_drop": lambda value: f"layers in float until at most {value} is lost",
    "calibration_cases": lambda value: _count(value, "case"),
    "criterion": lambda value: f"by {value}",
    "ignored_layers": lambda value: f"{_ENDS.get(str(value), value)} in float",
    "keep_float": lambda value: f"{_count(value, 'layer group')} in float",
    "mirror": lambda value: f"mirrors along {value}",
    "multiple": lambda value: f"multiples of {value}",
    "range_estimator": lambda value: f"ranges by {value}",
    "restore": lambda value: f"{value} put back",
    "smooth_quant": lambda value: f"SmoothQuant {value}",
    "streams": lambda value: _count(value, "stream"),
    "tile": lambda value: f"tiles of {value}",
    "tool": lambda value: f"by {tool_title(str(value))}",
    "weight_bits": lambda value: f"{value}-bit weights",
}
"""What a setting of another value is called; those of no line here by their own names."""


def in_words(configuration: Configuration, *, fine: Collection[str] = ()) -> str:
    """A configuration as a person says it: half resolution, 65 % of channels pruned, INT8, 2 threads on OpenVINO.

    First what the network became, then how numbers are stored, then how and where it runs. What is not said has its
    default, or is one of `FINE`, said where its dotted name, such as prune.steps, is in `fine`. Two trials of one space
    have different words if `fine` has those of these settings that differ (`differing`); else their numbers tell.
    """
    sections = configuration.sections()
    settings = sections.pop("runtime", None) or {}
    quantized, around = sections.pop(QUANTIZE, None), sections.pop(PIPELINE, None)
    known = [name for name in STEPS if name in sections]
    words = []
    for name in (*known, *sorted(set(sections) - set(known))):
        words += _step(name, sections[name], fine)
    words += _step(QUANTIZE, quantized, fine)
    precision = str(settings.get("precision") or EXACT)
    if quantized is None:
        words.append(_PRECISIONS.get(precision, precision))
    elif precision != EXACT:
        words.append(f"{_PRECISIONS.get(precision, precision)} elsewhere")
    words += _details(PIPELINE, around or {}, PIPELINE_PARAMETERS, fine)
    words += _running(settings, fine)
    threads, name = settings.get("threads"), str(settings.get("name") or "")
    words += [] if threads is None else [_count(threads, "thread")]
    return f"{', '.join(words)} on {runtime_title(name)}" if name else ", ".join(words)


def differing(configurations: Iterable[Configuration]) -> frozenset[str]:
    """The dotted names of those settings of `FINE` in which some of the configurations differ."""
    values: dict[str, set[Scalar]] = {}
    for configuration in configurations:
        for name, value in configuration.flat().items():
            if name.rpartition(".")[2] in FINE:
                values.setdefault(name, set()).add(value)
    return frozenset(name for name, found in values.items() if len(found) > 1)


def row_name(record: TrialRecord) -> str:
    """The name of a trial in a list, at most `LONGEST_NAME` characters, such as: #047 OV INT8 p75 r2 2t.

    A seed or control has its label where that fits, every other one the initials of its runtime, how numbers are
    stored, what was done to the network as far as there is room, and the threads. The number makes it the only one.
    """
    name = f"#{record.number:03d}"
    if record.label and len(f"{name} {record.label}") <= LONGEST_NAME:
        return f"{name} {record.label}"
    settings = record.configuration.runtime
    quantized = record.configuration.section(QUANTIZE)
    precision = _PRECISIONS.get(settings.precision, settings.precision)
    scheme = "" if quantized is None else str(quantized.get("scheme"))
    last = f" {settings['threads']}t" if "threads" in settings else ""
    for word in (runtime_initials(settings.name), _INITIALS.get(scheme, scheme) or precision, *_marks(record)):
        if word and len(f"{name} {word}{last}") <= LONGEST_NAME:
            name = f"{name} {word}"
    return f"{name}{last}"


def _marks(record: TrialRecord) -> Iterator[str]:
    """What was done to the network, a letter and a number each, the largest change of time first."""
    sections = record.configuration.sections()
    marks = (
        ("resolution", "factor", "r{:g}", 1),
        ("prune", "ratio", "p{:.4g}", 100),
        ("factorize", "keep", "k{:.4g}", 100),
        ("ensemble", "members", "e{:g}", 1),
        ("recover", "steps", "t{:g}", 1),
    )
    for section, key, form, times in marks:
        value = (sections.get(section) or {}).get(key)
        if isinstance(value, int | float):
            yield form.format(times * value)
    shown = {section for section, *_ in marks} | {QUANTIZE, "runtime"}
    yield from (name[:5] for name, settings in sections.items() if settings is not None and name not in shown)


def _step(name: str, settings: Settings | None, fine: Collection[str]) -> list[str]:
    """What a step did, with what differs from its defaults in brackets; nothing where it is off."""
    if settings is None:
        return []
    module = step(name) if name in STEPS else None
    switch = "" if module is None else module.SWITCH
    in_head = (switch, *_IN_HEAD.get(name, ()))
    rest = {key: value for key, value in settings.items() if key not in in_head}
    head = _HEADS.get(name) if switch in settings else None
    text = head(settings) if head else f"{name} {settings.get(switch, '')}".rstrip()
    details = ", ".join(_details(name, rest, {} if module is None else module.PARAMETERS, fine))
    if not details:
        return [text]
    return [f"{text[:-1]}, {details})" if text.endswith(")") else f"{text} ({details})"]  # one pair of brackets


def _details(
    section: str, settings: Settings, parameters: Mapping[str, Parameter], fine: Collection[str]
) -> Iterator[str]:
    """The settings that differ from their defaults, in words."""
    order = [*(key for key in parameters if key in settings), *sorted(set(settings) - set(parameters))]
    for key in order:
        value = settings[key]
        asked = f"{section}.{key}" in fine
        if asked or (key not in FINE and (key not in parameters or value != parameters[key].default)):
            yield _detail(key, value)


def _detail(key: str, value: Scalar) -> str:
    if (key, value) in _SAID:
        return _SAID[key, value]
    if key in _OTHERWISE and value is not None:
        return _OTHERWISE[key](value)
    return f"{key.replace('_', ' ')} {str(value).lower() if isinstance(value, bool) else value}"


def _running(settings: Settings, fine: Collection[str]) -> Iterator[str]:
    """The settings of the runtime besides what every one has."""
    name = str(settings.get("name") or "")
    parameters = runtime(name).PARAMETERS if name in RUNTIMES else {}
    others = {key: value for key, value in settings.items() if key not in ("name", "precision", "threads")}
    return _details("runtime", others, parameters, fine)


def _count(value: Scalar, unit: str) -> str:
    return f"{value} {unit}{'' if value == 1 else 's'}"


def _percent(value: Scalar) -> str:
    return f"{100 * value:.4g} %" if isinstance(value, int | float) else str(value)


def _fraction(value: Scalar) -> str:
    return _FRACTIONS.get(value, f"1/{value} of the") if isinstance(value, int) else f"1/{value} of the"


def _counted(own: Settings) -> str:
    return "the ranks" if own.get("by") == "ratio" else "the energy"
