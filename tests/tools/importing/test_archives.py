"""Archives with traversal, links, devices and bombs: nothing outside is touched, and reading ends in one line."""

from __future__ import annotations

import io
import os
import resource
import tarfile
import time
from pathlib import Path

import pytest

from hmu.errors import DataError
from hmu.tools.importing.members import archive_members, read_members


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.size, found.linkname = kind, size, link
    return found


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode, format=tarfile.GNU_FORMAT) as stream:
        for info, content in members:
            info.size = len(content) or info.size
            stream.addfile(info, io.BytesIO(content))
    return path


def test_folders_in_names_lead_nowhere(tmp_path):
    names = ["../../a.bvh", "/etc/b.bvh", "x/../../c.bvh", "d.BVH", "._e.bvh", "...bvh"]
    source = archive(tmp_path / "a.tar", *[(member(name), b"HIERARCHY") for name in names])
    assert {read() for _, read in archive_members(source, ".bvh", 100)} == {b"HIERARCHY"}
    assert len(list(read_members(source, ".bvh"))) == 5
    assert os.listdir(tmp_path) == ["a.tar"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_links_and_devices_are_no_files(tmp_path, kind):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    source = archive(tmp_path / "a.tar", (member("a.bvh", kind, link=str(secret)), b""), (member("b.bvh"), b"yes"))
    assert [(name, read()) for name, read in archive_members(source, ".bvh", 100)] == [("b.bvh", b"yes")]


def bomb(tmp_path: Path, mode: str) -> Path:
    zeros = bytes(16 << 20)
    names = ("a.bvh", "b.txt", "c.bin", "d.bvh", "e.bvh")
    return archive(tmp_path / "bomb.tar", *[(member(name), zeros) for name in names], mode=mode)


def lying(tmp_path: Path, kind: bytes, size: int) -> Path:
    """A header that claims more than the archive holds."""
    path, info = tmp_path / "lying.tar", member("a.bvh", kind, size)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if size < 0:  # base 256, as GNU writes what eight octal digits cannot hold
        block[124:136] = b"\xff" * 4 + size.to_bytes(8, "big", signed=True)
        block[148:156] = b" " * 8
        block[148:156] = f"{sum(block):06o}\0 ".encode()
    path.write_bytes(bytes(block) + bytes(2048))
    return path


HOSTILE = {
    "gz bomb": lambda folder: bomb(folder, "w:gz"),
    "bz2 bomb": lambda folder: bomb(folder, "w:bz2"),
    "xz bomb": lambda folder: bomb(folder, "w:xz"),
    "large": lambda folder: lying(folder, tarfile.REGTYPE, 8 << 30),
    "sparse": lambda folder: lying(folder, tarfile.GNUTYPE_SPARSE, 8 << 30),
    "negative": lambda folder: lying(folder, tarfile.REGTYPE, -512),
    "long name": lambda folder: lying(folder, tarfile.GNUTYPE_LONGNAME, 6 << 30),
    "long pax header": lambda folder: lying(folder, tarfile.XHDTYPE, 6 << 30),
    "cut": lambda folder: lying(folder, tarfile.REGTYPE, 100_000),
    "no archive": lambda folder: Path(__file__),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives(tmp_path, name):
    source = HOSTILE[name](tmp_path)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(DataError) as caught:
        [read() for _, read in archive_members(source, ".bvh", 32 << 20)]
    assert time.perf_counter() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kilobytes
    said = str(caught.value)
    assert str(source) in said or "a.bvh" in said
    assert "\n" not in said
    assert len(said) < 300 + len(str(source))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(DataError, match="a pipe"):
        list(read_members(tmp_path / "a.tar", ".bvh"))
    os.mkfifo(tmp_path / "b.bvh")
    assert list(read_members(tmp_path, ".bvh")) == []
