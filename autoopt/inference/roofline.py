"""The roofline model: the least time that one call can take on a host, and how near a latency comes to it.

The floor of a call's time is its arithmetic at the host's measured peak or its traffic at the measured bandwidth,
whichever takes longer (Williams, Waterman and Patterson: Roofline, CACM 52(4), 2009). `measure/peaks.py` measures the
host, a graph's format (`formats/`) counts the graph.
"""

from __future__ import annotations

from dataclasses import dataclass

OPS_PER_MAC = 2
"""A multiplication and an addition, as vendors count."""
WIDTH_BYTES = {"f32": 4, "bf16": 2, "f16": 2, "i8": 1}
"""Bytes of a number, by precision."""


@dataclass(frozen=True)
class Cost:
    """The cost of one call, summed over the layers that multiply.

    `macs` are multiply-accumulates, `int8_macs` those of them between 8-bit numbers. `bytes` is a lower bound of the
    memory traffic: the weights and activations that each layer reads and the result that it writes, once each, as if
    all between these layers were fused. `weights` is how many numbers their weights have, of whatever width.
    """

    macs: int
    bytes: int
    int8_macs: int = 0
    weights: int = 0


@dataclass(frozen=True)
class Peaks:
    """The measured peaks of a host with `threads` threads: operations per second, and bytes per second copied.

    A multiply-accumulate is two operations; a copied byte is read and written, so it counts twice. None where the
    host has no kernel for the precision. `foreign_share` is the fraction of the cores that other programs used
    meanwhile, where it is known: without them the host may be faster.
    """

    f32_flops_per_s: float
    bf16_flops_per_s: float | None
    f16_flops_per_s: float | None
    int8_ops_per_s: float | None
    bandwidth_bytes_per_s: float
    threads: int
    foreign_share: float | None = None

    def ops_per_s(self, precision: str) -> float | None:
        """The peak of f32, bf16, f16 or i8. Raises KeyError for another word."""
        return {
            "f32": self.f32_flops_per_s,
            "bf16": self.bf16_flops_per_s,
            "f16": self.f16_flops_per_s,
            "i8": self.int8_ops_per_s,
        }[precision]


def floor_s(cost: Cost, peaks: Peaks, precision: str) -> float | None:
    """The least seconds of a call on a host with `peaks`; None where a peak that is needed is not known.

    INT8 layers run at the peak of INT8, all others at that of `precision`, one after the other.
    """
    seconds = 0.0
    for macs, name in ((cost.int8_macs, "i8"), (cost.macs - cost.int8_macs, precision)):
        peak = peaks.ops_per_s(name)
        if macs and peak is None:
            return None
        seconds += OPS_PER_MAC * macs / peak if macs and peak is not None else 0.0
    return max(seconds, cost.bytes / peaks.bandwidth_bytes_per_s)


def fraction_of_roofline(cost: Cost, latency_s: float, peaks: Peaks, precision: str) -> float | None:
    """The attained fraction of min(peak, bandwidth x intensity); None where the peak is not known.

    `peaks` are those of as many threads as the latency has. Above 1 where the traffic stays in a cache.
    """
    floor = floor_s(cost, peaks, precision)
    return None if floor is None else floor / latency_s
