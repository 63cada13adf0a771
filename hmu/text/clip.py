"""CLIP's text tower (Radford et al. 2021) through ``transformers``, as SALAD and MoMask use it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from hmu.errors import CheckpointError, ConfigError, MissingExtra
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.cache import CachedTextEncoder
from hmu.text.folders import check_language_model

log = logging.getLogger(__name__)

OUTPUTS = ("hidden", "pooled")
_BATCH = 256  # prompts per forward pass: bounds memory, changes no number

# Names of the authors' option files -> names on the hub.
HUB_NAMES = {"ViT-B/32": "openai/clip-vit-base-patch32", "ViT-L/14": "openai/clip-vit-large-patch14"}


class ClipTextEncoder(TextEncoder):
    """Frozen CLIP text tower; the vision tower is never built.

    Args:
        name_or_folder: a folder in the Hugging Face layout, a name on the hub, or ``ViT-B/32`` / ``ViT-L/14``.
        output: ``"hidden"``: token embeddings after the final LayerNorm, without projection and normalisation
            (SALAD), ``pooled`` being the projected end token; ``"pooled"``: that projected feature alone, as a single
            token (MoMask, HMU).
        trust_network: whether the hub may be asked when the files are not in its local cache.

    The padding mask is not given to CLIP (its causal mask keeps real tokens independent of what follows) but returned.
    Prompts are padded to the longest of a call, at most 77 tokens; longer ones are cut.

    Raises:
        MissingExtra: ``transformers`` is not installed.
        CheckpointError: no such folder or name, incomplete files, or no network.
    """

    def __init__(self, name_or_folder: str | Path, output: str = "hidden", trust_network: bool = True) -> None:
        super().__init__()
        if output not in OUTPUTS:
            raise ConfigError(f"text.output={output} is unknown: use one of {', '.join(OUTPUTS)}")
        model, tokenizer = _load(str(name_or_folder), trust_network)
        self._take(model, tokenizer, output)

    @classmethod
    def from_model(cls, model: nn.Module, tokenizer: Any = None, output: str = "hidden") -> ClipTextEncoder:
        """Wrap a ``CLIPTextModelWithProjection`` built elsewhere; without a tokenizer only :meth:`encode_ids` works."""
        encoder = cls.__new__(cls)
        TextEncoder.__init__(encoder)
        encoder._take(model, tokenizer, output)
        return encoder

    def _take(self, model: nn.Module, tokenizer: Any, output: str) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer, self.output = tokenizer, output
        config: Any = model.config
        self.width = int(config.hidden_size if output == "hidden" else config.projection_dim)
        self.max_tokens = int(config.max_position_embeddings)
        self._fingerprint: str | None = None

    def train(self, mode: bool = True) -> ClipTextEncoder:
        """Stays in eval mode: the tower is frozen."""
        return super().train(False)

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, the tokeniser and the chosen output. Computed once: the weights are frozen."""
        if self._fingerprint is None:
            digest = hashlib.sha256(f"{self.output}|{self.max_tokens}|{_tokenizer_rules(self.tokenizer)}".encode())
            for name, value in sorted(self.model.state_dict().items()):
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
            self._fingerprint = f"clip-{digest.hexdigest()[:32]}"
        return self._fingerprint

    def encode(self, texts: Sequence[str]) -> TextCondition:
        """Prompts -> ``(batch, tokens, width)`` with begin and end tokens; ``""`` has two tokens."""
        if self.tokenizer is None:
            raise CheckpointError("this CLIP text tower was built without a tokenizer: give token ids to encode_ids")
        batch = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return self.encode_ids(batch["input_ids"], batch["attention_mask"])

    @torch.no_grad()
    def encode_ids(self, input_ids: Tensor, attention_mask: Tensor) -> TextCondition:
        """Token ids ``(batch, tokens)`` and their mask -> condition; the mask is returned, not used by CLIP."""
        device = next(self.model.parameters()).device
        parts = [self.model(input_ids=ids.to(device)) for ids in input_ids.split(_BATCH)]
        pooled = torch.cat([part.text_embeds for part in parts])
        if self.output == "pooled":
            mask = torch.ones(len(pooled), 1, dtype=torch.bool, device=device)
            return TextCondition(pooled[:, None], mask, pooled)
        hidden = torch.cat([part.last_hidden_state for part in parts])
        return TextCondition(hidden, attention_mask.to(device).bool(), pooled)


def build(name_or_folder: str | Path, output: str, trust_network: bool, cache: str | Path | None) -> TextEncoder:
    """The Hydra target of ``configs/text/clip.yaml``: a :class:`ClipTextEncoder` that remembers what it has encoded.

    Args:
        name_or_folder, output, trust_network: of :class:`ClipTextEncoder`.
        cache: folder where embeddings are kept between runs, by encoder and prompt; None encodes anew in every run.
    """
    encoder = ClipTextEncoder(name_or_folder, output, trust_network)
    return encoder if cache is None else CachedTextEncoder(encoder, cache)


def _tokenizer_rules(tokenizer: Any) -> str:
    """All that decides which ids a text becomes; padding and truncation, which every call sets anew, left out."""
    rules = json.loads(tokenizer.backend_tokenizer.to_str()) if tokenizer is not None else {}
    return json.dumps({name: rules[name] for name in sorted(rules.keys() - {"padding", "truncation"})})


def _load(name: str, network: bool) -> tuple[nn.Module, Any]:
    transformers = _transformers()
    local = Path(name).is_dir()
    # A path that does not exist must not be looked up on the hub, where it would end in a riddle.
    if not local and (name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1):
        raise CheckpointError(f"{name}: no such folder, expected CLIP in the Hugging Face layout (config.json, ...)")
    if local:
        check_language_model(Path(name))
    source = name if local else HUB_NAMES.get(name, name)
    try:
        with _quiet(transformers):
            loaded, tokenizer = _read(transformers, source, local_only=True)
    except Exception as first:  # transformers raises many kinds for missing files, names and networks
        if local:
            raise CheckpointError(
                f"{source}: cannot load CLIP's text tower; the folder needs config.json, model.safetensors and the "
                "tokenizer files"
            ) from first
        remedy = "download it where there is a network and give the folder (text.name_or_folder=path)"
        if not network or not _hub_answers():
            why = "the hub cannot be reached" if network else "text.trust_network is false"
            raise CheckpointError(f"{source}: not in the hub's local cache and {why}; {remedy}") from first
        try:
            with _quiet(transformers):
                loaded, tokenizer = _read(transformers, source, local_only=False)
        except Exception as error:
            raise CheckpointError(f"{source}: cannot be loaded from the hub; check the name, or {remedy}") from error
    model, info = loaded
    missing = sorted(info["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{source}: CLIP's text tower lacks '{missing[0]}' ({len(missing)} tensors missing); get it again"
        )
    return model, tokenizer


def _read(transformers: Any, source: str, local_only: bool) -> tuple[Any, Any]:
    tokenizer = transformers.CLIPTokenizerFast.from_pretrained(
        source, local_files_only=local_only, trust_remote_code=False
    )
    loaded = transformers.CLIPTextModelWithProjection.from_pretrained(
        source, local_files_only=local_only, output_loading_info=True, trust_remote_code=False
    )
    return loaded, tokenizer


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


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("transformers", "clip", "The CLIP text encoder") from error
    return transformers


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Silence the report about the vision tower's weights, which are left out on purpose."""
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
