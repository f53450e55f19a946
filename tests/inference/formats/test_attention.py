"""What makes a graph one that attends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoopt.inference.formats import onnx as onnx_format
from autoopt.inference.formats import openvino as openvino_format
from autoopt.inference.formats.attention import Operation, attends

FIXED = ("w",)


def chain(*steps: tuple[str, tuple[str, ...]]) -> list[Operation]:
    """Operations that read these values and make v0, v1, ..."""
    return [Operation(kind, reads, (f"v{index}",)) for index, (kind, reads) in enumerate(steps)]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("MatMul", ("x", "x")), ("Softmax", ("v0",)), ("Dropout", ("v1",)), ("MatMul", ("v2", "x"))], True),
        ([("SoftMax", ("x",)), ("Reshape", ("v0", "w")), ("Einsum", ("x", "v1"))], True),
        ([("ScaledDotProductAttention", ("x", "x", "x"))], True),
        ([("Conv", ("x", "w")), ("Softmax", ("v0",)), ("Transpose", ("v1",))], False),
        ([("Softmax", ("x",)), ("Mul", ("v0", "x")), ("Conv", ("v1", "w")), ("MatMul", ("v2", "x"))], False),
        ([("Softmax", ("x",)), ("Convert", ("w",)), ("MatMul", ("v0", "v1"))], False),
        ([("Softmax", ("w",)), ("MatMul", ("v0", "x"))], False),
    ],
)
def test_attention_is_a_softmax_in_a_product(steps: list[tuple[str, tuple[str, ...]]], expected: bool) -> None:
    """It weighs other activations; at the end, over channels, before a layer of weights or of constants it is none."""
    assert attends(chain(*steps), FIXED) is expected


def test_a_softmax_at_the_end_is_no_attention(tmp_path: Path) -> None:
    """A plain classifier with softmax in its file attends in no format, a transformer in both."""
    torch, openvino = pytest.importorskip("torch"), pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    layers = [torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2)]
    plain = torch.nn.Sequential(*layers, torch.nn.Softmax(1)).eval()

    class Attending(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, image: object) -> object:
            tokens = plain[0](image).flatten(2).transpose(1, 2)
            return (tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens

    found = {}
    for name, net in (("plain", plain), ("attending", Attending().eval())):
        file = tmp_path / name / onnx_format.FILE
        file.parent.mkdir()
        batch = torch.from_numpy(np.zeros((1, 3, 8, 8), np.float32))
        torch.onnx.export(net, (batch,), dynamo=True, verbose=False).save(file)
        graphs = (
            onnx_format.attends(onnx_format.read(file.parent)),
            openvino_format.attends(openvino.Core().read_model(file)),
        )
        found[name] = graphs
    assert found == {"plain": (False, False), "attending": (True, True)}
