"""Where registered models are asked for: what `pull` needs of a registry, whoever keeps it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from autoopt.core.plain_text import short
from autoopt.deploy.receive import Source
from autoopt.deploy.registered import Registered
from autoopt.errors import UsageError

SCHEME = "models:/"
_URI = re.compile(r"models:/(?P<name>[^/@:]+)(?:@(?P<alias>[\w-]+)|/(?P<version>[0-9]{1,9}))")


class Registry(Protocol):
    """A registry of models. All methods raise TrackingError, in words, for what is not there or does not answer."""

    def by_alias(self, name: str, alias: str) -> Registered:
        """The version of a model that has the alias."""
        ...

    def by_version(self, name: str, version: int) -> Registered:
        """The version of a model with this number."""
        ...

    def versions(self, name: str) -> list[Registered]:
        """All versions of a model."""
        ...

    def files(self, one: Registered) -> Source:
        """The bundle of a version."""
        ...


@dataclass(frozen=True)
class ModelUri:
    """A model that a URI names: models:/NAME@ALIAS or models:/NAME/VERSION."""

    name: str
    alias: str | None
    version: int | None

    @classmethod
    def of(cls, text: str) -> ModelUri:
        """The model that `text` names. Raises UsageError for another form."""
        found = _URI.fullmatch(text)
        if found is None:
            raise UsageError(
                "a registered model is models:/NAME@ALIAS or models:/NAME/VERSION, such as "
                f"models:/autoopt-histo@fastest, got {short(text)}"
            )
        version = found["version"]
        return cls(found["name"], found["alias"], None if version is None else int(version))

    def read(self, registry: Registry) -> Registered:
        """The version in `registry`."""
        if self.alias is not None:
            return registry.by_alias(self.name, self.alias)
        return registry.by_version(self.name, self.version or 0)
