"""Models that read text through an encoder: what they share in keeping it, storing it and training it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hmu.checkpoints.pretrained import Pretrained
from hmu.errors import CheckpointError, shown
from hmu.text.base import TextEncoder
from hmu.text.compact import build_vocabulary
from hmu.text.stored import storable, text_from_config, text_to_config


class ReadsText(Pretrained):
    """A model with a text encoder, which travels in its folder if it is small and has its own vocabulary.

    Attributes:
        text: encoder of prompts; None where only ready-made conditions will be used.
        text_width: width of what it gives, stated also where ``text`` is None.
    """

    text: TextEncoder | None
    text_width: int

    @property
    def trains_text(self) -> bool:
        """Whether the text encoder has trainable weights (a small one, trained with the model)."""
        return self.text is not None and any(p.requires_grad for p in self.text.parameters())

    def fit_vocabulary(self, captions: Iterable[Any]) -> None:
        """Give an encoder without a vocabulary that of ``captions`` (sentences, or objects with a ``text``)."""
        fit_vocabulary(self.text, captions)

    # -- folders -------------------------------------------------------------------------------------------------------
    def setting(self, name: str) -> Any:
        """A constructor's argument as a plain value; a text encoder that is not stored is null."""
        return text_to_config(self.text) if name == "text" else super().setting(name)

    def stored_parts(self) -> dict[str, nn.Module | Tensor]:
        """Without a text encoder that does not travel with the model."""
        parts = super().stored_parts()
        return parts if storable(self.text) else {name: part for name, part in parts.items() if name != "text"}

    @classmethod
    def arguments(cls, config: Mapping[str, Any], changes: Mapping[str, Any], source: Path) -> dict[str, Any]:
        """With the stored text encoder, frozen, or else the given one.

        Raises:
            CheckpointError: it has another width than the model reads, or is none that can be stored.
        """
        given, width = super().arguments(config, changes, source), config.get("text_width")
        if config.get("text") is not None:
            given["text"] = text_from_config(config["text"], source).requires_grad_(False)
        if given.get("text") is not None and width is not None and given["text"].width != width:
            raise CheckpointError(
                f"{source.parent}: reads text of width {shown(width)}, the encoder has {given['text'].width}"
            )
        return given


def fit_vocabulary(text: TextEncoder | None, captions: Iterable[Any]) -> None:
    """Give an encoder without a vocabulary that of ``captions`` (sentences, or objects with a ``text``)."""
    if text is not None and storable(text) and not text.vocabulary:
        text.set_vocabulary(build_vocabulary(str(getattr(c, "text", c)) for c in captions))  # type: ignore[operator]
