from __future__ import annotations

import tarfile

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hmu.config import CONFIGS
from hmu.errors import ConfigError, DataError
from hmu.motion.bvh import Bvh, parse_bvh
from hmu.motion.features import joints_to_features
from hmu.motion.mapping import JointMapping, load_mapping, stand
from hmu.motion.reference import humanml3d_offsets
from hmu.motion.skeleton import T2M

# a dummy root that moves, six channels everywhere, two rotation orders, a joint without positions, an End Site
TEXT = """HIERARCHY
ROOT stage
{
  OFFSET 7 7 7
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Hips
  {
    OFFSET 4.59 91.49 -427.24
    CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
    JOINT Leg
    {
      OFFSET 0 -40 0
      CHANNELS 3 Yrotation Xrotation Zrotation
      JOINT Toe {
        OFFSET 1 2 3
        CHANNELS 1 Zposition
        End Site
        {
          OFFSET 0 0 0
        }
      }
    }
  }
}
MOTION
Frames:\t3
Frame Time:\t0.0333333
"""
FRAMES = np.array(
    [
        [273, 0, 5, 0, 0, 0, 10, 90, 20, 30, 40, 50, 10, 20, 30, 9],
        [273, 0, 5, 0, 0, -0.0, 11, 91, 5.1e-06, 33, 44, 55, 11, 22, 33, 8],
        [273, 0, 5, 90, 0, 0, 12, 92, 22, 36, 48, 60, 12, 24, 36, 7],
    ]
)


def bvh_text(frames=FRAMES, text=TEXT):
    return text + "".join(" ".join(f"{v:g}" for v in row) + " \n" for row in frames)


def expected_joints(row):
    """The same file by 4x4-style composition with scipy, written out by hand."""
    stage_turn = Rotation.from_euler("ZXY", row[3:6], degrees=True)
    stage = row[:3]
    hips = stage + stage_turn.apply(row[6:9])
    hips_turn = stage_turn * Rotation.from_euler("ZXY", row[9:12], degrees=True)
    leg = hips + hips_turn.apply([0, -40, 0])
    toe = leg + (hips_turn * Rotation.from_euler("YXZ", row[12:15], degrees=True)).apply([1, 2, row[15]])
    return np.stack([stage, hips, leg, toe])


def test_positions_replace_offsets_and_the_dummy_root_is_composed():
    clip = parse_bvh(bvh_text())
    assert clip.names == ("stage", "Hips", "Leg", "Toe")
    assert clip.parents == (-1, 0, 1, 2)
    assert clip.fps == 30
    np.testing.assert_allclose(clip.joints(), [expected_joints(row) for row in FRAMES], atol=1e-9)


def test_windows_line_ends_byte_order_mark_tabs_and_case():
    text = bvh_text().replace("  ", "\t").replace("Zrotation", "ZROTATION").replace("\n", "\r\n")
    clip = parse_bvh(b"\xef\xbb\xbf" + text.encode())
    np.testing.assert_array_equal(clip.joints(), parse_bvh(bvh_text()).joints())


def test_resampling_slerps_the_rotations():
    clip = parse_bvh(bvh_text())
    joints = clip.joints(20)
    assert joints.shape == (2, 4, 3)
    np.testing.assert_allclose(joints[0], clip.joints()[0], atol=1e-12)
    low, high = clip.joints()[1:]
    assert np.abs(joints[1] - (low + high) / 2).max() > 0.01  # not the chord between the two poses
    bone = np.linalg.norm(joints[:, 2] - joints[:, 1], axis=-1)
    np.testing.assert_allclose(bone, 40.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HIERARCHY", "HIERARCHI", "does not start with HIERARCHY"),
        ("MOTION", "MOTIONS", "no MOTION section"),
        ("Frames:\t3", "Frames:\t4", r"48 numbers, expected 4 frames x 16 channels = 64 \(cut off\?\)"),
        ("Frames:\t3", "Frames:\t2.5", "whole number"),
        ("Frames:\t3", "Frames:\t1e300", "beyond"),
        ("Frames:\t3", "Frames:\t0", "at least 1"),
        ("Frames:\t3", "Frames:\tmany", "Frames"),
        ("0.0333333", "0", "frame time"),
        ("CHANNELS 1 Zposition", "CHANNELS 2 Zposition", "CHANNELS of 'Toe'"),
        ("CHANNELS 1 Zposition", "CHANNELS 1 Wposition", "CHANNELS of 'Toe'"),
        ("OFFSET 0 -40 0", "OFFSET 0 -40", "OFFSET of 'Leg'"),
        ("OFFSET 0 -40 0", "OFFSET 0 nan 0", "NaN"),
        ("JOINT Leg", "JOINT Hips", "appears twice"),
        ("JOINT Leg", "JOINT", "without a name"),
        ("JOINT Leg", "ROOT Leg", "ROOT belongs"),
        ("JOINT Leg", "BONE Leg", "not understood"),
        ("  }\n}\nMOTION", "MOTION", "not closed"),
        ("}\nMOTION", "}\n}\nMOTION", "too many"),
        (" 44 ", " fortyfour ", "fortyfour"),
    ],
)
def test_broken_files_are_named_with_the_reason(old, new, message):
    text = bvh_text()
    assert old in text
    with pytest.raises(DataError, match=rf"^kick\.bvh: .*{message}"):
        parse_bvh(text.replace(old, new, 1), "kick.bvh")


def test_more_frames_than_the_file_says_are_read_and_said():
    clip = parse_bvh(bvh_text().replace("Frames:\t3", "Frames:\t2"))
    np.testing.assert_array_equal(clip.values, parse_bvh(bvh_text()).values)
    assert "more frames" in clip.notes[0]
    with pytest.raises(DataError, match="47 numbers, expected 2 frames"):
        parse_bvh(bvh_text().replace("Frames:\t3", "Frames:\t2").rstrip().rsplit(" ", 1)[0])


def test_a_given_rate_replaces_the_frame_time():
    for time in ("0.0333333", "0", "1e-99999999", "fast"):
        assert parse_bvh(bvh_text().replace("0.0333333", time), fps=60).fps == 60


def test_decimal_commas_and_separating_commas():
    text, comma = bvh_text(), bvh_text().replace(".", ",")
    np.testing.assert_array_equal(parse_bvh(comma).joints(), parse_bvh(text).joints())
    head, motion = text.split("MOTION")
    rows = motion.splitlines()
    separated = "\n".join([*rows[:3], *(row.replace(" ", ", ") for row in rows[3:])])
    np.testing.assert_array_equal(parse_bvh(f"{head}MOTION{separated}").values, parse_bvh(text).values)


def test_other_encodings_and_a_missing_last_line_end():
    expected = parse_bvh(bvh_text()).joints()
    for content in (
        bvh_text().encode("utf-16"),
        bvh_text().replace("stage", "B\u00fchne").encode("latin-1"),
        bvh_text().rstrip("\n").encode(),
    ):
        np.testing.assert_array_equal(parse_bvh(content).joints(), expected)


def test_deep_and_broad_hierarchies_end_in_one_line():
    deep = "HIERARCHY\nROOT j\n{\n" + "".join(f"JOINT j{k}\n{{\n" for k in range(50_000))
    with pytest.raises(DataError, match="more than 2000 joints"):
        parse_bvh(deep + "MOTION\n")
    for old, new in {
        "Zposition": "Zposition" * 10_000,
        "JOINT Leg": "BONE " + "[" * 10_000,
        " 44 ": " 4" + "4" * 10_000,
    }.items():
        with pytest.raises(DataError) as caught:
            parse_bvh(bvh_text().replace(old, new, 1))
        assert len(str(caught.value)) < 300


def identity_mapping(**changes):
    return JointMapping(**{"name": "x", "unit": 0.01, "joints": dict.fromkeys(T2M.joint_names, "Hips"), **changes})


def test_mapping_mistakes():
    with pytest.raises(ConfigError, match="up is"):
        identity_mapping(up="w")
    with pytest.raises(ConfigError, match="unit"):
        identity_mapping(unit=0)
    with pytest.raises(ConfigError, match="missing or unknown: head"):
        identity_mapping(joints={j: "Hips" for j in T2M.joint_names if j != "head"})
    with pytest.raises(ConfigError, match="sum to 1"):
        identity_mapping(joints={j: {"Hips": 0.6, "Leg": 0.5} for j in T2M.joint_names})
    with pytest.raises(DataError, match="no joint Tail"):
        identity_mapping(joints=dict.fromkeys(T2M.joint_names, "Tail")).weights(["Hips"])


def standing(mapping: JointMapping, clip: Bvh) -> np.ndarray:
    """The 22 joints at 20 frames per second, as an import writes them."""
    return stand(mapping.weights(clip.names) @ clip.joints(20), mapping.unit, mapping.up)


def test_names_match_behind_a_namespace_and_z_up_is_turned():
    weights = load_mapping("mixamo").weights(
        [f"mixamorig:{name}" for name in {str(j) for j in load_mapping("mixamo").joints.values()}]
    )
    np.testing.assert_array_equal(weights.sum(1), 1.0)
    rng = np.random.default_rng(0)
    names = [f"j{k}" for k in range(22)]
    joints = dict(zip(T2M.joint_names, names, strict=True))
    y_up, z_up = (JointMapping("x", 1.0, joints, up) for up in "yz")
    points = rng.normal(size=(4, 22, 3))

    class Clip:
        def __init__(self, values):
            self.values, self.names = values, names

        def joints(self, fps):
            return self.values

    turned = np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)  # y up -> z up
    np.testing.assert_allclose(standing(z_up, Clip(turned)), standing(y_up, Clip(points)), atol=1e-12)


@pytest.mark.parametrize("name", sorted(p.stem for p in (CONFIGS / "bvh_mapping").glob("*.yaml")))
def test_every_packaged_mapping_loads(name):
    assert load_mapping(name).name == name


def test_unknown_mapping_names_the_known(tmp_path):
    with pytest.raises(ConfigError, match=r"bandai_pelvis44.*mixamo"):
        load_mapping("nothing")
    (tmp_path / "m.yaml").write_text("_target_: hmu.motion.mapping.JointMapping\nname: m\nunit: 1\njoints: {}\n")
    with pytest.raises(ConfigError, match="missing or unknown"):
        load_mapping(str(tmp_path / "m.yaml"))


@pytest.mark.parametrize("mapping", ["bandai", "bandai_pelvis44"])
def test_real_files_give_the_reference_joints_and_vectors(shared, mapping):
    folder = shared("data/bandai/bandai_humanml3d")
    joints_at: dict[str, np.ndarray] = {}
    vectors: dict[str, np.ndarray] = {}
    if mapping == "bandai":
        with np.load(folder / "joints.npz") as stored, np.load(folder / "new_joint_vecs_ref.npz") as features:
            wanted = [*features.files[:2], *stored.files[:4]]
            joints_at = {name: stored[name] for name in wanted}
            vectors = {name: features[name] for name in features.files[:2]}
    else:
        with np.load(folder / "ref_pelvis44.npz") as stored:
            wanted = sorted({key.split("/")[0] for key in stored.files})[:2]
            joints_at = {name: stored[f"{name}/joints"] for name in wanted}
            vectors = {name: stored[f"{name}/vecs"] for name in wanted}
    rule = load_mapping(mapping)
    for name, text in archive_texts(shared("data/bandai/bvh.tar.xz"), set(joints_at)).items():
        joints = standing(rule, parse_bvh(text, name))
        np.testing.assert_allclose(joints, joints_at.pop(name), atol=1e-5)
        if name in vectors:
            ours = joints_to_features(joints, T2M, target_offsets=humanml3d_offsets())
            np.testing.assert_allclose(ours[:, :-4], vectors[name][:, :-4], atol=5e-3)
            assert (ours[:, -4:] != vectors[name][:, -4:]).mean() < 0.01
    assert not joints_at, "not in the archive"


def archive_texts(path, names):
    """Texts of the named clips; stops reading the archive when all are found."""
    texts: dict[str, str] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name.rpartition("/")[2].removesuffix(".bvh")
            if name in names:
                texts[name] = archive.extractfile(member).read().decode()
            if len(texts) == len(names):
                break
    return texts
