"""Token ids of a data set as a table, read and written in the published layout."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmu import documents
from hmu.documents import write_bytes
from hmu.errors import DataError, MissingExtra, shown
from hmu.escaping import csv_cell, csv_text

HIGHEST = 2**15 - 1  # code that fits the table
NONE = -1  # no token: beyond the end of a clip
FACTS = ("name", "rep", "text")
Codes = NDArray[np.int16]


@dataclass(frozen=True)
class CodeTable:
    """Token ids of many clips.

    Attributes:
        names: the clip of each row; leading zeros count.
        repeats: which pass over the data a row comes from (the published table has several random crops per clip).
        texts: a caption of each row.
        codes: ``(rows, layers, tokens)``, :data:`NONE` beyond the end of a clip.
    """

    names: tuple[str, ...]
    repeats: tuple[str, ...]
    texts: tuple[str, ...]
    codes: Codes

    def __len__(self) -> int:
        return len(self.names)

    @property
    def layers(self) -> int:
        """Quantiser layers."""
        return int(self.codes.shape[1])

    @property
    def columns(self) -> list[str]:
        """``name, rep, text, codes_0:0 ... codes_<layer>:<token>``: the published header."""
        return columns_of(*self.codes.shape[1:])

    def rows_of(self, names: set[str]) -> NDArray[np.bool_]:
        """Which rows belong to one of the clips ``names`` ``(rows,)``."""
        return np.fromiter((name in names for name in self.names), dtype=bool, count=len(self))

    def select(self, rows: NDArray[np.bool_]) -> CodeTable:
        """The rows where ``rows`` ``(n,)`` is True."""
        keep = np.flatnonzero(rows).tolist()
        names, repeats, texts = (tuple(column[i] for i in keep) for column in (self.names, self.repeats, self.texts))
        return CodeTable(names, repeats, texts, self.codes[rows])

    def joined(self, other: CodeTable) -> CodeTable:
        """The rows of both tables."""
        facts = (self.names + other.names, self.repeats + other.repeats, self.texts + other.texts)
        return CodeTable(*facts, stack([self.codes, other.codes]))

    # -- files ---------------------------------------------------------------------------------------------------------
    def save(self, path: Path | str) -> Path:
        """Write ``.csv`` or ``.parquet``, atomically.

        Raises:
            DataError: another ending. MissingExtra: Parquet without pyarrow.
        """
        path = Path(path)
        if path.suffix == ".parquet":
            write_bytes(path, self._parquet())
        elif path.suffix == ".csv":
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(self.columns)
            flat = self.codes.reshape(len(self), -1).tolist()
            facts = zip(self.names, self.repeats, self.texts, strict=True)
            writer.writerows([*map(csv_cell, fact), *row] for fact, row in zip(facts, flat, strict=True))
            write_bytes(path, text.getvalue().encode("utf-8"))
        else:
            raise DataError(f"{path}: a table of codes is written as .csv or .parquet")
        return path

    def _parquet(self) -> bytes:
        arrow, parquet = _pyarrow("writing codes as Parquet")
        flat = self.codes.reshape(len(self), -1)
        facts = [list(column) for column in (self.names, self.repeats, self.texts)]
        columns = [*facts, *np.ascontiguousarray(flat.T)]
        stream = io.BytesIO()
        parquet.write_table(arrow.table(dict(zip(self.columns, columns, strict=True))), stream)
        return stream.getvalue()

    @classmethod
    def load(cls, path: Path | str) -> CodeTable:
        """Read a ``.csv`` or ``.parquet`` in the published layout.

        Raises:
            DataError: missing file, other columns, or a cell that is no code; one line says which.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError(f"{path}: no such table of codes; expected a .csv or .parquet")
        header, facts, cells = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
        last = header[-1].removeprefix("codes_").split(":") if len(header) > len(FACTS) else []
        try:
            layers, tokens = (int(part) + 1 for part in last)
        except ValueError:
            layers, tokens = 0, 0
        if not cells.size or layers * tokens != cells.shape[1] or header != columns_of(layers, tokens):
            raise DataError(
                f"{path}: expected the columns name, rep, text, codes_0:0 ... codes_<layer>:<token>, and rows"
            )
        codes = _as_codes(cells, path).reshape(len(cells), layers, tokens)
        return cls(tuple(facts[0]), tuple(facts[1]), tuple(facts[2]), codes)


def columns_of(layers: int, tokens: int) -> list[str]:
    """The published header of a table of so many codes per row."""
    return [*FACTS, *(f"codes_{layer}:{token}" for layer in range(layers) for token in range(tokens))]


def _pyarrow(purpose: str) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "parquet", purpose) from None
    return pyarrow, pyarrow.parquet


def _read_parquet(path: Path) -> tuple[list[str], list[list[str]], NDArray[Any]]:
    arrow, parquet = _pyarrow("reading codes from Parquet")
    try:
        table = parquet.read_table(path)
        facts = [[str(value) for value in column.to_pylist()] for column in table.columns[: len(FACTS)]]
        codes = [column.to_numpy() for column in table.columns[len(FACTS) :]]
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: broken or no Parquet file ({shown(' '.join(str(error).split()), 80)})") from error
    return list(table.column_names), facts, np.stack(codes, 1) if codes else np.zeros((0, 0), np.int16)


def _read_csv(path: Path) -> tuple[list[str], list[list[str]], NDArray[Any]]:
    try:
        header, *rows = csv.reader(io.StringIO(documents.read_text(path), newline=""))
    except (csv.Error, ValueError) as error:
        raise DataError(f"{path}: broken or empty table ({shown(error)})") from error
    ragged = next((i for i, row in enumerate(rows, start=2) if len(row) != len(header)), None)
    if ragged is not None:
        raise DataError(f"{path}, line {ragged}: {len(rows[ragged - 2])} cells, expected {len(header)}")
    if header[: len(FACTS)] != list(FACTS):
        raise DataError(f"{path}: begins with {shown(', '.join(header))}, expected the columns {', '.join(FACTS)}, …")
    width = len(header) - len(FACTS)
    cells = np.array([row[len(FACTS) :] for row in rows], dtype=str).reshape(len(rows), width)
    return header, [[csv_text(row[i]) for row in rows] for i in range(len(FACTS))], cells


def _as_codes(cells: NDArray[Any], path: Path) -> Codes:
    """Whole numbers from -1 on, of text or numbers.

    Raises:
        DataError: a cell that is none.
    """
    try:
        with np.errstate(invalid="ignore"):  # NaN becomes some number, which then differs
            values = np.where(cells == "", str(NONE), cells).astype(np.int64) if cells.dtype.kind == "U" else cells
            whole = values.astype(np.int64)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"{path}: a cell is no code ({shown(error)}); expected whole numbers, -1 or nothing for none"
        ) from None
    if bool((whole != values).any()) or int(whole.min(initial=NONE)) < NONE or int(whole.max(initial=0)) > HIGHEST:
        raise DataError(
            f"{path}: a cell is no code; expected whole numbers from 0 to {HIGHEST}, -1 or nothing for none"
        )
    return whole.astype(np.int16)


def stack(parts: Sequence[Codes]) -> Codes:
    """Tables of codes ``(rows, layers, tokens)`` one under the other, padded to the longest."""
    longest = max(part.shape[2] for part in parts)
    padded = [np.pad(p, ((0, 0), (0, 0), (0, longest - p.shape[2])), constant_values=NONE) for p in parts]
    return np.concatenate(padded)


def trimmed(codes: Codes) -> Codes:
    """Without the tokens at the end that no row has."""
    used = (codes != NONE).any((0, 1)).nonzero()[0]
    return codes[:, :, : int(used.max(initial=-1)) + 1]
