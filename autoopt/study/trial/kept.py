"""Trials that are measured as they are stored: their artifacts are taken out of the store, not made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoopt.core.configuration import Configuration
from autoopt.core.records import TrialRecord
from autoopt.core.store import KIND, Artifact, Store
from autoopt.errors import StorageError
from autoopt.inference.runtimes import EXACT
from autoopt.study.proposals import SEED
from autoopt.study.space import Seed


@dataclass(frozen=True)
class Kept:
    """The artifacts of trials by the digest of their configuration, of each from the first stage to the measured one.

    `seeds` are the trials that others may be compared with.
    """

    chains: Mapping[str, Sequence[Artifact]]
    seeds: Sequence[Seed]

    def chain(self, configuration: Configuration) -> list[Artifact]:
        """What of a configuration's chain is still stored; empty for one that was not kept."""
        return list(self.chains.get(configuration.digest, ()))


def kept(records: Sequence[TrialRecord], store: Store, study: str) -> Kept:
    """The artifacts of `records` of a study, verified. Raises StorageError where one is gone or was altered."""
    chains = {}
    for record in records:
        found = [artifact for key in record.artifacts if (artifact := store.get(KIND, key)) is not None]
        if not found or found[-1].key != record.artifacts[-1]:
            raise StorageError(
                f"the artifact of trial #{record.number} must be in {store.root}, it is not: "
                f"make it again with `autoopt replay {study}/{record.number}`"
            )
        store.verify(found[-1])
        chains[record.configuration.digest] = found
    exact = [record for record in records if record.origin == SEED and record.label.endswith(EXACT)]
    return Kept(chains, [Seed(record.label, record.configuration, None) for record in exact])
