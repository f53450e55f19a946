"""What the exporters of PyTorch raise and log."""

from __future__ import annotations

import logging
import warnings

import pytest

torch = pytest.importorskip("torch")

from autoopt.errors import Unsupported  # noqa: E402
from autoopt.nets.exporter_errors import quiet, refusals_of  # noqa: E402


class Undecided(torch.nn.Module):
    """A network whose way depends on what it is given, which cannot be exported."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch * 2 if float(batch.sum()) > 0 else batch


def test_a_refusal_is_unsupported() -> None:
    """A network that cannot be exported is unsupported, with the exporter and the first line of its reason."""
    with pytest.raises(Unsupported, match=r"^torch\.export refuses the model: .+"), refusals_of("torch.export"):
        torch.export.export(Undecided(), (torch.ones(2),), strict=False)


def test_the_reason_is_what_began_it() -> None:
    """An exporter that fails in another one is refused with the other's reason, without the colours of a terminal."""
    with pytest.raises(Unsupported) as raised, quiet(), refusals_of("torch.onnx"):
        torch.onnx.export(Undecided(), (torch.ones(2),), dynamo=True, verbose=False)

    assert "data-dependent" in str(raised.value) and "\x1b" not in str(raised.value)
    assert "step 1" not in str(raised.value)


def test_other_errors_pass() -> None:
    """Running out of memory is not a refusal of the exporter."""
    with pytest.raises(RuntimeError, match="not enough memory"), refusals_of("torch.export"):
        raise RuntimeError("not enough memory")


def test_warnings_are_silenced_inside_only() -> None:
    """Warnings and logs of the exporters are silent inside the block, and as before after it."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet():
            warnings.warn("only developers care", stacklevel=1)
            assert logger.level == logging.ERROR
        assert caught == [] and logger.level == before
