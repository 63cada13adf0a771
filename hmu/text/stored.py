"""Text encoders that travel with a model: its ``config.json`` names a kind of this package, and no target.

:class:`ReadsText` is what models that read text share in keeping their encoder, storing it and training it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hmu.checkpoints.pretrained import Pretrained
from hmu.errors import CheckpointError, shown
from hmu.text.base import TextEncoder
from hmu.text.compact import build_vocabulary

KIND = "kind"
_OLD = "_target_"  # what folders written before held: hmu.text.<kind>.<class>


def storable(text: nn.Module | None) -> bool:
    """Whether a text encoder travels with the model (a small one with its own vocabulary, trained with it)."""
    return text is not None and hasattr(text, "to_config") and hasattr(text, "set_vocabulary")


def text_to_config(text: TextEncoder | None) -> dict[str, Any] | None:
    """How to build a text encoder that is stored with a model anew; None for one that is not (CLIP).

    The kind of ``hmu.text.compact.CompactTextEncoder`` is ``compact``, so that a new one needs no entry anywhere.
    """
    if text is None or not storable(text):
        return None
    return {KIND: type(text).__module__.removeprefix("hmu.text."), **text.to_config()}  # type: ignore[operator]


def text_from_config(config: Any, source: Path | str) -> TextEncoder:
    """Inverse of :func:`text_to_config` for the entry of a received ``config.json`` (``source``); weights are fresh.

    Raises:
        CheckpointError: a kind that is none of this package's text encoders that can be stored, or options that it does
            not take.
    """
    if not isinstance(config, Mapping):
        raise CheckpointError(f"{source}: 'text' is {shown(config)}, expected a kind of text encoder and its options")
    options = {str(key): value for key, value in config.items()}
    kind = options.pop(KIND, None)
    old = options.pop(_OLD, None)
    if kind is None and isinstance(old, str) and old.startswith("hmu.text."):
        kind = old.removeprefix("hmu.text.").rpartition(".")[0]
    encoder = _encoder(kind)
    if encoder is None or old not in (None, f"{encoder.__module__}.{encoder.__qualname__}"):
        named = kind if old is None else old
        raise CheckpointError(
            f"{source}: its text encoder is '{shown(named)}', none that hmu stores with a model: refused, nothing was "
            "run; get the folder from somebody you trust"
        )
    try:
        return encoder(**options)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: '{kind}' text encoder of another version ({shown(error, 120)})") from error


def _encoder(kind: Any) -> type[TextEncoder] | None:
    """The text encoder that the module ``hmu.text.<kind>`` defines and that can be stored."""
    if not isinstance(kind, str) or not kind.isidentifier() or find_spec(f"hmu.text.{kind}") is None:
        return None
    module = import_module(f"hmu.text.{kind}")
    own = (thing for _, thing in inspect.getmembers(module, inspect.isclass) if thing.__module__ == module.__name__)
    return next((thing for thing in own if issubclass(thing, TextEncoder) and storable(thing)), None)  # type: ignore[arg-type]


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
        if self.text is not None and storable(self.text) and not self.text.vocabulary:
            words = build_vocabulary(str(getattr(caption, "text", caption)) for caption in captions)
            self.text.set_vocabulary(words)  # type: ignore[operator]

    # -- folders -------------------------------------------------------------------------------------------------------
    def setting(self, name: str) -> Any:
        """A constructor's argument as a plain value; a text encoder that is not stored is null."""
        return text_to_config(self.text) if name == "text" else super().setting(name)

    def stored_parts(self) -> dict[str, nn.Module | Tensor]:
        """In any shapes, without a text encoder that does not travel with the model."""
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
