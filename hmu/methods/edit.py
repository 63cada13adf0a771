"""Edits: the small, reversible artefact that every method leaves behind.

An edit never touches the base checkpoint. It is a set of weight deltas for a backbone's :meth:`network`, stored whole
(:class:`DeltaEdit`) or as low-rank factors in PEFT's own format (:class:`AdapterEdit`).
:mod:`hmu.methods.applying` adds it to the weights with any strength and takes it away again bit for bit.
"""

from __future__ import annotations

import hashlib
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone
from hmu.checkpoints.safe import refuse_nonfinite
from hmu.errors import CheckpointError, ConfigError, shown
from hmu.methods import edit_files

_hashed: WeakKeyDictionary[MotionBackbone, tuple[object, str]] = WeakKeyDictionary()  # which state, and its hash


def fingerprint(backbone: MotionBackbone) -> str:
    """SHA-256 of the names, shapes, types and bytes of the weights that edits refer to.

    Weights that nobody has written to since (torch counts in-place changes) are not read again.
    """
    weights = sorted(backbone.network().state_dict().items())
    state = tuple((name, value.data_ptr(), value._version) for name, value in weights)
    if backbone not in _hashed or _hashed[backbone][0] != state:
        _hashed[backbone] = state, hashed(weights)
    return _hashed[backbone][1]


def hashed(weights: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 of named tensors of any shape: names, shapes, types and bytes."""
    digest = hashlib.sha256()
    for name, value in weights:
        array = value.detach().cpu().contiguous()
        digest.update(f"{name}|{tuple(array.shape)}|{array.dtype}".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name: what an edit may change (views of the live storage, no copies)."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


@dataclass(kw_only=True, eq=False)
class Edit(ABC):
    """A change of weights that can be applied with a strength, reverted, composed, saved and loaded.

    Attributes:
        kind: how it is stored (``"delta"`` or ``"adapter"``).
        method, concept: names of what made it and of what it removes.
        base: :func:`fingerprint` of the backbone it was made for; ``""`` when unknown.
        settings: the method's settings, for the reader (JSON values).
    """

    kind: ClassVar[str] = ""

    method: str = ""
    concept: str = ""
    base: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = dict(self.settings)

    def deltas(self, backbone: MotionBackbone) -> dict[str, Tensor]:
        """What to add to each weight at strength 1, float64 on the CPU, by name relative to ``backbone.network()``.

        Raises:
            CheckpointError: a name or a shape of this edit does not exist in ``backbone``.
        """
        network = weights_of(backbone.network())
        result: dict[str, Tensor] = {}
        for name, delta in self._deltas():
            if name not in network:
                raise CheckpointError(
                    f"the edit '{self.label}' changes '{name}', which {backbone.name} does not have: "
                    "apply it to the backbone it was made for"
                )
            if network[name].shape != delta.shape:
                raise CheckpointError(
                    f"the edit '{self.label}' has shape {tuple(delta.shape)} for '{name}', {backbone.name} has "
                    f"{tuple(network[name].shape)}: apply it to a backbone of the same size"
                )
            result[name] = delta
        return result

    @abstractmethod
    def _deltas(self) -> Iterator[tuple[str, Tensor]]:
        """As :meth:`deltas`, unchecked."""

    @property
    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The stored tensors, of any shape, by the name they have in the file."""

    @property
    def label(self) -> str:
        """``method-concept``, for messages."""
        return "-".join(part for part in (self.method, self.concept) if part) or self.kind

    @property
    def meta(self) -> dict[str, Any]:
        """What ``edit.json`` says besides the checksum."""
        facts = {name: getattr(self, name) for name in ("kind", "method", "concept", "base", "settings")}
        return {"schema": 1, **facts}

    def save(self, folder: Path | str, dtype: torch.dtype | None = None) -> Path:
        """Write the edit's folder atomically (an older edit of that name is replaced only by a complete new one).

        Args:
            folder: parents are created.
            dtype: store the tensors in this type (``torch.float16`` halves the file); None = as they are.

        Raises:
            CheckpointError: a tensor holds NaN or infinity; nothing is written.
        """
        tensors = {n: t.detach().cpu().to(dtype or t.dtype).contiguous() for n, t in self.tensors.items()}
        refuse_nonfinite(tensors, f"the edit '{self.label}' for '{folder}'")
        return edit_files.write(Path(folder), tensors, self.meta, self._extra_files())

    def _extra_files(self) -> dict[str, dict[str, Any]]:
        return {}


@dataclass(eq=False)
class DeltaEdit(Edit):
    """Weight deltas, stored whole.

    Attributes:
        stored: deltas by name relative to the network, each of its weight's shape, any floating type.
    """

    kind: ClassVar[str] = "delta"

    stored: dict[str, Tensor]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.stored = {name: delta.detach().cpu() for name, delta in self.stored.items()}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The deltas, each of its weight's shape."""
        return self.stored

    def _deltas(self) -> Iterator[tuple[str, Tensor]]:
        for name, delta in self.stored.items():
            yield name, delta.double()


@dataclass(eq=False)
class AdapterEdit(Edit):
    """Low-rank adapters in PEFT's folder format: ``delta W = alpha / rank * B A`` for each adapted linear layer.

    ``peft.PeftModel.from_pretrained(network, folder)`` loads the same folder.

    Attributes:
        factors: by linear layer, ``(A, B)`` of shapes ``(rank, inputs)`` and ``(outputs, rank)``.
        alpha: LoRA's scale; the strength of the change is ``alpha / rank`` (Hu et al. 2021, section 4.1).
        dropout: that the adapters were trained with; only recorded.
    """

    kind: ClassVar[str] = "adapter"

    factors: dict[str, tuple[Tensor, Tensor]]
    alpha: float = field(kw_only=True)
    dropout: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        ranks = {rank for a, b in self.factors.values() for rank in (a.shape[0], b.shape[1])}
        if len(ranks) != 1:
            raise CheckpointError(f"an adapter needs one rank in all its layers, found {sorted(ranks) or 'no layers'}")
        self.factors = {name: (a.detach().cpu(), b.detach().cpu()) for name, (a, b) in self.factors.items()}
        self.rank, self.alpha, self.dropout = ranks.pop(), float(self.alpha), float(self.dropout)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The factors ``(rank, in)`` and ``(out, rank)`` under PEFT's names."""
        return edit_files.to_peft_names(self.factors)

    def _deltas(self) -> Iterator[tuple[str, Tensor]]:
        for name, (a, b) in self.factors.items():
            yield f"{name}.weight", self.alpha / self.rank * (b.double() @ a.double())

    @property
    def meta(self) -> dict[str, Any]:
        """What ``edit.json`` says besides the checksum, with rank and alpha."""
        return super().meta | {"rank": self.rank, "alpha": self.alpha, "dropout": self.dropout}

    def _extra_files(self) -> dict[str, dict[str, Any]]:
        config = edit_files.peft_config(sorted(self.factors), self.rank, self.alpha, self.dropout)
        return {edit_files.ADAPTER_CONFIG: config}


def load_edit(path: Path | str) -> Edit:
    """Load an edit's folder, or the edit of a run folder (its ``edit/``); a bare PEFT LoRA folder is accepted too.

    Raises:
        CheckpointError: missing, incomplete, corrupt (checksum), not an edit, or not finite; one line says which.
    """
    folder = edit_files.locate(Path(path))
    meta, tensors = edit_files.read(folder)
    refuse_nonfinite(tensors, str(folder))
    facts = {key: meta.get(key, "") for key in ("method", "concept", "base")} | {"settings": meta.get("settings") or {}}
    if meta["kind"] == DeltaEdit.kind:
        return DeltaEdit(tensors, **facts)
    config = edit_files.read_peft_config(folder)
    factors = edit_files.from_peft_names(tensors, folder)
    dropout = float(config.get("lora_dropout") or 0.0)
    return AdapterEdit(factors, alpha=float(config["lora_alpha"]), dropout=dropout, **facts)


def load_edits(paths: Sequence[str]) -> list[tuple[Edit, float]]:
    """Load ``path`` or ``path:strength`` entries, as given on the command line.

    Raises:
        CheckpointError: as :func:`load_edit`.
        ConfigError: a strength that is no finite number.
    """
    pairs = []
    for entry in paths:
        head, colon, tail = entry.rpartition(":")
        try:
            path, scale = (head, float(tail)) if colon and not os.path.exists(entry) else (entry, 1.0)
        except ValueError:  # the colon belongs to the path (a drive letter)
            path, scale = entry, 1.0
        if not math.isfinite(scale):
            raise ConfigError(f"edits={shown(entry, 120)}: strength {tail}, expected a finite number, e.g. {head}:1.0")
        pairs.append((load_edit(path), scale))
    return pairs
