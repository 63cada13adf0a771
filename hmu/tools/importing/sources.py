"""What an import starts from, files and their captions, and split lists. Light: mistakes are said at once."""

from __future__ import annotations

import csv
import hashlib
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from omegaconf import DictConfig

from hmu.data.captions import Caption
from hmu.documents import decode, read_lines, read_text
from hmu.errors import DataError, shown
from hmu.tools.importing.members import clip_ids, file_path, matched, read_members

SPLITS = ("train", "val", "test")
_SHARES = {"test": 0.15, "val": 0.05}


@dataclass(frozen=True)
class Collection:
    """The files of a source (folder or archive): their ids, their captions, and captions that fit no file, with why."""

    source: Path
    ids: Mapping[PurePosixPath, str]
    lines: Mapping[PurePosixPath, list[Caption]]
    strays: dict[str, str]

    @classmethod
    def read(cls, config: DictConfig) -> Collection:
        """Everything but the motions; DataError where something cannot be used."""
        captions = read_captions(Path(config.captions)) if config.captions is not None else {}
        texts = read_texts(Path(config.texts)) if config.texts is not None else {}
        source = Path(config.source)
        ids = clip_ids(path for path, _ in read_members(source, ".bvh"))
        if not ids:
            raise DataError(f"'{source}' holds no .bvh file")
        from hmu.data.tagger import tagged  # reads its lexicon on import

        written, strays = matched(captions, ids)
        ready, _ = matched(texts, ids)  # folders of texts often hold more than is imported
        lines = {path: list(map(tagged, own)) for path, own in written.items() if path not in ready} | ready
        return cls(source, ids, lines, strays)


def read_captions(path: Path) -> dict[str, list[Caption]]:
    """Captions by file, not tagged, from a table with a column ``file`` (or ``id``, ``name``) and columns ``caption…``.

    Commas, semicolons or tabs separate the columns. Columns ``start`` and ``end`` (seconds) limit the row's captions
    to a part of a long take; a caption may say the same itself: ``a person waves#12.5#15``.

    Raises:
        DataError: unreadable, without such columns, without a caption, or a row that does not fit its header (an
            unquoted comma, a quote that is never closed): the line says where and how to mend it.
    """
    name = f"captions '{path}'"
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first = 1 if lines[0].lower().startswith("sep=") else 0  # Excel's hint
    header = lines[first] if lines[first:] else ""
    rows = _rows(lines[first:], max(",;\t", key=header.count), name, first)
    key, texts, times, width = _columns(next(rows, (1, []))[1], name)
    captions: dict[str, list[Caption]] = {}
    for number, row in rows:
        where = f"{name} line {number}"
        if any(cell.strip() for cell in row[width:]):
            raise DataError(
                f"{where}: {len(row)} values for {width} columns; put a caption that holds a comma in "
                'double quotes: walk.bvh,"a person walks, then kicks"'
            )
        row += [""] * (width - len(row))
        _no_loose_comma(row, texts, where)
        part = ["" if column is None else row[column] for column in times]
        written = [_caption(row[column], part, where) for column in texts if row[column].strip()]
        if written and not file_path(row[key]).parts:
            raise DataError(f"{where}: a caption without a file: '{shown(written[0].text, 40)}'")
        if written:
            captions.setdefault(str(file_path(row[key])), []).extend(written)
    if not captions:
        raise DataError(f"{name}: holds no captions")
    return captions


def _rows(lines: list[str], separator: str, name: str, before: int) -> Iterator[tuple[int, list[str]]]:
    """``(line number, cells)`` of every row that is not empty; DataError where the quotes do not fit."""
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator, strict=True)
    while True:
        number = before + reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f'{name} line {number}: {shown(error)}; put a caption in double quotes and write "" for one inside'
            ) from None
        swallowed = next((cell for cell in row if re.search(r"\n[^\n]*\.bvh\s*[,;\t]", cell, re.IGNORECASE)), None)
        if swallowed is not None:
            raise DataError(f"{name} line {number}: a quote is not closed, the next row is inside the caption")
        if any(cell.strip() for cell in row):
            yield number, row


def _columns(header: list[str], name: str) -> tuple[int, list[int], tuple[int | None, int | None], int]:
    """Places of the file's name, the captions and the times, and how many columns there are."""
    columns = [cell.strip().lower() for cell in header]
    twice = next((c for c in columns if c and columns.count(c) > 1), None)
    if twice is not None:
        raise DataError(f"{name}: column '{shown(twice)}' appears twice; name them caption1, caption2, …")
    key = next((columns.index(c) for c in ("file", "id", "name") if c in columns), None)
    texts = [place for place, c in enumerate(columns) if c.startswith("caption")]
    if key is None or not texts:
        raise DataError(f"{name}: expected columns 'file' and 'caption1', …; found {shown(columns, 100)}")
    start, end = (columns.index(c) if c in columns else None for c in ("start", "end"))
    return key, texts, (start, end), len(columns)


def _no_loose_comma(row: list[str], texts: list[int], where: str) -> None:
    """A second caption that starts with a blank, when the first does not, is the rest of a sentence cut at a comma."""
    if len(texts) > 1 and not row[texts[0]].startswith(" "):
        loose = next((row[c] for c in texts[1:] if re.match(r" +[a-z]", row[c])), None)
        if loose is not None:
            raise DataError(
                f"{where}: the caption '{shown(loose, 40)}' looks cut off at a comma; put captions with commas in "
                'double quotes: "a person walks, then kicks"'
            )


def _caption(text: str, part: Sequence[str], where: str) -> Caption:
    """A caption in one line, without ``#``, with the times behind it, else those of its row, ``part``.

    A whole line of a text file is understood as well; its tokens are made again.
    """
    timed = re.fullmatch(r"(.*?)#\s*([0-9.]+)\s*#\s*([0-9.]+)", text.strip(), re.DOTALL)
    if timed is not None:
        text, *part = timed.groups()
        before, _, tokens = text.rpartition("#")
        if before and all("/" in word for word in tokens.split()):
            text = before
    return Caption(" ".join(text.replace("#", " ").split()), (), *_times(part, where))


def _times(cells: Sequence[str], where: str) -> tuple[float, float]:
    """Start and end in seconds; both 0 where both are empty; an empty end is the clip's end."""
    try:
        start, end = (float(cell.replace(",", ".")) if cell.strip() else 0.0 for cell in cells)
    except ValueError:
        raise DataError(f"{where}: start and end are seconds, got {shown(cells)}") from None
    if not (0 <= start < 1e6 and (end == 0 or start < end < 1e6)):
        raise DataError(f"{where}: expected 0 <= start < end in seconds, got {shown(cells)}")
    return start, end


def read_texts(source: Path) -> dict[str, list[Caption]]:
    """Ready-made text files by their path in the source; a broken line is a DataError that names it."""
    texts: dict[str, list[Caption]] = {}
    for path, content in read_members(source, ".txt"):
        lines = [line for line in decode(content(), f"{source}: {path}.txt").splitlines() if line.strip()]
        for number, line in enumerate(lines, start=1):
            texts.setdefault(str(path), []).append(_text_line(line, f"{source}: {path}.txt line {number}"))
    return texts


def _text_line(line: str, where: str) -> Caption:
    try:
        caption = Caption.parse(line, exact_tokens=True)
        if line.count("#") == 3 and math.isfinite(caption.start) and math.isfinite(caption.end):
            return caption
    except ValueError:
        pass
    raise DataError(f"{where} is not 'caption#tokens#start#end': {shown(line)}")


def read_splits(folder: Path, clips: Mapping[str, list[str]]) -> tuple[dict[str, list[str]], int]:
    """The clips of given ``train/val/test.txt``, and how many listed names were not imported.

    ``clips`` are those that a listed name stands for (the windows of a take). DataError: no list, or a clip in two.
    """
    lists: dict[str, list[str]] = {}
    listed: dict[str, str] = {}
    missing = 0
    if not any((folder / f"{split}.txt").is_file() for split in SPLITS):
        raise DataError(f"'{folder}' holds none of train.txt, val.txt, test.txt")
    for split in SPLITS:
        path = folder / f"{split}.txt"
        names = [unicodedata.normalize("NFC", line) for line in read_lines(path)] if path.is_file() else []
        missing += sum(name not in clips for name in names)
        lists[split] = [clip for name in names for clip in clips.get(name, [])]
        for name in [*names, *lists[split]]:
            if listed.setdefault(name, split) != split:
                raise DataError(f"'{folder}': clip '{shown(name)}' is listed twice ({listed[name]} and {split})")
        lists[split] = list(dict.fromkeys(lists[split]))
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


def write_splits(folder: Path, lists: dict[str, list[str]], everything: list[str]) -> None:
    """``train/val/test/train_val/all.txt``."""
    files = {**lists, "train_val": [*lists["train"], *lists["val"]], "all": everything}
    for name, ids in files.items():
        (folder / f"{name}.txt").write_text("".join(f"{clip}\n" for clip in ids), encoding="utf-8", newline="\n")
