"""Pictures of answered cases, drawn from planted answers."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from autoopt.report.evidence_pictures import GAINED, LOST, MOST_BYTES, SIDE, label_colours, rows_of_tiles
from autoopt.report.evidence_predictions import Answered, Answers
from autoopt.workloads.contract import IGNORED
from tests import tiny

SEVERAL = replace(tiny.PIPELINE, activation="sigmoid")
CLASSES = replace(tiny.PIPELINE, task="classification", classes=2, fit="resize")


def answers(
    *cases: Answered, pipeline: object = tiny.PIPELINE, labels: tuple[str, ...] = ("background", "lesion")
) -> Answers:
    return Answers(tuple(cases), pipeline, labels)  # type: ignore[arg-type]


def case(reference: np.ndarray, source: np.ndarray, chosen: np.ndarray, *, axis: int = 0, seed: int = 0) -> Answered:
    spatial = reference.shape
    image = np.random.default_rng(seed).integers(0, 256, size=(*spatial, 3), dtype=np.uint8)
    return Answered("case", image, reference, source, chosen, axis)


def pixels(data: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.int16)


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a picture has about this colour: it was compressed."""
    return np.asarray(np.abs(picture - np.array(colour)).max(axis=-1) < 60)


def test_the_difference_shows_who_is_right() -> None:
    """What only the source model finds is drawn in one colour, what only the chosen one finds in another."""
    pytest.importorskip("PIL")
    reference = np.ones((SIDE, SIDE), np.uint8)
    source, chosen = reference.copy(), reference.copy()
    chosen[:40, :40], source[100:140, 100:140] = 0, 0
    reference[:, 150:], chosen[:, 150:] = IGNORED, 0
    (row,) = rows_of_tiles(answers(case(reference, source, chosen)))
    assert len(row) == 5 and all(tile.picture for tile in row)
    shown = pixels(row[-1].picture)
    lost, gained = near(shown, LOST), near(shown, GAINED)
    assert lost[0, :38].all() and not lost[60:].any()
    assert gained[100, 104:136].all() and not gained[:60].any()
    assert row[-1].words == f"{100 * 2 * 1600 / SIDE**2:.2g} % of the pixels"


def test_of_a_volume_the_worst_slice_is_shown() -> None:
    """Of a volume the slice in which the two answers differ most is drawn, and named."""
    pytest.importorskip("PIL")
    reference = np.zeros((20, 24, 6), np.uint8)
    source, chosen = reference.copy(), reference.copy()
    chosen[5:7, 5:7, 1], chosen[2:12, 2:12, 4] = 1, 1
    (row,) = rows_of_tiles(answers(case(reference, source, chosen, axis=2)))
    assert row[0].words == "slice 4"
    assert pixels(row[0].picture).shape == (SIDE, round(SIDE * 20 / 24), 3)
    (row,) = rows_of_tiles(answers(case(reference, source, source, axis=2)))
    assert row[-1].words == "none"


def test_labels_at_once_are_layers() -> None:
    """Where several labels hold at once each has its layer and colour, also the first."""
    pytest.importorskip("PIL")
    reference = np.zeros((32, 32, 2), np.uint8)
    reference[:16, :, 0], reference[:, :16, 1] = 1, 1
    image = np.zeros((32, 32, 1), np.float32)
    (row,) = rows_of_tiles(answers(Answered("c", image, reference, reference, 1 - reference, 0), pipeline=SEVERAL))
    assert row[-1].words == "1e+02 % of the pixels"
    assert [name for name, _ in label_colours(("one", "two"), multilabel=True)] == ["one", "two"]
    assert [name for name, _ in label_colours(("background", "two"), multilabel=False)] == ["two"]


def test_classes_are_said_in_words() -> None:
    """Of a classification the image is the only picture; the answers are words with their probabilities."""
    pytest.importorskip("PIL")
    image = np.zeros((32, 32, 3), np.uint8)
    found = Answered("c", image, np.array(1), np.array([0.2, 0.8]), np.array([0.6, 0.4]), 0)
    (row,) = rows_of_tiles(answers(found, pipeline=CLASSES, labels=("benign", "malignant")))
    assert [bool(tile.picture) for tile in row] == [True, False, False, False, False]
    assert [tile.words for tile in row[1:4]] == ["malignant", "malignant (0.80)", "benign (0.60)"]
    assert row[4].words == "another answer, probabilities change by up to 0.40"


def test_numbers_are_said_with_their_names() -> None:
    """Of a regression the image, also the middle of a volume, is the only picture; the numbers are words."""
    pytest.importorskip("PIL")
    pipeline = replace(tiny.PIPELINE, task="regression", activation="identity", classes=2, fit="resize")
    numbers = np.array([[61.5, 4.0], [60.0, 4.25], [58.0, 4.0]])
    for image in (np.zeros((32, 32, 3), np.uint8), np.zeros((4, 32, 32, 1), np.uint8)):
        (row,) = rows_of_tiles(answers(Answered("c", image, *numbers, 0), pipeline=pipeline, labels=("age", "ef")))
        assert [bool(tile.picture) for tile in row] == [True, False, False, False, False]
        assert [tile.words for tile in row[1:4]] == ["age 61.5, ef 4", "age 60, ef 4.25", "age 58, ef 4"]
        assert row[4].words == "changes by up to 2"


def test_pictures_are_small_whatever_they_show() -> None:
    """Three cases of noise, which compress worst, keep the limit."""
    pytest.importorskip("PIL")
    random = np.random.default_rng(1)
    cases = [case(*random.integers(0, 2, size=(3, 300, 300), dtype=np.uint8), seed=seed) for seed in range(3)]
    assert 0 < sum(len(tile.picture) for row in rows_of_tiles(answers(*cases)) for tile in row) <= MOST_BYTES
