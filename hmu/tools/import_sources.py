"""What the BVH importer reads and writes besides motions: archives, captions, text files, split lists."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from hmu.documents import read_bytes
from hmu.errors import DataError
from hmu.tools.archives import archive_members

SPLITS = ("train", "val", "test")
LARGEST = {".bvh": 256 << 20, ".txt": 1 << 20}  # bytes of one file
_SHARES = {"test": 0.15, "val": 0.05}


def member_names(source: Path, suffix: str) -> list[str]:
    """Names of the files with a suffix in a folder (recursive) or tar archive; DataError if it is neither."""
    return [name for name, _ in _members(source, suffix, content=False)]


def read_members(source: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """``(stem, content)`` of every file with a suffix, in a folder (sorted) or an archive (in its order).

    Nothing is unpacked to disk. A file that cannot be read raises OSError when its turn comes.
    """
    return _members(source, suffix, content=True)


def _members(source: Path, suffix: str, *, content: bool) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.suffix.lower() == suffix and p.is_file()):
            yield path.stem, read_bytes(path, limit=LARGEST[suffix]) if content else b""
        return
    if not source.exists():
        raise DataError(f"'{source}' does not exist: give a folder or a tar archive with {suffix} files")
    for name, read in archive_members(source, suffix, LARGEST[suffix]):
        yield PurePosixPath(name).stem, read() if content else b""


def read_captions(path: Path) -> dict[str, list[str]]:
    """Captions per clip from a CSV with a header: column ``file`` (or ``id``, ``name``) and columns ``caption…``.

    Raises:
        DataError: missing file, or no such columns, or not a single caption.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream)
            columns = [c for c in rows.fieldnames or [] if c]
            key = next((c for c in columns if c.strip().lower() in ("file", "id", "name")), None)
            texts = [c for c in columns if c.strip().lower().startswith("caption")]
            if key is None or not texts:
                raise DataError(f"'{path}': expected columns 'file' and 'caption1', …; found {columns}")
            captions: dict[str, list[str]] = {}
            for row in rows:
                lines = [_one_line(row[c]) for c in texts if row[c] and row[c].strip()]
                captions.setdefault(clip_id(row[key] or ""), []).extend(lines)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"captions '{path}' cannot be read: {reason}") from None
    captions = {name: lines for name, lines in captions.items() if name and lines}
    if not captions:
        raise DataError(f"'{path}' holds no captions")
    return captions


def clip_id(file: str) -> str:
    """The id of a clip: its file name without folder and without ``.bvh``."""
    name = PurePosixPath(file.strip().replace("\\", "/")).name
    return name[:-4] if name.lower().endswith(".bvh") else name


def _one_line(text: str) -> str:
    """``#`` separates fields in text files, so a caption cannot hold one."""
    return " ".join(text.replace("#", " ").split())


def text_file(captions: list[str]) -> str:
    """A HumanML3D text file: one line ``caption#word/POS ...#0.0#0.0`` per caption."""
    from hmu.data.tagger import tag  # reads its lexicon on import

    return "".join(f"{caption}#{' '.join(tag(caption))}#0.0#0.0\n" for caption in captions)


def read_texts(source: Path) -> dict[str, str]:
    """Ready-made text files by clip id; a broken line is a DataError that names it."""
    texts: dict[str, str] = {}
    for name, content in read_members(source, ".txt"):
        text = content.decode("utf-8-sig", errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        for number, line in enumerate(lines, start=1):
            if line.count("#") != 3:
                raise DataError(f"{source}: {name}.txt line {number} is not 'caption#tokens#start#end': {line[:60]}")
        if lines:
            texts[name] = "\n".join(lines) + "\n"
    return texts


def read_splits(folder: Path, imported: set[str]) -> tuple[dict[str, list[str]], int]:
    """The imported clips of given ``train/val/test.txt``, and how many listed clips were not imported.

    Raises:
        DataError: no list at all, or a clip in two lists.
    """
    lists: dict[str, list[str]] = {}
    seen: dict[str, str] = {}
    missing = 0
    if not any((folder / f"{split}.txt").is_file() for split in SPLITS):
        raise DataError(f"'{folder}' holds none of train.txt, val.txt, test.txt")
    for split in SPLITS:
        path = folder / f"{split}.txt"
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else []
        names = [line.strip() for line in lines if line.strip()]
        for name in names:
            if name in seen:
                raise DataError(f"'{folder}': clip '{name}' is listed twice ({seen[name]} and {split})")
            seen[name] = split
        lists[split] = [name for name in names if name in imported]
        missing += len(names) - len(lists[split])
    return lists, missing


def hashed_splits(names: list[str]) -> dict[str, list[str]]:
    """80 / 5 / 15 % by the rank of each id's SHA-256: the same ids give the same split everywhere, in any order.

    With three clips or more no list is empty.
    """
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    lists: dict[str, list[str]] = {}
    for split, share in _SHARES.items():
        count = max(1, round(share * len(names))) if len(names) >= 3 else 0
        lists[split], ranked = sorted(ranked[:count]), ranked[count:]
    lists["train"] = sorted(ranked)
    return lists


def write_text(path: Path, content: str) -> None:
    """Write through a temporary name, so that a reader never sees half a file."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(content, encoding="utf-8", newline="\n")
    os.replace(temporary, path)


def write_splits(folder: Path, lists: dict[str, list[str]], everything: list[str]) -> None:
    """``train/val/test/train_val/all.txt``."""
    files = {**lists, "train_val": [*lists["train"], *lists["val"]], "all": everything}
    for name, ids in files.items():
        write_text(folder / f"{name}.txt", "".join(f"{clip}\n" for clip in ids))
