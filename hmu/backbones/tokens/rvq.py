"""Residual VQ autoencoder of MoMask (Guo et al., CVPR 2024, section 3.1). Parameter names are the checkpoints'.

Motions here are *normalised* features ``(batch, frames, features)``. With ``lengths`` (frames, multiples of the unit
length) a padded clip is treated exactly as it would be alone; without, padding is read like motion, as the authors do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.draws import Draws
from hmu.backbones.tokens.options import RvqOptions
from hmu.backbones.tokens.quantizer import ResidualQuantizer
from hmu.data.batch import length_mask

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}
EPS = 1e-6


def frames_kept(lengths: Tensor | None, frames: int) -> Tensor | None:
    """``(batch, 1, frames)``, True inside each clip; None where every clip fills the batch."""
    if lengths is None or bool((lengths >= frames).all()):
        return None
    return length_mask(lengths, frames)[:, None, :]


def masked(x: Tensor, keep: Tensor | None) -> Tensor:
    """``x`` ``(batch, channels, frames)`` with zeros outside the clips."""
    return x if keep is None else x * keep


class FrameNorm(nn.LayerNorm):
    """Layer norm over the channels of each frame."""

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """``(batch, channels, frames)`` in and out."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class GroupNorm(nn.GroupNorm):
    """Group norm whose statistics leave padding out."""

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """``(batch, channels, frames)`` in and out."""
        if keep is None:
            return super().forward(x)
        grouped = x.view(len(x), self.num_groups, -1, x.shape[2])
        weight = keep[:, None].to(x.dtype)
        count = weight.sum((2, 3), keepdim=True) * grouped.shape[2]
        mean = (grouped * weight).sum((2, 3), keepdim=True) / count
        variance = ((grouped - mean).square() * weight).sum((2, 3), keepdim=True) / count
        normal = ((grouped - mean) * (variance + self.eps).rsqrt()).view(x.shape)
        return normal * self.weight[:, None] + self.bias[:, None]


class BatchNorm(nn.BatchNorm1d):
    """Batch norm whose statistics leave padding out."""

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """``(batch, channels, frames)`` in and out; padding comes out as zero."""
        if keep is None:
            return super().forward(x)
        rows = super().forward(x.transpose(1, 2)[keep[:, 0]])
        return torch.zeros_like(x).transpose(1, 2).masked_scatter(keep.transpose(1, 2), rows).transpose(1, 2)


class NoNorm(nn.Identity):
    """Nothing, with the signature of the norms."""

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """``x`` ``(batch, channels, frames)``."""
        return x


def make_norm(options: RvqOptions) -> nn.Module:
    """The norm in front of a block's convolutions."""
    if options.norm == "GN":
        return GroupNorm(min(32, options.width), options.width, eps=EPS)
    if options.norm == "BN":
        return BatchNorm(options.width, eps=EPS)
    return FrameNorm(options.width) if options.norm == "LN" else NoNorm()


class ResidualBlock(nn.Module):
    """``x + dropout(conv1(act(norm(conv3(act(norm(x)))))))``, the first convolution dilated."""

    def __init__(self, options: RvqOptions, dilation: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = make_norm(options), make_norm(options)
        self.act = ACTIVATIONS[options.activation]()
        self.conv1 = nn.Conv1d(options.width, options.width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(options.width, options.width, 1)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """``(batch, channels, frames)`` in and out."""
        h = self.conv1(masked(self.act(self.norm1(x, keep)), keep))
        return x + self.dropout(self.conv2(self.act(self.norm2(h, keep))))


class ResidualStack(nn.Module):
    """Blocks with falling dilations (9, 3, 1 at the published depth)."""

    def __init__(self, options: RvqOptions) -> None:
        super().__init__()
        growth = [options.dilation**i for i in reversed(range(options.depth))]
        self.model = nn.Sequential(*(ResidualBlock(options, dilation) for dilation in growth))

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Same shape in and out."""
        for block in self.model:
            x = block(x, keep)
        return x


class Encoder(nn.Module):
    """Convolution, levels that halve the frames, convolution to the code width."""

    def __init__(self, features: int, options: RvqOptions) -> None:
        super().__init__()
        width = options.width
        levels = [
            nn.Sequential(nn.Conv1d(width, width, 2 * options.stride, options.stride, 1), ResidualStack(options))
            for _ in range(options.down)
        ]
        first, last = nn.Conv1d(features, width, 3, padding=1), nn.Conv1d(width, options.code_dim, 3, padding=1)
        self.model = nn.Sequential(first, nn.ReLU(), *levels, last)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """``(batch, features, frames)`` to ``(batch, code width, tokens)``."""
        first, act, *levels, last = list(self.model)
        keep = frames_kept(lengths, x.shape[2])
        x = masked(act(first(masked(x, keep))), keep)
        for level in levels:
            down, stack = cast(nn.Sequential, level)
            x, lengths = down(x), None if lengths is None else lengths // 2
            keep = frames_kept(lengths, x.shape[2])
            x = masked(stack(x, keep), keep)
        return last(x)


class Decoder(nn.Module):
    """Convolution, levels that double the frames, two convolutions to the features."""

    def __init__(self, features: int, options: RvqOptions) -> None:
        super().__init__()
        width = options.width
        levels = [
            nn.Sequential(ResidualStack(options), nn.Upsample(scale_factor=2), nn.Conv1d(width, width, 3, padding=1))
            for _ in range(options.down)
        ]
        first = nn.Conv1d(options.code_dim, width, 3, padding=1)
        tail = [nn.Conv1d(width, width, 3, padding=1), nn.ReLU(), nn.Conv1d(width, features, 3, padding=1)]
        self.model = nn.Sequential(first, nn.ReLU(), *levels, *tail)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """``(batch, code width, tokens)`` to ``(batch, features, frames)``; ``lengths`` in tokens."""
        first, act, *levels, near_last, act_last, last = list(self.model)
        keep = frames_kept(lengths, x.shape[2])
        x = act(first(masked(x, keep)))
        for level in levels:
            stack, double, conv = cast(nn.Sequential, level)
            x, lengths = double(stack(x, keep)), None if lengths is None else lengths * 2
            keep = frames_kept(lengths, x.shape[2])
            x = conv(masked(x, keep))
        return last(masked(act_last(near_last(masked(x, keep))), keep))


@dataclass(frozen=True)
class RvqOutput:
    """A training forward: reconstruction ``(batch, frames, features)`` and what the quantiser reports."""

    recon: Tensor
    ids: Tensor
    commit: Tensor
    perplexity: Tensor


class Rvq(nn.Module):
    """Motion features to token ids of several residual layers, one token per 4 frames, and back."""

    def __init__(self, features: int, options: RvqOptions, variant: str = "default") -> None:
        super().__init__()
        self.features, self.options = features, options
        self.encoder = Encoder(features, options)
        self.decoder = Decoder(features, options)
        self.quantizer = ResidualQuantizer(options, variant)

    @property
    def unit_length(self) -> int:
        """Frames per token."""
        return self.options.unit_length

    def latents(self, motion: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What the quantiser sees, ``(batch, tokens, code width)``; positions beyond ``lengths`` are arbitrary."""
        return self.encoder(motion.transpose(1, 2), lengths).transpose(1, 2)

    def encode(self, motion: Tensor, lengths: Tensor | None = None, layers: int | None = None) -> Tensor:
        """Token ids ``(batch, tokens, layers)``, -1 beyond ``lengths`` (frames); changes nothing, in any mode.

        Call it on a module in evaluation mode: dropout would change the ids. ``layers``: only the first so many.
        """
        with torch.no_grad():
            latent = self.latents(motion, lengths)
            return self.quantizer.encode(latent, self._valid(lengths, latent), layers)

    def _valid(self, lengths: Tensor | None, latent: Tensor) -> Tensor | None:
        return None if lengths is None else length_mask(lengths // self.unit_length, latent.shape[1])

    def decode(self, ids: Tensor, lengths: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Features ``(batch, frames, features)`` of ids ``(batch, tokens, layers)``; -1 stands for a zero code.

        ``lengths`` in frames; fewer layers than the quantiser has are allowed. ``generator`` is for the noise of codes
        that an edit has replaced.
        """
        return self.decode_latent(self.quantizer.decode(ids, generator), lengths)

    def decode_latent(self, latent: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Features of quantised latents ``(batch, tokens, code width)``; ``lengths`` in frames."""
        tokens = None if lengths is None else lengths // self.unit_length
        return self.decoder(latent.transpose(1, 2), tokens).transpose(1, 2)

    def forward(self, motion: Tensor, lengths: Tensor | None = None, draws: Draws | None = None) -> RvqOutput:
        """Encode, quantise, decode ``(batch, frames, features)``; in training mode the codebooks follow the batch."""
        latent = self.latents(motion, lengths)
        quantised = self.quantizer(latent, self._valid(lengths, latent), draws)
        recon = self.decode_latent(quantised.latent, lengths)
        return RvqOutput(recon, quantised.ids, quantised.commit, quantised.perplexity)


def rvq_terms(
    output: RvqOutput, motion: Tensor, options: RvqOptions, positions: slice, lengths: Tensor | None = None
) -> dict[str, Tensor]:
    """``recon + loss_vel positions + commit commit`` (MoMask eq. 3), averaged over the frames inside ``lengths``.

    Args:
        output: of :meth:`Rvq.forward`. motion: its normalised input ``(batch, frames, features)``.
        options: weights and kind of the loss.
        positions: columns of the joint positions, which count a second time.
        lengths: frames ``(batch,)``; None = no padding.
    """
    kinds = {"l1": F.l1_loss, "l1_smooth": F.smooth_l1_loss, "l2": F.mse_loss}
    difference = kinds[options.recon_loss](output.recon, motion, reduction="none")
    if lengths is not None:
        difference = difference[length_mask(lengths, motion.shape[1])]
    recon, explicit = difference.mean(), difference[..., positions].mean()
    loss = recon + options.loss_vel * explicit + options.commit * output.commit
    return {
        "loss": loss,
        "recon": recon,
        "positions": explicit,
        "commit": output.commit,
        "perplexity": output.perplexity,
    }
