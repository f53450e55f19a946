"""What is said of planted profiles: why one trial is faster or slower than another."""

from __future__ import annotations

import re
from dataclasses import replace

from autoopt.inference.runtimes.layers import Layer
from autoopt.measure.case_stages import CaseStages
from autoopt.measure.profiling import Profile
from autoopt.report.diagnosis import diagnose, explained
from autoopt.report.explanation import Side
from tests.report.profiles import CONVERTED, FLOAT, conv, explain, record


def test_conversions_that_make_int8_slower_are_named() -> None:
    """INT8 that loses to its conversions: how many, which kind, how long, and the float layers they stand beside."""
    text = " ".join(explain(CONVERTED, FLOAT).sentences)
    assert re.search(r"#2 .* is slower than #1 .*: 1\.50 times the latency \(60 ms instead of 40 ms", text)
    assert "53 % in 8 conversions (8 Reorder)" in text
    assert "Its layers take 20 ms more: +32 ms in 8 conversions (8 Reorder) (there: none)" in text
    assert "It saves elsewhere: -12 ms in 4 Conv (jit_i8 against jit_f32)" in text
    assert "in float: 4 InstanceNormalization, such as block_0.norm/InstanceNormalization" in text
    assert "ignored_layers" in text


def test_a_faster_trial_is_called_faster() -> None:
    """INT8 that pays: by how much, in which layers; no conversions are blamed."""
    text = " ".join(explain([conv(index, 3, "i8") for index in range(4)], FLOAT).sentences)
    assert "is faster than" in text
    assert "by 3.33x" in text
    assert "-20 ms in 4 Conv" in text
    assert "-8 ms in 4 layers (4 MVN) that only #1 has" in text
    assert "slower" not in text
    assert "conversion" not in text


def test_kernels_that_int8_slows_down_are_named_with_a_selector() -> None:
    """An operation whose INT8 kernels are all slower is told even of a faster trial, as `ignored_layers` takes it."""

    def deconv(ms: float, precision: str) -> Layer:
        return Layer("up/ConvTranspose", "ConvolutionBackpropData", f"k_{precision}", precision, ms / 1e3)

    text = " ".join(explain([conv(0, 3, "i8"), deconv(4, "i8")], [conv(0, 12, "f32"), deconv(2, "f32")]).sentences)
    assert "is faster than" in text
    assert "1 of 1 ConvTranspose is slower in INT8 than in float: 4 ms instead of 2 ms (k_i8 against k_f32)" in text
    assert "'type:ConvTranspose'" in text


def test_one_slow_layer_of_many_is_selected_by_name() -> None:
    """Where only some layers of an operation lose, the selector names them and leaves the others."""
    mine, theirs = [conv(0, 9, "i8"), conv(1, 1, "i8")], [conv(0, 4, "f32"), conv(1, 4, "f32")]
    text = " ".join(explain(mine, theirs).sentences)
    assert "1 of 2 Conv is slower in INT8" in text
    assert "'name:block_0.conv/Conv'" in text


def test_a_quantized_trial_without_integer_kernels_says_so() -> None:
    """Where nothing runs in INT8 that is the first thing said; a quantized trial of another runtime is pointed to."""
    mine = [
        Layer("q", "QuantizeLinear", "q", "f32", 2e-3, conversion=True),
        *(conv(index, 9, "f32") for index in range(4)),
    ]
    other = record(7, "onnxruntime", quantize=True, latency_s=0.01, label="onnxruntime int8")
    text = " ".join(explain(mine, FLOAT[::2], others=[other]).sentences)
    assert "No layer runs in an INT8 kernel although the trial is quantized" in text
    assert "the study recorded 10 ms for #7 onnxruntime int8" in text


def test_small_differences_have_no_cause() -> None:
    """Within the noise of a host two trials are equal, and nothing is said to cause the difference."""
    sentences = explain([conv(0, 10.2, "i8")], [conv(0, 10, "f32")]).sentences
    assert "as fast as" in sentences[0]
    assert "within 10 %" in sentences[0]
    assert not any("Its layers take" in text for text in sentences)


def test_a_difference_that_no_layer_shows_is_not_blamed_on_one() -> None:
    """A slower call with faster layers: the layers do not show why, and that is what is said."""
    found = explain([conv(0, 5, "i8")], [conv(0, 10, "f32")])
    slow = Side(found.trial.record, Profile(found.trial.profile.layers, 0.02))
    text = " ".join(explained(found.study, slow, found.against).sentences)
    assert "The layers do not show why: they add up to 5 ms, those of #1 to 10 ms" in text
    assert "the rest is in no layer" in text


def test_a_record_that_says_otherwise_is_told() -> None:
    """Recorded latencies whose ratio is another than that of now cast doubt on both."""
    text = " ".join(explain(CONVERTED, FLOAT, recorded=(0.02, 0.04)).sentences)
    assert "The study recorded 0.50 times the latency (20 ms and 40 ms), now it is 1.50 times" in text
    assert "This host is slower now than when the study was made (#2 60 ms for 20 ms)" in text
    plain = " ".join(explain(CONVERTED, FLOAT).sentences)
    assert "recorded" not in plain
    assert "This host is slower" not in plain


def test_recorded_cases_are_not_compared_with_calls() -> None:
    """A study that times whole cases recorded something else than a call: the two are not held against each other."""
    found = explain(CONVERTED, FLOAT, recorded=(0.02, 0.04))
    assert found.against is not None
    trial, against = (Side(side.record, side.profile, "case") for side in (found.trial, found.against))
    text = " ".join(explained(found.study, trial, against).sentences)
    assert "recorded" not in text
    assert "This host" not in text


def test_a_trial_alone_is_explained_by_its_shares() -> None:
    """Without a trial to compare with: where its time is, and nothing about faster or slower."""
    text = " ".join(explain(FLOAT, None, quantize=False).sentences)
    assert "Where its time is: 100 % in FP32 kernels." in text
    assert "slower" not in text
    assert "faster" not in text


def test_a_case_is_more_than_its_network() -> None:
    """Where whole cases are timed, the first sentences say how much of one the network is, and what the rest is."""
    found = explain(CONVERTED, FLOAT)
    case = CaseStages(calls=8, prepare_s=0.02, network_s=0.03, finish_s=0.05)
    trial = Side(found.trial.record, replace(found.trial.profile, case=case), "case")
    sentence = next(text for text in diagnose(trial, None) if text.startswith("a case of"))
    assert "takes 100 ms: 8 calls of the network 30 %, before it 20 %" in sentence and "after it 50 %" in sentence
