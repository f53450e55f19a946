"""Files in, answers out: of the size and place of each image, as the search answers, and never over anything else."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from autoopt.core.store import Store
from autoopt.deploy.predict_files import UNKNOWN, Event, Predicted, predict_files
from autoopt.deploy.predicted_list import LIST
from autoopt.deploy.predictor import load
from autoopt.deploy.writer import write_bundle
from autoopt.errors import BundleError, UsageError
from autoopt.inference.pipeline import Pipeline, predict
from autoopt.measure.files import case_affine, case_ids, case_image
from autoopt.measure.pack import pack_cases
from autoopt.workloads import brain, histo
from autoopt.workloads.contract import SPLITS, SplitName, Workload
from autoopt.workloads.data.reading import Reading
from tests import tiny
from tests.deploy.bundles import FAKE, reseal
from tests.workloads.data import folders

PIXELS = replace(tiny.PIPELINE, scale=255.0, mean=(0.5,) * 3, std=(1.0,) * 3)
VOLUMES = Pipeline("segmentation", 2, 1, (8, 8, 8), 0.25, 1.0, (0.5,), (1.0,), orientation="RAS")
CLASSES = Pipeline("classification", 2, 3, (16, 16), 0.0, 255.0, (0.5,) * 3, (1.0,) * 3, fit="resize")
COLOURS = Reading(colours=True, value_range=255.0)
OBLIQUE = np.array([[0.0, -2.0, 0.1, 30.0], [1.5, 0.0, 0.0, -20.0], [0.0, 0.2, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])


def bundle(
    folder: Path,
    pipeline: Pipeline = PIXELS,
    reading: Reading | None = COLOURS,
    labels: Sequence[str] = (),
) -> Path:
    """A bundle of the fake runtime: class 1 where the first channel, normalised, is above zero."""
    content = {"classes": pipeline.classes, "task": pipeline.task}

    def build(place: Path) -> Mapping[str, Any]:
        (place / "fake.json").write_text(json.dumps(content))
        return {}

    artifact = Store(folder / "store").put("model", f"key-{pipeline.task}-{pipeline.classes}", {}, build)
    told = {"workload": "tiny", "demo": True, "reading": None if reading is None else reading.to_json()}
    names = labels or [f"label {index}" for index in range(pipeline.classes)]
    return write_bundle(folder / "bundle", artifact, FAKE, pipeline, names, told)


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    """A picture of random colours at `path`, as it is read again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return np.asarray(Image.open(path))


def run(folder: Path, inputs: Sequence[Path], out: Path, **more: Any) -> Predicted:
    return predict_files(folder, inputs, out, stand_ins=True, **more)


def files_in(folder: Path) -> set[str]:
    """All files below a folder but the lists of what was written."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != LIST}


def test_a_folder_of_pictures_becomes_masks_of_their_size(tmp_path: Path) -> None:
    """Each picture below a folder gets a PNG of its size with the labels; hidden and other files are left out."""
    data = tmp_path / "data"
    pixels = {f"{name}.png": picture(data / f"{name}.png", seed) for seed, name in enumerate(("a/x", "b/x", "c"))}
    picture(data / ".hidden" / "y.png")
    picture(data / "._c.png")
    (data / "manifest.csv").write_text("name\n")
    events: list[Event] = []

    done = run(bundle(tmp_path), [data], tmp_path / "out", listener=events.append)

    assert files_in(tmp_path / "out") == set(pixels) and set(done.written) == set(pixels)
    for name, values in pixels.items():
        mask = Image.open(tmp_path / "out" / name)
        assert mask.mode == "L" and mask.info["Comment"] == "tiny (demo data)"
        assert np.array_equal(np.asarray(mask), values[..., 0] > 127)
    assert (done.failed, done.others, done.title) == ({}, 1, "tiny (demo data)")
    assert [(event.done, event.total) for event in events] == [(1, 3), (2, 3), (3, 3)]


def test_names_that_clash_are_kept_apart(tmp_path: Path) -> None:
    """x.png and x.jpg, and names that differ in capitals only, never write one file, and each has its answer."""
    data = tmp_path / "data"
    pixels = {name: picture(data / name, seed) for seed, name in enumerate(("x.png", "x.jpg", "X.bmp", "x_png.png"))}

    done = run(bundle(tmp_path), [data], tmp_path / "out", overlay=True)

    masks = {name: paths[0] for name, paths in done.written.items()}
    assert len({str(path).casefold() for paths in done.written.values() for path in paths}) == 8
    assert masks["x.jpg"].name == "x_jpg.png" and masks["x_png.png"].name == "x_png.png"
    for name, path in masks.items():
        assert np.array_equal(np.asarray(Image.open(path)), pixels[name][..., 0] > 127), name


def test_a_volume_keeps_its_size_affine_and_orientation(tmp_path: Path) -> None:
    """The mask of a NIfTI file lies where its image lies, whole numbers, with the codes of its header."""
    values = np.random.default_rng(0).random((9, 12, 10)).astype(np.float32)
    image = nibabel.Nifti1Image(values, OBLIQUE)
    image.set_sform(OBLIQUE, code=1)
    image.set_qform(OBLIQUE, code=0)
    image.header["descrip"] = b"Jane Doe"
    nibabel.save(image, tmp_path / "head.nii.gz")

    done = run(bundle(tmp_path, VOLUMES, Reading()), [tmp_path / "head.nii.gz"], tmp_path / "out", overlay=True)

    mask: Any = nibabel.load(tmp_path / "out" / "head.nii.gz")
    assert np.array_equal(np.asarray(mask.dataobj), values > 0.5) and mask.get_data_dtype() == np.uint8
    assert np.array_equal(mask.affine, image.affine)
    codes = ("sform_code", "qform_code", "xyzt_units")
    assert [int(mask.header[name]) for name in codes] == [int(image.header[name]) for name in codes]
    assert bytes(mask.header["descrip"].item()) == b"autoopt: tiny (demo data)"
    assert [path.name for path in done.written["head.nii.gz"]] == ["head.nii.gz", "head_overlay.png"]


@pytest.mark.parametrize("codes", [(0, 0), (0, 1)])
def test_a_volume_without_an_sform_lies_where_it_lay(tmp_path: Path, codes: tuple[int, int]) -> None:
    """A file whose place comes from its qform, or from nothing but its voxel sizes, gets a mask with the same place."""
    image = nibabel.Nifti1Image(np.zeros((9, 8, 10), np.float32), None)
    image.header.set_zooms((1.0, 2.0, 3.0))
    image.header["sform_code"], image.header["qform_code"] = codes
    nibabel.save(image, tmp_path / "head.nii")
    before: Any = nibabel.load(tmp_path / "head.nii")
    assert [int(before.header[name]) for name in ("sform_code", "qform_code")] == list(codes)

    run(bundle(tmp_path, VOLUMES, Reading()), [tmp_path / "head.nii"], tmp_path / "out")

    after: Any = nibabel.load(tmp_path / "out" / "head.nii.gz")
    assert np.array_equal(before.affine, after.affine)
    assert [int(after.header[name]) for name in ("sform_code", "qform_code")] == list(codes)


def test_arrays_become_arrays(tmp_path: Path) -> None:
    """An .npy, a .npz with `image`, and each case of a .npz with `images` get a .npz with `labels`."""
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 17, 3), dtype=np.uint8)
    np.save(tmp_path / "one.npy", images[0])
    np.savez(tmp_path / "two.npz", image=images[1], label=images[1, ..., 0])
    np.savez(tmp_path / "all.npz", images=images, labels=images[..., 0])
    inputs = [tmp_path / name for name in ("one.npy", "two.npz", "all.npz")]

    done = run(bundle(tmp_path, reading=Reading(value_range=255.0)), inputs, tmp_path / "out", probabilities=True)

    assert done.failed == {}
    for name, index in (("one", 0), ("two", 1), ("all-00000", 0), ("all-00001", 1)):
        with np.load(tmp_path / "out" / f"{name}.npz") as found:
            assert str(found["model"]) == "tiny (demo data)"
            assert np.array_equal(found["labels"], images[index, ..., 0] > 127)
        with np.load(tmp_path / "out" / f"{name}_probabilities.npz") as found:
            likely = found["probabilities"]
        assert likely.dtype == np.float32 and likely.shape == (20, 17, 2)
        assert np.array_equal(likely.argmax(-1), images[index, ..., 0] > 127)
        assert np.allclose(likely.sum(-1), 1)


def test_a_bad_file_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    """Broken, absent, linked and unknown files are told with their reason; what can be predicted is."""
    data = tmp_path / "data"
    picture(data / "good.png")
    (data / "broken.png").write_bytes(b"no picture")
    picture(tmp_path / "elsewhere" / "secret.png")
    (data / "link.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    (data / "folder").symlink_to(tmp_path / "elsewhere")
    np.save(data / "floats.npy", np.zeros((8, 8, 3)))
    os.mkfifo(data / "pipe.npz")  # to open it would wait for ever
    (tmp_path / "notes.txt").write_text("no image")
    inputs = [data, tmp_path / "absent.png", tmp_path / "notes.txt"]
    events: list[Event] = []

    done = run(bundle(tmp_path), inputs, tmp_path / "out", listener=events.append)

    assert set(done.written) == {"data/good.png"} and files_in(tmp_path / "out") == {"data/good.png"}
    reasons = {
        "data/broken.png": "must be a picture",
        "data/link.png": "leads out of",
        "data/folder": "is a link to a folder",
        "data/pipe.npz": "it is a pipe",
        "data/floats.npy": "must have pixels as the search had them",
        "absent.png": "it is not there",
        "notes.txt": "must have one of the endings",
    }
    assert set(done.failed) == set(reasons)
    assert all(words in done.failed[name] and name in done.failed[name] for name, words in reasons.items())
    assert sum(event.problem is not None for event in events) == len(reasons)


def test_outputs_stay_in_their_folder_and_replace_nothing_else(tmp_path: Path) -> None:
    """An output never takes the place of an input, and goes through no link; masks of before are no inputs."""
    model, data = bundle(tmp_path), tmp_path / "data"
    pixels = picture(data / "a" / "x.png")
    with pytest.raises(UsageError, match="no output may replace an input"):
        run(model, [data], data)
    assert np.array_equal(np.asarray(Image.open(data / "a" / "x.png")), pixels)

    (tmp_path / "outside").mkdir()
    (data / "masks").mkdir()
    (data / "masks" / "a").symlink_to(tmp_path / "outside")
    assert "is a link" in run(model, [data], data / "masks").failed["a/x.png"]
    assert files_in(tmp_path / "outside") == set()

    (data / "masks" / "a").unlink()
    for _ in range(2):
        assert set(run(model, [data], data / "masks").written) == {"a/x.png"}
    assert files_in(data) == {"a/x.png", "masks/a/x.png"}


def test_files_of_somebody_else_are_not_replaced(tmp_path: Path) -> None:
    """A folder with masks made by hand is refused before anything is written; what a killed call left is ours."""
    model, data = bundle(tmp_path), tmp_path / "data"
    for name in ("x", "y", "z"):
        picture(data / "images" / f"{name}.png")
    by_hand = picture(data / "masks" / "x.png", seed=1)
    with pytest.raises(UsageError, match=r"only files that `autoopt predict` wrote may be replaced, .* \(x.png\)"):
        run(model, [data / "images"], data / "masks")
    assert files_in(data / "masks") == {"x.png"}
    assert np.array_equal(np.asarray(Image.open(data / "masks" / "x.png")), by_hand)

    def killed(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model, [data / "images"], tmp_path / "out", listener=killed)
    assert files_in(tmp_path / "out") == {"x.png"}
    (data / "images" / "z.png").write_bytes(b"")
    run(model, [data / "images"], tmp_path / "out")
    listed = json.loads((tmp_path / "out" / LIST).read_text())
    assert set(listed["files"]) == {"x.png", "y.png"} and set(listed["models"].values()) == {"tiny (demo data)"}

    (tmp_path / "out" / LIST).write_text("{}")
    with pytest.raises(UsageError, match="must be the list of what was predicted before"):
        run(model, [data / "images"], tmp_path / "out")


def test_a_classification_becomes_one_table(tmp_path: Path) -> None:
    """predictions.csv has a line for each picture: its label, the probability of every class, and the model."""
    data = tmp_path / "data"
    for name, red in (("a, b.png", 250), ("c.png", 3)):
        data.mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), (red, 0, 0), np.uint8)).save(data / name)
    folder = bundle(tmp_path, CLASSES, labels=("skin", "ulcer"))

    run(folder, [data], tmp_path / "out", probabilities=True)

    lines = list(csv.DictReader((tmp_path / "out" / "predictions.csv").read_text().splitlines()))
    assert [(line["file"], line["label"]) for line in lines] == [("a, b.png", "ulcer"), ("c.png", "skin")]
    assert {line["model"] for line in lines} == {"tiny (demo data)"}
    with np.load(tmp_path / "out" / "a, b_probabilities.npz") as found, load(folder, stand_ins=True) as predictor:
        answer = predictor.predict(np.asarray(Image.open(data / "a, b.png")))
        assert np.array_equal(found["probabilities"], answer)
    assert np.array_equal(np.array([lines[0]["p_skin"], lines[0]["p_ulcer"]], np.float32), answer)
    with pytest.raises(UsageError, match="--overlay draws masks"):
        run(folder, [data], tmp_path / "out", overlay=True)


def test_time_series_become_a_label_at_each_time(tmp_path: Path) -> None:
    """Each case of an npz with `series`, channels first, gets an npz of labels; no picture is drawn of one."""
    series = np.random.default_rng(0).normal(size=(2, 3, 30)).astype(np.float32)
    np.savez(tmp_path / "many.npz", series=series)
    folder = bundle(tmp_path, replace(tiny.PIPELINE, tile=(16,)), Reading())
    run(folder, [tmp_path / "many.npz"], tmp_path / "out")
    with load(folder, stand_ins=True) as predictor:
        wanted = [predictor.predict(one.T) for one in series]
    found = [np.load(tmp_path / "out" / name)["labels"] for name in sorted(files_in(tmp_path / "out"))]
    assert len(found) == 2 and all(map(np.array_equal, found, wanted)) and found[0].shape == (30,)
    with pytest.raises(UsageError, match="--overlay draws masks on pictures, this bundle labels time series"):
        run(folder, [tmp_path / "many.npz"], tmp_path / "out", overlay=True)


def test_several_labels_at_once_become_a_file_for_each(tmp_path: Path) -> None:
    """Where a place can have several labels, a picture gets a mask of 0 and 1 per label, an array one with an axis."""
    pixels = picture(tmp_path / "x.png")
    np.save(tmp_path / "y.npy", pixels)
    folder = bundle(tmp_path, replace(PIXELS, activation="sigmoid", threshold=0.9), labels=("a/b", "c"))

    run(folder, [tmp_path / "x.png", tmp_path / "y.npy"], tmp_path / "out", overlay=True)

    assert files_in(tmp_path / "out") == {"x_a_b.png", "x_c.png", "x_overlay.png", "y.npz", "y_overlay.png"}
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "x_c.png")), pixels[..., 0] > 127)
    with np.load(tmp_path / "out" / "y.npz") as found:
        assert np.array_equal(found["labels"][..., 1], pixels[..., 0] > 127)


def same_answers(
    workload: Workload, tmp_path: Path, inputs: Path, names: Mapping[str, str], splits: Sequence[SplitName] = SPLITS
) -> None:
    """Each case is answered as a worker of a search answers what was packed for it; `names` has the masks."""
    folder = bundle(tmp_path, workload.pipeline, workload.reading, workload.labels)
    done = run(folder, [inputs], tmp_path / "out")
    assert done.failed == {} and done.remarks == ()
    packed = {split: pack_cases(workload, split, Store(tmp_path / "store")).path for split in splits}
    cases = {name: (place, index) for place in packed.values() for index, name in enumerate(case_ids(place))}
    assert set(names) <= set(cases)
    with load(folder, stand_ins=True) as predictor:
        session = predictor._open()
        for name, mask in names.items():
            image, affine = (part(*cases[name]) for part in (case_image, case_affine))
            wanted = predict(workload.pipeline, session.run, image, affine)
            path = tmp_path / "out" / mask
            loaded: Any = nibabel.load(path) if mask.endswith(".nii.gz") else None
            found = np.asarray(Image.open(path) if loaded is None else loaded.dataobj)
            assert np.array_equal(found, wanted) and wanted.any() and not wanted.all(), name


def odd_tiles(folder: Path) -> Path:
    """Tiles of the workload histo that readers may take in several ways: turned, grey, 16 bits, transparent."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 30, 4), dtype=np.uint8)
    odd = {
        "turned.jpg": Image.fromarray(pixels[..., :3]),
        "grey.png": Image.fromarray(pixels[..., 0]),
        "deep.png": Image.fromarray(rng.integers(0, 65536, (40, 30)).astype(np.uint16)),
        "palette.png": Image.fromarray(pixels[..., :3]).quantize(16),
        "glass.png": Image.fromarray(pixels, "RGBA"),
    }
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for name, image in odd.items():
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(folder / "images" / name, **({"exif": exif} if name == "turned.jpg" else {}))
        size = (40, 30) if name == "turned.jpg" else (30, 40)
        Image.new("L", size, 255).save(folder / "masks" / f"{Path(name).stem}.png")
    for index in range(3):
        folders.picture(folder / "images" / f"t{index}.png", index)
        folders.mask(folder / "masks" / f"t{index}.png", index)
    return folder


def test_odd_pictures_are_answered_as_in_the_search(tmp_path: Path) -> None:
    """Photos turned by a tag, grey, 16-bit, indexed and transparent pictures give the very mask that was scored."""
    workload = histo.workload(odd_tiles(tmp_path / "data"))
    names = {name: f"{name}.png" for name in ("turned", "grey", "deep", "palette", "glass", "t0")}
    same_answers(workload, tmp_path, tmp_path / "data" / "images", names)


def test_demo_heads_are_answered_as_in_the_search(tmp_path: Path) -> None:
    """A volume of the demo gives the very mask that the search scores: turned, resampled, scaled, cleaned up."""
    brain.write_demo(tmp_path / "data")
    workload = brain.workload(tmp_path / "data", **brain.demo_options())
    case = workload.splits.val[0].id
    kept = tmp_path / "some"
    kept.mkdir()
    (kept / f"{case}.nii.gz").write_bytes((tmp_path / "data" / "images" / f"{case}.nii.gz").read_bytes())
    same_answers(workload, tmp_path, kept, {case: f"{case}.nii.gz"}, ["val"])


def test_what_a_bundle_does_not_say_is_told(tmp_path: Path) -> None:
    """Without the search's way to read files they are read as they are stored, and that is told."""
    picture(tmp_path / "x.png")
    done = run(bundle(tmp_path, reading=None), [tmp_path / "x.png"], tmp_path / "out")
    assert done.remarks == (UNKNOWN,) and set(done.written) == {"x.png"}
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    assert "divided by 255" in run(tmp_path / "bundle", [tmp_path / "deep.png"], tmp_path / "out").failed["deep.png"]
    for wrong in ("files", {"colours": 1}, {"unheard": True}):
        reseal(tmp_path / "bundle", lambda card, wrong=wrong: card.update(reading=wrong))  # type: ignore[misc]
        with pytest.raises(BundleError, match="reading of images in the bundle cannot be used"):
            run(tmp_path / "bundle", [tmp_path / "x.png"], tmp_path / "out")


def test_nothing_to_predict_is_an_error(tmp_path: Path) -> None:
    """No inputs, folders without images, and an output that is a file are said before anything is written."""
    model = bundle(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="must hold images"):
        run(model, [tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(UsageError, match="at least one image"):
        run(model, [], tmp_path / "out")
    picture(tmp_path / "x.png")
    with pytest.raises(UsageError, match="-o must be a folder"):
        run(model, [tmp_path / "x.png"], tmp_path / "x.png" / "out")
    assert not (tmp_path / "out").exists()


def test_a_stack_takes_no_volume(tmp_path: Path) -> None:
    """A model of stacks of slices refuses NIfTI, whose slices lie along another axis than those of the search."""
    image = nibabel.Nifti1Image(np.zeros((9, 8, 10), np.float32), np.eye(4))
    nibabel.save(image, tmp_path / "head.nii")
    stacks = Pipeline("segmentation", 2, 1, (8, 8), 0.0, 1.0, (0.5,), (1.0,), sliced=True)
    done = run(bundle(tmp_path, stacks, Reading()), [tmp_path / "head.nii"], tmp_path / "out")
    assert "must be an array (slices, height, width)" in done.failed["head.nii"]
