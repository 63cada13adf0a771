"""Skeleton-aware VAE of SALAD (Hong et al., CVPR 2025, section 3.1).

Parameter names are the published checkpoints'. Tokens are laid out ``(batch, frames, joints, channels)`` throughout.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.salad.joint_maps import ACTIVATIONS, MotionDecoder, MotionEncoder
from hmu.backbones.salad.options import VaeOptions
from hmu.backbones.salad.topology import BODY_PARTS, Topology


def _constant(matrix: np.ndarray) -> nn.Parameter:
    """A matrix that the checkpoints store as a parameter, though it never trains."""
    return nn.Parameter(torch.tensor(matrix), requires_grad=False)


def frame_mask(lengths: Tensor | None, frames: int, like: Tensor) -> Tensor | None:
    """``(batch, frames, 1, 1)`` factors, or None where every clip fills the batch."""
    if lengths is None or bool((lengths >= frames).all()):
        return None
    valid = torch.arange(frames, device=like.device)[None] < lengths.to(like.device)[:, None]
    return valid.to(like.dtype)[:, :, None, None]


class GraphConv(nn.Module):
    """The two linear maps of a graph convolution: a joint's own, and its neighbourhood's average."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, channels)
        self.linear2 = nn.Linear(channels, channels)


class SkeletoTemporalConv(nn.Module):
    """``G1 x + (A G2 x) / (rowsum(A) + 1e-6) + conv_time(x)``, tokens in and out ``(batch, frames, joints, channels)``.

    The joint's own map is folded into the centre tap of the temporal convolution: one convolution instead of two maps.
    """

    def __init__(self, adjacency: np.ndarray, channels: int, kernel: int) -> None:
        super().__init__()
        self.adj_matrix = _constant(adjacency)
        self.graph_conv = GraphConv(channels)
        self.temp_conv = nn.Conv1d(channels, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``mask`` zeroes the frames that the temporal convolution must not see beyond a clip's end."""
        own, shared = self.graph_conv.linear1, self.graph_conv.linear2
        average = self.adj_matrix / (self.adj_matrix.sum(1, keepdim=True) + 1e-6)
        neighbours = F.linear(torch.matmul(average, x), shared.weight)
        neighbours = neighbours + (average.sum(1)[:, None] * shared.bias + own.bias + cast(Tensor, self.temp_conv.bias))
        kernel = self.temp_conv.weight
        half = kernel.shape[2] // 2
        centre = kernel[..., half : half + 1] + own.weight[..., None]
        kernel = torch.cat([kernel[..., :half], centre, kernel[..., half + 1 :]], 2)
        if mask is not None:  # frames beyond the end then hold rubbish, but no valid frame reads them
            x = x * mask
        # (batch, channels, frames, joints) is the same memory in channels-last order: no copy
        return neighbours + F.conv2d(x.permute(0, 3, 1, 2), kernel[..., None], padding=(half, 0)).permute(0, 2, 3, 1)


class ResidualBlock(nn.Module):
    """``x + conv(act(norm(conv(act(norm(x))))))``, dropout last inside the branch."""

    def __init__(self, adjacency: np.ndarray, options: VaeOptions) -> None:
        super().__init__()
        channels, act = options.latent_dim, ACTIVATIONS[options.activation]

        def norm() -> nn.Module:
            return nn.LayerNorm(channels) if options.norm == "layer" else nn.Identity()

        def conv() -> nn.Module:
            return SkeletoTemporalConv(adjacency, channels, options.kernel_size)

        self.layers = nn.ModuleList([norm(), act(), conv(), norm(), act(), conv(), nn.Dropout(options.dropout)])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Same shape in and out."""
        norm1, act1, conv1, norm2, act2, conv2, dropout = self.layers
        return x + dropout(conv2(act2(norm2(conv1(act1(norm1(x)), mask))), mask))


class Pool(nn.Module):
    """Averages joint sets and pairs of frames (an odd last frame is dropped)."""

    def __init__(self, pool: np.ndarray) -> None:
        super().__init__()
        self.skeleton_pool = _constant(pool)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, frames, joints, channels)`` -> ``(batch, frames // 2, coarser, channels)``."""
        frames = x.shape[1] // 2 * 2
        return torch.matmul(self.skeleton_pool, (x[:, 0:frames:2] + x[:, 1:frames:2]) * 0.5)


class Unpool(nn.Module):
    """Sums the sets that hold a joint, and doubles the frames linearly (half-pixel centres, clamped edges)."""

    def __init__(self, unpool: np.ndarray) -> None:
        super().__init__()
        self.skeleton_unpool = _constant(unpool)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(batch, frames, coarser, channels)`` -> ``(batch, 2 frames, joints, channels)``; ``mask`` of the input."""
        before = torch.cat([x[:, :1], x[:, :-1]], 1)
        after = torch.cat([x[:, 1:], x[:, -1:]], 1)
        if mask is not None:  # the last frame of a shorter clip has no successor: clamp there too
            follows = torch.cat([mask[:, 1:], mask[:, -1:]], 1)
            after = torch.lerp(x, after, follows)
        doubled = torch.stack([torch.lerp(x, before, 0.25), torch.lerp(x, after, 0.25)], 2).flatten(1, 2)
        return torch.matmul(self.skeleton_unpool, doubled)


class ConvEncoder(nn.Module):
    """Stages of residual blocks, each followed by pooling."""

    def __init__(self, topology: Topology, options: VaeOptions) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for stage in range(options.n_layers):
            level = topology.level(stage)
            blocks = [ResidualBlock(level.adjacency, options) for _ in range(options.n_extra_layers + 1)]
            self.layers.append(nn.ModuleList([*blocks, Pool(level.pool)]))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Joint tokens ``(batch, frames, joints, channels)`` to body parts at a quarter of the rate."""
        for layer in self.layers:
            *blocks, pool = list(layer.children())
            mask = frame_mask(lengths, x.shape[1], x)
            for block in blocks:
                x = block(x, mask)
            x, lengths = pool(x), None if lengths is None else lengths // 2
        return x


class ConvDecoder(nn.Module):
    """Stages of unpooling, each followed by residual blocks on the finer graph."""

    def __init__(self, topology: Topology, options: VaeOptions) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for stage in reversed(range(options.n_layers)):
            level = topology.level(stage)
            blocks = [ResidualBlock(level.adjacency, options) for _ in range(options.n_extra_layers + 1)]
            self.layers.append(nn.ModuleList([Unpool(level.unpool), *blocks]))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Body parts to joint tokens ``(batch, frames, joints, channels)``; ``lengths`` in latent frames."""
        for layer in self.layers:
            unpool, *blocks = list(layer.children())
            x, lengths = unpool(x, frame_mask(lengths, x.shape[1], x)), None if lengths is None else lengths * 2
            mask = frame_mask(lengths, x.shape[1], x)
            for block in blocks:
                x = block(x, mask)
        return x


class PartLinear(nn.Module):
    """One linear map per body part, stored with the input axis first: ``(7, in, out)``."""

    def __init__(self, parts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(parts, inputs, outputs).uniform_(-(inputs**-0.5), inputs**-0.5))
        self.bias = nn.Parameter(torch.zeros(parts, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, frames, parts, in)`` -> ``(batch, frames, parts, out)``."""
        return torch.matmul(x.transpose(1, 2), self.weight).transpose(1, 2) + self.bias


class Vae(nn.Module):
    """Motion features to a latent of 7 body-part tokens per 4 frames, and back.

    All motions here are *normalised* features ``(batch, frames, features)``.
    """

    def __init__(self, topology: Topology, options: VaeOptions) -> None:
        super().__init__()
        self.topology, self.options = topology, options
        width = options.latent_dim
        self.motion_enc = MotionEncoder(topology, width, options.activation)
        self.motion_dec = MotionDecoder(topology, width, options.activation)
        self.conv_enc = ConvEncoder(topology, options)
        self.conv_dec = ConvDecoder(topology, options)
        self.dist = PartLinear(len(BODY_PARTS), width, 2 * width)

    @property
    def unit_length(self) -> int:
        """Frames per latent frame."""
        return int(2**self.options.n_layers)

    def encode(self, motion: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior, each ``(batch, frames // 4, 7, latent)``; deterministic.

        With ``lengths`` (frames) a padded clip is encoded exactly as it would be alone.
        """
        mean, logvar = self.dist(self.conv_enc(self.motion_enc(motion), lengths)).chunk(2, -1)
        return mean, logvar

    def decode(self, latent: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Latents ``(batch, latent frames, 7, latent)`` to features ``(batch, 4 latent frames, features)``.

        With ``lengths`` (frames) the frames of a padded clip are those that it decodes to alone.
        """
        latent_lengths = None if lengths is None else lengths // self.unit_length
        return self.motion_dec(self.conv_dec(latent, latent_lengths))


def sample_posterior(mean: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """``mean + exp(logvar / 2) noise``, all of one shape."""
    return torch.addcmul(mean, (0.5 * logvar).exp(), noise)


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """Elementwise ``0.5 (mean^2 + exp(logvar) - logvar - 1)``, same shape as ``mean``."""
    return 0.5 * (mean.square() + logvar.exp() - logvar - 1)
