"""Where `pull` takes a bundle from: a study of this machine, a registry by name or by limits, a folder, an archive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from autoopt.core.store import Store
from autoopt.deploy.choose_registered import choose_registered, told
from autoopt.deploy.layout import read_card
from autoopt.deploy.pick import Choice, choose
from autoopt.deploy.pull import pull
from autoopt.deploy.receive import FolderSource, receive
from autoopt.deploy.registered import SEAL, Registered, registered_name
from autoopt.deploy.registry import SCHEME, ModelUri, Registry
from autoopt.deploy.zip_source import ZipSource
from autoopt.errors import BundleError, UsageError
from autoopt.measure.target import LocalTarget
from autoopt.study.limit_arguments import LimitArguments
from autoopt.study.result import StudyResult

NAMED = "names one model"


@dataclass(frozen=True)
class Wish:
    """Which model is wanted: limits, a policy, a host's fingerprint, a study, a workload; None where any will do."""

    limits: LimitArguments
    pick: str | None = None
    host: str | None = None
    study: str | None = None
    workload: str | None = None

    @property
    def given(self) -> list[str]:
        """The options that narrow down what is wanted."""
        options = {"--pick": self.pick, "--host": self.host, "--study": self.study, "--workload": self.workload}
        limits = ["the limits"] if self.limits.given else []
        return [*limits, *(name for name, value in options.items() if value is not None)]


@dataclass(frozen=True)
class Place:
    """Where studies and registry are: the home folder, the storage and the tracking server where they are named."""

    home: Path
    storage: str | None = None
    tracking_uri: str | None = None


def pull_from(
    source: str | None,
    wish: Wish,
    place: Place,
    out: Path,
    open_registry: Callable[[str | None, Path], Registry],
    read: Callable[[], StudyResult],
    *,
    write: Callable[[StudyResult, Choice, Store, Path], Path] = pull,
) -> tuple[Path, str]:
    """Write the model that is wanted to the folder `out`; returns the folder, and what it is or why it was picked.

    `open_registry` makes a registry of a tracking URI and a home folder, `read` gives the study of this machine, and
    `write` writes one of its trials. Raises
    UsageError for words that do not go together, NothingFits where nothing keeps the limits, BundleError and
    TrackingError.
    """
    if source is not None and wish.given:
        raise UsageError(f"{source} {NAMED}: leave out {' and '.join(wish.given)}, or leave out {source}")
    if place.storage is not None and (source is not None or place.tracking_uri is not None):
        raise UsageError("--storage is where studies of this machine are: leave it out for what comes from elsewhere")
    if source is not None and source.startswith(SCHEME):
        uri = ModelUri.of(source)
        registry = open_registry(place.tracking_uri, place.home)
        one = uri.read(registry)
        return _fetch(registry, one, out), f"{source} is {one.text}. {told(one)}"
    if source is not None:
        if place.tracking_uri is not None:
            raise UsageError("--tracking-uri is where models:/NAME@ALIAS are: leave it out for a folder or a ZIP")
        return _from_path(Path(source), out)
    if place.tracking_uri is not None:
        return _fitting(open_registry(place.tracking_uri, place.home), wish, out)
    if wish.host is not None:
        raise UsageError("--host chooses among the hosts of a registry: give --tracking-uri, or leave it out")
    result = read()
    choice = choose(result, pick=wish.pick, **asdict(wish.limits))
    return write(result, choice, Store(place.home / "store"), out), choice.explanation


def _fitting(registry: Registry, wish: Wish, out: Path) -> tuple[Path, str]:
    """The registered model of a workload that keeps the limits and that the policy takes."""
    if wish.workload is None:
        raise UsageError(
            "--tracking-uri needs --workload, or the name of a model such as models:/autoopt-histo@fastest"
        )
    name = registered_name(wish.workload)
    one, why = choose_registered(
        name,
        registry.versions(name),
        wish.limits,
        pick=wish.pick,
        host=wish.host,
        study=wish.study,
        here=lambda: LocalTarget().host.fingerprint,
    )
    return _fetch(registry, one, out), why


def _fetch(registry: Registry, one: Registered, out: Path) -> Path:
    seal = one.tags.get(SEAL, "")
    if not seal:
        raise BundleError(
            f"version {one.version} of {one.name} must have the tag {SEAL}, it has none: autoopt did not register it"
        )
    return receive(registry.files(one), out, seal=seal)


def _from_path(path: Path, out: Path) -> tuple[Path, str]:
    """The bundle in a folder or a ZIP archive, verified."""
    if path.is_dir():
        receive(FolderSource(path), out)
    elif path.exists():
        with ZipSource(path) as archive:
            receive(archive, out)
    else:
        raise BundleError(
            f"{path} must be the folder of a bundle, a ZIP of one, or models:/NAME@ALIAS: it is not there"
        )
    card = read_card(out)
    demo = " (demo data)" if card.get("demo") is not False else ""
    trial = f"trial #{card['trial']} of {card['study']}, " if {"trial", "study"} <= set(card) else ""
    return out, f"the bundle in {path}: {trial}workload {card.get('workload')}{demo}"
