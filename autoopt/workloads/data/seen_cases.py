"""Which cases a trained model has seen: what nnU-Net wrote down of its folds decides who may be in val and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoopt.core.plain_text import parse_json, read_bounded, short
from autoopt.errors import DataError
from autoopt.workloads.contract import SplitName
from autoopt.workloads.data.cases import Found, Item
from autoopt.workloads.data.columns import composed

SPLITS = "splits_final.json"
PREPROCESSED = "nnUNet_preprocessed"
ALL = "all"
"""The fold that was trained on every case."""
MOST_LISTED = 3


def find_splits(folder: Path, asked: str | None) -> Path | None:
    """The splits_final.json that is asked for, else of the data folder, else of nnUNet_preprocessed beside nnUNet_raw.

    Raises DataError where the one that is asked for is not there.
    """
    if asked is not None:
        path = Path(asked)
        path = path / SPLITS if path.is_dir() else path
        if not path.is_file():
            raise DataError(f"--option splits must name the {SPLITS} of nnU-Net, there is no {short(asked)}")
        return path
    folder = folder.resolve()
    beside = [folder / SPLITS, folder.parent.parent / PREPROCESSED / folder.name / SPLITS]
    return next((path for path in beside if path.is_file()), None)


def read_splits(path: Path) -> list[Mapping[str, frozenset[str]]]:
    """The cases of each fold, "train" and "val", from a splits_final.json. Raises DataError naming it."""
    try:
        found = parse_json(read_bounded(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} must be the {SPLITS} of nnU-Net: {str(error)[:200]}") from error
    good = isinstance(found, list) and all(_is_fold(fold) for fold in found)
    if not good:
        raise DataError(f"{path} must be a list of folds, each with the names of train and val, it is {short(found)}")
    return [{name: frozenset(map(composed, fold[name])) for name in ("train", "val")} for fold in found]


def without_seen(
    found: Found, folder: Path, folds: Sequence[str], splits: Path | None, training: Sequence[Item]
) -> Found:
    """The cases with splits in which none of val and test was seen in training.

    `training` are the cases from which the model was trained, `folds` those of the model. What all folds have left out
    is val, and test too where no other case is in test. Raises DataError where that leaves none, or is not known.
    """
    names = {item.name for item in training}
    held_out = _held_out(folder, names, folds, splits)
    tested = any(item.split == "test" for item in found.items)
    others = sum(item.name not in names for item in found.items)
    if not held_out and others < 2:
        raise DataError(_nothing_left(folder, folds, splits))
    fresh: SplitName | None = "val" if tested else None

    def split_of(item: Item) -> SplitName | None:
        if item.name not in names:  # where every training case was seen, val is drawn from those of the test
            return item.split if held_out else None
        if item.name in held_out:
            return fresh
        return "calibration" if item.split == "calibration" else "train"

    told = "fold " + folds[0] if len(folds) == 1 else "folds " + ", ".join(folds)
    said = f"{folder}: all of imagesTr/ was seen by {told}: val and test are drawn from imagesTs/"
    if held_out:
        where = "they are val" if tested else "val and test are drawn from them"
        said = f"{splits}: {len(held_out)} cases of imagesTr/ were not seen by {told}: {where}"
    items = [replace(item, split=split_of(item)) for item in found.items]
    return replace(found, items=items, remarks=(*found.remarks, said), draw_unseen=True)


def _held_out(folder: Path, names: set[str], folds: Sequence[str], splits: Path | None) -> set[str]:
    """The training cases that every one of the folds left out, by their names."""
    if ALL in folds or splits is None:
        return set()
    written = read_splits(splits)
    beyond = [fold for fold in folds if int(fold) >= len(written)]
    if beyond:
        raise DataError(f"{splits} must say what fold {beyond[0]} was trained on, it has {len(written)} folds")
    chosen = [written[int(fold)] for fold in folds]
    unknown = sorted(set().union(*(fold["train"] | fold["val"] for fold in chosen)) - names)
    if unknown:
        more = ", ..." if len(unknown) > MOST_LISTED else ""
        raise DataError(
            f"{splits} must be of the cases in {folder}, of which {', '.join(unknown[:MOST_LISTED])}{more} is none"
        )
    return set(chosen[0]["val"]).intersection(*(fold["val"] for fold in chosen)) - set().union(
        *(fold["train"] for fold in chosen)
    )


def _nothing_left(folder: Path, folds: Sequence[str], splits: Path | None) -> str:
    """Why there is no case to judge a model by, and what to do."""
    test = "or add imagesTs/ and labelsTs/ with at least two cases that the model has not seen"
    if ALL in folds:
        return (
            f"{folder} must have cases that the model has not seen, fold all was trained on every one: choose a fold "
            f"with --option folds=0, {test}"
        )
    if splits is None:
        return (
            f"{folder} must say which cases the model has not seen: name the {SPLITS} of its training with "
            f"--option splits=PATH (it lies in {PREPROCESSED}/{folder.name}), {test}"
        )
    return (
        f"{folder} must have cases that the model has not seen, folds {', '.join(folds)} were trained on every one "
        f"of them: choose fewer with --option folds=0, {test}"
    )


def _is_fold(fold: Any) -> bool:
    return isinstance(fold, dict) and all(
        isinstance(fold.get(name), list) and all(isinstance(case, str) for case in fold[name])
        for name in ("train", "val")
    )
