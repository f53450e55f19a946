"""Whether a server answers a bundle's golden inputs as the bundle does: its network there, its pipeline here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.deploy.check import Checked, Finding, answer_findings
from autoopt.deploy.goldens import sampled
from autoopt.deploy.layout import pipeline_of
from autoopt.deploy.predictor import verified_card
from autoopt.deploy.remote import RemoteSession
from autoopt.deploy.self_test import Answer
from autoopt.deploy.served import GRAPH
from autoopt.deploy.stored_self_test import Stored, stored_self_test
from autoopt.errors import BundleError
from autoopt.inference.pipeline import Pipeline, predict


def check_server(
    folder: str | Path,
    url: str,
    *,
    model: str | None = None,
    verify: str | Path | None = None,
    stand_ins: bool = False,
) -> Checked:
    """Compare the answers of `model` at the server `url` with those that the bundle in `folder` holds.

    `model` is the network's name there, by default the one that `autoopt serve` gives it. The bundle's own runtime is
    not needed. Raises UsageError for an address that is none; all else that is wrong is a finding.
    """
    folder = Path(folder)
    try:
        card = verified_card(folder, verify=None if verify is None else Path(verify), stand_ins=stand_ins)
        stored = stored_self_test(folder, card)
    except BundleError as error:
        return Checked(folder, (Finding("files", str(error), matters=True),))
    files = Finding("files", f"all {len(card['files'])} files are as they were written", difference=False)
    if not stored.goldens:
        return Checked(folder, (files, *answer_findings(stored, {})))
    pipeline = pipeline_of(folder, card)
    name = model or f"{card['workload']}{GRAPH}"
    try:
        session = RemoteSession(url, name, pipeline)
        try:
            answers = _answers(session, pipeline, stored)
        finally:
            session.close()
    except (BundleError, ValueError) as error:
        return Checked(folder, (files, Finding("server", str(error), matters=True)))
    asked = Finding("server", f"{name} at {url} was asked, nothing ran here", difference=False)
    return Checked(folder, (files, asked, *answer_findings(stored, answers)))


def _answers(session: RemoteSession, pipeline: Pipeline, stored: Stored) -> Mapping[str, Answer]:
    """What the server makes of the golden inputs."""
    found: dict[str, Any] = {}
    for item in stored.goldens:
        outputs: list[np.ndarray] = []

        def run(batch: np.ndarray, outputs: list[np.ndarray] = outputs) -> np.ndarray:
            output = session.run(batch)
            outputs.append(sampled(output))
            return output

        answer = predict(pipeline, run, item.golden.image, item.golden.affine)
        found[item.golden.name] = Answer(outputs[0], answer)
    return found
