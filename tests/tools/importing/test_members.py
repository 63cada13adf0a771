"""Files, ids and captions find each other: folders, Macs' letters, equal names."""

from __future__ import annotations

import os
import tarfile
import unicodedata
from pathlib import PurePosixPath

import pytest

from hmu.errors import DataError
from hmu.tools.importing.members import clip_ids, file_path, matched, read_members


def ids_of(*names: str) -> dict[PurePosixPath, str]:
    return clip_ids(PurePosixPath(name) for name in names)


def given(*names: str) -> dict[str, list[str]]:
    return {name: [f"caption of {name}"] for name in names}


def test_equal_names_get_their_folders_into_the_id():
    ids = ids_of("anna/trial1", "bob/trial1", "bob/trial2", "deep/bob/trial1", "bob_trial1")
    assert {str(path): name for path, name in ids.items()} == {
        "anna/trial1": "anna_trial1",
        "bob/trial1": "bob_trial1_2",  # another file is called bob_trial1
        "bob/trial2": "trial2",
        "deep/bob/trial1": "deep_bob_trial1",
        "bob_trial1": "bob_trial1",
    }


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("anna/trial1.bvh", "anna/trial1"),
        (r"anna\trial1.BVH", "anna/trial1"),
        ("/data/clips/anna/trial1", "anna/trial1"),
        (r"C:\clips\bob\trial1.bvh", "bob/trial1"),
        ("./bob/trial1.bvh ", "bob/trial1"),
        ("bob_trial1", "bob/trial1"),
        ("trial2", "bob/trial2"),
        ("other/tree/trial2.bvh", "bob/trial2"),
    ],
)
def test_a_caption_finds_its_file(written, file):
    lines, wrong = matched(given(written), ids_of("anna/trial1", "bob/trial1", "bob/trial2"))
    assert lines == {PurePosixPath(file): [f"caption of {written}"]}
    assert wrong == {}


def test_a_caption_never_goes_to_another_clip():
    ids = ids_of("anna/trial1", "bob/trial1")
    lines, wrong = matched(given("trial1", "carol/trial1", "nobody"), ids)
    assert lines == {}
    assert "2 files" in wrong["trial1"]
    assert "2 files" in wrong["carol/trial1"]
    assert wrong["nobody"] == "fits no file"
    flat, wrong = matched(given("anna/trial1", "bob/trial1"), ids_of("trial1"))
    assert flat == {}
    assert set(wrong) == {"anna/trial1", "bob/trial1"}
    lines, wrong = matched(given("bob/trial1", "carol/trial1"), ids_of("bob/trial1"))
    assert list(lines.values()) == [["caption of bob/trial1"]]
    assert set(wrong) == {"carol/trial1"}


def test_two_rows_may_name_one_file():
    lines, wrong = matched(given("trial2", "bob/trial2"), ids_of("bob/trial2", "bob/trial1"))
    assert lines == {PurePosixPath("bob/trial2"): ["caption of trial2", "caption of bob/trial2"]}
    assert wrong == {}


def test_letters_that_macs_take_apart(tmp_path):
    apart = unicodedata.normalize("NFD", "Müller")
    (tmp_path / f"{apart}.bvh").write_text("x")
    ids = clip_ids(path for path, _ in read_members(tmp_path, ".bvh"))
    assert list(ids.values()) == ["Müller"]
    for spelling in ("Müller", apart):
        lines, _ = matched(given(f"{spelling}.bvh"), ids)
        assert list(lines) == [PurePosixPath("Müller")]


def test_odd_members(tmp_path):
    (tmp_path / "._a.bvh").write_text("resource fork")
    (tmp_path / "folder.bvh").mkdir()
    (tmp_path / "two\nlines.bvh").write_text("x")
    (tmp_path / "A.BVH").write_text("y")
    os.mkfifo(tmp_path / "pipe.bvh")
    found = {str(path): content() for path, content in read_members(tmp_path, ".bvh")}
    assert found == {"A": b"y", "two_lines": b"x"}
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "A.BVH", "x/A.BVH")
    assert [(str(path), content()) for path, content in read_members(tmp_path / "a.tar", ".bvh")] == [("x/A", b"y")]
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:700])
    with pytest.raises(DataError, match="readable tar archive"):
        list(read_members(tmp_path / "a.tar", ".bvh"))


def test_names_stay_inside_the_target(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in (
            "/abs/x.bvh",
            "../../up/x.bvh",
            "a/" + "long" * 60 + ".bvh",
            "b/" + "long" * 60 + ".bvh",
            "a/.bvh",
        ):
            archive.addfile(tarfile.TarInfo(name))
    ids = clip_ids(path for path, _ in read_members(tmp_path / "a.tar", ".bvh"))
    assert {"abs_x", "up_x"} < set(ids.values())
    assert len(set(ids.values())) == 4  # ".bvh" alone is a hidden file without an ending
    assert all("/" not in name and name.strip(".") and len(name) <= 200 for name in ids.values())


def test_paths_as_people_write_them():
    assert file_path(r" C:\a\.\b.bvh ") == PurePosixPath("a/b")
    assert file_path("") == PurePosixPath()
