"""Trial files made to break or to exhaust their reader."""

from __future__ import annotations

import io
import pickle
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from hmu.errors import DataError
from hmu.gait.npz import LARGEST, TrialFile
from hmu.gait.trial import npz_bytes, read_trial
from tests.gait.conftest import raw


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def claiming(shape: bytes, kind: bytes = b"<f4") -> bytes:
    """An ``.npy`` whose header claims what is not there."""
    header = b"{'descr': '" + kind + b"', 'fortran_order': False, 'shape': " + shape + b", }"
    header = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)


class Runs:
    def __reduce__(self):
        return (print, ("ran",))


ENTRIES = {
    "rows without end": ("model_states", claiming(b"(1000000000000, 63)")),
    "negative rows": ("model_states", claiming(b"(-1, 63)")),
    "many axes": ("model_states", claiming(b"(" + b"1," * 30 + b")")),
    "a deep header": ("model_states", claiming(b"[" * 40)),
    "no header": ("model_states", b"not an array"),
    "nothing": ("model_states", b""),
    "objects": ("model_states", npy(np.array([[None] * 63] * 5, dtype=object))),
    "text": ("model_states", npy(np.array([["1"] * 63] * 5))),
    "complex": ("model_states", npy(np.zeros((5, 63), complex))),
    "records": ("model_states", npy(np.zeros(5, "i1,f4"))),
    "dates": ("height_m", npy(np.array("2020", "M8[Y]"))),
    "infinite height": ("height_m", npy(np.array(np.inf))),
    "two heights": ("height_m", npy(np.array([1.7, 1.7]))),
    "names that run": ("model_states_columns", npy(np.array([Runs()] * 63, dtype=object))),
    "a pickle alone": ("model_states_columns", pickle.dumps(Runs())),
    "names beyond Unicode": ("model_states_columns", npy(np.full(63, 0x7FFFFFFF, "<u4").view("<U1"))),
    "names that are no text": ("model_states_columns", npy(np.array([b"\xff"] * 63))),
    "names without end": ("model_states_columns", claiming(b"(1000000000000,)", b"<U9")),
    "huge numbers": ("model_states", npy(np.full((200, 63), 1e30, np.float32))),
    "notes of other counts": ("note_keys", npy(np.array(["label", "turn"]))),
}


def trial_with(path, name: str, content: bytes):
    arrays = npz_bytes(raw(note_keys=np.array(["label"]), note_values=np.array(["walk"])))
    with zipfile.ZipFile(io.BytesIO(arrays)) as good, zipfile.ZipFile(path, "w") as made:
        for entry in good.namelist():
            made.writestr(entry, content if entry == f"{name}.npy" else good.read(entry))
    return path


@pytest.mark.parametrize("fault", ENTRIES)
def test_a_hostile_entry_is_refused_soon_and_without_memory(tmp_path, fault, capsys):
    path = trial_with(tmp_path / "t.npz", *ENTRIES[fault])
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(DataError) as error:
        read_trial(path)
    assert time.perf_counter() - start < 1
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300 + len(str(path))
    assert capsys.readouterr().out == ""


def patched(path, places: dict[int, int]):
    """Bytes of every header of an entry (local, then central), changed where ``places`` says, counted from its mark."""
    data = bytearray(path.read_bytes())
    for mark, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        start = data.find(mark)
        while start >= 0:
            for place, value in places.items():
                data[start + place + shift] = value
            start = data.find(mark, start + 4)
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("places", [{6: 1}, {8: 99}, {8: 6}], ids=["encrypted", "unknown method", "old method"])
def test_archives_of_other_kinds_are_refused(tmp_path, places):
    path = tmp_path / "t.npz"
    path.write_bytes(npz_bytes(raw()))
    with pytest.raises(DataError, match=r"t\.npz"):
        read_trial(patched(path, places))


def test_a_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "t.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made,
        made.open("model_states.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(claiming(b"(%d,)" % (LARGEST // 4 + 16))[:-64])
        for _ in range(LARGEST // (1 << 20) + 1):
            stream.write(bytes(1 << 20))
    tracemalloc.start()
    with TrialFile(path) as file, pytest.raises(DataError, match="expected at most"):
        file.array("model_states")
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_names_with_nul_and_entries_that_are_no_arrays_are_nothing(tmp_path):
    path = tmp_path / "t.npz"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("model_states\x00.npy", b"x")
        made.writestr("../../height_m.npy", b"x")
    with pytest.raises(DataError, match=r"key 'model_states(_columns)?'"):
        read_trial(path)


def test_a_trial_without_any_force_must_have_its_kinematics(tmp_path):
    states = raw()["model_states"].copy()
    missing = np.ones(len(states), dtype=bool)
    path = tmp_path / "t.npz"
    path.write_bytes(npz_bytes(raw(model_states=states, probably_missing=missing)))
    assert read_trial(path).missing.all()
    states[7, 3] = np.nan
    path.write_bytes(npz_bytes(raw(model_states=states, probably_missing=missing)))
    with pytest.raises(DataError, match="first: frame 7, column knee_angle_r"):
        read_trial(path)
