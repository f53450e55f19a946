"""The files of a registered model: a bundle, MLflow's description of it, and the code that answers; nothing pickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autoopt import __version__
from autoopt.deploy.registered import BUNDLE
from autoopt.errors import TrackingError
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.runtimes import runtime

CODE = "autoopt_model.py"
CODE_TEXT = '''"""MLflow runs this file when it loads the model; the bundle lies in artifacts/bundle."""

from mlflow.models import set_model

from autoopt.tracking.served import served_model

set_model(served_model())
'''
PILLOW = "pillow"


def requirements(pipeline: Pipeline, runtime_name: str, versions: Mapping[str, str]) -> list[str]:
    """What a server of the model must have installed, where it is known at the versions that were measured."""
    executes = runtime(runtime_name)
    packages = ["numpy", *(["scipy"] if pipeline.needs_scipy else []), executes.DISTRIBUTION or "", PILLOW]
    known = [f"{name}=={versions[name]}" if name in versions else name for name in packages if name]
    return [f"autoopt=={__version__}", *known]


def write_model(folder: Path, bundle: Path, packages: Sequence[str], metadata: Mapping[str, str]) -> Path:
    """Write the model with the bundle in `bundle` to the new folder `folder`; returns the folder.

    MLflow notes where it found bundle and code: instead of that stands where they lie in the model, so that no file
    tells a path of this machine.
    """
    from mlflow import pyfunc
    from mlflow.models import Model
    from mlflow.models.model import MLMODEL_FILE_NAME

    code = folder.parent / CODE
    code.write_text(CODE_TEXT)
    pyfunc.save_model(
        str(folder),
        python_model=str(code),
        artifacts={"bundle": str(bundle)},
        pip_requirements=list(packages),
        metadata=dict(metadata),
    )
    described = Model.load(str(folder / MLMODEL_FILE_NAME))
    flavor = described.flavors[pyfunc.FLAVOR_NAME]
    place = flavor["artifacts"]["bundle"]
    if place["path"] != BUNDLE or not (folder / CODE).is_file():
        raise TrackingError(f"this MLflow puts a bundle at {place['path']}, not at {BUNDLE}: another version is needed")
    place["uri"] = BUNDLE
    flavor["model_code_path"] = CODE
    described.save(str(folder / MLMODEL_FILE_NAME))
    return folder
