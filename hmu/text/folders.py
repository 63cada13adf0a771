"""What a received folder of a language model may ask of ``transformers``: nothing that fetches or runs code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hmu.documents import read_json
from hmu.errors import CheckpointError, shown

_LIMIT = 16 << 20  # bytes of config.json


def check_language_model(folder: Path) -> None:
    """Refuse a folder whose ``config.json`` asks for attention or other kernels of a hub repository.

    ``transformers`` would fetch such a kernel, which is compiled code, and run it. Python files beside the weights are
    never imported: every ``from_pretrained`` is called with ``trust_remote_code=False``.

    Raises:
        CheckpointError: that, or a ``config.json`` that is broken.
    """
    path = folder / "config.json"
    if not path.is_file():
        return  # an incomplete folder, which transformers will say
    for key, value in _implementations(read_json(path, CheckpointError, limit=_LIMIT)):
        if "/" in str(value) or "|" in str(value):
            raise CheckpointError(
                f"{path}: {shown(key)} is {shown(value)}, which would fetch and run a kernel: refused; "
                "remove that line, or get the model from its authors"
            )


def _implementations(node: Any) -> list[tuple[str, Any]]:
    """The settings, at any depth, that choose an implementation."""
    found = []
    if isinstance(node, dict):
        for key, value in node.items():
            found += [(key, value)] if "implementation" in key or "kernel" in key else []
            found += _implementations(value)
    elif isinstance(node, list):
        found = [pair for entry in node for pair in _implementations(entry)]
    return found
