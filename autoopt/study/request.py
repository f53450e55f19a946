"""What a search is asked: every fact declared once, for Python, the command line and the documentation."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, cast

from autoopt.core.urls import sqlite_url
from autoopt.errors import UsageError

if TYPE_CHECKING:
    from autoopt.core.configuration import Scalar  # loads numpy, which `autoopt --help` does without

F = TypeVar("F", bound=Callable[..., object])
PathLike = str | Path
HOME = Path("mlruns")
"""The folder that holds all state of a project unless another is named."""

BY_STAGE = "s by stage"
"""The unit of a fact that has seconds for each of some stages."""


def about(
    meaning: str,
    *,
    option: str | None = None,
    unit: str | None = None,
    example: str | None = None,
    otherwise: str | None = None,
) -> dict[str, str | None]:
    """What is to be known of a fact besides its type and default: see `Fact`."""
    return {"meaning": meaning, "option": option, "unit": unit, "example": example, "otherwise": otherwise}


@dataclass(frozen=True)
class SearchRequest:
    """What a search is asked: the arguments of `autoopt.search` and the options of the command `autoopt search`.

    A path may be given as text, the objectives as any sequence. Whether the values make sense is checked by the
    function that the request is given to, which raises UsageError with everything that is wrong.
    """

    workload: str = field(
        default="histo", metadata=about("A built-in name, file.py:function or package.module:function.")
    )
    options: Mapping[str, Scalar] = field(
        default_factory=dict,
        metadata=about("Options of the workload or model by name.", option="--option", example="net=vgg11"),
    )
    budget: int = field(default=50, metadata=about("Trials of the study, all in all."))
    time_s: float | None = field(
        default=None, metadata=about("Stop after this long.", option="--time", unit="s", example="30m")
    )
    data: Path | None = field(default=None, metadata=about("Data folder.", otherwise="the workload's demo data"))
    weights: Path | None = field(
        default=None, metadata=about("Trained weights.", otherwise="what `autoopt train` stored for this data")
    )
    weights_key: str | None = field(
        default=None, metadata=about("The entry of the weights file that is meant.", otherwise="the one that fits")
    )
    space: str | None = field(
        default=None, metadata=about("A shipped space or a YAML file.", otherwise="the workload's own")
    )
    objectives: tuple[str, ...] = field(
        default=("latency", "quality"),
        metadata=about("What is optimised: two to four of latency, quality, memory, size, throughput, energy."),
    )
    max_drop: float | str | None = field(
        default=0.01,
        metadata=about(
            "Largest loss of the primary metric that a trial may have, also as a percentage of the reference's value "
            "(of an error always a share of it); "
            "the upper bound of the loss is compared.",
            example="4%",
        ),
    )
    max_latency_s: float | None = field(
        default=None,
        metadata=about(
            "Largest p25 latency that a trial may have; its upper bound is compared.",
            option="--max-latency",
            unit="s",
            example="20ms",
        ),
    )
    max_memory_bytes: int | None = field(
        default=None,
        metadata=about(
            "Most memory that a measuring process may hold.", option="--max-memory", unit="B", example="500MB"
        ),
    )
    max_size_bytes: int | None = field(
        default=None,
        metadata=about("Largest size of the graph files.", option="--max-size", unit="B", example="20MB"),
    )
    min_quality: float | None = field(
        default=None,
        metadata=about(
            "Worst primary metric that a trial may have: the least, of an error the largest; the bound on that side is "
            "compared.",
            example="0.85",
        ),
    )
    min_throughput: float | None = field(
        default=None,
        metadata=about(
            "Fewest calls per second under concurrency that a trial may answer; the lower bound is compared.",
            example="50",
        ),
    )
    guards: Mapping[str, float] = field(
        default_factory=dict,
        metadata=about(
            "Further limits, as fractions: worst_decile, subgroup:COLUMN or label:NAME (of the drop), or disagreement.",
            option="--guard",
            example="worst_decile=0.03",
        ),
    )
    study: str | None = field(
        default=None, metadata=about("Name of the study.", otherwise="made from what is searched")
    )
    storage: str | None = field(
        default=None, metadata=about("Study storage URL.", otherwise="$AUTOOPT_STORAGE, else sqlite in the home folder")
    )
    tracking_uri: str | None = field(
        default=None, metadata=about("MLflow tracking URI.", otherwise="sqlite in the home folder")
    )
    target: str | Sequence[str] | None = field(
        default=None,
        metadata=about(
            "The machine that measures, reached over ssh: see docs/target.md. Two are searched one after the other.",
            example="ssh://me@clinic-1",
            otherwise="this one",
        ),
    )
    seed: int = field(default=0, metadata=about("Seed of the sampler; another seed is another study."))
    sampler: str = field(
        default="model",
        metadata=about("What proposes the next trial: model, tpe, tpe-multivariate, tpe-group, nsga2 or random."),
    )
    warm_start: Sequence[str] = field(
        default=(),
        metadata=about(
            "An earlier study, as STUDY or HOME/STUDY, whose front is tried right after the seeds.", example="histo-1"
        ),
    )
    no_early_stop: bool = field(
        default=False, metadata=about("Spend the whole budget, also where nothing more is to be expected.")
    )
    retry_failed: bool = field(default=False, metadata=about("Run the trials that failed before again, first."))
    stage_timeouts: Mapping[str, float] = field(
        default_factory=dict,
        metadata=about(
            "How long a stage may take: make (each artifact), a step by its name, or measure (each answer, such as the "
            "prediction of a case).",
            option="--stage-timeout",
            unit=BY_STAGE,
            example="make=2h",
        ),
    )
    fleet: str | None = field(
        default=None,
        metadata=about(
            "The hub of a fleet, whose builders make and whose targets measure.",
            example="tls://hub:8786",
            otherwise="this machine does both",
        ),
    )
    certs: Path | None = field(
        default=None, metadata=about("The folder of a client's certificate of the fleet, of `autoopt fleet init`.")
    )
    home: Path = field(default=HOME, metadata=about("Folder of all state: studies, MLflow, artifacts, weights."))

    def __post_init__(self) -> None:
        """Bring what may be written in several types to the type of the field."""
        changed = {
            "options": dict(self.options or {}),
            "data": None if self.data is None else Path(self.data),
            "weights": None if self.weights is None else Path(self.weights),
            "space": None if self.space is None else str(self.space),
            "objectives": tuple(self.objectives),
            "guards": dict(self.guards or {}),
            "stage_timeouts": dict(self.stage_timeouts or {}),
            "warm_start": tuple(self.warm_start or ()),
            "target": self.targets[0] if len(self.targets) == 1 else self.targets or None,
            "certs": None if self.certs is None else Path(self.certs),
            "home": Path(self.home),
        }
        for name, value in changed.items():
            object.__setattr__(self, name, value)

    @property
    def targets(self) -> tuple[str, ...]:
        """The addresses of the machines that measure; none where it is this one."""
        return (self.target,) if isinstance(self.target, str) else tuple(self.target or ())

    @property
    def only_target(self) -> str | None:
        """The address of the machine that measures, None for this one. Raises UsageError where several are named."""
        if len(self.targets) > 1:
            raise UsageError(
                f"one --target must be named here, got {len(self.targets)}: `autoopt search` and "
                "`autoopt.linked.search_both` take two"
            )
        return self.targets[0] if self.targets else None

    def each_target(self) -> tuple[Self, ...]:
        """The request for each of its targets, by itself; of two, each has a study of its own name."""
        if len(self.targets) <= 1:
            return (self,)
        return tuple(
            replace(self, target=address, study=None if self.study is None else f"{self.study}-{place}")
            for place, address in enumerate(self.targets, 1)
        )

    @property
    def storage_url(self) -> str:
        """The URL of the study storage: `storage`, else the file study.db in the home folder."""
        return self.storage or default_storage(self.home)


@dataclass(frozen=True)
class Fact:
    """One fact of a request: a field of `SearchRequest`. `meaning` is one sentence.

    `option` is its name on the command line, `unit` the unit of its number, `example` how a value is written on the
    command line, `otherwise` what is used where it is not given and its default is None.
    """

    name: str
    default: Any
    meaning: str
    option: str
    unit: str | None
    example: str | None
    otherwise: str | None

    @classmethod
    def of(cls, item: Field[Any]) -> Self:
        """The fact of a field."""
        default = {} if item.default is MISSING else item.default
        option = item.metadata["option"] or f"--{item.name.replace('_', '-')}"
        return cls(item.name, default, **{**item.metadata, "option": option})


FACTS = tuple(map(Fact.of, fields(SearchRequest)))
"""All facts of a request, in the order of its fields."""


class Facts(TypedDict, total=False):
    """The facts of a request as keyword arguments, with the types in which they may be given.

    For editors and type checkers only: a function with `**facts: Unpack[Facts]` takes what `SearchRequest` has.
    """

    workload: str
    options: Mapping[str, Scalar] | None
    budget: int
    time_s: float | None
    data: PathLike | None
    weights: PathLike | None
    weights_key: str | None
    space: PathLike | None
    objectives: Sequence[str]
    max_drop: float | str | None
    max_latency_s: float | None
    max_memory_bytes: int | None
    max_size_bytes: int | None
    min_quality: float | None
    min_throughput: float | None
    guards: Mapping[str, float] | None
    study: str | None
    storage: str | None
    tracking_uri: str | None
    target: str | Sequence[str] | None
    seed: int
    sampler: str
    warm_start: Sequence[str]
    no_early_stop: bool
    retry_failed: bool
    stage_timeouts: Mapping[str, float] | None
    fleet: str | None
    certs: PathLike | None
    home: PathLike


def requested(request: SearchRequest | str | None, facts: Facts) -> SearchRequest:
    """`request` with `facts` changed; of a name, or of nothing, a new request with these facts.

    Raises TypeError for a fact that does not exist or comes twice.
    """
    given = cast(dict[str, Any], facts)
    if isinstance(request, SearchRequest):
        return replace(request, **given)
    return SearchRequest(**given) if request is None else SearchRequest(request, **given)


def showing_facts(function: F) -> F:
    """Let `inspect.signature` and `help` of `function` show every fact of a request where it has `**facts`."""
    signature = inspect.signature(function)
    own = [item for item in signature.parameters.values() if item.kind is not inspect.Parameter.VAR_KEYWORD]
    types = {name: getattr(kind, "__forward_arg__", kind) for name, kind in Facts.__annotations__.items()}
    facts = [
        inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=item.default, annotation=types[item.name])
        for item in FACTS
    ]
    function.__signature__ = signature.replace(parameters=[own[0], *facts, *own[1:]])  # type: ignore[attr-defined]
    return function


STORAGE_VARIABLE = "AUTOOPT_STORAGE"
"""The variable that may hold the URL of the study storage, so that no password stands on a command line."""


def default_storage(home: Path) -> str:
    """The URL of the study storage where none is given: what the environment says, else a file in the home folder."""
    return os.environ.get(STORAGE_VARIABLE) or sqlite_url(home / "study.db")


def _described(item: Fact) -> str:
    unit = {"s": " In seconds.", "B": " In bytes."}.get(item.unit or "", "")
    otherwise = f" Default: {item.otherwise}." if item.otherwise else ""
    return f"    {item.name}: {item.meaning}{unit}{otherwise}"


SearchRequest.__doc__ = "\n\n".join([(SearchRequest.__doc__ or "").rstrip(), "\n".join(map(_described, FACTS))])
