"""The procedural data set: layout, determinism, plausibility of the motion, and captions that fit it."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.data.concepts import Concept
from hmu.data.demo import ACTIONS, Spec, generate
from hmu.data.demo.body import OFFSETS, retarget, standard, vary
from hmu.data.demo.build import make_clip
from hmu.data.demo.curves import keys, rotation, smooth
from hmu.data.demo.grammar import PHRASES, captions, variant
from hmu.data.demo.motion import perform, plan
from hmu.data.demo.specs import sample_clip, sample_spec
from hmu.errors import DataError
from hmu.motion import features
from hmu.motion.detectors import detect
from hmu.motion.skeleton import T2M

CLIPS = 57  # three per action
CONCEPTS = ["bow", "clap", "hop", "jump", "kick", "punch", "raise_arms", "run", "squat", "throw", "turn", "wave"]
CONFIGS = Path(__file__).parents[2] / "configs" / "concept"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "set"
    generate(root, seed=3, clips=CLIPS)
    return root


def _labels(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _joints(folder: Path, clip: str) -> np.ndarray:
    return np.load(folder / "new_joints" / f"{clip}.npy")


def _perform(spec: Spec, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    body = vary(rng)
    return retarget(perform(plan((spec,), rng), body, rng, least=41, most=121), body, standard())


def _digest(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _concept(name: str) -> Concept:
    fields = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
    fields.pop("_target_")
    return Concept(**fields)


def test_layout_shapes_and_units(folder: Path) -> None:
    labels = _labels(folder)
    assert len(labels) == CLIPS
    for row in labels:
        vectors = np.load(folder / "new_joint_vecs" / f"{row['id']}.npy")
        assert vectors.dtype == np.float32
        assert vectors.shape == (int(row["frames"]), 263)
        assert 40 <= len(vectors) <= 120
        assert np.isfinite(vectors).all()
        assert _joints(folder, row["id"]).shape == (len(vectors), 22, 3)
    std = np.load(folder / "Std.npy")
    assert std.shape == np.load(folder / "Mean.npy").shape == (263,)
    assert (std > 0).all()


def test_every_split_holds_every_action_and_splits_are_disjoint(folder: Path) -> None:
    main = {row["id"]: row["main"] for row in _labels(folder)}
    parts = {name: (folder / f"{name}.txt").read_text().split() for name in ("train", "val", "test")}
    for members in parts.values():
        assert {main[clip] for clip in members} == set(ACTIONS)
    assert sorted(clip for members in parts.values() for clip in members) == sorted(main)
    assert (folder / "all.txt").read_text().split() == sorted(main)
    assert set((folder / "train_val.txt").read_text().split()) == set(parts["train"]) | set(parts["val"])


def test_same_seed_same_bytes_and_another_seed_another_clip(folder: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", seed=3, clips=CLIPS)
    assert _digest(tmp_path / "again") == _digest(folder)
    assert [p.name for p in tmp_path.iterdir()] == ["again"]  # no temporary folder left
    one, other = make_clip(3, 0, "kick"), make_clip(4, 0, "kick")
    assert one[0].shape != other[0].shape or not np.array_equal(one[0], other[0])


def test_user_mistakes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 57 clips"):
        generate(tmp_path / "x", clips=20)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty"):
        generate(tmp_path / "full", clips=57)
    assert (tmp_path / "full" / "mine.txt").read_text() == "keep"


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("hmu.data.demo.build._label", broken)
    with pytest.raises(OSError, match="disk full"):
        generate(tmp_path / "x", clips=60)
    assert list(tmp_path.iterdir()) == []


def test_feet_stay_on_the_floor_and_do_not_slide(folder: Path) -> None:
    slides = []
    for row in _labels(folder):
        joints = _joints(folder, row["id"])
        toes = joints[:, [10, 11]]
        assert joints[..., 1].min() > -1e-4
        assert toes[:, :, 1].min() < 0.01
        speed = np.linalg.norm(np.diff(toes[..., [0, 2]], axis=0), axis=-1) * 20
        down = (toes[1:, :, 1] < 0.03) & (toes[:-1, :, 1] < 0.03)
        slides.append(speed[down].mean())
    assert np.mean(slides) < 0.02  # metres per second
    assert np.max(slides) < 0.15


def test_bones_keep_one_length_over_all_clips(folder: Path) -> None:
    lengths = np.linalg.norm(OFFSETS[1:], axis=-1)
    for row in _labels(folder)[::5]:
        joints = _joints(folder, row["id"])
        bones = np.linalg.norm(joints[:, 1:] - joints[:, list(T2M.parents[1:])], axis=-1)
        np.testing.assert_allclose(bones, np.broadcast_to(lengths, bones.shape), atol=2e-5)


def test_no_joint_moves_faster_than_a_person_can(folder: Path) -> None:
    for row in _labels(folder):
        speed = np.linalg.norm(np.diff(_joints(folder, row["id"]), axis=0), axis=-1) * 20
        assert speed.max() < 16.0, row


@pytest.mark.parametrize("action", ACTIONS)
def test_detectors_see_what_the_labels_say(folder: Path, action: str) -> None:
    rows = [row for row in _labels(folder) if action in row["actions"].split(";")]
    assert len(rows) >= 3
    hits = [bool(detect(action, _joints(folder, row["id"]))[0]) for row in rows]
    assert all(hits), [row["id"] for row, hit in zip(rows, hits, strict=True) if not hit]


@pytest.mark.parametrize("action", ["kick", "punch", "jump", "squat", "bow", "wave"])
def test_standing_is_none_of_it(action: str) -> None:
    assert not detect(action, _perform(Spec("stand")))[0]


@pytest.mark.parametrize(("side", "foot"), [("left", 10), ("right", 11)])
@pytest.mark.parametrize("direction", ["forward", "side", "back"])
def test_a_kick_raises_the_named_foot_and_keeps_the_other_planted(side: str, foot: int, direction: str) -> None:
    joints = _perform(Spec("kick", side, direction=direction, amplitude="high"))
    other = 21 - foot
    assert joints[:, foot - 3, 1].max() > 0.5  # the ankle: in a back kick the toes point down
    assert np.ptp(joints[:, other], axis=0).max() < 0.02
    peak = joints[np.argmax(joints[:, foot, 1]), foot] - joints[0, foot]
    axis, sign = {"forward": (2, 1), "back": (2, -1), "side": (0, 1 if side == "left" else -1)}[direction]
    assert sign * peak[axis] > 0.4


def test_amplitude_speed_and_count_show_in_the_motion() -> None:
    low, high = (_perform(Spec("jump", amplitude=a, direction="spot"))[:, 0, 1].max() for a in ("low", "high"))
    assert high > low + 0.1
    slow, fast = (len(_perform(Spec("squat", speed=s, count=2))) for s in ("slow", "fast"))
    assert slow > fast + 10
    height = _perform(Spec("squat", count=3))[:, 0, 1]
    below = height < 0.75 * height[0]
    assert np.sum(below[1:] & ~below[:-1]) == 3


@pytest.mark.parametrize(("side", "angle"), [("left", 90), ("right", 180)])
def test_a_turn_ends_at_its_angle(side: str, angle: int) -> None:
    joints = _perform(Spec("turn", side, direction="spot", count=angle))
    across = joints[[0, -1], 1] - joints[[0, -1], 2]
    heading = np.arctan2(-across[:, 2], across[:, 0])
    turned = np.rad2deg(heading[1] - heading[0]) % 360
    wanted = angle if side == "left" else 360 - angle
    assert abs(turned - wanted) < 20


def test_walking_covers_ground_in_the_right_direction() -> None:
    for action, sign in (("walk", 1), ("walk_backwards", -1)):
        way = "forward" if action == "walk" else "back"
        path = _perform(Spec(action, direction=way, count=5))[:, 0, 2]
        assert sign * (path[-1] - path[0]) > 1.2


def test_own_retarget_is_the_rule_of_the_features() -> None:
    rng = np.random.default_rng(5)
    body = vary(rng)
    joints = perform(plan((Spec("kick", "left", direction="forward"),), rng), body, rng, least=41, most=121)
    expected = features.retarget(joints, T2M, standard().offsets)
    np.testing.assert_allclose(retarget(joints, body, standard()), expected, atol=1e-9)
    assert abs(body.height - 1) <= 0.08


def test_captions_are_three_distinct_tagged_lines(folder: Path) -> None:
    for path in sorted((folder / "texts").iterdir()):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) == len(set(lines)) == 3
        for line in lines:
            text, tokens, start, end = line.split("#")
            assert (start, end) == ("0.0", "0.0")
            assert "  " not in text
            assert "{" not in text
            assert "*" not in text
            assert text == text.lower()
            assert all(part.count("/") == 1 and all(part.split("/")) for part in tokens.split(" "))
            assert len(tokens.split(" ")) == len(text.split(" "))


def test_the_grammar_knows_all_its_words() -> None:
    seen = set()
    for action in ACTIONS:
        for seed in range(70):
            rng = np.random.default_rng([seed, ACTIONS.index(action)])
            specs = sample_clip(action, rng)
            captions(specs, rng)  # raises KeyError for a word without an entry
            seen |= {variant(spec) for spec in specs}
    assert seen == set(PHRASES)


@pytest.mark.parametrize("name", CONCEPTS)
def test_first_captions_name_their_concept_and_no_other(name: str) -> None:
    concept = _concept(name)
    for action in ACTIONS:
        for seed in range(12):
            rng = np.random.default_rng([seed, 11])
            spec = sample_spec(action, rng)
            lines = captions([spec], rng)
            if action == name:
                assert concept.find_line(lines[0])
            else:
                assert not any(concept.find_line(line) for line in lines), lines


@pytest.mark.parametrize("name", CONCEPTS)
def test_hand_written_prompts_never_use_the_keywords(name: str) -> None:
    concept = _concept(name)
    for prompts in (concept.paraphrase, concept.implicit):
        assert len(set(prompts)) >= 12
        assert not [prompt for prompt in prompts if concept.find(prompt)]
    assert concept.detector == name
    assert concept.find(concept.target)
    assert not concept.find(concept.anchor)
    assert set(concept.neighbours) <= set(ACTIONS)


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(st.floats(0.6, 20.0), min_size=1, max_size=6),
    values=st.lists(st.floats(-3.0, 3.0), min_size=7, max_size=7),
)
def test_keys_meet_their_poses_and_never_overshoot(steps: list[float], values: list[float]) -> None:
    times = np.round(np.concatenate([[0.0], np.cumsum(steps)]))
    times += np.arange(len(times))  # whole frames, distinct
    poses = np.array(values[: len(times)])
    curve = keys(int(times[-1]) + 1, list(times), poses)
    np.testing.assert_allclose(curve[times.astype(int)], poses, atol=1e-9)
    assert curve.min() >= poses.min() - 1e-9
    assert curve.max() <= poses.max() + 1e-9


def test_rotation_conventions_and_smoothing() -> None:
    zero, quarter = np.zeros(1), np.full(1, np.pi / 2)
    np.testing.assert_allclose(rotation(quarter, zero, zero)[0] @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(rotation(zero, quarter, zero)[0] @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation(zero, zero, quarter)[0] @ [0, 1, 0], [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(smooth(np.full((9, 2), 3.0), 1.5), 3.0)
