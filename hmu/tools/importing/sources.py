"""What the BVH importer reads and writes besides motions: captions, text files, split lists."""

from __future__ import annotations

import csv
import hashlib
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hmu.documents import decode, read_lines, read_text
from hmu.errors import DataError, shown
from hmu.tools.importing.members import file_path, read_members

SPLITS = ("train", "val", "test")
_SHARES = {"test": 0.15, "val": 0.05}


def read_captions(path: Path) -> dict[str, list[str]]:
    """Captions per clip from a table with a header: a column ``file`` (or ``id``, ``name``) and columns ``caption…``.

    Commas, semicolons or tabs separate the columns. Columns ``start`` and ``end`` (seconds) limit the row's captions
    to a part of a long take; a caption may say the same itself: ``a person waves#12.5#15``.

    Returns:
        captions by what stands in the column ``file`` (without ``.bvh``), times as ``#start#end`` at the end.

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
    captions: dict[str, list[str]] = {}
    for number, row in rows:
        if len(row) > width and any(cell.strip() for cell in row[width:]):
            raise DataError(
                f"{name} line {number}: {len(row)} values for {width} columns; put a caption that holds a comma in "
                'double quotes: walk.bvh,"a person walks, then kicks"'
            )
        row += [""] * (width - len(row))
        _no_loose_comma(row, texts, f"{name} line {number}")
        written = [_one_line(row[c], name, number) for c in texts if row[c].strip()]
        tags = _times([row[c] if c is not None else "" for c in times], f"{name} line {number}")
        if written and not file_path(row[key]).parts:
            raise DataError(f"{name} line {number}: a caption without a file: '{shown(written[0], 40)}'")
        if written:
            captions.setdefault(str(file_path(row[key])), []).extend(text + tags for text in written)
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


def _one_line(text: str, name: str, number: int) -> str:
    """A caption as one line; ``#`` separates fields in text files, so it stays only in front of times.

    A whole line of a text file is understood as well; its tokens are made again.
    """
    timed = re.fullmatch(r"(.*?)#\s*([0-9.]+)\s*#\s*([0-9.]+)", text.strip(), re.DOTALL)
    said, times = (timed[1], [timed[2], timed[3]]) if timed is not None else (text, ["", ""])
    before, _, tokens = said.rpartition("#")
    if timed is not None and before and all("/" in word for word in tokens.split()):
        said = before
    return " ".join(said.replace("#", " ").split()) + _times(times, f"{name} line {number}")


def _times(cells: list[str], where: str) -> str:
    """``#start#end`` in seconds, or nothing where both are empty or zero; an empty end is the clip's end."""
    try:
        start, end = (float(cell.replace(",", ".")) if cell.strip() else 0.0 for cell in cells)
    except ValueError:
        raise DataError(f"{where}: start and end are seconds, got {shown(cells)}") from None
    if start == end == 0:
        return ""
    if not (0 <= start < 1e6 and (end == 0 or start < end < 1e6)):
        raise DataError(f"{where}: expected 0 <= start < end in seconds, got {shown(cells)}")
    return f"#{start:g}#{end:g}"


@dataclass(frozen=True)
class TextLine:
    """One line of a HumanML3D text file: ``caption#word/POS …#start#end``, times in seconds, both 0 for all."""

    caption: str
    tokens: str
    start: float = 0.0
    end: float = 0.0

    def __str__(self) -> str:
        return f"{self.caption}#{self.tokens}#{self.start}#{self.end}\n"

    @property
    def whole(self) -> bool:
        """Whether it describes the whole clip."""
        return self.start == self.end == 0.0

    def lasts_beyond(self, time: float) -> bool:
        """Whether it says anything of what comes after ``time``, in seconds; an end of 0 is the clip's end."""
        return self.end == 0.0 or self.end > time

    def later(self, time: float) -> TextLine:
        """The same line where ``time`` seconds have been left out at the start."""
        return replace(self, start=max(self.start - time, 0.0), end=max(self.end - time, 0.0))


def tagged(caption: str) -> TextLine:
    """The text line of a caption from :func:`read_captions`; words and parts of speech are tagged here."""
    from hmu.data.tagger import tag  # reads its lexicon on import

    text, *times = caption.split("#")
    return TextLine(text, " ".join(tag(text)), *(float(time) for time in times))


def read_texts(source: Path) -> dict[str, list[TextLine]]:
    """Ready-made text files by their path in the source; a broken line is a DataError that names it."""
    texts: dict[str, list[TextLine]] = {}
    for path, content in read_members(source, ".txt"):
        lines = [line for line in decode(content(), f"{source}: {path}.txt").splitlines() if line.strip()]
        for number, line in enumerate(lines, start=1):
            texts.setdefault(str(path), []).append(_text_line(line, f"{source}: {path}.txt line {number}"))
    return texts


def _text_line(line: str, where: str) -> TextLine:
    parts = line.split("#")
    try:
        start, end = (0.0 if math.isnan(time) else time for time in (float(parts[2]), float(parts[3])))
        if len(parts) == 4 and math.isfinite(start) and math.isfinite(end):
            return TextLine(parts[0], parts[1], start, end)
    except (ValueError, IndexError):
        pass
    raise DataError(f"{where} is not 'caption#tokens#start#end': {shown(line)}")


def read_splits(folder: Path, clips: Mapping[str, list[str]]) -> tuple[dict[str, list[str]], int]:
    """The imported clips of given ``train/val/test.txt``, and how many listed names were not imported.

    Args:
        folder: where the lists are.
        clips: the clips that a listed name stands for (the windows of a take).

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
        names = [unicodedata.normalize("NFC", line) for line in read_lines(path)] if path.is_file() else []
        missing += sum(name not in clips for name in names)
        lists[split] = [clip for name in names for clip in clips.get(name, [])]
        for name in [*names, *lists[split]]:
            if seen.setdefault(name, split) != split:
                raise DataError(f"'{folder}': clip '{shown(name)}' is listed twice ({seen[name]} and {split})")
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
