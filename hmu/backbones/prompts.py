"""Prompts of a backbone: read by its encoder, once per process."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone
from hmu.backbones.modes import evaluating
from hmu.backbones.options import require
from hmu.data.batch import length_mask
from hmu.errors import ConfigError
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.owner import ReadsText
from hmu.text.stored import storable

AT_ONCE = 256  # prompts encoded at a time
CLIP_WIDTH = 512  # of ViT-B/32, which the published models read


class PromptCache:
    """Embeddings by text, of a frozen encoder: without padding, so that batches of any length can be made."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Tensor, Tensor | None]] = {}

    def clear(self) -> None:
        """Forget everything (the encoder's weights change)."""
        self._rows.clear()

    def encode(self, encoder: TextEncoder, texts: Sequence[str], device: torch.device) -> TextCondition:
        """Encode ``texts`` in order, each distinct one at most once per process; padded to the longest."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if missing:
            with evaluating(encoder):
                fresh = encoder.encode(missing)
            counts = fresh.mask.sum(1).tolist()
            for row, (text, count) in enumerate(zip(missing, counts, strict=True)):
                pooled = None if fresh.pooled is None else fresh.pooled[row].clone()
                self._rows[text] = (fresh.tokens[row, :count].clone(), pooled)
        rows = [self._rows[text] for text in texts]
        tokens = nn.utils.rnn.pad_sequence([row[0] for row in rows], batch_first=True).to(device)
        pooled_rows = [row[1] for row in rows if row[1] is not None]
        pooled = torch.stack(pooled_rows).to(device) if len(pooled_rows) == len(rows) else None
        sizes = torch.tensor([len(row[0]) for row in rows], device=device)
        return TextCondition(tokens, length_mask(sizes, tokens.shape[1]), pooled)


class PromptedBackbone(ReadsText, MotionBackbone):
    """A backbone that prompts steer. An encoder that trains is asked anew each time, a frozen one once per text.

    Args:
        text: encoder of prompts; None where only ready-made conditions will be used.
        text_width: width of what the network reads where ``text`` is None.
    """

    def __init__(self, text: TextEncoder | None, text_width: int | None) -> None:
        super().__init__()
        self.text, self.text_width = text, text.width if text is not None else int(text_width or CLIP_WIDTH)
        self._prompts = PromptCache()

    def encode_text(self, texts: Sequence[str]) -> TextCondition:
        """Encode prompts, padded to the longest.

        Raises:
            ConfigError: the model was built without a text encoder.
        """
        if self.text is None:
            raise ConfigError("this model has no text encoder: give backbone.text (for example text=clip)")
        return self.text.encode(texts) if self.trains_text else self._prompts.encode(self.text, texts, self.device)

    def match(self, condition: TextCondition | Sequence[str], clips: int) -> TextCondition:
        """One condition for each of ``clips``; a single prompt stands for all of them.

        Raises:
            ConfigError: another number of prompts.
        """
        prompts = condition if isinstance(condition, TextCondition) else self.encode_text(condition)
        prompts = prompts.to(self.device)
        prompts = prompts.expand(clips) if len(prompts) == 1 else prompts
        require(len(prompts) == clips, f"{len(prompts)} prompts, {clips} lengths: expected one length per prompt")
        return prompts

    def check_lengths(self, lengths: Tensor, most: int | None = None) -> Tensor:
        """Frames to generate ``(batch,)``, on the model's device; ``most``: the longest that its networks read.

        Raises:
            ConfigError: they are no positive multiples of :attr:`unit_length`, or too long.
        """
        lengths, unit = torch.as_tensor(lengths, device=self.device), self.unit_length
        good = bool(((lengths > 0) & (lengths % unit == 0)).all())
        require(good, f"lengths {lengths.tolist()}: expected positive multiples of {unit} frames")
        fits = most is None or int(lengths.max()) <= most
        require(fits, f"lengths {lengths.tolist()}: this model has positions for {most} frames")
        return lengths

    def train_text(self, trains: bool) -> None:
        """Unfreeze a text encoder that is stored with the model, or freeze it; others stay as they are."""
        if self.text is not None and storable(self.text):
            self.text.requires_grad_(trains)
            self._prompts.clear()

    def remember_prompts(self, texts: Sequence[str]) -> None:
        """See :meth:`MotionBackbone.remember_prompts`."""
        if storable(self.text) and not self.trains_text:
            with torch.no_grad():
                for start in range(0, len(texts), AT_ONCE):
                    self.encode_text(texts[start : start + AT_ONCE])
