"""Names and bytes of outputs."""

from __future__ import annotations

from pathlib import PurePosixPath

from autoopt.deploy.outputs import VOLUME, label_words, mask_names


def test_labels_make_names_that_stay_apart() -> None:
    """Labels of any text become parts of file names; two that would be one get their numbers."""
    assert label_words(["left ventricle", "rv"]) == ["left_ventricle", "rv"]
    assert label_words(["a/b", "a b"]) == ["0-a_b", "1-a_b"]
    assert label_words(["Rv", "rv"]) == ["0-Rv", "1-rv"]
    names = mask_names(PurePosixPath("p/x"), VOLUME, ["../up", "rv"])
    assert names == [PurePosixPath("p/x__up.nii.gz"), PurePosixPath("p/x_rv.nii.gz")]
