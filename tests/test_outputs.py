"""Whoever wrote a file decides who may replace it."""

from __future__ import annotations

import json

import pytest

from hmu.errors import ConfigError
from hmu.outputs import LIST, check_place, claim_files, claim_folder, read_list, refresh


def fill(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def written(folder, **files):
    """The folder after a call of ``tool`` that wrote ``files``."""
    output = claim_folder(folder, "out", "tool", overwrite=folder.is_dir())
    names = [name.replace("__", "/") for name in files]
    output.begin(names)
    fill(folder, **files)
    output.finish()
    return output


def content(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {LIST}


def test_a_second_call_gives_up_the_first_ones_files_and_no_others(tmp_path):
    out = tmp_path / "out"
    written(out, a="1", sub__b="2")
    fill(out, notes="mine", sub__own="mine too", deep__c="c")
    with pytest.raises(ConfigError, match=r"not empty.*overwrite=true; nothing was changed"):
        claim_folder(out, "out", "tool", overwrite=False)
    written(out, a="3")
    assert content(out) == {"a", "notes", "sub/own", "deep/c"}
    assert ((out / "a").read_text(), (out / "notes").read_text()) == ("3", "mine")


def test_folders_that_become_empty_go_with_their_files(tmp_path):
    written(tmp_path / "out", bvh__a="1")
    written(tmp_path / "out", a="1")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [LIST, "a"]


def test_what_the_user_changed_or_put_in_the_way_stays(tmp_path):
    out = tmp_path / "out"
    written(out, a="1", b="2")
    (out / "b").write_text("corrected by hand")
    with pytest.raises(ConfigError, match=r"b' was changed after this tool wrote it.*nothing was changed"):
        claim_folder(out, "out", "tool", overwrite=True)
    assert content(out) == {"a", "b"}
    (out / "b").rename(tmp_path / "b")
    fill(out, c="mine")
    output = claim_folder(out, "out", "tool", overwrite=True)
    with pytest.raises(ConfigError, match="c' was not written by this tool"):
        output.begin(["a", "c"])
    assert (out / "a").read_text() == "1"


def test_a_folder_of_others_is_never_taken(tmp_path):
    fill(tmp_path, HumanML3D__Mean="x")
    with pytest.raises(ConfigError, match="did not write"):
        claim_folder(tmp_path, "target", "tool", overwrite=True)
    written(tmp_path / "out", a="1")
    with pytest.raises(ConfigError, match="did not write"):
        claim_folder(tmp_path / "out", "target", "another", overwrite=True)


def test_a_call_that_was_cut_short_can_be_given_again(tmp_path):
    out = tmp_path / "out"
    claim_folder(out, "out", "tool", overwrite=False).begin(["a", "b"])
    fill(out, a="half")
    written(out, b="whole")
    assert content(out) == {"b"}
    assert read_list(out).keys() == {"b"}


def test_a_list_that_is_damaged_or_points_outside_is_refused(tmp_path):
    out = tmp_path / "out"
    written(out, a="1")
    fill(tmp_path, outside="keep")
    for text in ("{", "[]", '{"files": {"a": 1}}', json.dumps({"files": {"../outside": {"by": "tool"}}})):
        (out / LIST).write_text(text)
        with pytest.raises(ConfigError, match="damaged"):
            claim_folder(out, "out", "tool", overwrite=True)
    (out / LIST).write_text(json.dumps({"files": {"link": {"by": "tool"}}}))
    (out / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match="changed after"):
        claim_folder(out, "out", "tool", overwrite=True)
    assert (tmp_path / "outside").read_text() == "keep"


def test_older_calls_tell_their_files_themselves(tmp_path):
    fill(tmp_path, a="1", b="mine")
    output = claim_folder(tmp_path, "out", "tool", overwrite=True, older=lambda folder: ["a"])
    output.begin(["c"])
    assert content(tmp_path) == {"b"}


@pytest.mark.parametrize("foreign", [False, True])
def test_a_finished_folder_takes_the_place_of_the_old_one(tmp_path, foreign):
    target, work = tmp_path / "target", tmp_path / "work"
    for text in ("1", "2"):
        output = claim_folder(target, "target", "tool", overwrite=True)
        fill(work, Mean=text, **{f"texts__{text}": text})
        output.replace_with(work)
        if foreign and text == "1":
            fill(target, other__Mean="mine")
    assert content(target) == {"Mean", "texts/2"} | ({"other/Mean"} if foreign else set())
    assert (target / "Mean").read_text() == "2"
    assert read_list(target).keys() == {"Mean", "texts/2"}
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_single_files(tmp_path):
    path = tmp_path / "walk" / "trial.npz"
    output = claim_files([path], "target", "tool", overwrite=False)
    output.begin([path.name])
    path.write_text("1")
    output.finish()
    other = claim_files([path.with_name("other")], "target", "tool", overwrite=False)
    other.begin(["other"])
    assert path.exists(), "other files of the same tool stay"
    fill(path.parent, mine="1")
    with pytest.raises(ConfigError, match=r"target: .*trial\.npz' exists.*overwrite=true"):
        claim_files([path], "target", "tool", overwrite=False)
    claim_files([path], "target", "tool", overwrite=True)
    with pytest.raises(ConfigError, match="mine' was not written by this tool"):
        claim_files([path.with_name("mine")], "target", "tool", overwrite=True)
    with pytest.raises(ConfigError, match="is a folder"):
        claim_files([path.parent], "target", "tool", overwrite=True)


def test_another_tool_may_note_its_change(tmp_path):
    written(tmp_path, records="1")
    fill(tmp_path, records="2", other="1")
    refresh(tmp_path / "records")
    refresh(tmp_path / "other")
    claim_folder(tmp_path, "out", "tool", overwrite=True)
    assert read_list(tmp_path).keys() == {"records"}


@pytest.mark.parametrize("name", ["file/x", "file/x/y", "a\0b", "x" * 300])
def test_places_that_cannot_be(tmp_path, name):
    fill(tmp_path, file="1")
    with pytest.raises(ConfigError, match="out=") as caught:
        claim_folder(tmp_path / name, "out", "tool", overwrite=True)
    assert "\n" not in str(caught.value)
    assert check_place(tmp_path / "new" / "x", "out") == tmp_path / "new" / "x"
