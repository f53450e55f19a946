"""What of an artifact is sent to a target: all of a model; of cases the images, never their labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoopt.core.configuration import digest
from autoopt.core.store import Artifact, file_digest
from autoopt.measure import pack
from autoopt.measure.files import INDEX


@dataclass(frozen=True)
class Shipment:
    """The files of an artifact that are sent, by name, with their digests; `content` is the digest of all."""

    artifact: Artifact
    files: Mapping[str, Path]
    sha256: Mapping[str, str]

    @property
    def content(self) -> str:
        """See `Artifact.content`."""
        return digest(dict(self.sha256))

    @property
    def size_bytes(self) -> int:
        """The bytes that are sent."""
        return sum(path.stat().st_size for path in self.files.values())


def shipment(artifact: Artifact, folder: Path) -> Shipment:
    """What is sent of an artifact; what has to be written for it is written to `folder`.

    Labels stay where they are scored.
    """
    sha256 = {name: str(item["sha256"]) for name, item in artifact.files.items()}
    files = {name: artifact.path / name for name in sha256}
    if artifact.kind != pack.KIND:
        return Shipment(artifact, files, sha256)
    index = folder / f"{artifact.key}.json"
    index.write_text(json.dumps({**json.loads(files[INDEX].read_text()), "references": []}))
    kept = {name: path for name, path in files.items() if not name.startswith(pack.REFERENCE) and name != INDEX}
    digests = {INDEX: file_digest(index), **{name: sha256[name] for name in kept}}
    return Shipment(artifact, {INDEX: index, **kept}, digests)
