"""What the columns of a table of cases are called."""

from __future__ import annotations

import pytest

from autoopt.workloads.data.columns import CLASSES, GROUPS, MASKS, channels_of, first_of, is_known, labels_of


@pytest.mark.parametrize("column", ["Patient ID", "patient_id", "PatientID", "patient-id", "PID", "Participant_ID"])
def test_the_patient_by_any_usual_name(column: str) -> None:
    """Case, spaces, `_` and `-` do not count."""
    assert first_of(GROUPS, ["age", column]) == column and is_known(column)
    assert first_of(GROUPS, ["age", "patience"]) is None and not is_known("patience")


def test_channels_in_the_order_of_their_numbers() -> None:
    """Channel_10 comes after Channel_2, whatever the columns are called; an image alone is no channel."""
    assert channels_of(["Channel_10", "channel_2", "Label"]) == ("channel_2", "Channel_10")
    assert channels_of(["Modality_0", "image"]) == ("Modality_0",)


def test_labels() -> None:
    """A class, a label map and several labels at once are told apart by their names."""
    assert first_of(CLASSES, ["label", "ValueToPredict"]) == "ValueToPredict"
    assert first_of(MASKS, ["Mask", "image"]) == "Mask"
    assert labels_of(["Label_oedema", "label_fracture", "label_path", "Label"]) == ("Label_oedema", "label_fracture")
