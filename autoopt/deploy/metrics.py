"""Counters of a server in the text format of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from threading import Lock

BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Upper ends of the classes of the time that a request took."""


class Metrics:
    """Counts requests by model and HTTP status, and the seconds that they took; may be used by several threads.

    `about` are facts of the bundle that stand as labels beside the constant 1.
    """

    def __init__(self, about: Mapping[str, str]) -> None:
        self._about, self._lock = dict(about), Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._within: Counter[tuple[str, float]] = Counter()

    def count(self, model: str, status: int, seconds: float) -> None:
        """A request to `model` was answered with an HTTP status after so many seconds."""
        with self._lock:
            self._requests[model, status] += 1
            self._seconds[model] += seconds  # type: ignore[assignment]
            for end in BUCKETS_S:
                self._within[model, end] += seconds <= end

    def text(self) -> str:
        """All of it, a line each."""
        with self._lock:
            return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# TYPE autoopt_bundle_info gauge"
        yield f"autoopt_bundle_info{_labels(self._about)} 1"
        yield "# TYPE autoopt_requests_total counter"
        for (model, status), count in sorted(self._requests.items()):
            yield f"autoopt_requests_total{_labels({'model': model, 'status': str(status)})} {count}"
        yield "# TYPE autoopt_request_seconds histogram"
        for model, seconds in sorted(self._seconds.items()):
            every = sum(count for (name, _), count in self._requests.items() if name == model)
            for end in BUCKETS_S:
                labels = _labels({"model": model, "le": f"{end:g}"})
                yield f"autoopt_request_seconds_bucket{labels} {self._within[model, end]}"
            yield f"autoopt_request_seconds_bucket{_labels({'model': model, 'le': '+Inf'})} {every}"
            yield f"autoopt_request_seconds_sum{_labels({'model': model})} {seconds:.6f}"
            yield f"autoopt_request_seconds_count{_labels({'model': model})} {every}"


def _labels(values: Mapping[str, str]) -> str:
    def quoted(value: str) -> str:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{name}="{quoted(value)}"' for name, value in values.items()) + "}"
