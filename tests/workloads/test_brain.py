"""The brain workload: its data folder, its pipeline, its network and its augmentation."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from autoopt.errors import BadData, DataError
from autoopt.inference.pipeline import predict
from autoopt.workloads import brain
from autoopt.workloads.checks import check_workload
from autoopt.workloads.contract import IGNORED

SHAPE = (24, 28, 12)
LPS = np.diag([-4.0, -4.0, 8.0, 1.0])


def ball(shape: tuple[int, ...] = SHAPE, share: float = 0.6) -> np.ndarray:
    """A ball that fills the given share of each axis."""
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij", sparse=True)
    return (sum(axis**2 for axis in axes) < share**2).astype(np.uint8)


def save(path: Path, values: np.ndarray, affine: np.ndarray = LPS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def write_data(folder: Path) -> Path:
    """Six patients with two volumes each: four in train, one in val, one in test."""
    lines = ["name,patient,split,modality,first_full_slice,last_full_slice"]
    random = np.random.default_rng(0)
    for index in range(12):
        patient, modality = f"p{index // 2}", ("T1w", "FLAIR")[index % 2]
        name, split = f"{patient}_{modality}", ("train", "train", "train", "train", "val", "test")[index // 2]
        image = 100 * ball(share=0.9).astype(int) + 200 * ball() + random.integers(0, 9, SHAPE)
        save(folder / "images" / f"{name}.nii.gz", image.astype(np.uint16))
        save(folder / "masks" / f"{name}_brainmask.nii.gz", ball())
        lines.append(f"{name},{patient},{split},{modality},{'2,9' if index == 8 else ','}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_reads_a_folder(tmp_path: Path) -> None:
    """The manifest gives splits, patients and tags; slices outside the full ones are ignored in the reference."""
    workload = brain.workload(write_data(tmp_path))

    check_workload(workload)
    assert [len(workload.splits[name]) for name in ("train", "calibration", "val", "test")] == [6, 2, 2, 2]
    case = workload.splits.val[0]
    assert (case.id, case.group, dict(case.tags)) == ("p4_T1w", "p4", {"modality": "T1w"})
    sample, whole = case.read(), workload.splits.val[1].read()
    assert sample.image.shape == (*SHAPE, 1) and sample.affine is not None
    np.testing.assert_allclose(sample.affine, LPS)
    np.testing.assert_array_equal(sample.reference[..., 2:10], ball()[..., 2:10])
    assert (sample.reference[..., :2] == IGNORED).all() and (sample.reference[..., 10:] == IGNORED).all()
    np.testing.assert_array_equal(whole.reference, ball())


def test_without_a_manifest_files_are_patients(tmp_path: Path) -> None:
    """Without a manifest the files are split 70 / 15 / 15; a mask may also be called like its image."""
    folder = write_data(tmp_path)
    (folder / "manifest.csv").unlink()
    (folder / "masks" / "p0_T1w_brainmask.nii.gz").rename(folder / "masks" / "p0_T1w.nii.gz")

    splits = brain.workload(folder).splits

    assert len(splits.train) + len(splits.calibration) == 9
    assert {case.id for name in ("train", "calibration", "val", "test") for case in splits[name]} >= {"p0_T1w"}
    assert all(case.id == case.group for case in splits.val)


def test_digest_follows_the_data(tmp_path: Path) -> None:
    """The digest is the same for a copy and another when a voxel or the slices that count change."""
    original, copy = write_data(tmp_path / "a"), tmp_path / "b"
    shutil.copytree(original, copy)
    before = brain.workload(original).data_digest

    assert brain.workload(copy).data_digest == before
    _edit("FLAIR,,", "FLAIR,1,")(copy)
    after = brain.workload(copy).data_digest
    assert after != before
    save(copy / "masks" / "p0_T1w_brainmask.nii.gz", ball(share=0.61))
    assert brain.workload(copy).data_digest != after


def _edit(old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        manifest = folder / "manifest.csv"
        text = manifest.read_text()
        assert old in text
        manifest.write_text(text.replace(old, new, 1))

    return edit


def _mask(values: np.ndarray, affine: np.ndarray = LPS) -> Callable[[Path], None]:
    return lambda folder: save(folder / "masks" / "p1_T1w_brainmask.nii.gz", values, affine)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: shutil.rmtree(folder / "masks"),
            r"masks must be a folder of images \(.nii.gz, .nii\), it is not",
        ),
        (lambda folder: (folder / "masks/p1_T1w_brainmask.nii.gz").unlink(), r"p1_T1w.nii.gz has no mask masks/p1_T1w"),
        (lambda folder: (folder / "images/p1_T1w.nii.gz").unlink(), r"p1_T1w_brainmask.nii.gz has no image in images"),
        (lambda folder: (folder / "images/p1_T1w.nii.gz").write_text("x"), r"images/p1_T1w.nii.gz must be a whole NIf"),
        (_mask(np.zeros((4, 4, 4), np.uint8)), r"p1_T1w_brainmask.nii.gz must be as large as its image"),
        (_mask(ball(), np.diag([4.0, 4.0, 8.0, 1.0])), r"p1_T1w_brainmask.nii.gz must lie where its image"),
        (_edit("name,patient", "name,person"), r"columns name, patient, split; patient missing"),
        (_edit("p1_T1w,p1,train", "p1_T1w,p1,trian"), r"line 4: split must be train, val, test or calibration"),
        (_edit("p1_T1w,p1,train", "p1_T1w,,train"), r"line 4: patient must not be empty"),
        (_edit("p1_T1w,p1", "p0_T1w,p1"), r"line 4: name 'p0_T1w' is there twice"),
        (_edit("p1_T1w,p1", "../x,p1"), r"line 4: name must be that of a file in images/ .* there is no '../x'"),
        (_edit("p1_T1w,p1,train,T1w,,\n", ""), r"must list every file, p1_T1w is missing"),
        (_edit("T1w,2,9", "T1w,2,12"), r"line 10: first_full_slice and last_full_slice must be whole numbers from 0"),
        (_edit("p4_FLAIR,p4,val", "p4_FLAIR,p4,train"), r"'p4' is in val and, with p4_FLAIR, in (train|calibration)"),
    ],
)
def test_bad_folders_are_refused(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    """Whatever names, manifest and headers tell to be wrong is said with the file or line it is in."""
    folder = write_data(tmp_path)
    spoil(folder)

    with pytest.raises(DataError, match=message):
        brain.workload(folder)


def test_wrong_labels_fail_the_case(tmp_path: Path) -> None:
    """A mask with other values than 0 and 1 is found when the case is read, with its name."""
    folder = write_data(tmp_path)
    save(folder / "masks" / "p4_T1w_brainmask.nii.gz", ball() * 255)

    with pytest.raises(BadData, match=r"p4_T1w_brainmask.nii.gz must hold the labels 0, 1 only, it also holds 255"):
        brain.workload(folder).splits.val[0].read()


def test_options_give_tile_and_name(tmp_path: Path) -> None:
    """A tile is a share of the usual field of view at the voxel size, and a variant has another name."""
    folder = write_data(tmp_path)

    usual, published = brain.workload(folder), brain.workload(folder, width=16, spacing_mm=1.0)

    assert (usual.name, usual.pipeline.tile) == ("brain", (96, 96, 64))
    assert (published.name, published.pipeline.tile) == ("brain-w16-1mm", (96, 96, 96))
    for spacing in (1.0, 1.3, 2.0, 3.0, 4.0):
        tile = brain.workload(folder, spacing_mm=spacing).pipeline.tile
        assert all(size % 16 == 0 and size > 0 for size in tile)


def test_the_pipeline_undoes_orientation_and_spacing(tmp_path: Path) -> None:
    """A perfect network, which sees RAS voxels of 2 mm, gives back the mask on the grid of the file."""
    workload = brain.workload(write_data(tmp_path))
    sample = workload.splits.test[0].read()
    image = sample.image.copy()
    image[:6] = 0  # so that a left-right mistake shows

    def perfect(tile: np.ndarray) -> np.ndarray:
        """Bright voxels are brain."""
        return np.concatenate([0.6 - tile, tile - 0.6], axis=1)

    answer = predict(workload.pipeline, perfect, image, sample.affine)
    expected = ball()
    expected[:6] = 0
    assert answer.shape == SHAPE
    assert 2 * (answer & expected).sum() / (answer.sum() + expected.sum()) > 0.93


def test_the_net_exports() -> None:
    """The network survives torch.export with a fixed shape, in channels-last, with the same answer."""
    torch = pytest.importorskip("torch")
    net = brain.build(2).eval().to(memory_format=torch.channels_last_3d)
    image = torch.rand(1, 1, 32, 32, 32).contiguous(memory_format=torch.channels_last_3d)

    exported = torch.export.export(net, (image,)).module()

    with torch.no_grad():
        torch.testing.assert_close(exported(image), net(image))
