"""The layers of a network that are worth keeping in float: as a ranking, a table and a picture."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoopt.compress import quantize
from autoopt.compress.maker import Maker
from autoopt.compress.sensitivity import Rank, table
from autoopt.errors import TrialError, WorkloadError
from autoopt.inference.runtimes import BASELINE, runtime
from autoopt.report.csv_text import csv_text
from autoopt.study.prepare import Prepared

COLUMNS = ("group", "layers", "noise_recovered", "cost_ms", "cost_so_far_ms")


@dataclass(frozen=True)
class LayerRanking:
    """The groups of layers of a network, the one most worth keeping in float first; `title` names the network."""

    title: str
    ranks: tuple[Rank, ...]


def rank_layers(prepared: Prepared, *, on_stage: Callable[[str], None] = lambda stage: None) -> LayerRanking:
    """Rank the layers of the workload's own network on this host, or read the ranking from the store.

    Raises WorkloadError where the network cannot be exported, quantized or measured.
    """
    settings = quantize.canonical({"scheme": "int8"}, {"name": BASELINE}, prepared.host)
    assert settings is not None
    with Maker(prepared.workload, prepared.weights, prepared.store, prepared.builder, target=prepared.target) as maker:
        on_stage("load")
        maker.check()
        try:
            on_stage("export")
            exported = maker.export(runtime(BASELINE).FORMAT)
            on_stage("sensitivity")
            ranks = maker.ranking(exported, settings["weight_bits"])
            return LayerRanking(f"{prepared.workload.title}: layers worth keeping in float", tuple(ranks))
        except TrialError as error:
            raise WorkloadError(f"the layers of {prepared.workload.name} cannot be ranked: {error.message}") from error


def as_csv(ranks: Sequence[Rank]) -> str:
    """The ranking as CSV: what each group recovers (a fraction of the noise), what it costs, and all so far, in ms."""
    rows = table(ranks)
    return csv_text(
        COLUMNS, ([group, layers, *(f"{number:.6f}" for number in numbers)] for group, layers, *numbers in rows)
    )


def ranking_picture(ranking: LayerRanking) -> bytes:
    """A PNG: for each group the quantization noise that it recovers in float, and the time that this adds to a call."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ranks = ranking.ranks
    figure = Figure(figsize=(10, 1.4 + 0.3 * len(ranks)), dpi=110, layout="constrained")
    noise, cost = figure.subplots(1, 2, sharey=True)
    rows = range(len(ranks))
    noise.barh(rows, [100 * item.recovered for item in ranks], color="#2a7f9e")
    noise.set_yticks(rows, [f"{place}. {item.group}" for place, item in enumerate(ranks, start=1)], fontsize=8)
    noise.set_xlabel("% of the quantization noise that is gone when it stays in float")
    cost.barh(rows, [1e3 * item.cost_s for item in ranks], color="#e0a030")
    cost.set_xlabel(f"ms that this adds to a call of {1e3 * ranks[0].call_s:.1f} ms")
    for axes in (noise, cost):
        axes.spines[["top", "right"]].set_visible(False)
    noise.invert_yaxis()
    figure.suptitle(ranking.title, x=0.01, ha="left", fontsize=11, weight="bold")
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(stream, format="png")
    return stream.getvalue()
