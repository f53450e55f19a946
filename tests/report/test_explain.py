"""Why a trial is slow: planted profiles and what is said of them; stored trials explained from end to end."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import Quality
from autoopt.errors import StorageError, UsageError
from autoopt.inference.runtimes.layers import Layer
from autoopt.measure.profiling import Profile, ProfilePlan
from autoopt.report.diagnosis import Explanation, Side, clean_name, explained, family, pair_layers, percent
from autoopt.report.explain import explain_trial, float_counterpart
from autoopt.report.explain_picture import explain_picture
from autoopt.report.explain_text import explain_text
from autoopt.study.result import OPENVINO_LABEL, REFERENCE_LABEL, StudyResult
from tests.e2e import helpers

QUANTIZE: dict[str, Scalar] = {"scheme": "int8", "preset": "performance"}
QUICK = ProfilePlan(rounds=1, round_s=0.01)
HOST = Host("a cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {})


def card() -> StudyCard:
    return StudyCard("study", "tiny", True, "dice", "d", "w", "{}", ("latency", "quality"), 0, HOST)


def record(
    number: int,
    runtime: str = "openvino",
    *,
    quantize: bool = False,
    latency_s: float | None = 0.05,
    label: str = "",
    **settings: Scalar,
) -> TrialRecord:
    sections: dict[str, Any] = {"runtime": {"name": runtime, "threads": 2, "precision": "f32", **settings}}
    if quantize:
        sections["quantize"] = QUANTIZE
    measured = None
    if latency_s is not None:
        measured = Measurement((((latency_s,) * 4,),), ((),), (latency_s,), 0.1, 0.1, 10**8, 10**6, {}, "host")
    return TrialRecord(
        Configuration.of(sections),
        Status.COMPLETE,
        number=number,
        label=label,
        artifacts=("key",),
        origin="seed",
        measurement=measured,
        quality=Quality("val", "dice", "mean", {"dice": 0.9}, ()),
    )


def conv(index: int, ms: float, precision: str, **fields: Any) -> Layer:
    name = f"block_{index}.conv/Conv"
    return Layer(
        f"{name}/WithoutBiases", "Convolution", f"jit_{precision}", precision, ms / 1e3, origins=(name,), **fields
    )


def norm(index: int, ms: float) -> Layer:
    return Layer(f"block_{index}.norm/InstanceNormalization", "MVN", "jit_f32", "f32", ms / 1e3)


def reorder(index: int, ms: float) -> Layer:
    return Layer(f"reorder_{index}", "Reorder", "jit_i8", "i8", ms / 1e3, conversion=True)


def explain(
    mine: Sequence[Layer],
    theirs: Sequence[Layer] | None,
    *,
    recorded: tuple[float, float] | None = None,
    quantize: bool = True,
    others: Sequence[TrialRecord] = (),
) -> Explanation:
    """An explanation of planted layers, whose sum is what a call takes, now and in the study."""
    mine_s, theirs_s = (sum(layer.seconds for layer in layers or ()) for layers in (mine, theirs))
    then = recorded or (mine_s, theirs_s)
    trial = Side(record(2, quantize=quantize, latency_s=then[0]), Profile(tuple(mine), mine_s))
    against = Side(record(1, latency_s=then[1]), Profile(tuple(theirs or ()), theirs_s))
    study = StudyResult(card(), (trial.record, against.record, *others))
    return explained(study, trial, None if theirs is None else against)


FLOAT = [layer for index in range(4) for layer in (conv(index, 8, "f32"), norm(index, 2))]
CONVERTED = [
    layer
    for index in range(4)
    for layer in (conv(index, 5, "i8"), reorder(2 * index, 4), norm(index, 2), reorder(2 * index + 1, 4))
]


def test_conversions_that_make_int8_slower_are_named() -> None:
    """INT8 that loses to its conversions: how many, which kind, how long, and the float layers they stand beside."""
    text = " ".join(explain(CONVERTED, FLOAT).sentences)
    assert re.search(r"#2 .* is slower than #1 .*: 1\.50 times the latency \(60 ms instead of 40 ms", text)
    assert "53 % in 8 conversions (8 Reorder)" in text
    assert "Its layers take 20 ms longer: +32 ms in 8 conversions (8 Reorder) (there: none)" in text
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
    assert not any("longer" in text or "shorter" in text for text in sentences)


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


def test_fused_layers_are_paired_with_their_parts() -> None:
    """What one trial fuses into a convolution is compared with convolution and activation of the other together."""
    fused = Layer(
        "a.conv/Conv", "Convolution", "k", "i8", 1.0, origins=("a.conv/Conv", "Multiply_12", "a.act/LeakyRelu")
    )
    apart = [
        Layer("a.conv/conv2d", "conv2d", "k", "f32", 2.0),
        Layer("a.act/leaky_relu_", "leaky_relu_", "k", "f32", 0.5),
    ]
    other = Layer("Multiply_12", "Eltwise", "k", "f32", 9.0)  # a counted name is no name: it means something else here
    first, second = pair_layers([fused], [*apart, other])
    assert (first.mine, first.theirs, first.name) == ((fused,), tuple(apart), "a.conv/Conv")
    assert (first.mine_s, first.theirs_s) == (1.0, 2.5)
    assert (second.matched, second.theirs) == (False, (other,))


def test_layers_without_shared_names_are_paired_in_order() -> None:
    """Convolutions of equal number are paired one by one; an operation that one trial has more of stays alone."""
    mine = [conv(0, 1, "i8"), conv(1, 2, "i8"), norm(0, 1)]
    theirs = [Layer(f"leaky_relu_{index}_nchwc", "FusedConv", "k", "f32", 1.0) for index in range(2)]
    pairs = pair_layers(mine, theirs)
    assert [(len(pair.mine), len(pair.theirs)) for pair in pairs] == [(1, 1), (1, 1), (1, 0)]
    assert pairs[1].theirs == (theirs[1],)


@given(
    st.lists(
        st.lists(st.sampled_from(["a/Conv", "b/Conv", "c/Relu", "Add_1", "d/MVN"]), min_size=1, max_size=3), max_size=6
    ),
    st.lists(st.lists(st.sampled_from(["a/Conv", "b/Conv", "e/Relu", "Add_2"]), min_size=1, max_size=3), max_size=6),
)
def test_every_layer_is_in_one_pair(mine: list[list[str]], theirs: list[list[str]]) -> None:
    """Pairing loses no layer and no time, whatever shares names with whatever."""
    sides = [
        [
            Layer(f"{side}{index}", names[0].split("/")[-1], "k", "f32", 2.0**-index, origins=tuple(names))
            for index, names in enumerate(lists)
        ]
        for side, lists in (("m", mine), ("t", theirs))
    ]
    pairs = pair_layers(*sides)
    assert sorted(layer.name for pair in pairs for layer in (*pair.mine, *pair.theirs)) == sorted(
        layer.name for layers in sides for layer in layers
    )
    assert sum(pair.mine_s for pair in pairs) == pytest.approx(sum(layer.seconds for layer in sides[0]))


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("Conv", "FusedConv", "Convolution", "GroupConvolution", "conv2d", "conv3d", "QLinearConv"), "Conv"),
        (("ConvTranspose", "ConvolutionBackpropData", "conv_transpose2d"), "ConvTranspose"),
        (("Gemm", "MatMul", "FullyConnected", "linear", "addmm"), "Gemm"),
        (("LeakyRelu", "leaky_relu_", "PRelu"), "LeakyRelu"),
        (("InstanceNormalization", "MVN"), "InstanceNormalization"),
    ],
)
def test_operations_have_one_name(kinds: tuple[str, ...], expected: str) -> None:
    """What libraries call the same operation is one family."""
    assert {family(kind) for kind in kinds} == {expected}


def test_names_and_percents_are_plain() -> None:
    """Suffixes of libraries go from names; a percentage never rounds to nothing or all."""
    assert clean_name("a.conv/Conv/WithoutBiases") == "a.conv/Conv"
    shares = [percent(share) for share in (0.0, 0.001, 0.42, 0.999, 1.0)]
    assert shares == ["0 %", "under 1 %", "42 %", "over 99 %", "100 %"]


def test_the_twin_is_the_float_trial_most_alike() -> None:
    """Same runtime and threads, no quantize, most settings alike; else OpenVINO FP32, else the reference."""
    reference = record(0, "torch", label=REFERENCE_LABEL)
    yardstick = record(1, label=OPENVINO_LABEL)
    bf16 = record(3, precision="bf16")
    quantized = record(5, quantize=True)
    study = StudyResult(card(), (reference, yardstick, bf16, quantized, record(6, quantize=True, threads=1)))
    assert float_counterpart(study, quantized) == yardstick
    assert float_counterpart(study, record(8, quantize=True, precision="bf16")) == bf16
    assert float_counterpart(study, bf16) == yardstick
    assert float_counterpart(study, record(9, "onnxruntime", quantize=True)) == yardstick
    assert float_counterpart(study, yardstick) == reference
    assert float_counterpart(study, reference) == yardstick
    assert float_counterpart(StudyResult(card(), (quantized,)), quantized) is None


@pytest.mark.parametrize("beside", [True, False])
def test_the_picture_is_a_png(beside: bool) -> None:
    """The picture can be read, is wider beside another trial, and is not blank."""
    from PIL import Image

    found = explain(CONVERTED, FLOAT if beside else None)
    with Image.open(BytesIO(explain_picture(found))) as image:
        assert image.format == "PNG"
        assert image.width > (1300 if beside else 700)
        assert np.asarray(image.convert("L")).std() > 5


def test_the_picture_of_nothing_is_a_picture() -> None:
    """A profile without layers, or without time, draws all the same."""
    for layers in ([], [conv(0, 0, "i8")]):
        assert explain_picture(explain(layers, layers)).startswith(b"\x89PNG")


def test_the_text_holds_sentences_totals_and_layers() -> None:
    """Sentences come first, then recorded and present latencies, shares, and the slowest layers, the rest as one."""
    found = explain(CONVERTED, FLOAT, recorded=(0.061, 0.041))
    lines = explain_text(found, layers=5)
    assert lines[1 : 1 + len(found.sentences)] == [f"- {sentence}" for sentence in found.sentences]
    text = "\n".join(lines)
    assert re.search(r"recorded p25 per call, ms │ +61 │ +41 │", text)
    assert re.search(r"a call now, ms +│ +60 │ +40 │", text)
    assert re.search(r"share of conversions +│ +53 % │ +0 % │", text)
    assert re.search(r"block_0.conv/Conv +│ Convolution +│ jit_i8 +│ INT8 +│ +5 │ +8 % │ +8 │ jit_f32", text)
    assert "INT8, conversion" in text
    assert "11 more" in text
    assert max(map(len, lines[1 + len(found.sentences) :])) <= 150


def test_the_text_of_a_trial_alone() -> None:
    """Without another trial there are no columns for one."""
    assert not any("#1" in line for line in explain_text(explain(FLOAT, None)))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of a searched study of the fake runtime."""
    folder = tmp_path_factory.mktemp("project")
    space = "description: d\nruntime:\n  name: fake\n  threads: 1\n  latency_ms: [1, 3]\n  failure: [null, raise]\n"
    done = helpers.run("search", *helpers.project(folder, space), "--budget", "4", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "mlruns"


@pytest.fixture
def own_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A measuring lock of the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    tempfile.tempdir = None


def stored(home: Path) -> StudyResult:
    from autoopt.study.storage import read_study

    return read_study(f"sqlite:///{home / 'study.db'}", None)


def by_latency(home: Path, latency_ms: float) -> TrialRecord:
    return next(item for item in stored(home).complete if item.configuration.runtime.get("latency_ms") == latency_ms)


@pytest.mark.usefixtures("own_locks")
def test_stored_trials_are_explained(home: Path) -> None:
    """Two trials of a study are profiled and compared; stages are announced, nothing is added to the study."""
    slow, fast = by_latency(home, 3), by_latency(home, 1)
    stages: list[str] = []
    before = len(stored(home).records)
    found = explain_trial(str(slow.number), against=f"#{fast.number}", home=home, on_stage=stages.append, plan=QUICK)
    assert found.trial.record.number == slow.number
    assert found.against is not None
    assert found.against.record.number == fast.number
    assert [layer.seconds for layer in found.trial.profile.layers] == [0.003]
    assert found.trial.recorded_s is not None
    assert stages == ["profile"]
    assert len(stored(home).records) == before
    assert explain_text(found)
    assert explain_picture(found)


@pytest.mark.usefixtures("own_locks")
def test_a_lost_artifact_is_made_again(home: Path) -> None:
    """An artifact that the store no longer has is made as it was made, then profiled."""
    import shutil

    slow = by_latency(home, 3)
    shutil.rmtree(home / "store" / "model" / slow.artifacts[-1])
    stages: list[str] = []
    found = explain_trial(str(slow.number), home=home, on_stage=stages.append, plan=QUICK)
    assert stages == ["export", "profile"]
    assert found.trial.profile.layers


def test_what_cannot_be_explained_is_refused(home: Path) -> None:
    """A failed trial, a trial that is not there and a trial beside itself each get one clear sentence."""
    failed = next(item for item in stored(home).records if item.status is Status.FAILED)
    fast = str(by_latency(home, 1).number)
    with pytest.raises(UsageError, match=r"only a trial that was measured .* failed in measure"):
        explain_trial(str(failed.number), home=home)
    with pytest.raises(StorageError, match="has no trial 99"):
        explain_trial("99", home=home)
    with pytest.raises(UsageError, match="compared with another one"):
        explain_trial(fast, against=fast, home=home)
    with pytest.raises(UsageError, match="named by its number"):
        explain_trial("first", home=home)
