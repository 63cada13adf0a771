"""What methods may change in a generator of motion tokens: names of layers, weights and codebooks."""

from __future__ import annotations

from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone
from hmu.backbones.momask.encoder import PROJECTIONS
from hmu.backbones.momask.masked import MaskedTransformer
from hmu.backbones.momask.options import UNLEARN, require
from hmu.backbones.momask.prompts import vector_of
from hmu.backbones.momask.quantizer import ResidualQuantizer
from hmu.backbones.momask.residual import ResidualTransformer
from hmu.text.base import TextCondition
from hmu.text.owner import ReadsText

ATTENTION = tuple(f".self_attn.{name}" for name in (*PROJECTIONS, "out_proj"))


class Network(nn.Module):
    """What unlearning edits: both transformers, and the codebooks."""

    def __init__(self, masked: MaskedTransformer, residual: ResidualTransformer, quantizer: ResidualQuantizer) -> None:
        super().__init__()
        self.masked, self.residual, self.quantizer = masked, residual, quantizer


class TokenHandles(ReadsText, MotionBackbone):
    """The handles of a backbone whose ``generator`` is a :class:`Network`.

    Attributes:
        generator: both transformers and the codebooks.
        text_width: width of a text vector.
        unlearn: what methods treat, see :meth:`choose`.
    """

    generator: Network
    text_width: int
    unlearn: str

    def choose(self, unlearn: str) -> None:
        """What methods treat: the ``masked`` transformer, the ``residual`` one, or ``both``.

        Raises:
            ConfigError: for another word.
        """
        require(unlearn in UNLEARN, f"backbone.unlearn={unlearn}: expected one of {', '.join(UNLEARN)}")
        self.unlearn = unlearn

    @property
    def masked(self) -> MaskedTransformer:
        """The masked transformer."""
        return self.generator.masked

    @property
    def residual(self) -> ResidualTransformer:
        """The residual transformer."""
        return self.generator.residual

    @property
    def parts(self) -> tuple[str, ...]:
        """The treated transformers, by their names in :meth:`network`."""
        return tuple(part for part in ("masked", "residual") if self.unlearn in (part, "both"))

    def network(self) -> nn.Module:
        """Both transformers (``masked``, ``residual``) and the codebooks (``quantizer``)."""
        return self.generator

    @property
    def adapter_targets(self) -> list[str]:
        """All query, key, value and output projections of the treated transformers."""
        names = [name for name, _ in self.generator.named_modules() if name.endswith(ATTENTION)]
        return [name for name in names if name.startswith(self.parts)]

    def parameter_groups(self) -> dict[str, list[str]]:
        """Weights of the treated transformers by role.

        ``cross``: the layers through which the text enters; ``attention``: the projections of the self-attention;
        ``rest``: all but ``cross``; ``masked``, ``residual``: one transformer's; ``all``.
        """
        names = [name for name, _ in self.generator.named_parameters() if name.startswith(self.parts)]
        cross = [name for name in names if ".cond_emb." in name]
        return {
            "cross": cross,
            "attention": [name for name in names if ".self_attn." in name],
            "rest": [name for name in names if name not in set(cross)],
            **{part: [name for name in names if name.startswith(part)] for part in self.parts},
            "all": names,
        }

    def text_projections(self) -> dict[str, nn.Linear]:
        """The layer ``cond_emb`` (with bias) of each treated transformer."""
        return {f"{part}.cond_emb": getattr(self.generator, part).cond_emb for part in self.parts}

    def projection_inputs(self, condition: TextCondition) -> dict[str, Tensor]:
        """Every layer reads the prompts' vectors ``(batch, text width)``."""
        return dict.fromkeys(self.text_projections(), vector_of(condition, self.text_width).detach())

    def _buffers_named(self, leaf: str) -> dict[str, Tensor]:
        return {name: value for name, value in self.generator.named_buffers() if name.endswith(leaf)}

    def codebooks(self) -> dict[str, Tensor]:
        """``quantizer.layers.<q>.codebook`` ``(codes, width)``; one entry where all layers share one."""
        return self._buffers_named(".codebook")

    def codebook_noise(self) -> dict[str, Tensor]:
        """``quantizer.layers.<q>.code_noise`` ``(codes,)``, zero in a base."""
        return self._buffers_named(".code_noise")
