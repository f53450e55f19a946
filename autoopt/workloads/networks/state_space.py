"""A network of state-space blocks, whose cost is linear in the number of pixels and which needs no attention.

The blocks are diagonal and real: S4D-Real of Gu, Gupta, Goel and Re 2022 (On the Parameterization and Initialization of
Diagonal State Space Models), run in both directions as in Vision Mamba (Zhu et al. 2024). They are written without
complex numbers, Fourier transforms and loops over pixels: in pieces of a fixed length as in Mamba-2 (Dao and Gu 2024),
so that every exporter has their operations and a CPU runs them as products of matrices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

STATES = 8
"""Numbers that a channel remembers of what it has read."""
PIECE = 16
"""So many pixels are read at once; what was read before them is in the states."""
SLOWEST, QUICKEST = 0.001, 0.1
"""The time steps that channels begin with, as in S4D: how far they look back is about one over it."""


def state_space_net(
    channels: int, classes: int, dimensions: int = 2, width: int = 32, blocks: int = 2
) -> torch.nn.Module:
    """Two strided convolutions, `blocks` state-space blocks over all pixels in turn, and the way back.

    (n, channels, *sizes) to logits (n, classes, *sizes) for one to three `dimensions`.
    """
    import torch
    from torch import nn

    convolution = getattr(nn, f"Conv{dimensions}d")
    norm = getattr(nn, f"BatchNorm{dimensions}d")

    def step(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
        return nn.Sequential(convolution(inputs, outputs, 3, stride, padding=1, bias=False), norm(outputs), nn.ReLU())

    class StateSpaceNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = step(channels, width // 2, 2), step(width // 2, width, 2)
            self.blocks = nn.Sequential(*(_block(width, dimensions) for _ in range(blocks)))
            self.up = step(width + width // 2, width // 2)
            self.head = convolution(width // 2, classes, 1)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            half = self.first(batch)
            x = self.blocks(self.second(half))
            x = nn.functional.interpolate(x, size=half.shape[2:], mode="nearest")  # a size may be odd
            x = self.up(torch.cat([x, half], dim=1))
            logits: torch.Tensor = self.head(nn.functional.interpolate(x, size=batch.shape[2:], mode="nearest"))
            return logits

    return StateSpaceNet()


def _block(channels: int, dimensions: int) -> torch.nn.Module:
    """State spaces in both directions, a gated product, added to the input: (n, channels, *sizes)."""
    import torch
    from torch import nn

    convolution = getattr(nn, f"Conv{dimensions}d")

    class StateSpaceBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.GroupNorm(1, channels)
            self.forth, self.back = state_space(channels), state_space(channels, backwards=True)
            self.value, self.gate = convolution(channels, channels, 1), convolution(channels, channels, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            read = self.norm(x).flatten(2)
            y = nn.functional.gelu(self.forth(read) + self.back(read)).reshape(x.shape)
            mixed: torch.Tensor = x + self.value(y) * torch.sigmoid(self.gate(y))
            return mixed

    return StateSpaceBlock()


def state_space(channels: int, *, backwards: bool = False) -> torch.nn.Module:
    """A diagonal state space for each channel: (n, channels, length) to the same, whose cost is linear in the length.

    With states h of a channel, s of them: h[t] = exp(-step * rate) h[t - 1] + step * x[t], and the answer is
    weights . h[t] + skip * x[t]; `backwards` reads from the end.
    """
    import torch
    from torch import nn

    class StateSpace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            low, high = torch.tensor(SLOWEST).log(), torch.tensor(QUICKEST).log()
            self.log_step = nn.Parameter(low + (high - low) * torch.rand(channels))
            self.log_rate = nn.Parameter(torch.arange(1.0, STATES + 1).log().repeat(channels, 1))
            self.weights = nn.Parameter(torch.randn(channels, STATES) / STATES**0.5)
            self.skip = nn.Parameter(torch.ones(channels))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            n, _, length = x.shape
            count = -(-length // PIECE)
            if count * PIECE > length:
                x = nn.functional.pad(x, (0, count * PIECE - length))
            pieces = x.reshape(n, channels, count, PIECE)
            inside, into, out_of, kept = self._matrices()
            read = torch.matmul(pieces, into)  # what each piece adds to the states
            state, before = torch.zeros_like(read[:, :, 0]), [read[:, :, 0]] * count
            for place in reversed(range(count)) if backwards else range(count):
                before[place] = state
                state = kept * state + read[:, :, place]
            y = torch.matmul(pieces, inside) + torch.matmul(torch.stack(before, dim=2), out_of)
            answer: torch.Tensor = y.reshape(n, channels, count * PIECE)[:, :, :length]
            return answer

        def _matrices(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
            """What leads from x to y within a piece (c, piece, piece), and to and from the states.

            To the states (c, piece, s), from them (c, s, piece); the last is what stays of them (c, s).
            """
            step = self.log_step.exp()[:, None, None]
            decay = step * self.log_rate.exp()[:, :, None]  # (c, s, 1), of one pixel
            places = torch.arange(PIECE, device=decay.device, dtype=decay.dtype)
            apart = places[:, None] - places[None, :] if backwards else places[None, :] - places[:, None]
            far = torch.exp(-decay[..., None] * apart.clamp(min=0)) * (apart >= 0)  # (c, s, from, to)
            inside = step * (self.weights[:, :, None, None] * far).sum(1) + torch.diag_embed(
                self.skip[:, None].expand(-1, PIECE)
            )
            left = places if backwards else PIECE - 1 - places  # pixels between one and the end of its piece
            into = step * torch.exp(-decay * left).transpose(1, 2)
            gone = PIECE - places if backwards else places + 1  # pixels since the end of the piece before
            out_of = self.weights[:, :, None] * torch.exp(-decay * gone)
            return inside, into, out_of, torch.exp(-decay[..., 0] * PIECE)

    return StateSpace()
