"""The workload contract: how one is found, what is wrong with one, how cases without a manifest are split."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.parameters import Parameter
from autoopt.errors import DataError, WorkloadError
from autoopt.workloads.contract import (
    Case,
    SplitName,
    Splits,
    check_workload,
    load_workload,
    read_options,
    split_by_group,
)
from tests import tiny

FRACTIONS: dict[SplitName, float] = {"train": 0.6, "calibration": 0.1, "val": 0.1, "test": 0.2}

USER_FILE = """
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from autoopt.errors import DataError
from tests import tiny


@dataclass
class Mine:
    name: str


def workload(data: Path | None):
    return replace(tiny.workload(), name=Mine(f"on {data.name if data else 'nothing'}").name)

def no_arguments():
    return tiny.workload()

def wrong():
    return 3

def broken():
    raise RuntimeError("no such scanner")

def bad_data(data):
    raise DataError("x.png is damaged")

NOT_A_FUNCTION = 1
"""


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE)
    return path


def test_a_file_anywhere(user_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workload is found in a file by a relative path, gets the data folder, and can be loaded again elsewhere."""
    monkeypatch.chdir(user_file.parent)
    found = load_workload("mine.py:workload", tmp_path / "data", tmp_path / "home")
    assert (found.name, found.title, found.demo) == ("on data", "on data", False)
    assert found.origin is not None
    assert found.origin.source == f"{user_file}:workload"
    monkeypatch.chdir("/")
    assert found.origin.load().name == "on data"
    assert load_workload(f"{user_file}:workload", None, tmp_path).name == "on nothing"
    assert load_workload(f"{user_file}:no_arguments", tmp_path, tmp_path).name == "tiny"


def test_a_module(tmp_path: Path) -> None:
    """A workload is found in an installed module."""
    assert load_workload("tests.tiny:workload", None, tmp_path).name == "tiny"


def test_two_files_of_one_name(tmp_path: Path) -> None:
    """Two user files called the same do not get into each other's way."""
    found = []
    for name in ("a", "b"):
        path = tmp_path / name / "mine.py"
        path.parent.mkdir()
        path.write_text(USER_FILE.replace("on {", f"{name} {{"))
        found.append(load_workload(f"{path}:workload", None, tmp_path).name)
    assert found == ["a nothing", "b nothing"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "histology",
            "no workload is called 'histology': use one of brain, cardiac, dfu, histo, or your own as file.py:function",
        ),
        ("nowhere.py:workload", "the workload file nowhere.py does not exist"),
        ("no.such.module:workload", "no.such.module cannot be imported: ModuleNotFoundError"),
        ("FILE:missing", "has no function 'missing'"),
        ("FILE:NOT_A_FUNCTION", "has no function 'NOT_A_FUNCTION'"),
        ("FILE:wrong", "must return an autoopt.Workload, it returned int"),
        ("FILE:broken", "failed with RuntimeError: no such scanner"),
    ],
)
def test_a_workload_that_cannot_be_had(source: str, says: str, user_file: Path, tmp_path: Path) -> None:
    """Each way not to find a workload is one sentence that names what was asked for."""
    with pytest.raises(WorkloadError, match=says):
        load_workload(source.replace("FILE", str(user_file)), None, tmp_path)


def test_errors_of_user_code_pass(user_file: Path, tmp_path: Path) -> None:
    """A user's own data error passes unchanged; a file that does not run is named and not half-imported."""
    with pytest.raises(DataError, match=r"^x\.png is damaged$"):
        load_workload(f"{user_file}:bad_data", None, tmp_path)
    user_file.write_text("1 / 0")
    before = set(sys.modules)
    with pytest.raises(WorkloadError, match=r"mine.py cannot be imported: ZeroDivisionError"):
        load_workload(f"{user_file}:workload", None, tmp_path)
    assert set(sys.modules) <= before


def case(name: str, group: str) -> Case:
    return Case(name, group, tiny.workload().splits.val[0].read)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: replace(s, calibration=()), "the split 'calibration' has no cases"),
        (lambda s: replace(s, test=(*s.test, s.val[0])), "case 'case-06' is in val and again in test"),
        (
            lambda s: replace(s, test=(case("x", "patient-0"),)),
            "group 'patient-0' is in train and in test: patients must not leak",
        ),
        (lambda s: replace(s, val=(*s.val, s.val[0])), "case 'case-06' is in val and again in val"),
    ],
)
def test_splits_must_be_disjoint(change: Callable[[Splits], Splits], says: str) -> None:
    """An empty split, a case twice and a patient in two splits are each named."""
    workload = tiny.workload()
    check_workload(workload)
    with pytest.raises(WorkloadError, match=says):
        check_workload(replace(workload, splits=change(workload.splits)))


def test_all_problems_at_once_but_not_thousands() -> None:
    """All problems come together; a list too long to read is cut and says so."""
    workload = tiny.workload()
    with pytest.raises(WorkloadError) as caught:
        check_workload(replace(workload, labels=("one",), metrics=(), build=None))
    assert len(caught.value.problems) == 4
    many = tuple(case(f"{index}", "g") for index in range(30))
    with pytest.raises(WorkloadError, match=r"\.\.\. and 13 more"):
        check_workload(replace(workload, splits=Splits(many, (), many[:1], many[:29])))


CASES = st.lists(st.integers(1, 6), min_size=1, max_size=25).map(
    lambda sizes: [(f"{group}-{index}", f"p{group}") for group, size in enumerate(sizes) for index in range(size)]
)


@given(CASES, st.integers(0, 5), st.randoms(use_true_random=False))
def test_patients_are_never_split(cases: list[tuple[str, str]], seed: int, random: object) -> None:
    """Every case gets a split, a patient only one, in any order; no split is empty where patients are enough."""
    chosen = split_by_group(cases, FRACTIONS, seed)
    assert set(chosen) == {name for name, _ in cases}
    by_group: dict[str, set[str]] = {}
    for name, group in cases:
        by_group.setdefault(group, set()).add(chosen[name])
    assert all(len(splits) == 1 for splits in by_group.values())
    assert len(set(chosen.values())) == min(len(by_group), len(FRACTIONS))
    shuffled = random.sample(cases, len(cases))  # type: ignore[attr-defined]
    assert split_by_group(shuffled, FRACTIONS, seed) == chosen


def test_fractions_are_kept() -> None:
    """With one case each, thirty patients are split exactly as asked for."""
    cases = [(f"c{index}", f"p{index}") for index in range(30)]
    counts = Counter(split_by_group(cases, FRACTIONS).values())
    assert counts == {"train": 18, "calibration": 3, "val": 3, "test": 6}
    assert split_by_group(cases, FRACTIONS, 1) != split_by_group(cases, FRACTIONS, 2)


OPTIONS = {
    "net": Parameter("choice", "small", "which net", allowed=("small", "large")),
    "width": Parameter("integer", 8, "base width", low=1),
    "sigmoid": Parameter("flag", False, "several labels at once"),
    "rate": Parameter("number", 0.5, "a rate", nullable=True),
}


def test_options_are_read_from_text() -> None:
    """What a command line gives as text becomes what the workload's options say; defaults are left to the workload."""
    given = {"net": "large", "width": "16", "sigmoid": "true", "rate": "null"}
    assert read_options("x", OPTIONS, given) == {"net": "large", "width": 16, "sigmoid": True, "rate": None}
    assert read_options("x", OPTIONS, {}) == {}


def test_bad_options_come_together() -> None:
    """Every unknown option and every wrong value is named at once, with what is allowed."""
    with pytest.raises(WorkloadError) as caught:
        read_options("x", OPTIONS, {"net": "huge", "width": "many", "depth": "3"})
    text = str(caught.value)
    assert "option net of x must be one of small, large, got 'huge'" in text
    assert "option width of x must be a whole number of at least 1, got 'many'" in text
    assert "x has no option 'depth', its options are: net, width, sigmoid, rate" in text


def test_a_function_takes_its_options(tmp_path: Path) -> None:
    """The options of a workload of one's own are arguments of its function; others are refused."""
    (tmp_path / "mine.py").write_text(
        "from tests import tiny\nfrom dataclasses import replace\n"
        "def workload(data, width='8'):\n    return replace(tiny.workload(), name=f'tiny-{width}')\n"
    )
    source = f"{tmp_path / 'mine.py'}:workload"
    loaded = load_workload(source, None, tmp_path, {"width": "16"})
    assert loaded.name == "tiny-16" and loaded.origin is not None and loaded.origin.load().name == "tiny-16"
    with pytest.raises(WorkloadError, match=r"must take the option\(s\) depth"):
        load_workload(source, None, tmp_path, {"depth": "3"})


def test_a_model_is_found_or_explained(tmp_path: Path) -> None:
    """A model without cases, or of no known kind, is refused with what is possible."""
    with pytest.raises(WorkloadError, match="needs cases: give --data DIR"):
        load_workload("model:net.onnx", None, tmp_path)
    with pytest.raises(WorkloadError, match=r"must be an ONNX file, .* net\.tflite is not there"):
        load_workload("model:net.tflite", tmp_path, tmp_path)


def test_train_and_calibration_may_share_a_patient() -> None:
    """Both are training data: a patient in both is no leak, one in train and val is."""
    splits = tiny.workload().splits
    one = replace(splits.train[0], group="p")
    other = replace(splits.calibration[0], group="p")
    check_workload(replace(tiny.workload(), splits=replace(splits, train=(one,), calibration=(other,))))
    with pytest.raises(WorkloadError, match="patients must not leak"):
        check_workload(replace(tiny.workload(), splits=replace(splits, train=(one,), val=(other,), calibration=())))
