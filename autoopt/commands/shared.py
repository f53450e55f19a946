"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoopt.options import option

OF_SEARCH = "the search's"
Home = Annotated[Path, option("home")]
Storage = Annotated[str | None, option("storage")]
TrackingUri = Annotated[str | None, option("tracking_uri")]
Study = Annotated[str | None, option("study", otherwise="the last one")]
OfWorkload = Annotated[str | None, typer.Option(help="The last study of this workload. [default: the last one]")]
