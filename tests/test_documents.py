"""Every text, JSON and YAML file from others: read, or refused in one short line, quickly."""

from __future__ import annotations

import os
import time

import pytest

from hmu.documents import read_json, read_lines, read_text, read_yaml, sha256
from hmu.errors import CheckpointError, DataError, shown


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_that_editors_write_are_read_without_their_mark(tmp_path, encoding):
    path = tmp_path / "list.txt"
    path.write_bytes("000001\r\n\r\n é \r\n".encode(encoding))
    assert read_lines(path) == ["000001", "é"]


@pytest.mark.parametrize("content", ["caf\xe9\n".encode("latin-1"), "a\n".encode("utf-16-le"), b"a\n\x00"])
def test_other_encodings_are_refused_with_what_to_do(tmp_path, content):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"list\.txt: .*save it as UTF-8"):
        read_text(path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, word in (("pipe", "pipe"), (".", "folder"), ("absent", "cannot be read"), ("a\0b", "cannot be read")):
        with pytest.raises(CheckpointError, match=word):
            read_text(f"{tmp_path}/{name}", CheckpointError)


def test_bombs_end_in_a_line_within_a_second(tmp_path):
    laughs = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    bombs = {
        "laughs.yaml": laughs,
        "deep.yaml": "[" * 100_000,
        "self.yaml": "a: &a [*a]",
        "tag.yaml": "!!python/object/apply:os.system ['true']",
        "broken.yaml": "a: [1,\nb: }",
        "deep.json": "[" * 200_000,
        "broken.json": "{" * 3,
    }
    for name, text in bombs.items():
        path = tmp_path / name
        path.write_text(text)
        start = time.process_time()
        with pytest.raises(DataError) as caught:
            (read_json if name.endswith("json") else read_yaml)(path)
        assert time.process_time() - start < 2, name
        assert len(str(caught.value).replace(str(tmp_path), "")) < 300, name
        assert "\n" not in str(caught.value), name


def test_numbers_are_read_as_configurations_read_them(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("lr: 1e-3\nflag: no\nname: &n x\nagain: *n\n")
    assert read_yaml(path) == {"lr": 1e-3, "flag": False, "name": "x", "again": "x"}


def test_what_a_file_held_is_shown_short_and_printable():
    assert shown("a\nb\0") == r"a\nb\x00"
    assert len(shown("x" * 10_000)) == 60


def test_sha256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
