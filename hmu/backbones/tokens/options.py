"""The numbers of a tokenizer and of the transformers over its tokens; impossible values are refused by name."""

from __future__ import annotations

from dataclasses import dataclass

from hmu.backbones.options import require
from hmu.checkpoints.kinds import FLAG, Kind, check_fields, choice, real, whole

NORMS = ("none", "LN", "GN", "BN")
ACTIVATIONS = ("relu", "silu", "gelu")
LOSSES = ("l1", "l1_smooth", "l2")
_SHARE, _WEIGHT = real(0, 1), real(0, 1e6)
#: what each key may be; wider than any published model, narrow enough that no file asks for all memory
_RVQ: dict[str, Kind] = {
    "norm": choice(NORMS),
    "activation": choice(ACTIVATIONS),
    "recon_loss": choice(LOSSES),
    "codes": whole(1, 65_536),
    "code_dim": whole(1, 8192),
    "quantizers": whole(1, 64),
    "width": whole(1, 8192),
    "depth": whole(1, 12),
    "down": whole(1, 6),
    "stride": whole(1, 16),
    "dilation": whole(1, 10),
    "shared": FLAG,
    "temperature": _WEIGHT,
    "reset_below": _WEIGHT,
    "loss_vel": _WEIGHT,
    "commit": _WEIGHT,
    **dict.fromkeys(("dropout", "quantize_dropout", "decay"), _SHARE),
}
_TRANSFORMER: dict[str, Kind] = {
    "latent_dim": whole(1, 8192),
    "n_heads": whole(1, 256),
    "n_layers": whole(1, 99),
    "ff_size": whole(1, 65_536),
    "dropout": _SHARE,
    "cond_drop": _SHARE,
    "positions": whole(1, 100_000),
}


@dataclass(frozen=True)
class RvqOptions:
    """Residual vector-quantised autoencoder.

    Attributes:
        codes: entries per codebook. code_dim: their width. quantizers: layers of the residual quantiser.
        width: channels of the convolutions. depth: residual blocks per level. down: levels (frames / stride each).
        stride: of a level's convolution (2). dilation: growth rate of the blocks' dilations, largest first.
        norm: ``none``, ``LN``, ``GN`` or ``BN``. activation: inside the blocks. dropout: inside their branch.
        shared: all layers use one codebook.
        quantize_dropout: chance that a training batch uses only the first layers, their number drawn uniformly.
        decay: of the codebooks' running averages.
        temperature: of the Gumbel noise with which training picks codes; 0 = nearest.
        reset_below: a code used less often per batch than this (running average) is replaced by a batch latent. One
            batch must hold clearly more than ``codes * reset_below`` tokens.
        recon_loss, loss_vel, commit: the training objective. ``loss_vel`` is the published name of the weight of the
            joint positions (columns 4 to 66 of 263), which are counted a second time.
    """

    codes: int
    code_dim: int
    quantizers: int
    width: int
    depth: int
    down: int
    stride: int
    dilation: int
    norm: str
    activation: str
    dropout: float
    shared: bool
    quantize_dropout: float
    decay: float
    temperature: float
    reset_below: float
    recon_loss: str
    loss_vel: float
    commit: float

    def __post_init__(self) -> None:
        check_fields(self, "backbone.rvq", _RVQ)
        require(
            self.stride == 2,
            f"backbone.rvq.stride={self.stride}: expected 2 (the decoder doubles the frames at every level)",
        )

    @property
    def unit_length(self) -> int:
        """Frames per token."""
        return int(self.stride**self.down)


@dataclass(frozen=True)
class TransformerOptions:
    """The masked transformer.

    Attributes:
        latent_dim: width. n_heads, n_layers, ff_size, dropout: of the post-norm encoder.
        cond_drop: share of prompts replaced by no prompt in training.
        positions: length of the table of positions.
    """

    latent_dim: int
    n_heads: int
    n_layers: int
    ff_size: int
    dropout: float
    cond_drop: float
    positions: int

    def __post_init__(self) -> None:
        check_fields(self, "backbone.masked", _TRANSFORMER)
        require(
            self.latent_dim % self.n_heads == 0 and self.latent_dim % 2 == 0,
            f"backbone: latent_dim={self.latent_dim} must be even and divisible by n_heads={self.n_heads}",
        )


@dataclass(frozen=True)
class ResidualOptions(TransformerOptions):
    """The residual transformer.

    Attributes:
        share_weight: the head of layer q - 1 and the embedding of layer q are one table (published: yes).
        doubled_head: the unshared head returns ``2 W h + b``, as the authors' does; their checkpoints need it.
    """

    share_weight: bool
    doubled_head: bool
