"""Extension is one file and one line: everything that may be added is added from outside, and a search uses it all."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import autoopt
from autoopt.compress import STEPS
from autoopt.core.records import Status
from autoopt.inference.formats import FORMATS
from autoopt.inference.runtimes import RUNTIMES
from autoopt.measure.metrics import METRICS
from autoopt.nets.importance import CRITERIA
from autoopt.study.events import SearchResult
from autoopt.study.numbers import NUMBERS
from autoopt.study.storage import read_study
from autoopt.testing import ListSink
from autoopt.workloads.data.readers import READERS
from tests.e2e.quick import LEAST
from tests.extension import net, toy_number
from tests.extension.toy_reader import write_toy
from tests.extension.toy_sink import Diary

for library in ("torch", "onnx", "onnxruntime"):
    pytest.importorskip(library)

FOLDER = Path(__file__).parent / "extension"
OPTIONS = {
    "task": "segmentation",
    "tile": "16x16",
    "overlap": "0",
    "metrics": "right_pixels,dice_macro",
    "scale": "255",
}
SPACE = """
round: {grid: [null, 0.001]}
prune: {ratio: [null, 0.5], rungs: null, criterion: last, steps: 2, batch: 2}
runtime: {name: toy, threads: 1}
"""


@pytest.fixture(scope="module")
def added() -> Path:
    """One line of a table for each thing that is added; the tables are as they were afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FORMATS, "toy", "tests.extension.toy_format")
        patch.setitem(RUNTIMES, "toy", "tests.extension.toy_runtime")
        patch.setitem(STEPS, "round", "tests.extension.toy_step")
        patch.setitem(CRITERIA, "last", "tests.extension.toy_criterion:last_first")
        patch.setitem(METRICS, "right_pixels", "tests.extension.toy_metric:right_pixels")
        patch.setitem(READERS, ".toy", "tests.extension.toy_reader:open_toy")
        patch.setitem(NUMBERS, "stutter", toy_number.STUTTER)
        yield FOLDER


def data(folder: Path) -> Path:
    """Twelve pictures in files of the new suffix, half of each bright, and their masks."""
    random = np.random.default_rng(0)
    for index in range(12):
        mask = np.zeros((16, 16), np.uint8)
        mask[:, : 6 + index % 3] = 1
        write_toy(folder / "images" / f"c{index}.toy", 40 + 150 * mask + random.integers(0, 20, mask.shape))
        write_toy(folder / "masks" / f"c{index}.toy", mask)
    return folder


def weights(path: Path) -> Path:
    """A network that finds what is bright."""
    import torch
    from safetensors.torch import save_file

    model = net.build()
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(0.01)
        model[1].weight.fill_(1.0)
        model[0].weight[:, 0, 1, 1] = 1.0
        model[3].weight[1] = 1.0
        model[3].bias[1] = -8 * 0.45
    save_file(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def searched(added: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchResult, Path, ListSink]:
    """A search through all of it, told to a sink in memory and to one that writes."""
    folder, sink = tmp_path_factory.mktemp("extension"), ListSink()
    (folder / "space.yaml").write_text(SPACE)
    result = autoopt.search(
        f"model:{added / 'net.py'}:build",
        options=OPTIONS,
        data=data(folder / "data"),
        weights=weights(folder / "net.safetensors"),
        space=folder / "space.yaml",
        objectives=("latency", "quality", "stutter"),
        max_drop=0.5,
        budget=6,
        home=folder / "home",
        sinks=[sink, Diary(folder / "diary.txt")],
        plan=LEAST,
    )
    return result, folder, sink


def test_a_search_goes_through_all_of_it(searched: tuple[SearchResult, Path, ListSink]) -> None:
    """Format, runtime, step, criterion, reader and metric from outside work in every trial, in every process."""
    result, _, _ = searched
    assert {record.status for record in result.records} == {Status.COMPLETE}, result.records
    toys = [record for record in result.records if record.configuration.runtime.name == "toy"]
    combinations = {
        tuple(record.configuration.section(name) is not None for name in ("round", "prune")) for record in toys
    }
    assert combinations == {(False, False), (True, False), (False, True), (True, True)}
    pruned = [section for record in toys if (section := record.configuration.section("prune"))]
    assert {section["criterion"] for section in pruned} == {"last"}
    assert result.study.card.primary == "right_pixels"
    whole = toys[0].quality
    assert whole is not None and whole.values["right_pixels"] > 0.9


def test_a_number_from_outside_is_an_objective_and_a_column(searched: tuple[SearchResult, Path, ListSink]) -> None:
    """What is added to the numbers is optimised, told with every trial, in the tables and in MLflow."""
    import mlflow

    from autoopt.report.tables import columns

    result, folder, _ = searched
    assert result.study.card.objectives == ("latency", "quality", "stutter")
    assert "stutter" in columns(result.study)
    for record in result.records:
        assert result.study.headline(record)["stutter"] >= 1.0
        assert result.study.points((record,)).shape == (1, 3)
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'home' / 'mlflow.db'}")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    children = client.search_runs(ids, "tags.`autoopt.kind` = 'trial'")
    assert len(children) == len(result.records)
    assert all(run.data.metrics["stutter"] >= 1.0 for run in children)


def test_sinks_from_outside_hear_everything(searched: tuple[SearchResult, Path, ListSink]) -> None:
    """Both sinks have every trial as the study has it, and the end."""
    result, folder, sink = searched
    assert sink.card == result.study.card and sink.states == ["open", "finished"]
    assert [sink.trials[number] for number in sorted(sink.trials)] == list(result.records)
    assert sink.fronts[-1] == [record.number for record in result.front]
    diary = (folder / "diary.txt").read_text().splitlines()
    assert diary[0] == f"open {result.study.card.name}" and diary[-1] == "close finished"
    assert {f"trial {record.number} complete" for record in result.records} <= set(diary)


def test_what_was_found_is_deployed(searched: tuple[SearchResult, Path, ListSink]) -> None:
    """A bundle of the new format runs in the new runtime, and a stored study is read again."""
    result, folder, _ = searched
    out, _ = autoopt.pull(folder / "deployed", home=folder / "home", self_test=False, pick="fastest")
    with autoopt.load(out) as predictor:
        bright = np.zeros((16, 16), np.uint8)
        bright[:, :7] = 200
        assert np.mean(predictor.predict(bright[..., np.newaxis]) == (bright > 0)) > 0.9
    assert read_study(f"sqlite:///{folder / 'home' / 'study.db'}", None).records == result.study.records


def test_each_of_them_is_one_file() -> None:
    """What is added imports nothing else of this folder, but the runtime the format that it runs."""
    for path in FOLDER.glob("toy_*.py"):
        imported = {
            node.module: {alias.name for alias in node.names}
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests")
        }
        assert imported in ({}, {"tests.extension": {"toy_format"}}), path.name
