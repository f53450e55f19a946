"""Call a metric of the user's own on one case: what it returns is a finite number or None, or its fault is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from autoopt.errors import BadData
from autoopt.measure.metrics import Compared
from autoopt.workloads.own_metrics import OwnMetric


def scoring(own: OwnMetric, case: Callable[[], str]) -> Callable[[Compared], float | None]:
    """The function of the metric, checked; `case` gives the name of the case that is being scored.

    It raises BadData naming the metric and the case for whatever the function raises, and for a result that is neither
    one finite number nor None: a fault is never a score.
    """

    def score(compared: Compared) -> float | None:
        try:
            value = own.of_case(compared)
        except (
            Exception,
            SystemExit,
        ) as error:  # the user's own code may do anything; the cause has its traceback
            text = f"{type(error).__name__}: {error}"
            raise BadData(f"the metric {own.name} must score case {case()}, it failed with {text}") from error
        if value is None:
            return None
        number = np.asarray(value)
        if number.shape != () or number.dtype.kind not in "biuf":
            what = f"an array of shape {number.shape}" if number.shape else f"{value!r}"
            raise BadData(f"the metric {own.name} must give one number, or None, for case {case()}, it gave {what}")
        if not np.isfinite(number):
            raise BadData(
                f"the metric {own.name} must give a finite number for case {case()}, it gave {float(number)}: "
                "where it is not defined return None, such cases are counted"
            )
        return float(number)

    return score
