"""Cases as files: what the manifest adds to them, how they are split, what identifies them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import DataError
from autoopt.workloads.contract import SPLITS, Sample, SplitName
from autoopt.workloads.data.cases import (
    Item,
    data_digest,
    items_of,
    raise_problems,
    repeated_images,
    split_items,
    to_splits,
)
from autoopt.workloads.data.image_file import Source


def items(count: int, split: SplitName | None = None, label: str = "a") -> list[Item]:
    return [
        Item(f"c{index:02d}", f"p{index // 2:02d}", split, (Source(Path(f"{index}.png")),), label)
        for index in range(count)
    ]


def files(*names: str) -> dict[str, tuple[list[Source], str]]:
    return {name: ([Source(Path(f"{name}.png"))], "a") for name in names}


def test_the_manifest_says_of_which_patient_a_case_is(tmp_path: Path) -> None:
    """Cases come in the order of the manifest with its patients, splits and tags; without one each is a patient."""
    problems: list[str] = []
    alone = items_of(tmp_path, files("a", "b"), problems, described="")
    assert [(item.name, item.group, item.split) for item in alone] == [("a", "a", None), ("b", "b", None)]
    (tmp_path / "manifest.csv").write_text("name,patient,split,site\nb,p1,test,x\na,p2,train,y\n")
    listed = items_of(tmp_path, files("a", "b"), problems, described="")
    assert not problems
    assert [(item.name, item.group, item.split, dict(item.tags)) for item in listed] == [
        ("b", "p1", "test", {"site": "x"}),
        ("a", "p2", "train", {"site": "y"}),
    ]
    assert listed[0].where.endswith("manifest.csv line 2")


def test_tiles_of_a_slide_stay_together(tmp_path: Path) -> None:
    """The names that QuPath gives tiles tell their slide, in whatever folder they lie; it is said."""
    remarks: list[str] = []
    names = [
        "a/s 1.svs [x=0,y=0,w=5,h=5].jpg",
        "b/s 1.svs [d=2.5,x=5,y=0,w=5,h=5].jpg",
        "b/s 2.svs [x=0,y=0].jpg",
        "b/x",
    ]
    found = items_of(tmp_path, files(*names), [], described="", remarks=remarks)
    assert [item.group for item in found] == ["s 1.svs", "s 1.svs", "s 2.svs", "b/x"]
    assert "tiles of one slide, by their names, stay in one split" in remarks[0]
    items_of(tmp_path, files("a"), [], described="", remarks=remarks)
    assert "nothing says which cases are of one patient" in remarks[1]


def test_val_is_drawn_from_train_where_only_that_is_missing() -> None:
    """Train and test that were given stay what they are; whole patients of train become val, if that is asked for."""
    given = [*items(30, "train"), *(replace(item, name=f"t{item.name}", group="t") for item in items(4, "test"))]
    with pytest.raises(DataError, match="none are in val"):
        split_items(Path("data"), given)
    chosen = split_items(Path("data"), given, draw_val=True)
    assert {item.name for item in chosen if item.split == "test"} == {f"tc{index:02d}" for index in range(4)}
    val = {item.group for item in chosen if item.split == "val"}
    assert len(val) == 2 and not val & {item.group for item in chosen if item.split != "val"}
    with pytest.raises(DataError, match="three patients in train, so that val can be drawn from them, it has 2"):
        split_items(Path("data"), [*items(4, "train"), *given[-4:]], draw_val=True)


def test_calibration_takes_no_class_as_a_whole() -> None:
    """Classes of which train has one patient stay in it; calibration is taken from the others."""
    rare = [replace(item, group=item.name, label=f"k{item.name}") for item in items(20, "train")]
    given = [*rare, *(replace(item, name=f"x{item.name}", group=f"x{item.name}") for item in items(20, "train"))]
    given += [replace(given[0], name=split, group=split, split=split) for split in ("val", "test")]  # type: ignore[arg-type]
    chosen = split_items(Path("data"), given)
    calibration = [item.label for item in chosen if item.split == "calibration"]
    assert calibration and set(calibration) == {"a"}


def test_random_splits_keep_patients_together() -> None:
    """Without splits 70 / 15 / 15 of the patients are drawn, the same each time, and a part of train calibrates."""
    first, second = (split_items(Path("data"), items(40)) for _ in range(2))
    assert first == second
    groups = {split: {item.group for item in first if item.split == split} for split in SPLITS}
    assert [len(groups[split]) for split in SPLITS] == [10, 4, 3, 3]
    assert sum(map(len, groups.values())) == 20


def test_splits_are_drawn_until_nothing_is_wrong() -> None:
    """A draw that leaves something out is drawn again; where none will do the first one's problem is said."""
    draws: list[tuple[str | None, ...]] = []

    def second_is_fine(chosen: object) -> list[str]:
        draws.append(tuple(item.split for item in chosen))  # type: ignore[attr-defined]
        return [] if len(draws) == 2 else ["a label is missing"]

    assert tuple(item.split for item in split_items(Path("data"), items(40), second_is_fine)) == draws[1] != draws[0]
    with pytest.raises(DataError, match=r"^never$"):
        split_items(Path("data"), items(40), lambda chosen: ["never"])


def test_classes_are_split_by_themselves() -> None:
    """No split lacks a rare class, unless its cases share a patient with another or are fewer than three."""
    rare = [replace(item, name=f"r{item.name}", group=f"r{item.group}", label="b") for item in items(6)]
    chosen = split_items(Path("data"), [*items(60), *rare])
    assert {item.split for item in chosen if item.label == "b"} >= {"train", "val", "test"}
    together = split_items(Path("data"), [*items(60), *rare], by_class=False)
    assert [item.split for item in together] != [item.split for item in chosen]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([*items(6, "train"), *items(1)], "every case must have a split or none, c00 has none"),
        (items(4), r"at least three patients .* it has 4 of 2: add cases of other patients"),
        (items(6, "train"), "none are in val, test"),
        (
            [*items(4, "train"), *(replace(item, name=f"x{item.name}") for item in items(4, "val"))],
            r"'p00' is in (train|calibration) and, with xc00, in val: give all cases of a patient one split",
        ),
    ],
)
def test_splits_that_cannot_be(given: list[Item], says: str) -> None:
    """Splits of a part only, too few patients, an empty split and a patient in two are each refused."""
    with pytest.raises(DataError, match=says):
        split_items(Path("data"), given)


def test_cases_read_themselves() -> None:
    """Every item becomes a case of its split, read when asked for."""
    given = split_items(Path("data"), items(40))
    splits = to_splits(given, lambda item: Sample(np.zeros((1, 1, 1)), np.array(int(item.name[1:]))))
    assert sum(len(splits[name]) for name in SPLITS) == 40
    assert all(int(case.read().reference) == int(case.id[1:]) for name in SPLITS for case in splits[name])


def test_the_digest_does_not_depend_on_order_or_place(tmp_path: Path) -> None:
    """Names, patients, splits and bytes count; the order of cases and the place of the folder do not."""
    digests = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        given = [replace(item, images=(Source(folder / f"{item.name}.png"),)) for item in items(4, "train")]
        for item in given:
            item.images[0].path.write_text(item.name)
        digests += [data_digest(folder, given), data_digest(folder, given[::-1])]
    assert len(set(digests)) == 1
    assert data_digest(folder, [replace(given[0], group="q"), *given[1:]]) != digests[0]
    given[2].images[0].path.write_text("other")
    assert data_digest(folder, given) != digests[0]
    (folder / "demo.json").write_text(json.dumps({"digest": "stated"}))
    assert data_digest(folder, given) == "stated"
    (folder / "demo.json").write_text("{}")
    with pytest.raises(DataError, match=r"demo\.json must be JSON with the digest of generated data: delete"):
        data_digest(folder, given)


def test_one_image_is_one_case() -> None:
    """A file that a table names twice is said with the line."""
    twice = [*items(2), replace(items(1)[0], name="again", where="t.csv line 4")]
    assert repeated_images(twice) == ["t.csv line 4: 0.png is there twice"]


def test_no_flood_of_problems() -> None:
    """The first twenty problems are said, and how many more there are."""
    raise_problems([])
    with pytest.raises(DataError) as caught:
        raise_problems([f"problem {index}" for index in range(25)])
    assert len(caught.value.problems) == 21 and caught.value.problems[-1] == "... and 5 more"
