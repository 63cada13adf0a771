"""All motions of a data set in one memory-mapped file, built once and shared by every process."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmu.checkpoints.sealed import Seal, read_seal, remove_leftovers, sealed_folder
from hmu.checkpoints.sealed_rows import SealedRows
from hmu.data.files import read_clip
from hmu.data.reading import GOOD, line_problems, line_table
from hmu.errors import DataError
from hmu.progress import phase

log = logging.getLogger(__name__)
VERSION = 2
FileOf = Callable[[str], Path]
MOTION = "motion.f32"  # gigabytes: each block is checked when it is first read, the other files when a pack is opened


@dataclass(frozen=True)
class Pack:
    """A packed data set; pickled by path, so worker processes reopen the files instead of copying them.

    Attributes:
        offsets: the frames of clip ``i`` are rows ``offsets[i]:offsets[i + 1]`` of ``motion``, ``(clips + 1,)``.
        motion: real units, memory-mapped float32 ``(all frames, features)``, checked as it is read.
        text_offsets, text: the clips' raw caption files, concatenated bytes ``(clips + 1,)``, ``(bytes,)``.
        lines: where the caption lines are, see :data:`hmu.data.reading.LINE`.
        problems: what was missing or broken, by kind: ``{"no motion file": ["000012", ...]}``.
        fingerprint: SHA-256 of all content.
    """

    folder: Path
    ids: tuple[str, ...]
    offsets: NDArray[np.int64]
    motion: SealedRows
    text_offsets: NDArray[np.int64]
    text: NDArray[np.uint8]
    lines: NDArray[np.void]
    problems: dict[str, list[str]]
    fingerprint: str

    def __reduce__(self) -> tuple[Callable[[Path], Pack], tuple[Path]]:
        return open_pack, (self.folder,)

    def raw_text(self, clip: int) -> bytes:
        """The bytes of the caption file of clip number ``clip``."""
        return self.text[self.text_offsets[clip] : self.text_offsets[clip + 1]].tobytes()

    def line(self, row: int) -> str:
        """Caption line ``row`` of :attr:`lines` (invalid UTF-8 is replaced)."""
        where = self.lines[row]
        return self.text[int(where["begin"]) : int(where["stop"])].tobytes().decode("utf-8", errors="replace")


def source_key(folders: Sequence[tuple[Path, Iterable[str]]], extra: Sequence[object] = ()) -> str:
    """A key that changes when any of the named files appears, vanishes, or changes size or time of modification.

    ``folders`` are pairs of a folder and the names of its files that count, in order; ``extra`` is what else matters.
    """
    digest = hashlib.sha256(repr((VERSION, *extra)).encode())
    for folder, names in folders:
        with os.scandir(folder) as entries:
            stats = {entry.name: entry.stat() for entry in entries if entry.is_file()}
        for name in names:
            stat = stats.get(name)
            state = "absent" if stat is None else f"{stat.st_size}|{stat.st_mtime_ns}"
            digest.update(f"{name}|{state}\n".encode())
    return digest.hexdigest()[:24]


def _small(name: str) -> bool:
    return name != MOTION


def open_pack(folder: Path) -> Pack:
    """Open a finished pack; nothing but ids and offsets is read into memory. Raises Damaged: not what was written."""
    return _opened(read_seal(folder).check(_small))


def _opened(seal: Seal, mend: Callable[[], Seal] | None = None) -> Pack:
    folder = seal.folder
    meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    with np.load(folder / "index.npz", allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in ("offsets", "text_offsets", "lines")}
    motion = SealedRows(seal, MOTION, (int(meta["frames"]), int(meta["features"])), mend)
    size = int(arrays["text_offsets"][-1])
    text = np.memmap(folder / "text.bin", dtype=np.uint8, mode="r", shape=(size,)) if size else np.empty(0, np.uint8)
    return Pack(
        folder, tuple(meta["ids"]), arrays["offsets"], motion, arrays["text_offsets"], text, arrays["lines"],
        meta["problems"], meta["fingerprint"],
    )  # fmt: skip


def pack(
    target: Path,
    ids: Sequence[str],
    motion_file: FileOf,
    text_file: FileOf,
    features: int,
    before: Callable[[], object] | None = None,
) -> Pack:
    """The pack in folder ``target``, built first if it is not there, and again if it is damaged.

    Safe against a second process doing the same, see :func:`hmu.checkpoints.sealed.sealed_folder`.

    Args:
        target: folder of the pack (its name holds :func:`source_key`).
        before: called before the files are read, if they need a check of their own.

    Raises:
        DataError: it cannot be written.
    """
    remove_leftovers(target.parent)

    def build(folder: Path) -> None:
        log.debug("packing %d clips into %s (once)", len(ids), target)
        if before is not None:
            before()
        _build(folder, ids, motion_file, text_file, features)

    def mend() -> Seal:
        """What makes a pack again in which a damaged block of motions was met."""
        seal = sealed_folder(target, build)
        if _opened(seal).fingerprint != opened.fingerprint:
            raise DataError(f"{target}: damaged, and the data it was made from have changed meanwhile; start again")
        return seal

    opened = _opened(sealed_folder(target, build, _small), mend)
    return opened


def _build(folder: Path, ids: Sequence[str], motion_file: FileOf, text_file: FileOf, features: int) -> None:
    problems: dict[str, list[str]] = {}
    digest = hashlib.sha256(f"1|{features}".encode())  # of content: equal motions and texts are equal data
    good: list[str] = []
    lengths, texts = [0], [b""]
    with open(folder / MOTION, "wb") as out, phase("packing", len(ids), "clips") as done:
        for name in ids:
            done.advance()
            content = read_clip(name, motion_file(name), text_file(name), features)
            if isinstance(content, list):
                for reason in content:
                    problems.setdefault(reason, []).append(name)
                continue
            motion, text = content
            raw = motion.tobytes()
            out.write(raw)
            for piece in (name.encode(), raw, text):
                digest.update(len(piece).to_bytes(8, "little"))
                digest.update(piece)
            good.append(name)
            lengths.append(len(motion))
            texts.append(text)
    lines = line_table(texts[1:])
    for kind, row in line_problems(lines):
        problems.setdefault(kind, []).append(f"{good[row['clip']]} line {row['number'] + 1}")
    usable = np.isin(np.arange(len(good)), lines["clip"][lines["state"] == GOOD])
    if not usable.all():
        problems["no usable caption"] = [good[index] for index in np.flatnonzero(~usable)]
    (folder / "text.bin").write_bytes(b"".join(texts))
    offsets = np.cumsum(lengths, dtype=np.int64)
    text_offsets = np.cumsum([len(text) for text in texts], dtype=np.int64)
    np.savez(folder / "index.npz", offsets=offsets, text_offsets=text_offsets, lines=lines)
    meta = {
        "version": VERSION, "features": features, "frames": int(offsets[-1]), "ids": good,
        "problems": problems, "fingerprint": digest.hexdigest(),
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
