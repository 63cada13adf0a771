from __future__ import annotations

import json
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from hmu.config import CONFIGS
from hmu.errors import ConfigError, DataError
from hmu.motion.decoding import features_to_joints
from hmu.motion.skeleton import T2M
from hmu.outputs import LIST
from hmu.tools.import_bvh import run
from hmu.tools.importing.sources import hashed_splits, read_captions
from tests.motion.walker import walker


def bvh_of(joints: np.ndarray, frame_time: str = "0.0333333") -> str:
    """A flat BVH: every joint hangs on one root and carries its world position in centimetres, in 6 channels."""
    channels = "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"
    parts = "".join(f"JOINT {name}\n{{\nOFFSET 1 2 3\n{channels}\n}}\n" for name in T2M.joint_names)
    rows = np.concatenate([100 * joints, np.zeros_like(joints)], axis=-1).reshape(len(joints), -1)
    motion = "".join("0 0 0 0 0 0 " + " ".join(f"{v:.6f}" for v in row) + "\n" for row in rows)
    head = f"HIERARCHY\nROOT stage\n{{\nOFFSET 0 0 0\n{channels}\n{parts}}}\nMOTION\nFrames: {len(joints)}\n"
    return head + f"Frame Time: {frame_time}\n" + motion


@pytest.fixture
def collection(tmp_path):
    """Five clips, one of them broken, one without a caption; captions with their traps; a mapping."""
    source = tmp_path / "bvh"
    (source / "deeper").mkdir(parents=True)
    for k in range(5):
        (source / ("deeper" if k == 4 else "") / f"clip {k}.bvh").write_text(bvh_of(walker(31, k)))
    (source / "broken.bvh").write_text(bvh_of(walker(31))[:-400])
    (source / "silent.bvh").write_text(bvh_of(walker(31)))
    (source / "short.bvh").write_text(bvh_of(walker(1)))
    rows = [f'clip {k}.bvh,a person #walks {k} steps,"a man walks, slowly"' for k in range(5)]
    captions = tmp_path / "captions.csv"
    captions.write_text("\ufefffile,caption1,caption2\n" + "\n".join([*rows, "broken.bvh,x,", "short.bvh,y,"]) + "\n")
    joints = "".join(f"  {name}: {name}\n" for name in T2M.joint_names)
    mapping = tmp_path / "own.yaml"
    mapping.write_text(f"_target_: hmu.motion.mapping.JointMapping\nname: own\nunit: 0.01\njoints:\n{joints}")
    return tmp_path


def config(folder, **changes):
    values = {
        "source": folder / "bvh",
        "captions": folder / "captions.csv",
        "target": folder / "out",
        "mapping": folder / "own.yaml",
    } | changes
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = compose("import_bvh")
    for key, value in values.items():
        composed[key] = value if value is None or isinstance(value, bool | int | float) else str(value)
    return composed


def test_a_folder_becomes_a_data_set_and_broken_files_are_listed(collection):
    summary = run(config(collection))
    out = collection / "out"
    assert sorted(summary.written) == [f"clip {k}" for k in range(5)]
    assert set(summary.skipped) == {"broken", "silent", "short"}
    assert "cut off" in summary.skipped["broken"]
    assert summary.skipped["silent"] == "no caption"
    assert "at least 2" in summary.skipped["short"]
    assert json.loads((out / "import.json").read_text())["skipped"] == summary.skipped
    features, joints = np.load(out / "new_joint_vecs" / "clip 0.npy"), np.load(out / "new_joints" / "clip 0.npy")
    assert features.shape == (20, 263)
    assert features.dtype == np.float32
    assert np.load(out / "joints" / "clip 0.npy").shape == (21, 22, 3)
    np.testing.assert_allclose(features_to_joints(features, T2M), joints, atol=1e-5)
    lines = (out / "texts" / "clip 3.txt").read_text().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("a person walks 3 steps#a/DET person/NOUN walk/VERB")
    assert lines[0].endswith("#0.0#0.0")
    lists = {name: (out / f"{name}.txt").read_text().splitlines() for name in ("train", "val", "test", "all")}
    assert sorted(lists["train"] + lists["val"] + lists["test"]) == lists["all"] == sorted(summary.written)
    assert all(lists.values())
    assert np.load(out / "Mean.npy").shape == np.load(out / "Std.npy").shape == (263,)
    assert not list(collection.glob(".out*")), "no temporary folders stay"


def test_an_archive_and_several_workers_give_the_same(collection):
    run(config(collection, target=collection / "a"))
    with tarfile.open(collection / "bvh.tar.xz", "w:xz") as archive:
        archive.add(collection / "bvh", "bvh")
    run(config(collection, target=collection / "b", source=collection / "bvh.tar.xz", workers=2))
    for path in (collection / "a").rglob("*.*"):
        if path.name not in ("import.json", LIST):  # they name the source
            assert path.read_bytes() == (collection / "b" / path.relative_to(collection / "a")).read_bytes(), path


def test_given_splits_and_texts_are_used(collection):
    (collection / "lists").mkdir()
    (collection / "lists" / "train.txt").write_text("clip 1\nclip 0\nabsent\n")
    (collection / "lists" / "test.txt").write_text("clip 2\n")
    (collection / "texts").mkdir()
    (collection / "texts" / "clip 1.txt").write_text("someone walks#someone/PRON walk/VERB#0.0#0.0\n")
    run(config(collection, splits=collection / "lists", texts=collection / "texts"))
    out = collection / "out"
    assert (out / "train.txt").read_text() == "clip 1\nclip 0\n"
    assert (out / "train_val.txt").read_text() == "clip 1\nclip 0\n"
    assert (out / "val.txt").read_text() == ""
    assert (out / "texts" / "clip 1.txt").read_text().startswith("someone walks#someone/PRON")
    assert (out / "texts" / "clip 2.txt").read_text().startswith("a person walks")


def test_the_skeleton_of_choice(collection):
    pose = 1.5 * walker(1)[0]
    np.save(collection / "giant.npy", pose)
    lengths = {}
    for name, choice in {"giant": collection / "giant.npy", "first": "first", "own": None}.items():
        run(config(collection, target=collection / name, target_skeleton=choice))
        joints = np.load(collection / name / "new_joints" / "clip 1.npy")
        lengths[name] = np.linalg.norm(joints[::2, 4] - joints[::2, 1], axis=-1)  # odd ones are interpolated
    np.testing.assert_allclose(lengths["giant"], 1.5 * lengths["first"], rtol=1e-4)
    np.testing.assert_allclose(lengths["own"], lengths["first"], rtol=1e-4)


def test_an_existing_target_is_kept_unless_asked(collection):
    out = collection / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    with pytest.raises(ConfigError, match="overwrite=true"):
        run(config(collection))
    with pytest.raises(ConfigError, match="did not write"):
        run(config(collection, overwrite=True))
    assert (out / "precious.txt").read_text() == "mine"


def test_an_import_is_replaced_but_not_what_lies_beside_it(collection):
    out = collection / "out"
    run(config(collection))
    before = (out / "Mean.npy").read_bytes()
    (out / "HumanML3D").mkdir()
    (out / "HumanML3D" / "Mean.npy").write_text("mine")
    with pytest.raises(DataError):
        run(config(collection, overwrite=True, source=collection / "lists"))
    assert (out / "Mean.npy").read_bytes() == before
    run(config(collection, overwrite=True))
    assert (out / "HumanML3D" / "Mean.npy").read_text() == "mine"
    assert (out / "Mean.npy").read_bytes() == before
    assert not list(collection.glob(".out*"))


def test_a_failure_leaves_nothing_behind(collection, monkeypatch):
    import hmu.motion.statistics

    def fail(clips):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hmu.motion.statistics, "motion_statistics", fail)
    with pytest.raises(OSError, match="No space"):
        run(config(collection))
    assert not (collection / "out").exists()
    assert not list(collection.glob(".out*"))


def test_mistakes_are_said_in_words(collection):
    empty = collection / "empty"
    empty.mkdir()
    bad = collection / "bad.csv"
    bad.write_text("a,b\n1,2\n")
    (empty / "note.txt").write_text("only two#fields\n")
    cases = [
        ({"source": collection / "absent"}, DataError, "does not exist"),
        ({"source": empty}, DataError, "no .bvh file"),
        ({"source": bad}, DataError, "neither a folder nor"),
        ({"captions": None}, ConfigError, "captions="),
        ({"captions": collection / "absent.csv"}, DataError, "absent.csv"),
        ({"captions": bad}, DataError, "expected columns"),
        ({"texts": empty}, DataError, "line 1"),
        ({"mapping": "nobody"}, ConfigError, "no mapping 'nobody'"),
        ({"mapping": "bandai"}, DataError, "nothing could be imported; 6 of 8.*no joint"),
        ({"splits": empty}, DataError, "none of train.txt"),
        ({"target_skeleton": bad}, DataError, "target skeleton"),
        ({"facing": "north"}, DataError, "facing"),
        ({"target": collection}, ConfigError, "holds the source"),
        ({"target": collection, "overwrite": True}, ConfigError, "holds the source"),
    ]
    for changes, kind, message in cases:
        with pytest.raises(kind, match=message) as caught:
            run(config(collection, **changes))
        assert "\n" not in str(caught.value)
    assert not (collection / "out").exists()


def test_the_command_says_mistakes_in_one_line(collection):
    command = [sys.executable, "-m", "hmu.tools.import_bvh", f"source={collection / 'absent'}", "captions=x.csv"]
    result = subprocess.run(
        [*command, f"target={collection / 'out'}"], capture_output=True, text=True, cwd=CONFIGS.parent, check=False
    )
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr + result.stdout


def test_hashed_splits_depend_on_nothing_but_the_ids():
    names = [f"c{k:03d}" for k in range(100)]
    lists = hashed_splits(names)
    assert {k: len(v) for k, v in lists.items()} == {"test": 15, "val": 5, "train": 80}
    assert hashed_splits(names[::-1]) == lists
    assert sorted(name for ids in lists.values() for name in ids) == names
    assert hashed_splits(["a"]) == {"test": [], "val": [], "train": ["a"]}


def test_captions_file_of_the_real_collection(shared):
    captions = read_captions(shared("data/bandai/captions.csv"))
    assert len(captions) == 919
    assert all(len(lines) == 3 for lines in captions.values())
