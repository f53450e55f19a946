"""The numbers of a trial in words."""

from __future__ import annotations

from autoopt.report.page.words import drop_words, latency_words, loss_words, speedup_words


def test_numbers_have_their_interval_or_are_left_out() -> None:
    """Each number stands with its interval or bound where it has one; what is not known is empty, never an error."""
    numbers = {"latency_p25_ms": 5.9411, "latency_low_ms": 5.723, "latency_high_ms": 6.171, "drop": 0.008}
    assert latency_words(numbers) == "5.94 ms (5.72-6.17)" and latency_words({"latency_p25_ms": 5.0}) == "5 ms"
    assert drop_words(numbers) == ("drop", "0.0080")
    assert drop_words(numbers | {"drop_upper": 0.0104}) == ("drop", "0.0080 (at most 0.0104)")
    assert (drop_words({})[1], speedup_words({}, "torch_f32")) == ("", "")


def test_a_gain_is_no_negative_loss() -> None:
    """What may be lost is nothing in a sentence, what is not is a gain of at least something; zero has no sign."""
    assert loss_words({"drop": -0.002, "drop_upper": 0.0009}) == ("loses", "nothing (at most 0.0009)")
    assert loss_words({"drop": -0.002, "drop_upper": -0.001}) == ("gains", "0.0020 (at least 0.0010)")
    assert drop_words({"drop": -0.00001}) == ("drop", "0.0000") and loss_words({"drop": 0.01}) == ("loses", "0.0100")


def test_an_error_rises_and_falls() -> None:
    """Of an error the drop is by how much it rose."""
    assert drop_words({"drop": 0.3, "drop_upper": 0.4}, less_is_better=True) == ("rise", "0.3000 (at most 0.4000)")
    assert loss_words({"drop": 0.3}, less_is_better=True) == ("rises by", "0.3000")
    assert loss_words({"test_drop": -0.3}, "test_", less_is_better=True) == ("falls by", "0.3000")
