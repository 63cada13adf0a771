import errno
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import safetensors
import torch

from hmu.checkpoints import safe
from hmu.errors import CheckpointError


class _Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_load_tensors_reads_nested_state_dicts(tmp_path):
    path = tmp_path / "net.tar"
    torch.save({"vae": OrderedDict(w=torch.arange(4.0)), "epoch": 3}, path)
    content = safe.load_tensors(path)
    assert content["epoch"] == 3
    assert torch.equal(content["vae"]["w"], torch.arange(4.0))


def test_malicious_file_is_refused_and_not_run(tmp_path):
    proof = tmp_path / "ran"
    path = tmp_path / "evil.tar"
    torch.save({"vae": _Attack(proof)}, path)
    with pytest.raises(CheckpointError, match="refused") as caught:
        safe.load_tensors(path)
    assert not proof.exists()
    assert "\n" not in str(caught.value)


def test_plain_pickle_attack_is_refused(tmp_path):
    proof = tmp_path / "ran"
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps({"a": _Attack(proof)}, protocol=2))
    with pytest.raises(CheckpointError):
        safe.load_tensors(path)
    assert not proof.exists()


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_truncated_file_is_one_line(tmp_path, keep):
    path = tmp_path / "net.tar"
    torch.save({"w": torch.randn(64, 64)}, path)
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(CheckpointError, match=r"net\.tar.*truncated") as caught:
        safe.load_tensors(path)
    assert "\n" not in str(caught.value)


def test_missing_folder_and_wrong_content(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        safe.load_tensors(tmp_path / "nothing.tar")
    with pytest.raises(CheckpointError, match="is a folder"):
        safe.load_tensors(tmp_path)
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="holds a list"):
        safe.load_tensors(tmp_path / "list.pt")


def test_safetensors_round_trip_with_views_and_shared_storage(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"a": base, "b": base, "row": base[1], "t": base.T, "half": base.half(), "empty": torch.zeros(0, 3)}
    path = tmp_path / "deep" / "w.safetensors"
    safe.save_safetensors(path, tensors, {"name": "x"})
    back = safe.load_safetensors(path)
    assert back.keys() == tensors.keys()
    for name, value in tensors.items():
        assert back[name].dtype == value.dtype
        assert torch.equal(back[name], value)
    with safetensors.safe_open(path, framework="pt") as stored:
        assert stored.metadata() == {"name": "x"}
    assert path.stat().st_size < 1500
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]


def test_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    safe.save_safetensors(path, {"w": torch.ones(3)})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*old file is untouched") as caught:
        safe.save_safetensors(path, {"w": torch.zeros(3)})
    assert "\n" not in str(caught.value)
    assert torch.equal(safe.load_safetensors(path)["w"], torch.ones(3))
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_broken_safetensors(tmp_path):
    path = tmp_path / "w.safetensors"
    safe.save_safetensors(path, {"w": torch.ones(300)})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="truncated"):
        safe.load_safetensors(path)
    with pytest.raises(CheckpointError, match="no such file"):
        safe.load_safetensors(tmp_path / "other.safetensors")
