"""What the commands show while they work: progress, the best trial so far, the time left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from autoopt.core.records import TrialRecord
from autoopt.inference.runtimes import REFERENCE, runtime_title
from autoopt.study.limits import in_words as limits_in_words
from autoopt.study.result import StudyResult
from autoopt.study.words import in_words
from autoopt.terminal.console import can_redraw, console_of, duration

if TYPE_CHECKING:
    from autoopt.compress.matrix import Cell
    from autoopt.deploy.predict_files import Event
    from autoopt.nets.baseline import TrainProgress
    from autoopt.study import events


STAGES = {
    "load": "loading model and data",
    "reference": "starting the reference",
    "ensemble": "taking networks of the ensemble for",
    "resolution": "lowering the resolution for",
    "prune": "pruning for",
    "factorize": "factorizing for",
    "recover": "training",
    "control": "training the control",
    "export": "exporting",
    "sensitivity": "ranking the layers for",
    "quantize": "quantizing for",
    "fuse_pre_post": "putting parts of the pipeline into the graph of",
    "look": "taking a first look at",
    "score": "scoring",
    "measure": "measuring",
    "store": "storing",
    "recheck": "measuring contested trials side by side",
    "confirm": "scoring the front on test",
    "report": "writing what was found",
}
"""What is done in a stage, before the words for the trial that it is done to; a stage of no line here by its name."""


def doing(progress: events.Progress) -> str:
    """What a search is doing to which trial, such as: trial 12 of 50: measuring half resolution, INT8, 2 threads."""
    what = STAGES.get(progress.stage, progress.stage)
    attempt = progress.attempt
    if attempt is None:
        return what
    again = "" if attempt.tries == 1 else f", try {attempt.tries}"
    place = f"trial {len(progress.result.records) + 1} of {progress.budget}"
    name = place if attempt.number is None else f"trial #{attempt.number} again"
    beside = f" (of {progress.running} at once)" if progress.running > 1 else ""
    return f"{name}{again}{beside}: {what} {in_words(attempt.proposal.configuration)}"


class _Lines(Progress):
    """A progress bar with a line below it that says what is being done, and for how long."""

    def __init__(self, *columns: ProgressColumn, below: bool, console: Console, disable: bool) -> None:
        self._below, self._text, self._since = below, "", time.monotonic()
        super().__init__(*columns, console=console, disable=disable)

    def now(self, text: str) -> None:
        """Say `text` from now on, "" for nothing; its time begins where it is another one than before."""
        if text != self._text:
            self._text, self._since = text, time.monotonic()
            if not self.disable:
                self.refresh()

    def get_renderables(self) -> Iterator[RenderableType]:
        """The bar, and the line below it, cut where the terminal ends but for its time."""
        yield self.make_tasks_table(self.tasks)
        if self._below and self._text:
            spent = f" ({duration(time.monotonic() - self._since)})"
            room = max(4, self.console.width - len(spent) - 1)
            line = self._text if len(self._text) <= room else f"{self._text[: room - 3]}..."
            yield Text(f"{line}{spent}", no_wrap=True, overflow="crop")


class _Bar:
    """A progress bar on standard error, shown while its `with` block runs; subclasses choose the columns."""

    def __init__(self, *columns: ProgressColumn, total: int | None, below: bool = False, **fields: Any) -> None:
        self._console = console_of(stderr=True)
        self._live = can_redraw(self._console)
        self._progress = _Lines(*columns, below=below, console=self._console, disable=not self._live)
        self._task = self._progress.add_task("", total=total, **fields)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._progress.now("")
        self._progress.stop()


def _spinner() -> SpinnerColumn:
    """A sign that turns; of plain ASCII, which every terminal has."""
    return SpinnerColumn("line")


def _field(name: str, width: int = 0) -> TextColumn:
    """A column with a field of the task as plain text: brackets in it are not taken for markup."""
    return TextColumn(f"{{task.fields[{name}]:<{width}}}", markup=False)


class SearchBar(_Bar):
    """The progress of a search: trials done, time left, fastest of the front, and what is done to which trial.

    Where a line cannot be drawn over, there is one line per trial instead.
    """

    def __init__(self) -> None:
        super().__init__(
            _spinner(),
            MofNCompleteColumn(),
            BarColumn(bar_width=12),
            TimeElapsedColumn(),
            _field("left"),
            _field("best"),
            below=True,
            total=None,
            left="",
            best="",
        )
        self._reference_s: float | None = None

    def __call__(self, progress: events.Progress) -> None:
        """Show one event of the search."""
        left = "" if progress.seconds_left is None else f"{duration(progress.seconds_left)} left"
        done = len(progress.result.records)
        best = _best(progress.result)
        self._progress.update(self._task, total=progress.budget, completed=done, left=left, best=best)
        self._progress.now(doing(progress) if progress.record is None else "")
        corrected = self._corrected(progress.result)
        if corrected:
            self._progress.console.print(corrected, markup=False)
        if progress.record is not None:
            text = f"{_trial_line(progress.record, progress.result)}"
            if not self._live:
                spent = duration(sum(progress.record.seconds.values()))
                text = f"{done}/{progress.budget} {text}; took {spent}, front {len(progress.result.front)}"
                text += f" ({left})" if left else ""
            self._progress.console.print(text, markup=False)

    def _corrected(self, result: StudyResult) -> str:
        """That the latencies in the lines above are other ones now, where they are; else nothing."""
        before_s, now_s = self._reference_s, result.reference_latency_s
        self._reference_s = now_s
        if before_s is None or now_s is None or before_s == now_s:
            return ""
        return (
            f"the reference takes {now_s * 1e3:.2f} ms when the host is left alone, not {before_s * 1e3:.2f}: "
            f"all latencies above are {now_s / before_s:.2f} of what they say"
        )


class StageLine:
    """The stages of a command that works on one trial or network, a line each."""

    def __init__(self) -> None:
        self._console = console_of(stderr=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Nothing to close."""

    def __call__(self, stage: str) -> None:
        """Show that `stage` begins."""
        self._console.print(f"  {stage} ...")


class MatrixBar(_Bar):
    """The progress of a matrix: cells done, and the outcome of the last one."""

    def __init__(self, total: int) -> None:
        super().__init__(
            _spinner(),
            TextColumn("cells"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            _field("text"),
            total=total,
            text="",
        )

    def __call__(self, cell: Cell) -> None:
        """Show that `cell` is done."""
        speed_up = "" if cell.speed_up is None else f" {cell.speed_up:.2f}x"
        text = f"{cell.net}, {cell.technique}, {cell.runtime}: {cell.status}{speed_up}"
        self._progress.update(self._task, advance=1, text=text)
        if not self._live:
            self._console.print(text, markup=False)


class PredictBar(_Bar):
    """The progress of a prediction of files: images done, time left; what failed is a line of its own."""

    def __init__(self) -> None:
        super().__init__(
            _spinner(),
            TextColumn("images"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            _field("text"),
            total=None,
            text="",
        )

    def __call__(self, event: Event) -> None:
        """Show that one more image is done."""
        self._progress.update(self._task, total=event.total, completed=event.done, text=event.name)
        if event.problem is not None:
            self._progress.console.print(f"failed: {event.problem}", markup=False)
        elif not self._live:
            self._console.print(f"{event.done}/{event.total} {event.name}", markup=False)


class TrainBar(_Bar):
    """The progress of a training: epoch, loss, score on val, time left."""

    def __init__(self) -> None:
        super().__init__(
            _spinner(),
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            _field("text"),
            total=None,
            text="",
        )
        self._epoch = -1

    def __call__(self, progress: TrainProgress) -> None:
        """Show one event of the training."""
        text = progress.describe()
        self._progress.update(self._task, total=progress.epochs, completed=progress.epoch, text=text)
        if not self._live and progress.epoch != self._epoch:
            self._epoch = progress.epoch
            self._console.print(f"epoch {progress.epoch}/{progress.epochs} {text}", markup=False)

    def remark(self, text: str) -> None:
        """Show a sentence on the training, such as from where it goes on."""
        self._progress.console.print(text, markup=False)


def _trial_line(record: TrialRecord, result: StudyResult) -> str:
    name = f"#{record.number} {record.label or in_words(record.configuration)}"
    if record.failure is not None:
        return f"{name}: failed in {record.failure.stage}: {record.failure.cause}: {record.failure.message}"
    numbers = result.headline(record)
    text = f"{name}: {numbers['latency_p25_ms']:.2f} ms, {result.card.primary} {numbers[result.card.primary]:.4f}"
    broken = {name: result.card.limits[name] for name in record.violated}
    return f"{text}, breaks {limits_in_words(broken)}" if broken else text


def _best(result: StudyResult) -> str:
    if not result.front:
        return "no front yet"
    fastest = result.headline(result.front[0])
    speedup = fastest.get("speedup_vs_torch_f32")
    times = "" if speedup is None else f" ({speedup:.1f}x {runtime_title(REFERENCE)})"
    return f"best {fastest['latency_p25_ms']:.2f} ms{times}, front {len(result.front)}"
