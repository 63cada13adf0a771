"""Hostile array files end in one line, at once, without memory and without running anything."""

from __future__ import annotations

import io
import os
import resource
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hmu.checkpoints.arrays import load_array, load_arrays
from hmu.errors import DataError

GOOD = [
    np.arange(12.0).reshape(3, 4),
    np.asfortranarray(np.arange(24, dtype=np.int16).reshape(2, 3, 4)),
    np.zeros((0, 5), np.float32),
    np.array(3.5),
    np.array(["a", "long word"]),
    np.array([b"x", b"yz"]),
    np.array([True, False]),
    np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
]


@pytest.mark.parametrize("array", GOOD, ids=lambda a: f"{a.dtype}{a.shape}")
@pytest.mark.parametrize("version", [None, (1, 0), (2, 0), (3, 0)])
def test_reads_what_numpy_writes(tmp_path, array, version):
    with (tmp_path / "a.npy").open("wb") as stream:
        np.lib.format.write_array(stream, array, version=version)
    found = load_array(tmp_path / "a.npy")
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.flags.writeable
    assert np.array_equal(found, array)
    np.savez_compressed(tmp_path / "a.npz", a=array, b=array)
    assert np.array_equal(load_arrays(tmp_path / "a.npz")["b"], array)


def header(text: str, version: int = 1, length: int | None = None) -> bytes:
    """A ``.npy`` header that says ``text``."""
    body = text.encode()
    size = len(body) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", size) + body


def claim(shape: str, descr: str = "<f8") -> bytes:
    return header(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n")


class Payload:
    """Pickled: makes a file where it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def pickled(tmp_path: Path) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([Payload(tmp_path / "ran")], dtype=object), allow_pickle=True)
    return stream.getvalue()


def archived(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.npy", content)
    return stream.getvalue()


HOSTILE = {
    "rows": (claim("(1000000000000, 263)"), "header claims shape"),
    "bytes": (claim("(2, 3)") + b"\0" * 47, "48 bytes, but 47 follow"),
    "overflow": (claim("(4611686018427387904, 8)"), "header claims shape"),
    "negative": (claim("(-1, 5)"), "expected plain numbers"),
    "no size": (claim("(1000000000000,)", "|V0"), "expected plain numbers"),
    "wide items": (claim("(1,)", "|V2000000000"), "header claims"),
    "objects": (claim("(1,)", "|O") + b"cos\nsystem\n", "Python objects"),
    "long header": (header(" " * 60_000), "a header of 60000 bytes"),
    "header of 4 GB": (header("{}", 2, 2**32 - 1), "a header of"),
    "short header": (header("", 1, 0), "no plain array"),
    "deep header": (header("(" * 9000), "no plain array"),
    "code in header": (header("__import__('os').abort()"), "no plain array"),
    "strange type": (claim("(1,)", "M9[generic"), "no plain array"),
    "version 9": (b"\x93NUMPY\x09\x00" + b"\0" * 100, "no plain array"),
    "archive": (archived(b"x"), "archive"),
    "empty": (b"", "no plain array"),
    "text": (b"1,2,3\n" * 10, "no plain array"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("packed", [False, True])
def test_hostile_arrays(tmp_path, name, packed):
    content, said = HOSTILE[name]
    path = tmp_path / ("a.npz" if packed else "a.npy")
    path.write_bytes(archived(content) if packed else content)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(DataError, match=said) as caught:
        load_arrays(path) if packed else load_array(path)
    assert time.perf_counter() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value).replace(str(path), "")) < 200


@pytest.mark.parametrize("packed", [False, True])
def test_a_pickle_is_not_run(tmp_path, packed):
    path = tmp_path / ("a.npz" if packed else "a.npy")
    path.write_bytes(archived(pickled(tmp_path)) if packed else pickled(tmp_path))
    with pytest.raises(DataError, match="Python objects"):
        load_arrays(path) if packed else load_array(path)
    assert not (tmp_path / "ran").exists()


def test_a_bomb_is_not_unpacked(tmp_path):
    path, size = tmp_path / "bomb.npz", 3 << 30
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.npy", "w", force_zip64=True) as member,
    ):
        member.write(claim(f"({size},)", "|u1"))
        member.write(bytes(64 << 20))
    content = bytearray(path.read_bytes())
    path.write_bytes(content)
    with pytest.raises(DataError, match="follow"):
        load_arrays(path)
    whole = io.BytesIO()
    np.savez_compressed(whole, **{f"a{i}": np.zeros(1 << 20, np.uint8) for i in range(4)})
    path.write_bytes(whole.getvalue())
    with pytest.raises(DataError, match="expected at most"):
        load_arrays(path, limit=3 << 20)


def test_broken_archives(tmp_path):
    good = archived(claim("(2,)") + b"\0" * 16)
    for number, content in enumerate([good[:-30], b"PK\x03\x04", good.replace(b"\0" * 16, b"\1" * 16, 1)]):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"cannot be read|no readable archive"):
            load_arrays(path)
    with pytest.raises(DataError, match="no such file"):
        load_arrays(tmp_path / "none.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(DataError, match="a pipe"):
        load_array(tmp_path / "a.npy")
    with pytest.raises(DataError, match="a folder"):
        load_array(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_array(tmp_path / "none.npy")
