"""Prompts of a backbone: read by its encoder, once per process."""

from __future__ import annotations

from collections.abc import Sequence
from sys import maxsize

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.backbones.options import require
from hmu.errors import ConfigError
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.cache import CachedTextEncoder
from hmu.text.stored import ReadsText, storable

AT_ONCE = 256  # prompts encoded at a time
CLIP_WIDTH = 512  # of ViT-B/32, which the published models read


class PromptedBackbone(ReadsText, MotionBackbone):
    """A backbone that prompts steer. An encoder that trains is asked anew each time, a frozen one once per text.

    Args:
        text: encoder of prompts; None where only ready-made conditions will be used.
        text_width: width of what the network reads where ``text`` is None.
    """

    def __init__(self, text: TextEncoder | None, text_width: int | None) -> None:
        super().__init__()
        self.text, self.text_width = text, text.width if text is not None else int(text_width or CLIP_WIDTH)
        # in a list, so that the encoder's weights are stored once; as they come: one call, the same bits
        cached = text if text is None or isinstance(text, CachedTextEncoder) else CachedTextEncoder(text, None, maxsize)
        self._reader = [cached]

    def encode_text(self, texts: Sequence[str]) -> TextCondition:
        """Encode prompts, padded to the longest.

        Raises:
            ConfigError: the model was built without a text encoder.
        """
        (reader,) = self._reader
        if reader is None:
            raise ConfigError("this model has no text encoder: give backbone.text (for example text=clip)")
        return reader.encode(texts).to(self.device)

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
        (reader,) = self._reader
        if reader is not None:
            reader.forget()  # a stage that is resumed begins with nothing encoded, so all of them do

    def remember_prompts(self, texts: Sequence[str]) -> None:
        """See :meth:`MotionBackbone.remember_prompts`."""
        if storable(self.text) and not self.trains_text:
            with torch.no_grad():
                for start in range(0, len(texts), AT_ONCE):
                    self.encode_text(texts[start : start + AT_ONCE])
