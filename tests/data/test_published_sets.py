"""``dataset=motion_x`` and ``dataset=kit_ml``: read at toy size, and refused in one line where something is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate

from hmu.data.divide import partition_by_concept
from hmu.errors import DataError
from hmu.motion.representation import skeleton_representation
from tests.data.test_configs import composed

SETS = {"motion_x": ("Motion-X", 263, 22, 20.0), "kit_ml": ("KIT-ML", 251, 21, 12.5)}
TEXTS = {
    "a": "a man waves a sword#a/DET man/NOUN wave/VERB a/DET sword/NOUN#0.0#0.0\n",
    "b": "a person walks#a/DET person/NOUN walk/VERB#0.0#0.0\n",
    "c": "a person kicks#a/DET person/NOUN kick/VERB#0.0#0.0\n",
}


def layout(root: Path, features: int) -> Path:
    for folder in ("new_joint_vecs", "texts"):
        (root / folder).mkdir(parents=True)
    for seed, (name, text) in enumerate(TEXTS.items()):
        motion = np.random.default_rng(seed).normal(0, 0.1, (30, features)).astype(np.float32)
        np.save(root / "new_joint_vecs" / f"{name}.npy", motion)
        (root / "texts" / f"{name}.txt").write_text(text)
    for split, names in {"train": "ab", "val": "b", "test": "c"}.items():
        (root / f"{split}.txt").write_text("\n".join(names) + "\n")
    return root


def source(name: str, tmp_path: Path):
    return instantiate(composed(f"dataset={name}", f"paths.root={tmp_path}").dataset)


@pytest.mark.parametrize("name", SETS)
def test_a_clip_of_24_frames_on_is_read_and_is_a_body(name: str, tmp_path: Path) -> None:
    folder, features, joints, fps = SETS[name]
    layout(tmp_path / "data" / folder, features)
    data = source(name, tmp_path).prepare()
    batch = data.clips("train").batch(np.arange(2))
    assert (data.fps, data.features) == (fps, features)
    assert batch.motion.shape == (2, 30 // 4 * 4, features)  # unit length 4
    assert skeleton_representation(features).joints(batch.motion).shape[-2:] == (joints, 3)


def test_motion_x_has_keywords_of_its_own_in_the_published_list(tmp_path: Path) -> None:
    layout(tmp_path / "data" / "Motion-X", 263)
    concept = instantiate(composed("concept=hmu/violence").concept).for_dataset("motion_x")
    sides = partition_by_concept(source("motion_x", tmp_path), "train", concept)
    assert (sides.forget, sides.retain) == (("a",), ("b",))  # "sword" is not a word of the HumanML3D list


@pytest.mark.parametrize("name", SETS)
def test_a_missing_folder_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"'{name}'.*{SETS[name][0]} does not exist.*hmu\.tools\.doctor") as caught:
        source(name, tmp_path).prepare()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", SETS)
def test_another_number_of_columns_is_one_line(name: str, tmp_path: Path) -> None:
    """The 623 columns that Motion-X is distributed in, hands and face included."""
    layout(tmp_path / "data" / SETS[name][0], 623)
    with pytest.raises(DataError, match=rf"'{name}'.*no usable clip.*{SETS[name][1]}") as caught:
        source(name, tmp_path).prepare()
    assert len(str(caught.value).splitlines()) == 1
