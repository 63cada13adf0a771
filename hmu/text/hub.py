"""Frozen models of the ``transformers`` library, from a folder or from the hub; no code of theirs is run."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from typing_extensions import Self

from hmu.documents import read_json, walk
from hmu.errors import CheckpointError, MissingExtra, shown
from hmu.text.base import TextEncoder

_LIMIT = 16 << 20  # bytes of config.json
BATCH = 256  # prompts per forward pass: bounds memory, changes no number


class FrozenTransformer(TextEncoder):
    """A frozen model and its tokeniser.

    Args:
        tokenizer: None where only token ids will be given.
        max_tokens: longest prompt; the rest is cut off.
        facts: what decides about embeddings besides weights and tokeniser, first of all the kind of encoder.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, width: int, max_tokens: int, *facts: object) -> None:
        super().__init__()
        self.model, self.tokenizer = model.eval().requires_grad_(False), tokenizer
        self.width, self.max_tokens, self._facts = width, max_tokens, facts
        self._fingerprint: str | None = None

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode: the model is frozen."""
        return super().train(False)

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, the tokeniser and the chosen output. Computed once: the weights are frozen."""
        if self._fingerprint is None:
            kind, *facts = self._facts
            described = "|".join(str(fact) for fact in (*facts, self.max_tokens, _tokenizer_rules(self.tokenizer)))
            digest = hashlib.sha256(described.encode())
            for name, value in sorted(self.model.state_dict().items()):
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
            self._fingerprint = f"{kind}-{digest.hexdigest()[:32]}"
        return self._fingerprint

    def tokenized(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids and mask, both int64 ``(batch, tokens)``, padded to the longest of ``texts``.

        Raises:
            CheckpointError: there is no tokeniser.
        """
        if self.tokenizer is None:
            raise CheckpointError("this text tower was built without a tokenizer: give token ids to encode_ids")
        batch = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return batch["input_ids"], batch["attention_mask"]


def _tokenizer_rules(tokenizer: Any) -> str:
    """All that decides which ids a text becomes; padding and truncation, which every call sets anew, left out."""
    rules = json.loads(tokenizer.backend_tokenizer.to_str()) if tokenizer is not None else {}
    return json.dumps({name: rules[name] for name in sorted(rules.keys() - {"padding", "truncation"})})


def load(name: str, trust_network: bool, what: str, model: str, tokenizer: str, **options: Any) -> tuple[Any, Any]:
    """A model and its tokeniser from a folder, the hub's local cache, or the hub itself, tried in this order.

    Args:
        name: a folder in the Hugging Face layout, or a name on the hub.
        trust_network: whether the hub may be asked.
        what: is loaded, for messages.
        model, tokenizer: names of their classes in ``transformers``.
        options: of the model's ``from_pretrained``.

    Raises:
        MissingExtra: ``transformers`` is not installed.
        CheckpointError: no such folder or name, incomplete files, or no network.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("transformers", "clip", what[0].upper() + what[1:]) from error

    def read(local_only: bool) -> tuple[Any, Any]:
        with _quiet(transformers):
            words = getattr(transformers, tokenizer).from_pretrained(
                name, local_files_only=local_only, trust_remote_code=False
            )
            network = getattr(transformers, model).from_pretrained(
                name, local_files_only=local_only, trust_remote_code=False, **options
            )
        return network, words

    local = Path(name).is_dir()
    # A path that does not exist must not be looked up on the hub, where it would end in a riddle.
    if not local and (name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1):
        raise CheckpointError(
            f"{name}: no such folder, expected {what} in the Hugging Face layout (config.json, weights, tokenizer "
            "files)"
        )
    if local:
        check_language_model(Path(name))
    try:
        return read(local_only=True)
    except Exception as first:  # transformers raises many kinds for missing files, names and networks
        if local:
            raise CheckpointError(
                f"{name}: cannot load {what}; the folder needs config.json, model.safetensors and the tokenizer files"
            ) from first
        remedy = "download it where there is a network and give the folder (text.name_or_folder=path)"
        if not trust_network or not _hub_answers():
            why = "the hub cannot be reached" if trust_network else "text.trust_network is false"
            raise CheckpointError(f"{name}: not in the hub's local cache and {why}; {remedy}") from first
        try:
            return read(local_only=False)
        except Exception as error:
            raise CheckpointError(f"{name}: cannot be loaded from the hub; check the name, or {remedy}") from error


def _hub_answers(timeout: float = 5.0) -> bool:
    """Whether the hub's host resolves and accepts connections; asked because its client retries for minutes."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True  # only the proxy can tell
    address = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        with socket.create_connection((address.hostname or "", address.port or 443), timeout=timeout):
            return True
    except OSError:
        return False


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Silence the report about weights that are left out on purpose."""
    logging_ = transformers.utils.logging
    level, bars = logging_.get_verbosity(), logging_.is_progress_bar_enabled()
    logging_.set_verbosity_error()
    logging_.disable_progress_bar()
    try:
        yield
    finally:
        logging_.set_verbosity(level)
        if bars:
            logging_.enable_progress_bar()


def check_language_model(folder: Path) -> None:
    """Refuse a folder whose ``config.json`` asks for attention or other kernels of a hub repository.

    ``transformers`` would fetch such a kernel, which is compiled code, and run it. Python files beside the weights are
    never imported: every ``from_pretrained`` is called with ``trust_remote_code=False``.
    """
    path = folder / "config.json"
    if not path.is_file():
        return  # an incomplete folder, which transformers will say
    for place, value in walk(read_json(path, CheckpointError, limit=_LIMIT)):
        key = place[-1] if place else ""
        chooses = "implementation" in key or "kernel" in key
        if chooses and ("/" in str(value) or "|" in str(value)):
            raise CheckpointError(
                f"{path}: {shown(key)} is {shown(value)}, which would fetch and run a kernel: refused; "
                "remove that line, or get the model from its authors"
            )
