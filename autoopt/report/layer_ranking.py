"""`autoopt sensitivity`: which layers of a network are worth keeping in float, as a ranking, a table and a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoopt.compress import quantize
from autoopt.compress.maker import Maker
from autoopt.compress.sensitivity import Rank, table
from autoopt.errors import TrialError, WorkloadError
from autoopt.study.request import Prepared

COLUMNS = ("group", "layers", "noise_recovered", "cost_ms", "cost_so_far_ms")


@dataclass(frozen=True)
class LayerRanking:
    """The groups of layers of a network, those first that are worth keeping in float; `title` says whose."""

    title: str
    ranks: tuple[Rank, ...]


def rank_layers(prepared: Prepared, *, on_stage: Callable[[str], None] = lambda stage: None) -> LayerRanking:
    """The ranking of the workload's own network on this host, from the store or made. Raises WorkloadError."""
    settings = quantize.canonical({"scheme": "int8"}, {"name": "openvino"}, prepared.host)
    assert settings is not None
    with Maker(prepared.workload, prepared.weights, prepared.store, prepared.builder, target=prepared.target) as maker:
        on_stage("load")
        maker.check()
        try:
            on_stage("export")
            exported = maker.export("openvino")
            on_stage("sensitivity")
            ranks = maker.ranking(exported, settings["weight_bits"])
            return LayerRanking(f"{prepared.workload.title}: layers worth keeping in float", tuple(ranks))
        except TrialError as error:
            raise WorkloadError(f"the layers of {prepared.workload.name} cannot be ranked: {error.message}") from error


def as_csv(ranks: Sequence[Rank]) -> str:
    """The ranking as a table of numbers."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for group, layers, recovered, cost_ms, so_far_ms in table(ranks):
        writer.writerow([group, layers, f"{recovered:.6f}", f"{cost_ms:.6f}", f"{so_far_ms:.6f}"])
    return stream.getvalue()


def ranking_picture(ranking: LayerRanking) -> bytes:
    """A PNG: for each group what of the quantization noise goes with it, and what a call takes longer."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ranks = ranking.ranks
    figure = Figure(figsize=(10, 1.4 + 0.3 * len(ranks)), dpi=110, layout="constrained")
    noise, cost = figure.subplots(1, 2, sharey=True)
    rows = range(len(ranks))
    noise.barh(rows, [100 * item.recovered for item in ranks], color="#2a7f9e")
    noise.set_yticks(rows, [f"{place}. {item.group}" for place, item in enumerate(ranks, start=1)], fontsize=8)
    noise.set_xlabel("% of the quantization noise that goes when it stays in float")
    cost.barh(rows, [1e3 * item.cost_s for item in ranks], color="#e0a030")
    cost.set_xlabel(f"ms that a call of {1e3 * ranks[0].call_s:.1f} ms takes longer")
    for axes in (noise, cost):
        axes.spines[["top", "right"]].set_visible(False)
    noise.invert_yaxis()
    figure.suptitle(ranking.title, x=0.01, ha="left", fontsize=11, weight="bold")
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(stream, format="png")
    return stream.getvalue()
