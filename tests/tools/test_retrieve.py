"""Records in, records with answers out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from hmu.errors import ConfigError, DataError
from hmu.metrics.ncs import read_records
from hmu.tools.retrieve import read_motions, run
from tests.data.conftest import FEATURES, write_layout
from tests.datasets import settings
from tests.evaluators.test_tmr import small


def configuration(folder: Path, **changes: object) -> OmegaConf:
    from hmu.evaluators.tmr import TMREvaluator
    from hmu.evaluators.tmr.evaluator import PUBLISHED

    write_layout(folder / "data")
    sizes = {**PUBLISHED, "width": 8, "ff": 8, "layers": 1, "heads": 2}
    TMREvaluator(FEATURES, small().text, **sizes).save_pretrained(folder / "tmr")
    dataset = {
        "_target_": "hmu.data.dataset.DatasetSource",
        **settings("bvh"),
        "name": "tiny",
        "root": str(folder / "data"),
    }
    dataset |= {"features": FEATURES, "cache_dir": str(folder / "cache"), "strict": False}
    config = {
        "records": str(folder / "made" / "records.json"), "out": None, "gallery": "all", "top": 3, "match": None,
        "exclude_self": True, "batch_size": 2, "overwrite": False, "dataset": dataset,
        "paths": {"cache": str(folder / "cache")},
        "concept": {"_target_": "hmu.data.concepts.Concept", "name": "kick", "keywords": ["kick"]},
        "evaluator": {"_target_": "hmu.evaluators.tmr.build", "checkpoint": str(folder / "tmr")},
    }  # fmt: skip
    return OmegaConf.create({**config, **changes})


def made(folder: Path) -> list[dict]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    records = []
    for i, frames in enumerate((12, 40, 20)):
        np.save(folder / f"{i}.npy", rng.standard_normal((frames, FEATURES)))
        records.append({"name": f"{i:06d}", "caption": "x", "repeat": 0, "feats_path": f"{i}.npy"})
    (folder / "records.json").write_text(
        json.dumps({"dataset_name": "t", "ckpt": "c", "split": "s", "records": records})
    )
    return records


def test_records_gain_their_answers(tmp_path: Path, capsys) -> None:
    made(tmp_path / "made")
    scores = run(configuration(tmp_path))
    heading, records = read_records(tmp_path / "made" / "records.json")
    assert heading["ckpt"] == "c"
    assert all(1 <= len(record["retrieval"]) <= 3 for record in records)
    assert set(records[0]["retrieval"][0]) == {"keyid", "description", "cosine", "score"}
    cosines = [hit["cosine"] for hit in records[0]["retrieval"]]
    assert cosines == sorted(cosines, reverse=True)
    assert f"{scores['ncs@5']:.3f}" in capsys.readouterr().out


def test_motions_are_read_in_both_forms_and_refused_in_one_line(tmp_path: Path) -> None:
    records = made(tmp_path / "made")
    ours = [{"name": "a", "files": {"features": records[0]["feats_path"]}}]
    motion, lengths = read_motions(ours, tmp_path / "made", FEATURES)
    assert tuple(motion.shape) == (1, 12, FEATURES)
    assert lengths.tolist() == [12]
    for record, message in (({"name": "a"}, "names no motion"), ({"feats_path": "9.npy"}, r"9\.npy")):
        with pytest.raises(DataError, match=message):
            read_motions([record], tmp_path / "made", FEATURES)
    with pytest.raises(DataError, match="expected"):
        read_motions(records, tmp_path / "made", FEATURES + 1)
    np.save(tmp_path / "made" / "nan.npy", np.full((9, FEATURES), np.nan))
    with pytest.raises(DataError, match=r"nan\.npy: holds NaN"):
        read_motions([{"feats_path": "nan.npy"}], tmp_path / "made", FEATURES)


def test_another_file_is_written_but_never_one_of_the_users(tmp_path: Path) -> None:
    made(tmp_path / "made")
    before = (tmp_path / "made" / "records.json").read_bytes()
    out = tmp_path / "made" / "answers.json"
    out.write_text("mine")
    for overwrite, message in ((False, "exists"), (True, "was not written by this tool")):
        with pytest.raises(ConfigError, match=message):
            run(configuration(tmp_path, out=str(out), overwrite=overwrite))
    assert out.read_text() == "mine"
    out.unlink()
    for _ in range(2):
        run(configuration(tmp_path, out=str(out), overwrite=True))
    assert read_records(out)[1][0]["retrieval"]
    assert (tmp_path / "made" / "records.json").read_bytes() == before
