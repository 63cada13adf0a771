"""One clip's files as others make them: read, or told by kind; never a stack trace, never a wait."""

from __future__ import annotations

import io
import os
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hmu.checkpoints.arrays import load_array
from hmu.data.files import clip_id, existing, id_problem, read_motion, read_text
from hmu.data.reading import RULES, build_entries, line_problems, line_table
from hmu.errors import DataError
from tests.data.conftest import FEATURES, motion_of, write_layout

SOUND = np.linspace(-2, 2, 60 * FEATURES, dtype=np.float32).reshape(60, FEATURES)


def npy(array: np.ndarray, **more) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **more)
    return stream.getvalue()


def claiming(shape: str, descr: str = "'<f4'") -> bytes:
    """An .npy file whose header says more than the file holds."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(80)


def archive() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, motion=SOUND)
    return stream.getvalue()


BAD = {
    "archive": (archive(), "unreadable motion file"),
    "text": (b"0.1 0.2 0.3\n", "unreadable motion file"),
    "nothing": (b"", "unreadable motion file"),
    "cut": (npy(SOUND)[:-7], "unreadable motion file"),
    "cut in its header": (npy(SOUND)[:40], "unreadable motion file"),
    "claims a terabyte": (claiming("(1000000000000, 5)"), "unreadable motion file"),
    "claims less than nothing": (claiming("(-1, 5)"), "unreadable motion file"),
    "header of brackets": (claiming("(" * 90), "unreadable motion file"),
    "no type": (claiming("(4, 5)", "'zz'"), "unreadable motion file"),
    "objects": (npy(np.array([{"a": 1}], object), allow_pickle=True), "unreadable motion file"),
    "complex": (npy(SOUND.astype(complex)), "motion not numeric"),
    "strings": (npy(SOUND.astype(str)), "motion not numeric"),
    "records": (npy(np.zeros((60, FEATURES), [("a", "f4")])), "motion not numeric"),
    "three axes": (npy(SOUND[None]), f"motion not of shape (frames, {FEATURES})"),
    "other width": (npy(SOUND[:, 1:]), f"motion not of shape (frames, {FEATURES})"),
    "no axis": (npy(np.float32(1.0)), f"motion not of shape (frames, {FEATURES})"),
    "no frames": (npy(SOUND[:0]), "motion without frames"),
    "NaN": (npy(np.where(SOUND > 1.9, np.nan, SOUND)), "motion holds NaN or infinity"),
    "infinity": (npy(np.where(SOUND > 1.9, -np.inf, SOUND)), "motion holds NaN or infinity"),
    "absurd": (npy(SOUND * 1e30), "motion beyond ±100,000"),
    "absurd in double": (npy(SOUND.astype(np.float64) * 1e300), "motion beyond ±100,000"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_motion_is_told_by_kind(tmp_path: Path, name: str, recwarn: pytest.WarningsRecorder) -> None:
    content, kind = BAD[name]
    (tmp_path / "a.npy").write_bytes(content)
    assert read_motion(tmp_path / "a.npy", FEATURES) == kind
    assert not recwarn.list


@pytest.mark.parametrize(
    "made",
    [SOUND, np.asfortranarray(SOUND), SOUND.astype(">f4"), SOUND.astype(">f8"), SOUND.astype(np.float16)],
    ids=["plain", "Fortran", "big-endian", "big-endian double", "half"],
)
def test_whatever_numpy_writes_of_numbers_is_read(tmp_path: Path, made: np.ndarray) -> None:
    (tmp_path / "a.npy").write_bytes(npy(made) + b"trailing bytes, as numpy.load allows them")
    found = read_motion(tmp_path / "a.npy", FEATURES)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    assert found.dtype.isnative
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, SOUND, atol=2e-3)


def test_folders_pipes_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "a.npy").mkdir()
    os.mkfifo(tmp_path / "b.npy")
    (tmp_path / "c.npy").symlink_to("c.npy")
    for name, kind in (("a", "unreadable"), ("b", "unreadable"), ("c", "no"), ("d", "no"), ("x" * 300, "no")):
        assert read_motion(tmp_path / f"{name}.npy", FEATURES) == f"{kind} motion file"
        assert read_text(tmp_path / f"{name}.npy") == f"{kind} caption file"
    (tmp_path / "e.npy").write_bytes(archive())
    with pytest.raises(DataError, match=r"an archive \(\.npz\)"):
        load_array(tmp_path / "e.npy")


def test_captions_of_every_encoding_that_can_be_told(tmp_path: Path) -> None:
    line, path = "il bat à côté#il/PRON#0.0#0.0\n", tmp_path / "a.txt"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(line.encode(encoding))
        assert read_text(path) == line.encode()
    for encoding in ("latin-1", "utf-16-le"):
        path.write_bytes(line.encode(encoding))
        assert read_text(path) == "caption file not in UTF-8"


@pytest.mark.parametrize("clip", ["../a", "/etc/passwd", "a/../../b", "a\0b", "a\\b", ".", "..", "a//b", "a\tb"])
def test_ids_that_are_no_file_names(clip: str) -> None:
    assert id_problem(clip) == "id that is no file name"


@pytest.mark.parametrize("clip", ["000012", "M000012", "humanml/000012", "zäh", "a b", "a.b", "..a"])
def test_ids_that_are(clip: str) -> None:
    assert id_problem(clip) is None


def test_accents_as_a_mac_writes_them(tmp_path: Path, layout: Path, make_source) -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert clip_id(f" {apart}\r") == composed
    (tmp_path / f"{apart}.npy").touch()
    assert existing(tmp_path / f"{composed}.npy").name == f"{apart}.npy"
    texts = {apart: "he kicks#he/PRON kick/VERB#0.0#0.0\n"}
    write_layout(layout, texts, {apart: 60})
    (layout / "val.txt").write_text(f"e\n{composed}\n")
    source = make_source()
    assert source.usable_ids("val") == ("e", composed)
    assert source.clips("val", {composed}).lengths.tolist() == [60]
    first = source.pack.folder
    np.save(layout / "new_joint_vecs" / f"{apart}.npy", motion_of("x", 70))
    assert make_source().pack.folder != first  # a changed file is noticed whatever its spelling


def test_one_bad_file_of_each_kind_stops_nothing(make_source, layout: Path) -> None:
    vectors = layout / "new_joint_vecs"
    (vectors / "a.npy").write_bytes(archive())
    os.mkfifo(vectors / "pipe.npy")
    with zipfile.ZipFile(vectors / "b.npy", "w") as made:
        made.writestr("x", "y")
    (layout / "train.txt").write_text("a\nb\nMb\nc\nd\npipe\n../a\nb\tb\n")
    (layout / "texts" / "c.txt").write_bytes("él patea#él/PRON#0.0#0.0\n".encode("latin-1"))
    with pytest.raises(DataError) as caught:
        make_source().prepare()
    told = str(caught.value).removeprefix(f"data set 'tiny' in {layout}: ")
    assert "\n" not in told
    assert len(told) < 300
    for piece in (
        "unreadable motion file (3): a, b and 1 more",
        "no caption file (1): pipe",
        "caption file not in UTF-8 (1): c",
        r"id that is no file name (2): ../a, b\tb",
    ):
        assert piece in told
    source = make_source(strict=False).prepare()
    assert source.usable_ids("train") == ("Mb",)
    assert source.skipped("train")["d"] == "shorter than 40 frames"
    assert source.skipped("train")["../a"] == "id that is no file name"


def test_damaged_files_of_any_kind_are_read_or_told_within_a_moment(tmp_path: Path) -> None:
    """600 files with bytes changed, cut, doubled or put in: an array, a kind, never another error."""
    random = np.random.default_rng(0)
    path, kinds = tmp_path / "a.npy", set()
    whole = [npy(SOUND[:4]), npy(np.asfortranarray(SOUND[:4])), archive(), claiming("(4, 5)")]
    texts = ["he kicks#he/PRON kick/VERB#0.0#0.0\nél#x/X#nan#1e400\n".encode(code) for code in ("utf-8", "utf-16")]
    for number in range(600):
        content = bytearray((whole + texts)[number % 6])
        for _ in range(int(random.integers(1, 6))):
            place = int(random.integers(len(content)))
            match int(random.integers(4)):
                case 0:
                    content[place] = int(random.integers(256))
                case 1:
                    del content[place:]
                    content += b"\n"
                case 2:
                    content[place:place] = content[:place]
                case _:
                    content[place:place] = random.choice([b"(", b"'", b"#", b"\xff", b"-1", b"9" * 30, b"\n", b"\0"])
        path.write_bytes(content[:100_000])
        found, text = read_motion(path, FEATURES), read_text(path)
        kinds.add(found if isinstance(found, str) else "read")
        if isinstance(text, bytes):
            lines = line_table([text])
            assert build_entries(lines, np.array([60]), RULES["clean"], fps=20, min_frames=40) is not None
            list(line_problems(lines))
    assert {"read", "unreadable motion file"} < kinds
