"""Readers of single files: what a good file is, and how it is read."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.fuzz import mutate

Damage = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Sample:
    """Something to read.

    Attributes:
        path: the file that is damaged; it holds a good one, and stays where it is.
        read: reads it, or whatever it belongs to. damage: changes the good content.
    """

    path: Path
    read: Callable[[], object]
    damage: Damage = mutate.text


BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 90 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Leg
  {
    OFFSET 0 -40 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 -40 0
    }
  }
}
MOTION
Frames: 4
Frame Time: 0.0333333
"""


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def bvh(folder: Path) -> Sample:
    from hmu.documents import read_bytes
    from hmu.motion.bvh import parse_bvh

    rows = "".join(f"0 90 {n} 1.5 {n} -3e-1 10 {n} 0\n" for n in range(4))
    path = written(folder / "clip.bvh", BVH + rows)
    return Sample(path, lambda: parse_bvh(read_bytes(path), path.name).joints(20))


def captions(folder: Path) -> Sample:
    from hmu.tools.importing.sources import read_captions

    text = 'file,caption1,caption2\nkick.bvh,a person kicks,"someone, quickly, kicks"\nwalk,a person walks,\n'
    path = written(folder / "captions.csv", text)
    return Sample(path, lambda: read_captions(path))


def prompts(folder: Path) -> Sample:
    from hmu.tools.prompts import from_file

    path = written(folder / "prompts.txt", "a person kicks\na person walks#120\nsomeone waves, twice#4.5s\n\n")
    return Sample(path, lambda: from_file(path, 20.0))


OPT = {
    "activation": "gelu", "beta_start": 0.00085, "checkpoints_dir": "./checkpoints", "contact_joints": [7, 10, 8, 11],
    "dataset_name": "t2m", "dropout": 0.1, "is_train": True, "kinematic_chain": [[0, 2, 5, 8, 11], [0, 1, 4, 7, 10]],
    "lr": 0.0002, "milestones": [50000], "n_heads": 6, "name": "x", "unit_length": 4, "vq_name": "rvq", "vq_norm": None,
    "weight_decay": 1e-06,
}  # fmt: skip


def opt_clean(folder: Path) -> Sample:
    from hmu.checkpoints.opt import read_opt
    from tests.checkpoints.opt_file import write_opt

    write_opt(folder / "opt.txt", OPT)
    return Sample(folder / "opt.txt", lambda: read_opt(folder / "opt.txt"))


def opt_upstream(folder: Path) -> Sample:
    from tests.checkpoints.opt_file import write_opt
    from tests.parity.opt import read_upstream

    write_opt(folder / "opt.txt", OPT)
    return Sample(folder / "opt.txt", lambda: read_upstream(folder / "opt.txt"))


def trial(folder: Path) -> Sample:
    from hmu.gait.export import export_forces
    from hmu.gait.standard import standard
    from hmu.gait.trial import read_trial, write_trial
    from tests.gait.conftest import demo_trial

    path = write_trial(folder / "trial.npz", demo_trial(seconds=0.6))

    def read() -> None:
        found = read_trial(path)
        standard(found)
        export_forces(folder / "out.mot", found)

    return Sample(path, read, mutate.arrays)


def published_trial(folder: Path) -> Sample:
    """With the names as Python objects, as the authors' exporter stores them."""
    from hmu.gait.trial import npz_bytes, read_trial
    from tests.gait.conftest import raw

    path = written(folder / "trial.npz", npz_bytes(raw(frames=40)))
    return Sample(path, lambda: read_trial(path), mutate.arrays)


def _opensim(folder: Path, damaged: int) -> Sample:
    from hmu.gait.export import export_coordinates, export_forces
    from hmu.gait.opensim import import_trial
    from tests.gait.conftest import demo_trial

    walk = demo_trial(seconds=0.7)
    pair = export_coordinates(folder / "ik.mot", walk), export_forces(folder / "grf.mot", walk)
    return Sample(pair[damaged], lambda: import_trial(*pair, walk.mass, walk.height))


def kinematics(folder: Path) -> Sample:
    return _opensim(folder, 0)


def forces(folder: Path) -> Sample:
    return _opensim(folder, 1)


def table(folder: Path) -> Sample:
    from hmu.gait.mot import read_table

    rows = "".join(f"{n / 60:.4f} \t{n}\t {n * 1.5e-3} \n" for n in range(20))
    path = written(folder / "t.sto", f"name x\ndatacolumns 3\ndatarows 20\nrange 0 1\nendheader\ntime\ta\tb \n{rows}")
    return Sample(path, lambda: read_table(path))


def _dataset(folder: Path, damaged: str, damage: Damage = mutate.text) -> Sample:
    import itertools

    from tests.data.conftest import FEATURES, write_layout
    from tests.datasets import dataset

    root, number = write_layout(folder / "data"), itertools.count()

    def read() -> None:
        cache = folder / "cache" / str(next(number))
        source = dataset("mine", root, features=FEATURES, cache_dir=cache)
        len(source.clips("train"))
        source.mean, source.std  # noqa: B018

    return Sample(root / damaged, read, damage)


def texts(folder: Path) -> Sample:
    return _dataset(folder, "texts/b.txt")


def motions(folder: Path) -> Sample:
    return _dataset(folder, "new_joint_vecs/b.npy", mutate.binary)


def split_list(folder: Path) -> Sample:
    return _dataset(folder, "train.txt")


def statistics(folder: Path) -> Sample:
    return _dataset(folder, "Std.npy", mutate.binary)


def partition(folder: Path) -> Sample:
    from hmu.data.partition import Partition

    sides = Partition("kick", "mine", "train", ("a", "b"), ("c", "d"), {"a": "kicks"}, "words", ("e",))
    path = sides.save(folder / "partition.json")
    return Sample(path, lambda: Partition.load(path), mutate.document)


def metrics(folder: Path) -> Sample:
    from hmu.evaluation.results import SCHEMA, Results

    row = {
        "model": "base", "set": "forget", "metric": "fid", "label": None, "value": 1.5, "low": None, "high": 2.0,
        "n": 8, "repeats": 2, "values": [1.0, None],
    }  # fmt: skip
    content = {"schema": SCHEMA, "context": {"seed": 1}, "scoreboard": {"forgotten": 0.5}, "rows": [row]}
    path = written(folder / "metrics.json", json.dumps(content))
    return Sample(path, lambda: Results.load(path), mutate.document)


def codes(folder: Path) -> Sample:
    from hmu.methods.codebook.table import CodeTable

    made = CodeTable(("a", "b"), ("0", "0"), ("a kick", "b, twice"), np.arange(12, dtype=np.int16).reshape(2, 2, 3))
    path = made.save(folder / "codes.csv")
    return Sample(path, lambda: CodeTable.load(path))


def code_lists(folder: Path) -> Sample:
    from hmu.methods.codebook.rows import joined_lists

    path = written(folder / "codes.yaml", "- - 3\n  - 17\n- - 4\n- []\n")
    return Sample(path, lambda: joined_lists([path]))


def edit(folder: Path) -> Sample:
    import torch

    from hmu.methods.edit import DeltaEdit, load_edit

    facts = {"method": "uce", "concept": "kick", "base": "0" * 64, "settings": {"steps": 3}}
    DeltaEdit({"a.weight": torch.ones(2, 3)}, **facts).save(folder / "edit")
    return Sample(folder / "edit" / "edit.json", lambda: load_edit(folder / "edit").label, mutate.document)


READERS: dict[str, Callable[[Path], Sample]] = {
    "bvh": bvh, "captions": captions, "prompts": prompts, "opt": opt_clean, "opt upstream": opt_upstream,
    "trial": trial, "published trial": published_trial, "kinematics": kinematics, "forces": forces, "table": table,
    "texts": texts, "motions": motions, "split list": split_list, "statistics": statistics, "partition": partition,
    "metrics": metrics, "codes": codes, "code lists": code_lists, "edit": edit,
}  # fmt: skip
