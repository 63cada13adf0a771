"""Weights that were made to run something, or to exhaust memory, end in one line at once."""

from __future__ import annotations

import io
import json
import pickle
import resource
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from hmu.checkpoints.safe import load_safetensors, load_tensors
from hmu.checkpoints.words import read_word_index
from hmu.errors import CheckpointError
from hmu.gait.npz import strings_from_pickle


class Payload:
    """Pickled: makes a file where it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def bomb() -> bytes:
    """A checkpoint whose archive is packed: some KB on disk, 512 MB in memory."""
    plain = io.BytesIO()
    torch.save({"w": torch.zeros(1 << 20)}, plain)
    packed = io.BytesIO()
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    return packed.getvalue()


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: list[int], offsets: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


MEMO = b"\x80\x04N" + b"r\xff\xff\xff\x7f" + b"."  # remembers None under the number 2**31 - 1
TORCH = {
    "packed": bomb(),
    "object": pickle.dumps(Payload(Path("/nonexistent")), 2),
    "memo": MEMO,
    "bytes of a terabyte": b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\0\0\0\0\0\x01\x85R.",
    "deep": b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
    "nothing": b"",
    "half an archive": bomb()[:900],
}
SAFE = {
    "header of 8 exabytes": safetensors({}, length=1 << 62),
    "header of a gigabyte": safetensors({}, length=1 << 30),
    "rows": safetensors(entry([10**12], [0, 4 * 10**12])),
    "lying offsets": safetensors(entry([4], [0, 16]), b"\0" * 4),
    "overlap": safetensors({**entry([1], [0, 4]), "v": entry([1], [0, 4])["w"]}, b"\0" * 4),
    "overflow": safetensors(entry([2**33, 2**33], [0, 4]), b"\0" * 4),
    "negative": safetensors(entry([-1], [0, 4]), b"\0" * 4),
    "unknown type": safetensors(entry([1], [0, 4], "O"), b"\0" * 4),
    "deep": safetensors(b"[" * 100_000),
    "repeated": safetensors(b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":1}', b"\0" * 4),
    "no object": safetensors([1]),
    "pickle": pickle.dumps({"w": 1}),
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", [*(f"torch {n}" for n in TORCH), *(f"safetensors {n}" for n in SAFE)])
def test_hostile_weights(tmp_path, name):
    kind, _, which = name.partition(" ")
    path = tmp_path / "weights"
    path.write_bytes(TORCH[which] if kind == "torch" else SAFE[which])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(CheckpointError) as caught:
        load_tensors(path) if kind == "torch" else load_safetensors(path)
    assert time.perf_counter() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_nothing_of_a_pickle_is_called(tmp_path):
    payload = Payload(tmp_path / "ran")
    buffer = io.BytesIO()
    np.save(buffer, np.array([payload], dtype=object), allow_pickle=True)
    contents = [pickle.dumps(payload, protocol) for protocol in range(6)]
    contents += [pickle.dumps({"word": payload}), pickle.dumps([payload]), buffer.getvalue()[128:]]
    torch.save({"w": payload}, tmp_path / "saved.pt")
    contents.append((tmp_path / "saved.pt").read_bytes())
    for content in contents:
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            load_tensors(path)
        with pytest.raises(CheckpointError):
            read_word_index(path)
        with pytest.raises(ValueError, match="not a plain list"):
            strings_from_pickle(content)
    assert not (tmp_path / "ran").exists()


def test_a_number_of_a_remembered_object_takes_no_memory(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (tmp_path / "words.pkl").write_bytes(MEMO)
    with pytest.raises(CheckpointError, match="expected a pickled mapping"):
        read_word_index(tmp_path / "words.pkl")
    with pytest.raises(ValueError, match="not a plain list"):
        strings_from_pickle(MEMO)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
