"""The evaluator's vocabulary files (``our_vab_words.pkl``, ``our_vab_idx.pkl``), read without trusting the pickle."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

from hmu.documents import read_bytes
from hmu.errors import CheckpointError

_LIMIT = 64 << 20  # bytes of a list of words


class PlainUnpickler(pickle._Unpickler):
    """Lists, dicts, texts and numbers only: any reference to a class or function is refused.

    The one written in Python: the other takes memory for every number that a file gives to a remembered object.
    """

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Refused."""
        raise pickle.UnpicklingError(f"refers to {module_name}.{global_name}")

    def persistent_load(self, pid: Any) -> Any:
        """Refused."""
        raise pickle.UnpicklingError("refers to an outside object")


def read_plain_pickle(path: Path | str) -> Any:
    """Read a pickle that consists of built-in containers, texts and numbers; raises :class:`CheckpointError` else."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file, expected a pickled word list; check the path")
    try:
        return PlainUnpickler(io.BytesIO(read_bytes(path, CheckpointError, limit=_LIMIT))).load()
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: {error}, expected a pickle of plain words and numbers; refused, nothing was run"
        ) from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise CheckpointError(f"{path}: truncated or not a pickle; copy or download it again") from error


def read_word_index(path: Path | str) -> dict[str, int]:
    """``our_vab_idx.pkl``: word -> row of the vectors."""
    index = read_plain_pickle(path)
    plain = isinstance(index, dict) and all(
        isinstance(word, str) and isinstance(row, int) and not isinstance(row, bool) for word, row in index.items()
    )
    if not plain:
        raise CheckpointError(f"{path}: expected a pickled mapping word -> row, found a {type(index).__name__}")
    return dict(index)
