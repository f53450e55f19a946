"""Which files are inputs, and what their outputs are called."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from autoopt.deploy.inputs import Input, find_inputs, stems
from autoopt.workloads.data.image_file import Source

NAMES = st.sampled_from(("x", "X", "x_png", "x_overlay", "é", "e\u0301"))
PATHS = st.lists(st.tuples(st.sampled_from(("", "a/", "A/")), NAMES, st.sampled_from((".png", ".jpg"))), unique=True)


def outputs_of(item: Input, stem: PurePosixPath) -> list[PurePosixPath]:
    return [stem.with_name(f"{stem.name}{ending}") for ending in (".png", "_overlay.png")]


@given(PATHS)
def test_no_two_inputs_share_an_output(paths: list[tuple[str, str, str]]) -> None:
    """Whatever the names, each input has outputs of its own, also where a file system knows no capitals."""
    inputs = [
        Input(
            Source(Path(f"/data/{folder}{name}{ending}")), f"{folder}{name}{ending}", PurePosixPath(f"{folder}{name}")
        )
        for folder, name, ending in paths
    ]
    found = stems(inputs, outputs_of)
    outputs = [
        path.as_posix().casefold() for item, stem in zip(inputs, found, strict=True) for path in outputs_of(item, stem)
    ]
    assert len(set(outputs)) == len(outputs)
    assert all(stem.parent == item.stem.parent for item, stem in zip(inputs, found, strict=True))


def test_names_are_paths_below_what_all_inputs_share(tmp_path: Path) -> None:
    """Files of two folders keep the names of these; a file that is given twice is one input."""
    for name in ("a/x.npy", "b/x.npy", "b/c/y.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    out = tmp_path / "out"

    def named(*paths: str) -> list[str]:
        return [item.name for item in find_inputs([tmp_path / path for path in paths], out).inputs]

    assert named("a/x.npy", "b/x.npy", "b/x.npy", "b") == ["a/x.npy", "b/c/y.npy", "b/x.npy"]
    assert named("b/x.npy") == ["x.npy"]
    assert named("b") == ["c/y.npy", "x.npy"]
