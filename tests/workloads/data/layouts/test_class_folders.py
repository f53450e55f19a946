"""Which folders are those of classes."""

from __future__ import annotations

from pathlib import Path

from autoopt.workloads.data.layouts.class_folders import class_folders, holds_classes, in_splits
from tests.workloads.data.folders import picture


def test_class_folders(tmp_path: Path) -> None:
    """Folders are classes, below splits too; images/ and masks/ together and hidden folders are none."""
    for name in ("a", "b", "images", ".cache", "__MACOSX"):
        picture(tmp_path / "one" / name / "0.png", 0)
        picture(tmp_path / "two" / "Training" / name / "0.png", 0)
    assert [path.name for path in class_folders(tmp_path / "one")] == ["a", "b", "images"]
    assert in_splits(tmp_path / "two") and len(class_folders(tmp_path / "two")) == 3
    (tmp_path / "one" / "masks").mkdir()
    assert [path.name for path in class_folders(tmp_path / "one")] == ["a", "b"] and holds_classes(tmp_path / "one")
    (tmp_path / "one" / "b" / "0.png").unlink()
    assert not holds_classes(tmp_path / "one") and not in_splits(tmp_path / "one")
