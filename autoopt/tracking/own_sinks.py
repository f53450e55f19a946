"""The sinks of every search: its report, MLflow's registry, its runs in MLflow."""

from __future__ import annotations

from autoopt.measure.target import LocalTarget
from autoopt.report.page.report_file import ReportFile
from autoopt.study.request import SearchRequest
from autoopt.study.sink import Sink
from autoopt.tracking import Tracker, default_tracking_uri
from autoopt.tracking.register import Registrar


def own_sinks(asked: SearchRequest) -> tuple[Sink, ...]:
    """What hears of the records of a search, in the order in which they are opened.

    They are closed from the last to the first: what is registered takes its numbers from runs that are complete.
    """
    uri = asked.tracking_uri or default_tracking_uri(asked.home)
    registrar = Registrar(uri, asked.home, lambda: LocalTarget().host.fingerprint)
    return ReportFile(asked.home, asked.storage), registrar, Tracker(uri, asked.home, storage=asked.storage)
