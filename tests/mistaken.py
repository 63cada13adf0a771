"""The files that the commands of ``mistakes.csv`` name: made here, none is packaged."""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from tests.conftest import REPOSITORY

DEMO = REPOSITORY / "hmu" / "assets" / "demo"
BVH = """HIERARCHY
ROOT Hips
{{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  End Site
  {{
    OFFSET 0 1 0
  }}
}}
MOTION
Frames: {frames}
Frame Time: {time}
{rows}
"""


def things(home: Path) -> None:
    """Fill ``home`` with what people have lying about, and what others send them."""
    files(home)
    received(home)
    data_sets(home)
    weights(home)
    edits(home)
    tables(home)
    recordings(home)


def files(home: Path) -> None:
    """Files and folders that are not what they are taken for."""
    (home / "empty").mkdir()
    (home / "notes").mkdir()
    (home / "notes" / "notes.txt").write_text("mine\n", encoding="utf-8")
    (home / "run").mkdir()
    record = {"status": "complete", "host": platform.node(), "process": os.getpid()}
    (home / "run" / "run.json").write_text(json.dumps(record), encoding="utf-8")
    (home / "unfinished" / "edit").mkdir(parents=True)
    (home / "unfinished" / "run.json").write_text(json.dumps(record | {"status": "running"}), encoding="utf-8")
    (home / "empty.txt").write_bytes(b"")
    (home / "blank.txt").write_bytes(b"\n \n\t\n")
    (home / "latin1.txt").write_bytes("ein Mann tritt über die Straße\n".encode("latin-1"))
    (home / "half16.txt").write_bytes("a person kicks\n".encode("utf-16")[:-1])
    (home / "nul.txt").write_bytes(b"a person\x00kicks\n")
    (home / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    (home / "a b,c=d").mkdir()
    os.mkfifo(home / "fifo")
    (home / "broken.json").write_text('{"a": [1, 2', encoding="utf-8")
    (home / "broken.yaml").write_text("a: [1, 2\nb: }", encoding="utf-8")
    (home / "list.yaml").write_text("- 1\n- 2\n", encoding="utf-8")
    for name, text in {
        "word": "a person kicks#long",
        "huge": "a person kicks#100000",
        "zero": "a person kicks#0",
    }.items():
        (home / f"prompts-{name}.txt").write_text(f"{text}\n", encoding="utf-8")


def received(home: Path) -> None:
    """Folders that somebody else has sent: each would run something, look something up, or exhaust memory."""
    nodes = {
        "theirs": "concept: {_target_: sympy.sympify, a: 1}",
        "nested": "dataset: {_target_: hmu.data.dataset.DatasetSource, generator: {_target_: os.system}}",
        "lookup": "concept: {name: '${oc.env:HOME}'}",
        "bomb": "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 30))]),
        "deep": "[" * 100_000,
        "tagged": "concept: !!python/object/apply:os.system [true]",
        "listed": "- concept",
        "blank": "",
    }
    for name, text in nodes.items():
        (home / name / "edit").mkdir(parents=True)
        (home / name / "config.yaml").write_text(text, encoding="utf-8")
    (home / "model").mkdir()
    (home / "model" / "config.json").write_text('{"family": "os.system"}', encoding="utf-8")


def data_sets(home: Path) -> None:
    """Folders of data in the published layout, each with one thing wrong."""
    data_set(home / "good")
    for name in ("narrow", "nan", "far", "zip", "short", "constant", "speechless", "twice", "nul", "std", "mean"):
        shutil.copytree(home / "good", home / f"data-{name}")
    motion = np.zeros((60, 263), np.float32)
    np.save(home / "data-narrow" / "new_joint_vecs" / "000001.npy", motion[:, :262])
    np.save(home / "data-nan" / "new_joint_vecs" / "000001.npy", np.full_like(motion, np.nan))
    np.save(home / "data-far" / "new_joint_vecs" / "000001.npy", np.full_like(motion, 1e30))
    with (home / "data-zip" / "new_joint_vecs" / "000001.npy").open("wb") as file:
        np.savez(file, motion=motion)
    file = home / "data-short" / "new_joint_vecs" / "000001.npy"
    file.write_bytes(file.read_bytes()[:1000])
    (home / "data-speechless" / "texts" / "000001.txt").write_bytes("tritt über\xff#tritt/VERB#0#0\n".encode("latin-1"))
    for split in ("train", "val", "test"):
        (home / "data-nul" / f"{split}.txt").write_bytes(b"000001\x00\n000002\n")
        (home / "data-twice" / f"{split}.txt").write_text("../../../etc/passwd\n", encoding="utf-8")
        (home / "data-constant" / f"{split}.txt").write_bytes(b"")
    np.save(home / "data-std" / "Std.npy", np.zeros(263, np.float32))
    np.save(home / "data-mean" / "Mean.npy", np.zeros(251, np.float32))


def data_set(root: Path) -> None:
    """Six clips that nobody danced; half of them kicks by their captions."""
    random = np.random.default_rng(0)
    for folder in ("new_joint_vecs", "texts"):
        (root / folder).mkdir(parents=True)
    ids = [f"{number:06d}" for number in range(1, 7)]
    for number, name in enumerate(ids):
        np.save(root / "new_joint_vecs" / f"{name}.npy", random.normal(size=(60, 263)).astype(np.float32) / 10)
        verb = "kicks" if number % 2 else "walks"
        line = f"a person {verb}#a/DET person/NOUN {verb[:-1]}/VERB#0.0#0.0\n"
        (root / "texts" / f"{name}.txt").write_text(line, encoding="utf-8")
    for split, those in {"train": ids[:2], "val": ids[2:4], "test": ids[4:], "train_val": ids[:4]}.items():
        (root / f"{split}.txt").write_text("\n".join(those) + "\n", encoding="utf-8")
    np.save(root / "Mean.npy", np.zeros(263, np.float32))
    np.save(root / "Std.npy", np.ones(263, np.float32))


def weights(home: Path) -> None:
    """Model folders and weight files that cannot be used."""
    for name in ("cut", "bare", "unread", "nan"):
        shutil.copytree(DEMO / "momask", home / f"model-{name}")
    file = home / "model-cut" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    (home / "model-bare" / "weights.safetensors").unlink()
    (home / "model-unread" / "config.json").write_text("{", encoding="utf-8")
    save_file({"a": torch.full((2,), torch.nan)}, home / "model-nan" / "weights.safetensors")
    (home / "claims.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    (home / "cut.pt").write_bytes(b"PK\x03\x04" + bytes(40))
    torch.save({"state_dict": {"a": torch.zeros(2)}}, home / "others.pt")


def edits(home: Path) -> None:
    """Edit folders that cannot be applied."""
    good = {"schema": 1, "kind": "delta", "method": "uce", "concept": "kick", "base": "0" * 64, "settings": {}}
    documents = {
        "edit-word": "no json",
        "edit-list": "[]",
        "edit-schema": json.dumps(good | {"schema": 9}),
        "edit-kind": json.dumps(good | {"kind": "magic"}),
        "edit-alone": json.dumps(good),
        "edit-sum": json.dumps(good | {"sha256": "0" * 64}),
        "edit-base": json.dumps(good),
        "edit-nan": json.dumps({k: v for k, v in good.items() if k != "base"}),
        "edit-garbage": json.dumps(good),
    }
    for name, text in documents.items():
        (home / name).mkdir()
        (home / name / "edit.json").write_text(text, encoding="utf-8")
    for name, value in {"edit-sum": 0.0, "edit-base": 0.0, "edit-nan": torch.nan}.items():
        save_file({"masked.out.weight": torch.full((2, 2), value)}, home / name / "deltas.safetensors")
    (home / "edit-garbage" / "deltas.safetensors").write_bytes(b"garbage")


def tables(home: Path) -> None:
    """Captions, records and tables of codes."""
    for name, rows in {
        "columns": [["name", "text"], ["a.bvh", "a person kicks"]],
        "double": [["file", "caption1", "caption1"], ["a.bvh", "a person kicks", "kicks"]],
        "nobody": [["file", "caption1"], ["nobody.bvh", "a person kicks"]],
        "comma": [["file", "caption1"], ["one.bvh", "a person kicks", " then stops"]],
        "time": [["file", "caption1", "start", "end"], ["one.bvh", "a person kicks", "soon", "later"]],
    }.items():
        with (home / f"captions-{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    (home / "captions-quote.csv").write_text('file,caption1\none.bvh,"a person kicks\n', encoding="utf-8")
    for name, value in {
        "empty": [],
        "word": "kick",
        "bare": [{"name": "a"}],
        "gone": [{"name": "a", "feats_path": "gone.npy", "caption": "kick"}],
    }.items():
        (home / f"records-{name}.json").write_text(json.dumps(value), encoding="utf-8")
    (home / "codes.csv").write_text("code,what\n1,2\n", encoding="utf-8")


def recordings(home: Path) -> None:
    """Motion capture and gait trials that are broken, cut, or of another kind."""
    one = home / "bvh"
    one.mkdir()
    (one / "one.bvh").write_text(BVH.format(frames=2, time=0.05, rows="0 1 0 0 0 0\n" * 2), encoding="utf-8")
    (home / "mapping-broken.yaml").write_text("joints: [", encoding="utf-8")
    (home / "mapping-odd.yaml").write_text("pelvis: Hips\n", encoding="utf-8")
    (home / "cut.tar.gz").write_bytes(b"\x1f\x8b\x08" + bytes(30))
    head = "ik\nversion=1\nnRows=2\nnColumns=2\ninDegrees=yes\nendheader\n"
    (home / "few.mot").write_text(f"{head}time\tpelvis_tilt\n0.0\t1\n0.01\t2\n", encoding="utf-8")
    (home / "cut.mot").write_text(f"{head}time\tpelvis_tilt\n0.0\n", encoding="utf-8")
    (home / "gait").mkdir()
    np.savez(home / "gait" / "trial.npz", a=np.zeros(3))
    (home / "cut.npz").write_bytes((home / "gait" / "trial.npz").read_bytes()[:60])
