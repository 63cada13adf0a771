"""What exporters do to files, through the whole import: the same walk comes out of all of them."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from hmu.config import CONFIGS
from hmu.config_types import keys_misfit
from hmu.errors import ConfigError, DataError, HmuError
from hmu.motion.mapping import load_mapping, packaged
from hmu.tools.import_bvh import Keys, run
from hmu.tools.importing.clips import Reader
from hmu.tools.importing.collection import attempt
from hmu.tools.importing.sources import read_captions
from hmu.tools.importing.summary import Summary
from tests.datasets import dataset
from tests.motion.figure import person_bvh, walk


@pytest.fixture
def imports(tmp_path):
    """Import the files given by name and text; every one gets a caption unless ``captions`` are given."""

    def importer(files: dict[str, str], captions: str | None = None, **changes: object) -> tuple[Summary, Path]:
        source = tmp_path / "bvh"
        for name, text in files.items():
            path = source / f"{name}.bvh"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        rows = captions or "file,caption\n" + "".join(f"{name},a person walks\n" for name in files)
        (tmp_path / "captions.csv").write_text(rows)
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = compose("import_bvh", overrides=["mapping=mixamo"])
        settings = {"source": source, "captions": tmp_path / "captions.csv", "target": tmp_path / "out"} | changes
        for key, value in settings.items():
            config[key] = str(value) if isinstance(value, Path) else value
        return run(config), Path(config.target)

    return importer


def joints(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / "joints" / f"{name}.npy")


def test_the_same_walk_whatever_the_exporter_did(imports):
    root, angles = walk(90)
    plain = person_bvh(root, angles)
    summary, out = imports(
        {
            "plain": plain,
            "t_pose": person_bvh(root, angles, rest_in_front=1),
            "far": person_bvh(root + np.array([35.0, 0, 0]), angles, rest_in_front=1, rest_root=(0, 0, 0)),
            "held": person_bvh(root, angles, rest_in_front=400),
            "z_up": person_bvh(root, angles, up="z"),
            "millimetres": person_bvh(root, angles, unit=0.001),
            "metres": person_bvh(root, angles, unit=1.0),
            "prefixed": person_bvh(root, angles, prefix="mixamorig"),
            "counted": plain.replace("Frames: 90", "Frames: 89"),
            "single": plain.replace("0.0333333", "0.03333333507180214"),
        }
    )
    assert summary.skipped == {}
    for name in summary.written:
        np.testing.assert_allclose(joints(out, name), joints(out, "plain"), atol=1e-3, err_msg=name)
    notes = json.loads((out / "import.json").read_text())["notes"]
    said = {name: note for note, names in notes.items() for name in names}
    assert set(said) == {"t_pose", "far", "held", "z_up", "millimetres", "metres", "counted"}
    assert "first_frame=keep" in said["t_pose"]
    assert said["z_up"].startswith("z is up")
    assert "0.001 m" in said["millimetres"]
    assert any("3 files (far, …): rest pose" in line for line in summary.lines())


def test_what_the_user_says_counts(imports):
    root, angles = walk(90)
    files = {"rest": person_bvh(root, angles, rest_in_front=1), "plain": person_bvh(root, angles)}
    _, kept = imports(files, first_frame="keep")
    assert len(joints(kept, "rest")) == 61
    assert np.abs(np.diff(joints(kept, "rest"), axis=0)).max() > 0.3
    _, dropped = imports(files, target=kept.parent / "b", first_frame="drop")
    assert (len(joints(dropped, "rest")), len(joints(dropped, "plain"))) == (60, 59)
    _, right = imports(files, target=kept.parent / "f", facing=True)
    assert (right / "Mean.npy").exists(), "facing=true on the command line is a truth value"
    summary, slow = imports(files, target=kept.parent / "c", source_fps=60)
    assert len(joints(slow, "plain")) == 30
    summary, _ = imports({**files, "z": person_bvh(root, angles, up="z")}, target=kept.parent / "d", up="z")
    assert not any("up" in note for note in summary.notes)
    with pytest.raises(DataError, match=r"17\.\d m .* is no person; unit="):
        imports(files, target=kept.parent / "e", unit=0.1)


def test_equal_names_and_letters_of_macs(imports):
    root, angles = walk(60)
    text = person_bvh(root, angles)
    apart = unicodedata.normalize("NFD", "Zoë")
    files = {"anna/trial1": text, "bob/trial1": text, "bob/trial2": text, f"{apart}/turn": text}
    rows = "file,caption\nanna/trial1.bvh,a person waves\nbob/trial1.bvh,a person kicks\nbob/trial2.bvh,x\nZoë/turn,y\n"
    summary, out = imports(files, rows + "carol/trial3,nobody\n")
    texts = {path.stem: path.read_text().split("#")[0] for path in (out / "texts").iterdir()}
    assert texts == {"anna_trial1": "a person waves", "bob_trial1": "a person kicks", "trial2": "x", "turn": "y"}
    assert summary.captions == {"carol/trial3": "fits no file"}
    assert any("carol/trial3" in line for line in summary.lines())


def test_long_takes_become_clips_that_are_read_and_stay_together(imports):
    files = {f"long{k}": person_bvh(*walk(1335)) for k in range(4)} | {"short": person_bvh(*walk(30))}
    rows = "file,caption,start,end\n" + "".join(f"long{k},a person walks,,\nlong{k},waves,10,14\n" for k in range(4))
    summary, out = imports(files, rows + "short,x,,\n")
    assert len(summary.written) == 4 * 6 + 1
    assert len(summary.read) == 24
    assert "25 clips from 5 files" in summary.lines()[0]
    assert "24 will be read (40 to 199 frames); 1 too short" in summary.lines()[0]
    assert len(joints(out, "long0")) == 890
    for split in ("train", "val", "test"):
        takes = [name.partition("_w")[0] for name in (out / f"{split}.txt").read_text().split()]
        assert all(takes.count(take) == 6 for take in takes if take != "short")
    clips = dataset("mine", out, cache_dir=out.parent / "cache").clips("all")
    assert set(clips.clip_ids) == summary.read
    assert clips.texts.count("waves") == 4
    first = np.load(out / "new_joint_vecs" / "long0_w01.npy")
    assert np.isfinite(first).all()
    assert len(first) == 178
    summary, whole = imports(files, rows + "short,x,,\n", target=out.parent / "whole", windows="none")
    assert len(summary.written) == 5
    assert "4 too long (windows=sliding cuts them)" in summary.lines(cut=False)[0]
    assert (whole / "texts" / "long0.txt").read_text().splitlines()[1].endswith("#10.0#14.0")


def test_times_follow_a_rest_pose_that_was_left_out(imports):
    files = {"take": person_bvh(*walk(1335), rest_in_front=30)}
    _, out = imports(files, "file,caption,start,end\ntake,waves,11,15\n")
    features = np.load(out / "new_joint_vecs" / "take_w01.npy")
    take = joints(out, "take")  # without the second of rest, so 11 to 15 s are its frames 200 to 280
    np.testing.assert_allclose(features[:, 3], np.load(out / "new_joints" / "take_w01.npy")[:, 0, 1], atol=1e-5)
    assert len(features) == 80
    steps = np.linalg.norm(np.diff(take[200:281, 0][:, [0, 2]], axis=0), axis=-1)
    scale = np.linalg.norm(features[:, 1:3], axis=-1).sum() / steps.sum()
    np.testing.assert_allclose(np.linalg.norm(features[:, 1:3], axis=-1), scale * steps, rtol=0.02)


def test_a_caption_of_what_was_left_out_is_left_out(imports):
    files = {"take": person_bvh(*walk(90), rest_in_front=60), "rest": person_bvh(*walk(90), rest_in_front=60)}
    rows = "file,caption,start,end\ntake,stands,0,2\ntake,walks,2,5\nrest,stands,0,2\n"
    summary, out = imports(files, rows)
    assert (out / "texts" / "take.txt").read_text() == "walks#walk/VERB#0.0#3.0\n"
    assert summary.skipped == {"rest": "its captions describe no part of it"}


def test_who_may_lie_or_stand_is_asked_unless_others_of_the_kind_tell(imports):
    root, angles = walk(60, heading=0.0)
    still = {name: np.repeat(angle[:1], 60, 0) for name, angle in angles.items()}
    still["Hips"] = np.tile([0.0, -90.0, 0.0], (60, 1))  # on the back, on a table
    lies = person_bvh(np.tile([0.3, 1.1, 2.0], (60, 1)), still)
    with pytest.raises(DataError, match=r"head and feet lie along -z .* up=-z if .* up=y if"):
        imports({"lies": lies})
    _, out = imports({"lies": lies}, up="y")
    assert joints(out, "lies")[0, :, 1].max() < 0.8
    summary, _ = imports({"lies": lies, "walks": person_bvh(root, angles)}, target=out.parent / "b")
    assert summary.skipped == {}


def test_what_is_left_out_leaves_no_file(imports):
    root, angles = walk(60)
    summary, out = imports({"good": person_bvh(root, angles), "giant": person_bvh(3 * root, angles, unit=0.0007)})
    assert list(summary.skipped) == ["giant"]
    assert sorted(path.stem for path in (out / "joints").iterdir()) == ["good"]


def test_the_line_names_a_mapping_that_fits(imports):
    fits = r"no joint UpperLeg_L.*and 13 more for mapping 'bandai'.*mapping=mixamo fits it"
    with pytest.raises(DataError, match=fits) as caught:
        imports({"a": person_bvh(*walk(60))}, mapping="bandai")
    assert len(str(caught.value)) < 300
    with pytest.raises(DataError, match=r"write a mapping: docs/data/bvh\.md"):
        imports({"a": person_bvh(*walk(60)).replace("Hips", "Pelvis")})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("first_frame", "perhaps"), ("windows", "all"), ("up", "w"), ("facing", "north"), ("statistics", "some")),
        *(("unit", "cm"), ("unit", -1), ("unit", True), ("source_fps", 0), ("source_fps", "fast")),
        *(("stride", 0), ("stride", 1.5), ("stride", 197), ("workers", 0), ("workers", None), ("fps", float("nan"))),
    ],
)
def test_options_that_cannot_be(key, value):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("import_bvh", overrides=["source=a", "target=b", "captions=c"])
    assert keys_misfit(config, Keys) is None
    config[key] = value
    assert (keys_misfit(config, Keys) or "").startswith(f"{key}=")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("_target_: os.system\nname: x\n", "_target_ is not needed"),
        ("- a\n", "expected the keys"),
        ("name: x\nunit: 0.01\njoints: {pelvis: Hips}\nspeed: 3\n", "unknown: speed"),
        ("name: x\nunit: 0.01\n", "missing: joints"),
        ("name: x\nunit: big\njoints: {}\n", "unit is metres"),
        ("name: x\nunit: .nan\njoints: {}\n", "unit is metres"),
        ("name: x\nunit: 0.01\njoints: Hips\n", "joints maps"),
        ("name: x\nunit: 0.01\njoints: {pelvis: 3}\n", "joint pelvis: expected"),
        ("name: x\nunit: 0.01\njoints: {pelvis: {Hips: half}}\n", "joint pelvis: expected"),
        ("name: x\nunit: 0.01\njoints: {pelvis: Hips}\n", "joints missing or unknown"),
        ("name: x\nunit: 0.01\nup: w\njoints: {pelvis: Hips}\n", "up is one of"),
        ("name: [x\n", "broken YAML"),
    ],
)
def test_mappings_that_are_none(tmp_path, text, message):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_mapping(str(path))
    assert len(str(caught.value).replace(str(tmp_path), "")) < 300


def test_files_that_broke_readers(shared):
    folder = shared("cases/41-files-that-broke-readers")
    reader = Reader(load_mapping("bandai"), tuple(map(load_mapping, packaged())), 20.0)
    for path in folder.glob("bvh_*.bvh"):
        said = attempt(reader, path.stem, (path.stem, path.read_bytes()))
        assert not isinstance(said, str) or len(said) < 300
    for path in folder.glob("text__captions*"):
        with pytest.raises(HmuError) as caught:
            read_captions(path)
        assert len(str(caught.value).replace(str(path), "")) < 200
