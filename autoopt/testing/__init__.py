"""Public contract suites: subclass one, say what it is about, inherit every test (the idea is Optuna's).

    from autoopt.testing import WorkloadContract
    from my_model import workload

    class TestMyWorkload(WorkloadContract):
        def workload(self):
            return workload(None)

`RuntimeContract`, `FormatContract` and `StepContract` need the `name` that the line of a table gives:

    from autoopt.inference.runtimes import RUNTIMES
    from autoopt.testing import RuntimeContract

    RUNTIMES["mine"] = "my_package.my_runtime"

    class TestMyRuntime(RuntimeContract):
        name = "mine"

`ListSink` is a sink (`autoopt.study.sink.Sink`) that keeps in lists what a search tells it:
`autoopt.search(..., sinks=[ListSink()])`.

`workload_problems(workload)` gives the findings on a workload as a list of sentences, without pytest.
"""

from __future__ import annotations

from autoopt.testing.graph_format import FormatContract
from autoopt.testing.runtime import RuntimeContract
from autoopt.testing.sink import ListSink
from autoopt.testing.step import StepContract
from autoopt.testing.workload import WorkloadContract, main, workload_problems

__all__ = [
    "FormatContract",
    "ListSink",
    "RuntimeContract",
    "StepContract",
    "WorkloadContract",
    "main",
    "workload_problems",
]
