"""Networks whose ends see and give blocks of pixels as channels."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from autoopt.errors import Unsupported  # noqa: E402
from autoopt.nets import block_channels, resolution  # noqa: E402
from autoopt.nets.files import read_net, write_net  # noqa: E402
from tests import tiny  # noqa: E402


@pytest.mark.parametrize("sizes", [(12,), (8, 12), (8, 12, 20)])
def test_pixels_become_channels_and_come_back(sizes: tuple[int, ...]) -> None:
    """For images of one, two and three axes the pixels of a block are channels of one place, in the same order."""
    image = torch.randn(2, 3, *sizes)
    gathered = block_channels.gathered(image, 4)
    block = 4 ** len(sizes)
    assert gathered.shape == (2, 3 * block, *(size // 4 for size in sizes))
    corner = image[(slice(None), slice(None), *[slice(0, 4)] * len(sizes))]
    assert torch.equal(gathered[(slice(None), slice(None), *[0] * len(sizes))], corner.reshape(2, -1))
    assert torch.equal(block_channels.spread(gathered, 4), image)


def test_a_widened_network_begins_with_the_means_of_blocks(tmp_path: Path) -> None:
    """It answers as the network does on the means, the same for each pixel of a block, and is stored and read again."""
    weights = tiny.weights(tmp_path / "w.safetensors")
    model, plain = (read_net(tiny.workload(), weights) for _ in range(2))
    image = torch.randn(2, 3, 16, 16)
    ends = block_channels.ends_of(model, image[:1], output=True)
    block_channels.widen(model, ends, 2)
    resolution.take_blocks(model, 2, output=True)
    answer = model(image)
    wanted = plain(torch.nn.functional.avg_pool2d(image, 2)).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(answer, wanted, rtol=1e-4, atol=1e-4)
    write_net(model, tmp_path)
    again = read_net(tiny.workload(), weights, tmp_path)
    assert torch.equal(again(image), answer) and resolution.factor_of(again) == 2


class Grouped(torch.nn.Module):
    """A network whose ends are no plain convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 6, 3, padding=1, groups=3)
        self.last = torch.nn.Conv2d(6, 2, 1)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.relu(self.last(self.first(batch)))


def test_other_ends_are_refused() -> None:
    """A grouped convolution at the input, and an answer that is no convolution's, are told in words."""
    net, batch = Grouped().eval(), torch.zeros(1, 3, 8, 8)
    with pytest.raises(Unsupported, match="ungrouped convolution must be what sees the input"):
        block_channels.ends_of(net, batch, output=False)
    net.first = torch.nn.Conv2d(3, 6, 3, padding=1)
    assert block_channels.ends_of(net, batch, output=False) == block_channels.Ends(("first",), None)
    with pytest.raises(Unsupported, match=r"what gives the output of the network, it is aten\.relu"):
        block_channels.ends_of(net, batch, output=True)
